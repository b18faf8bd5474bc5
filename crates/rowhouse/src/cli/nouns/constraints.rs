//! What nobody in a tenant may have together: separation of duty.

use clap::Subcommand;
use http::Method;
use serde_json::json;

use super::Client;
use super::ask::{at, escape};
use crate::cli::show::show;

const CONSTRAINT: &[&str] = &["name", "roles", "permissions", "at_most", "kind", "owner", "tenant"];

/// `rowhouse constraint …`
#[derive(Debug, Subcommand)]
pub enum ConstraintVerb {
    /// Those that hold in a tenant; the operator's alone if none is named.
    List {
        /// A tenant's id or code; a tenant's key means its own.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Keeps roles, or permissions, apart from now on.
    Create {
        /// `[a-z][a-z0-9_-]{0,62}`, once in the tenant.
        name: String,
        /// A role, twice or more often.
        #[arg(long = "role", conflicts_with = "permissions")]
        roles: Vec<String>,
        /// A permission `type:action`, twice or more often.
        #[arg(long = "permission")]
        permissions: Vec<String>,
        /// Apart only within a session: a person may have the roles, and acts in so many of them at a time.
        #[arg(long, conflicts_with = "permissions")]
        dynamic: bool,
        /// At most so many of them for one principal.
        #[arg(long, default_value_t = 1)]
        at_most: u32,
        /// A tenant's id or code; a tenant's key means its own, an operator's every tenant.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Keeps them apart no longer.
    Delete {
        /// Its name.
        name: String,
        /// A tenant's id or code; a tenant's key means its own, an operator's what holds in every tenant.
        #[arg(long)]
        tenant: Option<String>,
    },
}

/// Runs `rowhouse constraint …`.
pub async fn constraint(client: &Client, verb: ConstraintVerb, json: bool) -> anyhow::Result<()> {
    match verb {
        ConstraintVerb::List { tenant } => {
            let all = client.get(&at("/v1/constraints", &[("tenant", tenant)])).await?;
            show(&all, CONSTRAINT, json);
        }
        ConstraintVerb::Create { name, roles, permissions, dynamic, at_most, tenant } => {
            let kind = if dynamic { "dynamic" } else { "static" };
            let body = json!({"name": name, "kind": kind, "roles": roles, "permissions": permissions, "at_most": at_most});
            show(&client.post(&at("/v1/constraints", &[("tenant", tenant)]), body).await?, CONSTRAINT, json);
        }
        ConstraintVerb::Delete { name, tenant } => {
            let path = at(&format!("/v1/constraints/{}", escape(&name)), &[("tenant", tenant)]);
            client.json(Method::DELETE, &path, None).await?;
        }
    }
    Ok(())
}
