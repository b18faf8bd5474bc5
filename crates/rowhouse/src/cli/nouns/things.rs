//! The things of services, as grants can be about them.

use anyhow::Context;
use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::Client;
use super::ask::{Page, at, escape, thing};
use crate::cli::show::show;

const THING: &[&str] = &["type", "id", "parent.type", "parent.id", "attributes"];

/// `rowhouse thing …`
#[derive(Debug, Subcommand)]
pub enum ThingVerb {
    /// Registered ones of a resource type.
    List {
        /// Which type.
        kind: String,
        /// A tenant's id or code; a tenant's key means its own.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// One.
    Show {
        /// `type:id`.
        thing: String,
        /// A tenant's id or code; a tenant's key means its own.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Registers it, or what holds it and is known of it now.
    Put {
        /// `type:id`.
        thing: String,
        /// `type:id` of what holds it; nothing if not said.
        #[arg(long)]
        within: Option<String>,
        /// JSON: what conditions can ask for of it.
        #[arg(long, default_value = "{}")]
        attributes: String,
        /// A tenant's id or code; a tenant's key means its own.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Forgets it; what it held is held by nothing then.
    Delete {
        /// `type:id`.
        thing: String,
        /// A tenant's id or code; a tenant's key means its own.
        #[arg(long)]
        tenant: Option<String>,
    },
}

/// Runs `rowhouse thing …`.
pub async fn things(client: &Client, verb: ThingVerb, json: bool) -> anyhow::Result<()> {
    let answer = match verb {
        ThingVerb::List { kind, tenant, page } => {
            page.of(client, "/v1/access/resources", &[("type", Some(kind)), ("tenant", tenant)]).await?
        }
        ThingVerb::Show { thing, tenant } => client.get(&path(&thing, tenant)?).await?,
        ThingVerb::Put { thing: name, within, attributes, tenant } => {
            let attributes: Value = serde_json::from_str(&attributes).context("--attributes is no JSON")?;
            let body = json!({ "parent": thing(within.as_deref())?, "attributes": attributes });
            client.json(Method::PUT, &path(&name, tenant)?, Some(body)).await?
        }
        ThingVerb::Delete { thing, tenant } => {
            client.json(Method::DELETE, &path(&thing, tenant)?, None).await?;
            return Ok(());
        }
    };
    show(&answer, THING, json);
    Ok(())
}

fn path(text: &str, tenant: Option<String>) -> anyhow::Result<String> {
    let (kind, id) = text.split_once(':').with_context(|| format!("`{text}` is not of the form type:id"))?;
    Ok(at(&format!("/v1/access/resources/{}/{}", escape(kind), escape(id)), &[("tenant", tenant)]))
}
