//! Gateways that run on their own.

use clap::Subcommand;
use http::Method;
use serde_json::json;

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
        NodeVerb::Revoke { name } => {
            client.json(Method::DELETE, &format!("/v1/nodes/{}", escape(&name)), None).await?;
            eprintln!("revoked");
        }
    }
    Ok(())
}
