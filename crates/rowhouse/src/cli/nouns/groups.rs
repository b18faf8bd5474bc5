//! Groups of principals, and who is in them.

use clap::Subcommand;
use http::Method;
use serde_json::json;

use super::Client;
use super::ask::{Page, at, escape, principal};
use crate::cli::show::show;

const GROUP: &[&str] = &["id", "name", "title", "tenant"];
const MEMBER: &[&str] = &["principal.kind", "principal.id", "valid_from", "valid_until"];

/// `rowhouse group …`
#[derive(Debug, Subcommand)]
pub enum GroupVerb {
    /// Those of a tenant, or all.
    List {
        /// A tenant's id or code.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// A new one, without members.
    Create {
        /// `[a-z][a-z0-9_-]{0,62}`, once in the tenant.
        name: String,
        /// Shown to people.
        #[arg(long, default_value = "")]
        title: String,
        /// A tenant's id or code; a tenant's key means its own.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Who is in it.
    Members {
        /// `group_…`
        id: String,
        #[command(flatten)]
        page: Page,
    },
    /// Puts a user, a service account or a group into it; they have what it has.
    Add {
        /// `group_…`
        id: String,
        /// `user_…`, `sa_…` or `group_…`.
        member: String,
        /// Until before this instant, as `2026-12-31T00:00:00Z`.
        #[arg(long)]
        until: Option<String>,
    },
    /// Takes a member out of it.
    Remove {
        /// `group_…`
        id: String,
        /// `user_…`, `sa_…` or `group_…`.
        member: String,
    },
    /// Removes it; what was granted to it is taken back.
    Delete {
        /// `group_…`
        id: String,
    },
}

/// Runs `rowhouse group …`.
pub async fn group(client: &Client, verb: GroupVerb, json: bool) -> anyhow::Result<()> {
    let one = |id: &str| format!("/v1/groups/{}", escape(id));
    let member_of = |id: &str, member: &str| {
        let kind = principal(member)["kind"].as_str().unwrap_or_default().to_owned();
        format!("{}/members/{kind}/{}", one(id), escape(member))
    };
    match verb {
        GroupVerb::List { tenant, page } => {
            show(&page.of(client, "/v1/groups", &[("tenant", tenant)]).await?, GROUP, json);
        }
        GroupVerb::Create { name, title, tenant } => {
            let body = json!({"name": name, "title": title});
            show(&client.post(&at("/v1/groups", &[("tenant", tenant)]), body).await?, GROUP, json);
        }
        GroupVerb::Members { id, page } => {
            show(&page.of(client, &format!("{}/members", one(&id)), &[]).await?, MEMBER, json);
        }
        GroupVerb::Add { id, member, until } => {
            let body = json!({"valid_until": until});
            show(&client.json(Method::PUT, &member_of(&id, &member), Some(body)).await?, &[], json);
        }
        GroupVerb::Remove { id, member } => {
            client.json(Method::DELETE, &member_of(&id, &member), None).await?;
        }
        GroupVerb::Delete { id } => {
            client.json(Method::DELETE, &one(&id), None).await?;
        }
    }
    Ok(())
}
