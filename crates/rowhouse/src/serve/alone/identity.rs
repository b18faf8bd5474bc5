//! Who a gateway of its own is: a name and three secrets, made before it is enrolled, so that a lost answer costs nothing. In
//! `secrets/node.json`, mode 0600. Whoever has this file is the node, until it is revoked.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rowhouse_control::deploy::nodes::link::{Link, LinkError};
use rowhouse_control::deploy::nodes::wire::{Enrolment, TokenText, hex, unhex};
use rowhouse_control::deploy::nodes::{NodeKey, PublicKey, context_key_id};
use rowhouse_domain::context::ContextSigner;
use rowhouse_domain::entropy::Entropy;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::secrets::write_private;

/// Under the data directory.
const FILE: &str = "secrets/node.json";
/// Between two tries to enrol.
const AGAIN: Duration = Duration::from_secs(1);

/// As it is kept, in hexadecimal.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    name: String,
    node_key: String,
    context_key: String,
    seal_key: String,
    /// Whom it is enrolled with; none before it is.
    door: Option<String>,
}

/// An enrolled node.
pub struct Identity {
    /// What it proves itself with.
    pub key: NodeKey,
    /// What it signs contexts with.
    pub signer: ContextSigner,
    /// What seals the directory on its disk.
    pub seal: [u8; 32],
    /// The control plane.
    pub door: PublicKey,
}

impl Identity {
    /// Reads who this node is, and enrols it if it is not yet, however long the control plane needs to answer.
    pub async fn open(config: &Config, data_dir: &Path, entropy: &Entropy) -> anyhow::Result<Identity> {
        let file = data_dir.join(FILE);
        let mut kept = match std::fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{} is not what a node keeps", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                make(&config.server.node, &file, entropy)?
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        if kept.name != config.server.node {
            bail!(
                "this is the data of the node `{}`, and `server.node` says `{}`",
                kept.name,
                config.server.node
            );
        }
        if kept.door.is_none() {
            kept.door = Some(hex(&enrol(config, &kept).await?));
            write_private(&file, &serde_json::to_string(&kept)?)?;
        }
        let secret = |text: &str| unhex(text).context("a secret of the node is damaged");
        let door = kept.door.as_deref().and_then(unhex).context("the control plane's key is damaged")?;
        Ok(Identity {
            key: NodeKey::new(&secret(&kept.node_key)?)?,
            signer: ContextSigner::new(context_key_id(&kept.name), &secret(&kept.context_key)?),
            seal: secret(&kept.seal_key)?,
            door,
        })
    }
}

fn make(name: &str, file: &Path, entropy: &Entropy) -> anyhow::Result<Kept> {
    use std::os::unix::fs::DirBuilderExt;
    let folder = file.parent().context("a file lies in a folder")?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let secret = || hex(&entropy.bytes::<32>());
    let (node_key, context_key, seal_key) = (secret(), secret(), secret());
    let kept = Kept { name: name.to_owned(), node_key, context_key, seal_key, door: None };
    write_private(file, &serde_json::to_string(&kept)?)?;
    Ok(kept)
}

async fn enrol(config: &Config, kept: &Kept) -> anyhow::Result<PublicKey> {
    let file = config.gateway.enrolment_file.as_ref().context(
        "this node is not enrolled: make a token with `rowhouse node enrol` and name its file in `gateway.enrolment_file`",
    )?;
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let token = TokenText::parse(&text)
        .with_context(|| format!("{} holds no token of `rowhouse node enrol`", file.display()))?;
    let key = NodeKey::new(&unhex(&kept.node_key).context("a secret of the node is damaged")?)?;
    let context = unhex(&kept.context_key).context("a secret of the node is damaged")?;
    let public = *ContextSigner::new("node", &context).verifier().as_bytes();
    let asked = Enrolment { name: kept.name.clone(), secret: hex(&token.secret), context_key: hex(&public) };
    let mut told = false;
    loop {
        for address in &config.gateway.control {
            match enrol_at(address, &key, &token, &asked).await {
                Ok(()) => {
                    tracing::info!(node = kept.name, address, "enrolled");
                    return Ok(token.door);
                }
                Err(LinkError::Refused { code, detail }) if code.starts_with("deploy.") => {
                    bail!("the control plane refuses to enrol this node: {code}: {detail}")
                }
                Err(error) if !told => tracing::warn!(%error, address, "not enrolled yet; trying on"),
                Err(_) => {}
            }
        }
        told = true;
        tokio::time::sleep(AGAIN).await;
    }
}

async fn enrol_at(
    address: &str,
    key: &NodeKey,
    token: &TokenText,
    asked: &Enrolment,
) -> Result<(), LinkError> {
    let link = Link::connect(address, key, token.door).await?;
    link.enrol(asked).await.map(drop)
}
