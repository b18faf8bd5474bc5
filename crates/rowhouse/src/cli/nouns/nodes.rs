//! Gateways that run on their own.

use std::time::Duration;

use anyhow::bail;
use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::Client;
use super::ask::{Page, escape};
use crate::cli::show::{line, show};

/// `rowhouse node …`
#[derive(Debug, Subcommand)]
pub enum NodeVerb {
    /// All, revoked ones included.
    List {
        #[command(flatten)]
        page: Page,
    },
    /// Admit a gateway under a name: prints the token that it enrols with, once.
    Enrol {
        /// 1 to 39 lower-case letters, digits and hyphens; used once and for ever.
        name: String,
        /// How long the token is good, 1 to 10,080 minutes.
        #[arg(long, default_value_t = 60)]
        minutes: i64,
    },
    /// Ask a node to take no requests: it finishes what runs and sends what it recorded.
    Drain {
        /// Its name.
        name: String,
        /// Return when it is drained, or fail after so many seconds.
        #[arg(long, value_name = "SECONDS")]
        wait: Option<u64>,
    },
    /// Ask a drained node back.
    Resume {
        /// Its name.
        name: String,
    },
    /// End a node for ever. What it has not sent is lost: look at `behind` first.
    Revoke {
        /// Its name.
        name: String,
    },
}

/// Runs `rowhouse node …`.
pub async fn node(client: &Client, verb: NodeVerb, json: bool) -> anyhow::Result<()> {
    match verb {
        NodeVerb::List { page } => {
            let answer = page.of(client, "/v1/nodes", &[]).await?;
            let columns = [
                "name",
                "state",
                "address",
                "release",
                "directory_version",
                "behind",
                "drain.state",
                "complete_to",
                "seen_at",
            ];
            show(&answer, &columns, json);
        }
        NodeVerb::Enrol { name, minutes } => {
            let answer = client.post("/v1/nodes", json!({ "name": name, "minutes": minutes })).await?;
            if json {
                show(&answer, &[], true);
            } else {
                line(answer["token"].as_str().unwrap_or_default());
                eprintln!("good until {}", answer["expires_at"].as_str().unwrap_or_default());
                eprintln!(
                    "next: on the node, with server.node = \"{name}\" and this text in gateway.enrolment_file: rowhouse serve --role gateway"
                );
            }
        }
        NodeVerb::Drain { name, wait } => {
            let mut answer = client.post(&format!("/v1/nodes/{}/drain", escape(&name)), json!({})).await?;
            if let Some(seconds) = wait {
                answer = drained(client, &name, answer, Duration::from_secs(seconds)).await?;
            }
            show(&answer, &[], json);
        }
        NodeVerb::Resume { name } => {
            let answer = client.post(&format!("/v1/nodes/{}/resume", escape(&name)), json!({})).await?;
            show(&answer, &[], json);
        }
        NodeVerb::Revoke { name } => {
            client.json(Method::DELETE, &format!("/v1/nodes/{}", escape(&name)), None).await?;
            eprintln!("revoked");
        }
    }
    Ok(())
}

/// How often it is asked whether a node is drained.
const LOOK: Duration = Duration::from_millis(500);

/// The node once it is drained. Asking twice is asking once, and the answer says how far it is.
async fn drained(client: &Client, name: &str, first: Value, most: Duration) -> anyhow::Result<Value> {
    let mut node = first;
    let until = tokio::time::Instant::now() + most;
    while node["drain"]["state"] != "drained" {
        if tokio::time::Instant::now() >= until {
            bail!("`{name}` is not drained yet ({}); it goes on", node["state"].as_str().unwrap_or("away"));
        }
        tokio::time::sleep(LOOK).await;
        node = client.post(&format!("/v1/nodes/{}/drain", escape(name)), json!({})).await?;
    }
    Ok(node)
}
