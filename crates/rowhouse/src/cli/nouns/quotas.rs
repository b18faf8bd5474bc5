//! Quotas and what is imposed for them.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::Client;
use super::ask::{at, escape};
use crate::cli::show::{line, show, table};

/// A meter, and whose quota of it.
#[derive(Debug, Args)]
pub struct Which {
    /// As `rowhouse meter list` shows them.
    meter: String,
    /// A tenant's id or code; your own if not said.
    #[arg(long)]
    tenant: Option<String>,
}

impl Which {
    fn path(self, nouns: &str, rest: &str) -> String {
        at(&format!("/v1/{nouns}/{}{rest}", escape(&self.meter)), &[("tenant", self.tenant)])
    }
}

/// `rowhouse quota …`
#[derive(Debug, Subcommand)]
pub enum QuotaVerb {
    /// Those of a tenant.
    List {
        /// A tenant's id or code; your own if not said.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Where limit and usage come from, what changed and what was told.
    Show(Which),
    /// May so much more be used?
    Check {
        #[command(flatten)]
        which: Which,
        /// How much more.
        #[arg(long, default_value = "1")]
        quantity: String,
    },
    /// Give a tenant a limit of its own.
    Set {
        #[command(flatten)]
        which: Which,
        /// A decimal number, or unlimited.
        limit: String,
        /// Why.
        #[arg(long)]
        reason: String,
        /// When it ends by itself (RFC 3339).
        #[arg(long)]
        until: Option<String>,
        /// Only say what would follow.
        #[arg(long)]
        dry_run: bool,
    },
    /// Give the tier's limit back.
    Clear(Which),
    /// Tell the level of a meter that nobody measures.
    Level {
        #[command(flatten)]
        which: Which,
        /// How much there is.
        level: String,
        /// When it was so (RFC 3339); now if not said.
        #[arg(long)]
        at: Option<String>,
    },
    /// Measure a tenant's levels now.
    Collect {
        /// A tenant's id or code; your own if not said.
        #[arg(long)]
        tenant: Option<String>,
    },
}

const CHECK: &[&str] = &[
    "resource_type",
    "current_usage",
    "limit",
    "available",
    "utilization_percentage",
    "window",
    "state",
    "limit_from",
];

/// Runs `rowhouse quota …`.
pub async fn quota(client: &Client, verb: QuotaVerb, json: bool) -> anyhow::Result<()> {
    match verb {
        QuotaVerb::List { tenant } => {
            show(&client.get(&at("/v1/quotas", &[("tenant", tenant)])).await?, CHECK, json);
        }
        QuotaVerb::Show(which) => explain(&client.get(&which.path("quotas", "/explain")).await?, json),
        QuotaVerb::Check { which: Which { meter, tenant }, quantity } => {
            let path = format!("/v1/quotas/{}/check", escape(&meter));
            let answer = client.get(&at(&path, &[("tenant", tenant), ("quantity", Some(quantity))])).await?;
            show(&answer, &[], json);
        }
        QuotaVerb::Set { which: Which { meter, tenant }, limit, reason, until, dry_run } => {
            let path = format!("/v1/quotas/{}/override", escape(&meter));
            let dry = dry_run.then(|| "true".to_owned());
            let path = at(&path, &[("tenant", tenant), ("dry_run", dry)]);
            let body = json!({"limit": limit, "until": until, "reason": reason});
            let answer = client.json(Method::PUT, &path, Some(body)).await?;
            match answer["effects"].as_array().filter(|_| !json) {
                Some(effects) => effects.iter().for_each(|effect| line(effect.as_str().unwrap_or_default())),
                None => show(&answer, CHECK, json),
            }
        }
        QuotaVerb::Clear(which) => {
            client.json(Method::DELETE, &which.path("quotas", "/override"), None).await?;
        }
        QuotaVerb::Level { which, level, at } => {
            let body = json!({"level": level, "at": at});
            let answer = client.json(Method::PUT, &which.path("quotas", "/level"), Some(body)).await?;
            if answer["taken"] == false {
                eprintln!("a later level is known already; this one is ignored");
            }
            show(if json { &answer } else { &answer["check"] }, CHECK, json);
        }
        QuotaVerb::Collect { tenant } => {
            let answer = client.post(&at("/v1/quotas/collect", &[("tenant", tenant)]), json!({})).await?;
            show(&answer, &[], json);
        }
    }
    Ok(())
}

/// The limit, the figure and their story.
fn explain(answer: &Value, json: bool) {
    if json {
        return show(answer, &[], true);
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    line(&format!(
        "limit\t{} (from the {})",
        text(&answer["limit"]["value"]),
        text(&answer["limit"]["from"])
    ));
    line(&format!("usage\t{} (by {})", text(&answer["usage"]["value"]), text(&answer["usage"]["collector"])));
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    table(&list(&answer["transitions"]), &["at", "from", "to", "usage", "quota", "because"]);
    table(&list(&answer["messages"]), &["sent_at", "template"]);
}

/// `rowhouse enforcement …`
#[derive(Debug, Subcommand)]
pub enum EnforcementVerb {
    /// What is imposed on a tenant, or on all.
    List {
        /// A tenant's id or code.
        #[arg(long)]
        tenant: Option<String>,
        /// One meter.
        #[arg(long)]
        meter: Option<String>,
    },
    /// Impose something by hand.
    Set {
        #[command(flatten)]
        which: Which,
        /// block_writes, throttle, block_creation, refuse or notify.
        action: String,
        /// Why.
        #[arg(long)]
        reason: String,
        /// When it ends by itself (RFC 3339).
        #[arg(long)]
        until: Option<String>,
    },
    /// Lift whatever is imposed, whatever usage says, until an end.
    Lift {
        #[command(flatten)]
        which: Which,
        /// The end (RFC 3339).
        #[arg(long)]
        until: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

/// Runs `rowhouse enforcement …`.
pub async fn enforcement(client: &Client, verb: EnforcementVerb, json: bool) -> anyhow::Result<()> {
    match verb {
        EnforcementVerb::List { tenant, meter } => {
            let answer = client.get(&at("/v1/enforcements", &[("tenant", tenant), ("meter", meter)])).await?;
            show(
                &answer,
                &["tenant", "meter", "action", "flag", "cause", "since", "until", "lifted_until"],
                json,
            );
        }
        EnforcementVerb::Set { which, action, reason, until } => {
            let body = json!({"action": action, "until": until, "reason": reason});
            client.json(Method::PUT, &which.path("enforcements", ""), Some(body)).await?;
        }
        EnforcementVerb::Lift { which, until, reason } => {
            let body = json!({"until": until, "reason": reason});
            client.json(Method::DELETE, &which.path("enforcements", ""), Some(body)).await?;
        }
    }
    Ok(())
}
