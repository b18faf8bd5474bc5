//! `rowhouse audit …`: search on the server; verify here, from the server's bundle or from a file.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use rowhouse_domain::audit::bundle::{Bundle, Trust, TrustFile, TrustMode};
use rowhouse_domain::audit::verify::{Report, verify};
use serde_json::{Value, json};

use super::client::Client;
use super::nouns::{Page, escape};
use super::show::{line, show};

/// `rowhouse audit …`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Events of a log, oldest first.
    Search(Search),
    /// Size, root and keys of a log.
    Show {
        /// A tenant's id or code, or `operator`.
        log: String,
    },
    /// The verifier key of a log, to be kept and given to `verify --key`.
    Key {
        /// A tenant's id or code, or `operator`.
        log: String,
    },
    /// The newest signed checkpoint of a log, to be kept as a pin.
    Checkpoint {
        /// A tenant's id or code, or `operator`.
        log: String,
    },
    /// Everything of a log, to be verified elsewhere.
    Export {
        /// A tenant's id or code, or `operator`.
        log: String,
    },
    /// Legal holds: what they keep is neither erased nor expires.
    #[command(subcommand)]
    Hold(HoldVerb),
    /// Recomputes every leaf and root and compares with what was signed and pinned. Exit 0 clean, 1 tampered,
    /// 11 attention, 12 untrusted.
    Verify {
        /// Fetch this log from the server.
        #[arg(long, conflicts_with = "bundle", required_unless_present = "bundle")]
        log: Option<String>,
        /// An exported bundle; needs no server.
        #[arg(long)]
        bundle: Option<PathBuf>,
        /// What you rely on: keys and a pin you kept (JSON).
        #[arg(long)]
        trust: Option<PathBuf>,
        /// A checkpoint you kept.
        #[arg(long)]
        pin: Option<PathBuf>,
        /// A verifier key you kept, as in `name+hash+key`.
        #[arg(long)]
        key: Vec<String>,
    },
}

/// `rowhouse audit hold …`
#[derive(Debug, Subcommand)]
pub enum HoldVerb {
    /// Holds, newest first.
    List {
        /// Only those on this tenant: its code or id.
        #[arg(long)]
        tenant: Option<String>,
        /// in_force or released.
        #[arg(long)]
        state: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// One hold, with all its fields.
    Show {
        /// `hold_…`
        id: String,
    },
    /// Keep a tenant, or one backup or export of it.
    Place {
        /// Its code or id.
        tenant: String,
        /// The case, as whoever leads it calls it.
        #[arg(long)]
        case: String,
        /// The law or order that demands it, as in `GDPR 17(3)(e)`.
        #[arg(long)]
        basis: String,
        /// Who answers for it.
        #[arg(long)]
        owner: String,
        /// Only this `backup_…` or `export_…`.
        #[arg(long)]
        resource: Option<String>,
        /// When it must be looked at again; at most 180 days ahead.
        #[arg(long)]
        review_at: Option<String>,
    },
    /// Say that it is still needed, and when it must be looked at again.
    Review {
        /// `hold_…`
        id: String,
        /// At most 180 days ahead, which it is if not said.
        #[arg(long)]
        review_at: Option<String>,
    },
    /// Let it go: what waited for it goes on by itself.
    Release {
        /// `hold_…`
        id: String,
        /// Why, for the audit log.
        #[arg(long)]
        reason: String,
    },
}

/// Which events.
#[derive(Debug, Args)]
pub struct Search {
    /// A tenant's id or code; your own log if not said.
    #[arg(long)]
    tenant: Option<String>,
    /// Only this event, as in `keys.key_created`.
    #[arg(long)]
    event: Option<String>,
    /// success or failure.
    #[arg(long)]
    result: Option<String>,
    /// Only what this principal did.
    #[arg(long)]
    actor: Option<String>,
    /// Only what was done to this kind of thing.
    #[arg(long)]
    resource: Option<String>,
    #[command(flatten)]
    page: Page,
}

impl AuditCommand {
    /// Whether no server is needed.
    pub fn is_offline(&self) -> bool {
        matches!(self, AuditCommand::Verify { bundle: Some(_), .. })
    }
}

/// Verifies a file.
pub fn offline(command: AuditCommand, json: bool) -> anyhow::Result<ExitCode> {
    let AuditCommand::Verify { bundle: Some(bundle), trust, pin, key, .. } = command else {
        anyhow::bail!("this command needs the server");
    };
    let text = std::fs::read(&bundle).with_context(|| format!("cannot read {}", bundle.display()))?;
    let bundle: Bundle = serde_json::from_slice(&text).context("not a bundle")?;
    report(&verify(&bundle, &relied_on(trust, pin, key)?, None), json)
}

/// Asks the server.
pub async fn online(client: &Client, command: AuditCommand, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::Search(Search { tenant, event, result, actor, resource, page }) => {
            let filters = [
                ("tenant", tenant),
                ("event", event),
                ("result", result),
                ("actor", actor),
                ("resource", resource),
            ];
            let columns = ["index", "recorded_at", "event", "result", "actor.id", "resource", "resource_id"];
            show(&page.of(client, "/v1/audit/events", &filters).await?, &columns, json);
        }
        AuditCommand::Show { log } => show(&client.get(&path(&log, "")).await?, &[], json),
        AuditCommand::Key { log } => keys_of(client, &log).await?.iter().for_each(|key| line(key)),
        AuditCommand::Checkpoint { log } => {
            let answer = client.send(http::Method::GET, &path(&log, "/checkpoint"), &[], None).await?;
            if !answer.status.is_success() {
                answer.json()?;
            }
            line(String::from_utf8_lossy(&answer.body).trim_end_matches('\n'));
        }
        AuditCommand::Export { log } => line(&bundle_of(client, &log).await?.to_string()),
        AuditCommand::Hold(verb) => hold(client, verb, json).await?,
        AuditCommand::Verify { log, trust, pin, key, .. } => {
            let log = log.context("--log or --bundle")?;
            let mut bundle: Bundle =
                serde_json::from_value(bundle_of(client, &log).await?).context("not a bundle")?;
            // The server's word for its own key: everything is checked with it, and it is never clean.
            bundle.log_vkeys = keys_of(client, &log).await?;
            return report(&verify(&bundle, &relied_on(trust, pin, key)?, None), json);
        }
    }
    Ok(ExitCode::SUCCESS)
}

const HOLD: &[&str] = &["id", "tenant", "state", "case_id", "owner", "review_at", "review_overdue"];

async fn hold(client: &Client, verb: HoldVerb, json: bool) -> anyhow::Result<()> {
    let one = |id: &str, rest: &str| format!("/v1/audit/holds/{}{rest}", escape(id));
    let held = match verb {
        HoldVerb::List { tenant, state, page } => {
            let filters = [("tenant", tenant), ("state", state)];
            show(&page.of(client, "/v1/audit/holds", &filters).await?, HOLD, json);
            return Ok(());
        }
        HoldVerb::Show { id } => {
            show(&client.get(&one(&id, "")).await?, &[], json);
            return Ok(());
        }
        HoldVerb::Place { tenant, case, basis, owner, resource, review_at } => {
            let resource = resource.map(|id| {
                let kind = id.split('_').next().unwrap_or_default().to_owned();
                json!({"kind": kind, "id": id})
            });
            let body = json!({"tenant": tenant, "resource": resource, "case_id": case, "basis": basis, "owner": owner,
                "review_at": review_at});
            client.post("/v1/audit/holds", body).await?
        }
        HoldVerb::Review { id, review_at } => {
            client.post(&one(&id, "/review"), json!({"review_at": review_at})).await?
        }
        HoldVerb::Release { id, reason } => {
            client.post(&one(&id, "/release"), json!({"reason": reason})).await?
        }
    };
    show(&json!({"items": [held]}), HOLD, json);
    Ok(())
}

fn path(log: &str, rest: &str) -> String {
    format!("/v1/audit/logs/{}{rest}", escape(log))
}

async fn bundle_of(client: &Client, log: &str) -> anyhow::Result<Value> {
    client.get(&path(log, "/bundle")).await
}

async fn keys_of(client: &Client, log: &str) -> anyhow::Result<Vec<String>> {
    let answer = client.get(&path(log, "")).await?;
    let keys = answer["vkeys"].as_array().cloned().unwrap_or_default();
    Ok(keys.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn relied_on(trust: Option<PathBuf>, pin: Option<PathBuf>, keys: Vec<String>) -> anyhow::Result<Trust> {
    let read = |file: &PathBuf| {
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
    };
    let mut file: TrustFile = match &trust {
        Some(path) => serde_json::from_str(&read(path)?).context("not a trust file")?,
        None => TrustFile::default(),
    };
    file.log_vkeys.extend(keys);
    if let Some(path) = &pin {
        file.pinned = Some(read(path)?);
    }
    Ok(Trust::read(&file)?)
}

fn report(report: &Report, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        line(&serde_json::to_string(report)?);
    } else {
        line(&format!("trust: {}", word(&report.trust_mode)));
        line(&format!(
            "{}: {} ({} leaves, {} under a checkpoint)",
            report.origin,
            word(&report.verdict),
            report.size,
            report.verified_size
        ));
        for finding in &report.findings {
            line(&format!("  {}  {}", finding.label(), finding.message));
        }
        if matches!(report.trust_mode, TrustMode::Tofu | TrustMode::None) {
            eprintln!(
                "next: keep the key that `rowhouse audit key LOG` prints, and verify with --key; without a key of"
            );
            eprintln!("      your own, whoever rewrote the log could have signed it anew");
        }
    }
    Ok(ExitCode::from(report.exit_code()))
}

/// The wire word of an enum.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
