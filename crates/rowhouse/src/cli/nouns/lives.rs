//! The lives of tenants: another tier, leaving for good, the certificate, health; and what the inventory says.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use rowhouse_domain::audit::note::VerifierKey;
use rowhouse_domain::lifecycle::certificate::Certificate;
use rowhouse_domain::lifecycle::envelope::Envelope;
use rowhouse_domain::lifecycle::evidence::Evidence;
use serde_json::{Value, json};

use super::Client;
use super::ask::escape;
use crate::cli::show::show;

/// Verbs of `rowhouse tenant` about its life.
#[derive(Debug, Subcommand)]
pub enum LifeVerb {
    /// Put it on another tier, now or when its billing period ends.
    ChangeTier(ChangeTier),
    /// Let it leave for good: refused at once, kept for a while, then erased everywhere.
    Decommission {
        /// Its code or id.
        tenant: String,
        /// Why, for the audit log.
        #[arg(long)]
        reason: String,
        /// Days that its data is kept, 0 to 3650; the tier's if not said.
        #[arg(long)]
        retention_days: Option<u16>,
    },
    /// Take a leaving tenant back while its data is kept.
    Reinstate {
        /// Its code or id.
        tenant: String,
        /// Why, for the audit log.
        #[arg(long)]
        reason: String,
    },
    /// The certificate of a tenant that has left; `certificate verify FILE` checks one offline.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Certificate {
        /// The code or id that it had.
        #[arg(required = true)]
        tenant: Option<String>,
        #[command(subcommand)]
        verb: Option<CertificateVerb>,
    },
    /// How it is: database, tables, quotas, operations.
    Health {
        /// Its code or id.
        tenant: String,
    },
}

/// `rowhouse tenant change-tier`.
#[derive(Debug, Args)]
pub struct ChangeTier {
    /// Its code or id.
    tenant: String,
    /// As `rowhouse tier list` shows them.
    tier: String,
    /// shared, schema, database or instance; moves its data if that is another one.
    #[arg(long)]
    isolation: Option<String>,
    /// now, period_end or a time; if not said: now for an upgrade, period_end for a downgrade.
    #[arg(long)]
    effective: Option<String>,
    /// Although it uses more than the new tier gives.
    #[arg(long)]
    allow_over_quota: bool,
    /// Only show what it would do.
    #[arg(long)]
    dry_run: bool,
}

/// `rowhouse tenant certificate …`
#[derive(Debug, Subcommand)]
pub enum CertificateVerb {
    /// Check a certificate that was saved with `rowhouse tenant certificate TENANT --json > FILE`. Needs no server.
    Verify {
        /// The file; `-` for standard input.
        file: PathBuf,
        /// The operator's published key, `name+id+key`, or `@FILE`; else the key that came with the file is used.
        #[arg(long)]
        key: Option<String>,
    },
}

/// `rowhouse inventory …`
#[derive(Debug, Subcommand)]
pub enum InventoryVerb {
    /// Compare it with what is there, now; 10 if they differ.
    Check,
    /// What the last comparison has found.
    Findings,
}

impl LifeVerb {
    /// Whether it works on files alone.
    pub fn is_offline(&self) -> bool {
        matches!(self, LifeVerb::Certificate { verb: Some(_), .. })
    }
}

fn path(tenant: &str, rest: &str) -> String {
    format!("/v1/tenants/{}{rest}", escape(tenant))
}

const OPERATION: &[&str] = &["id", "kind", "state", "starts_at", "created_at"];

/// Runs a verb.
pub async fn life(client: &Client, verb: LifeVerb, json: bool) -> anyhow::Result<()> {
    match verb {
        LifeVerb::ChangeTier(order) => {
            let query = if order.dry_run { "?dry_run=true" } else { "" };
            let body = json!({
                "tier": order.tier, "isolation": order.isolation, "effective": order.effective,
                "allow_over_quota": order.allow_over_quota,
            });
            let answer = client.post(&path(&order.tenant, &format!("/change_tier{query}")), body).await?;
            told(&answer, json);
        }
        LifeVerb::Decommission { tenant, reason, retention_days } => {
            let body = json!({"reason": reason, "retention_days": retention_days});
            told(&client.post(&path(&tenant, "/decommission"), body).await?, json);
        }
        LifeVerb::Reinstate { tenant, reason } => {
            let answer = client.post(&path(&tenant, "/reinstate"), json!({"reason": reason})).await?;
            show(&answer, &["code", "status", "tier", "isolation", "id"], json);
        }
        LifeVerb::Certificate { verb: Some(CertificateVerb::Verify { file, key }), .. } => {
            verify(&file, key.as_deref(), json)?;
        }
        LifeVerb::Certificate { tenant, verb: None } => {
            let tenant = tenant.context("say whose certificate")?;
            show(&client.get(&path(&tenant, "/certificate")).await?, &[], true);
            eprintln!("next: save it, then rowhouse tenant certificate verify FILE");
        }
        LifeVerb::Health { tenant } => {
            let health = client.get(&path(&tenant, "/health")).await?;
            if json {
                show(&health, &[], true);
            } else {
                show(
                    &json!({"items": health["checks"]}),
                    &["name", "state", "value", "limit", "since"],
                    false,
                );
                eprintln!("{}", health["state"].as_str().unwrap_or("?"));
            }
        }
    }
    Ok(())
}

fn told(answer: &Value, json: bool) {
    show(answer, if answer["id"].is_string() { OPERATION } else { &[] }, json);
    if let Some(id) = answer["id"].as_str() {
        eprintln!("next: rowhouse operation watch {id}");
    }
}

/// Runs `rowhouse inventory …`.
pub async fn inventory(client: &Client, verb: InventoryVerb, json: bool) -> anyhow::Result<ExitCode> {
    let columns = ["problem", "kind", "id", "cell", "tenant", "detail"];
    match verb {
        InventoryVerb::Findings => {
            show(&client.get("/v1/inventory/findings").await?, &columns, json);
            Ok(ExitCode::SUCCESS)
        }
        InventoryVerb::Check => {
            let checked = client.post("/v1/inventory/check", json!({})).await?;
            let findings = checked["findings"].as_array().map_or(0, Vec::len);
            if json {
                show(&checked, &[], true);
            } else {
                show(&json!({"items": checked["findings"]}), &columns, false);
            }
            Ok(if findings == 0 { ExitCode::SUCCESS } else { ExitCode::from(10) })
        }
    }
}

/// Runs the verb that works on files alone.
pub fn offline(verb: LifeVerb, json: bool) -> anyhow::Result<ExitCode> {
    let LifeVerb::Certificate { verb: Some(CertificateVerb::Verify { file, key }), .. } = verb else {
        bail!("this needs the control API");
    };
    verify(&file, key.as_deref(), json)?;
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Checks what came with the certificate, and says what that shows.
fn evidence(text: &str, envelope: &Envelope, certificate: &Certificate) -> anyhow::Result<Vec<String>> {
    let carried = serde_json::from_str::<Value>(text)?["evidence"].take();
    if carried.is_null() {
        return Ok(vec!["no evidence came with it: fetch it again from the operator".to_owned()]);
    }
    let evidence: Evidence = serde_json::from_value(carried).context("the evidence is of another form")?;
    evidence.verify(envelope, certificate, &[])?;
    let mut told = Vec::new();
    if let Some(inclusion) = &evidence.inclusion {
        told.push(format!(
            "it is on record in {}, under a head signed by {}",
            inclusion.origin, inclusion.vkey
        ));
    }
    if let Some(head) = &evidence.tree_head {
        told.push(format!(
            "the tenant's audit log ends at {} events, signed by {}",
            certificate.audit.size, head.vkey
        ));
    }
    Ok(told)
}

fn verify(file: &Path, key: Option<&str>, json: bool) -> anyhow::Result<()> {
    let text = read(file)?;
    let envelope = Envelope::parse(&text)?;
    let given = match key.map(|key| key.strip_prefix('@').ok_or(key)) {
        Some(Ok(path)) => Some(read(Path::new(path))?),
        Some(Err(key)) => Some(key.to_owned()),
        None => None,
    };
    let carried = || serde_json::from_str::<Value>(&text).ok()?["verifier_key"].as_str().map(str::to_owned);
    let used =
        given.clone().or_else(carried).context("the file names no key; give the operator's with --key")?;
    let key = VerifierKey::parse(&used).context("the key is not of the form name+id+key")?;
    let certificate = Certificate::open(&envelope, &[key])?;
    let told = evidence(&text, &envelope, &certificate)?;
    let certificate = serde_json::to_value(&certificate)?;
    show(&certificate, &[], json);
    eprintln!("the certificate is as it was signed by {}", used.trim());
    told.iter().for_each(|line| eprintln!("{line}"));
    if given.is_none() {
        eprintln!("that key came with the file: compare it with the one that the operator has published");
    }
    Ok(())
}
