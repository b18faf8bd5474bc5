//! Messages to people: what was sent, what was left, and sending it again.

use clap::Subcommand;
use serde_json::json;

use super::Client;
use super::ask::{Page, escape};
use crate::cli::show::{line, show};

/// `rowhouse message …`
#[derive(Debug, Subcommand)]
pub enum MessageVerb {
    /// Newest first.
    List {
        /// A tenant's id or code; your own if not said.
        #[arg(long)]
        tenant: Option<String>,
        /// queued, sending, sent, failed, suppressed or expanded; a comma means any of.
        #[arg(long)]
        state: Option<String>,
        /// Names of templates; a comma means any of.
        #[arg(long)]
        template: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// One, with what it says; codes and links are not shown.
    Show {
        /// Its id.
        id: String,
    },
    /// Once more, with all tries.
    Resend {
        /// Its id.
        id: String,
    },
    /// What messages there are.
    Templates,
    /// What a template says.
    Preview {
        /// Its name.
        template: String,
    },
    /// Sends a template with sample values, to see that mail arrives.
    Test {
        /// An address.
        to: String,
        /// Which template.
        #[arg(long, default_value = "welcome")]
        template: String,
    },
}

/// Runs `rowhouse message …`.
pub async fn message(client: &Client, verb: MessageVerb, json: bool) -> anyhow::Result<()> {
    match verb {
        MessageVerb::List { tenant, state, template, page } => {
            let filters = [("tenant", tenant), ("state", state), ("template", template)];
            let answer = page.of(client, "/v1/messages", &filters).await?;
            show(&answer, &["id", "template", "to", "state", "attempts", "problem", "created_at"], json);
        }
        MessageVerb::Show { id } => {
            show(&client.get(&format!("/v1/messages/{}", escape(&id))).await?, &[], json);
        }
        MessageVerb::Resend { id } => {
            let path = format!("/v1/messages/{}/resend", escape(&id));
            show(&client.post(&path, json!({})).await?, &[], json);
        }
        MessageVerb::Templates => {
            show(&client.get("/v1/templates").await?, &["name", "priority", "values", "subject"], json);
        }
        MessageVerb::Preview { template } => {
            let path = format!("/v1/templates/{}/preview", escape(&template));
            let answer = client.post(&path, json!({})).await?;
            if json {
                show(&answer, &[], true);
            } else {
                line(&format!("{}\n", answer["subject"].as_str().unwrap_or_default()));
                answer["text"].as_str().unwrap_or_default().lines().for_each(line);
            }
        }
        MessageVerb::Test { to, template } => {
            let path = format!("/v1/templates/{}/send_test", escape(&template));
            show(&client.post(&path, json!({ "to": to })).await?, &[], json);
            if !json {
                eprintln!("next: rowhouse message list --template {template}");
            }
        }
    }
    Ok(())
}
