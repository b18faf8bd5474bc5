//! Releases of a service: who gets which, promotion and the way back.

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Value, json};

use super::Client;
use super::ask::escape;
use crate::cli::show::show;

/// `rowhouse service split …`
#[derive(Debug, Subcommand)]
pub enum ReleaseVerb {
    /// Who gets which release of a service.
    Splits {
        /// The service.
        name: String,
    },
    /// Give a release to tenants, to a share of all, or to whoever sends a header.
    Split(NewSplit),
    /// Lead nobody to a release any more, unless it is the default.
    Unsplit {
        /// The service.
        name: String,
        /// The release.
        #[arg(long)]
        release: String,
    },
    /// Make a release the default for everybody who is not pinned.
    Promote {
        /// The service.
        name: String,
        /// The release.
        #[arg(long)]
        release: String,
    },
    /// Take the last change of a service's splits back.
    Rollback {
        /// The service.
        name: String,
    },
}

/// Who gets a release.
#[derive(Debug, Args)]
#[group(skip)]
pub struct NewSplit {
    /// The service.
    name: String,
    /// The release.
    #[arg(long)]
    release: String,
    /// How many of a hundred, 1 to 100.
    #[arg(long, conflicts_with_all = ["tenants", "header"])]
    weight: Option<u32>,
    /// What the share is drawn by.
    #[arg(long, requires = "weight", value_enum, default_value = "tenant")]
    sticky_by: Sticky,
    /// Codes of tenants, with commas between them.
    #[arg(long, value_delimiter = ',', conflicts_with = "header")]
    tenants: Vec<String>,
    /// A header, as in `x-release: next`.
    #[arg(long, value_name = "NAME: VALUE")]
    header: Option<String>,
}

/// What a share is drawn by.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Sticky {
    /// All of a tenant gets the same release.
    Tenant,
    /// Each user keeps its own.
    User,
    /// Each request is drawn anew.
    Request,
}

impl NewSplit {
    fn to_json(&self) -> anyhow::Result<Value> {
        let mut split = json!({ "release": self.release });
        if let Some(weight) = self.weight {
            split["weight"] = weight.into();
            split["sticky_by"] = match self.sticky_by {
                Sticky::Tenant => "tenant",
                Sticky::User => "user",
                Sticky::Request => "request",
            }
            .into();
        } else if let Some(header) = &self.header {
            let (name, value) = header.split_once(':').context("a header is of the form NAME: VALUE")?;
            split["header"] = json!({ "name": name.trim().to_ascii_lowercase(), "value": value.trim() });
        } else if !self.tenants.is_empty() {
            split["tenants"] = json!(self.tenants);
        } else {
            anyhow::bail!("say who gets it: --weight, --tenants or --header");
        }
        Ok(split)
    }
}

const SPLITS: &[&str] = &["service", "default_release", "splits", "releases", "version", "set_by", "set_at"];

/// Runs a verb.
pub async fn release(client: &Client, verb: ReleaseVerb, json: bool) -> anyhow::Result<()> {
    let answer = match verb {
        ReleaseVerb::Splits { name } => client.get(&path(&name, "splits")).await?,
        ReleaseVerb::Split(new) => {
            let split = new.to_json()?;
            put(client, &new.name, &new.release, Some(split)).await?
        }
        ReleaseVerb::Unsplit { name, release } => put(client, &name, &release, None).await?,
        ReleaseVerb::Promote { name, release } => {
            client.post(&path(&name, "promote"), json!({ "release": release })).await?
        }
        ReleaseVerb::Rollback { name } => client.post(&path(&name, "rollback"), json!({})).await?,
    };
    show(&answer, SPLITS, json);
    Ok(())
}

fn path(service: &str, what: &str) -> String {
    format!("/v1/services/{}/{what}", escape(service))
}

/// Puts `split` in the place of those that lead to `release`; refused if somebody else changed them meanwhile.
async fn put(client: &Client, service: &str, release: &str, split: Option<Value>) -> anyhow::Result<Value> {
    let path = path(service, "splits");
    let now = client.get(&path).await?;
    let mut splits = now["splits"].as_array().cloned().unwrap_or_default();
    splits.retain(|own| own["release"] != release);
    splits.extend(split);
    let body = json!({ "default_release": now["default_release"], "splits": splits });
    let tag = format!("\"{}\"", now["version"].as_i64().unwrap_or(0));
    let bytes = Bytes::from(body.to_string());
    client.send(Method::PUT, &path, &[("if-match", &tag)], Some(bytes)).await?.json()
}
