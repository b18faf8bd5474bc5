//! Rate limits: looked at, tried out, and bent for one tenant.

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::ask::{Page, at, escape};
use super::{Client, ListVerb};
use crate::cli::show::show;

/// `rowhouse limit …`
#[derive(Debug, Subcommand)]
pub enum LimitVerb {
    #[command(flatten)]
    Look(ListVerb),
    /// What would become of a row of requests: JSON from a file, or from stdin with `-`.
    Simulate {
        /// As `POST /v1/limits/simulate` takes it.
        file: String,
    },
    /// Tenants' own numbers for a limit.
    Overrides {
        /// The limit.
        name: String,
    },
    /// Give a tenant numbers of its own.
    Override {
        /// The limit.
        name: String,
        /// A tenant's id or code.
        #[arg(long)]
        tenant: String,
        /// Units per window.
        #[arg(long)]
        quota: Option<i64>,
        /// The window, in milliseconds.
        #[arg(long)]
        window_ms: Option<i64>,
        /// Units at once.
        #[arg(long)]
        burst: Option<i64>,
        /// No limit at all.
        #[arg(long, conflicts_with_all = ["quota", "window_ms", "burst"])]
        unlimited: bool,
        /// In words.
        #[arg(long)]
        reason: String,
        /// When it ends by itself (RFC 3339).
        #[arg(long)]
        until: Option<String>,
    },
    /// Take a tenant's own numbers away.
    Restore {
        /// The limit.
        name: String,
        /// A tenant's id or code.
        #[arg(long)]
        tenant: String,
    },
}

const LIMIT: &[&str] = &["name", "algorithm", "scope", "quota", "window_ms", "burst", "enforcement"];
const OVERRIDE: &[&str] =
    &["tenant", "quota", "window_ms", "burst", "unlimited", "until", "reason", "set_by"];
const DECISION: &[&str] =
    &["at_ms", "cost", "allowed", "binding", "remaining", "retry_after_ms", "reset_after_ms", "delay_ms"];

/// Runs `rowhouse limit …`.
pub async fn limit(client: &Client, verb: LimitVerb, json: bool) -> anyhow::Result<()> {
    match verb {
        LimitVerb::Look(ListVerb::List) => {
            show(&Page::default().of(client, "/v1/limits", &[]).await?, LIMIT, json);
        }
        LimitVerb::Look(ListVerb::Show { name }) => {
            show(&client.get(&format!("/v1/limits/{}", escape(&name))).await?, LIMIT, json);
        }
        LimitVerb::Simulate { file } => simulate(client, &file, json).await?,
        LimitVerb::Overrides { name } => show(&client.get(&overrides(&name)).await?, OVERRIDE, json),
        LimitVerb::Override { name, tenant, quota, window_ms, burst, unlimited, reason, until } => {
            let mut body = json!({ "tenant": tenant, "reason": reason, "unlimited": unlimited });
            let numbers = [("quota", quota), ("window_ms", window_ms), ("burst", burst)];
            for (field, number) in numbers.into_iter().filter_map(|(field, given)| Some((field, given?))) {
                body[field] = number.into();
            }
            if let Some(until) = until {
                body["until"] = until.into();
            }
            show(&client.json(Method::PUT, &overrides(&name), Some(body)).await?, OVERRIDE, json);
        }
        LimitVerb::Restore { name, tenant } => {
            client.json(Method::DELETE, &at(&overrides(&name), &[("tenant", Some(tenant))]), None).await?;
        }
    }
    Ok(())
}

fn overrides(limit: &str) -> String {
    format!("/v1/limits/{}/overrides", escape(limit))
}

async fn simulate(client: &Client, file: &str, json: bool) -> anyhow::Result<()> {
    let text = match file {
        "-" => std::io::read_to_string(std::io::stdin())?,
        file => std::fs::read_to_string(file)?,
    };
    let body: Value = serde_json::from_str(&text)?;
    let answer = client.post("/v1/limits/simulate", body).await?;
    let decisions = json!({ "items": answer["decisions"] });
    show(if json { &answer } else { &decisions }, DECISION, json);
    Ok(())
}
