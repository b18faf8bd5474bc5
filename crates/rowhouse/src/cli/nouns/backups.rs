//! Backups of tenants, copies restored beside them, and what they take along.

use anyhow::{Context, bail};
use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::Client;
use super::ask::{Page, at, escape};
use super::follow;
use crate::cli::show::show;

const BACKUP: &[&str] = &["id", "tenant", "state", "cause", "taken_at", "rows", "expires_at"];
const RESTORE: &[&str] = &["id", "tenant", "state", "backup", "rows", "expires_at"];

/// `rowhouse backup …`
#[derive(Debug, Subcommand)]
pub enum BackupVerb {
    /// Backups, newest first.
    List {
        /// Only those of this tenant.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// One backup, with all its fields.
    Show {
        /// `backup_…`
        id: String,
    },
    /// Restore one to scratch, count and sum it up, and record what was found.
    Verify {
        /// `backup_…`
        id: String,
    },
}

/// Runs `rowhouse backup …`.
pub async fn backup(client: &Client, verb: BackupVerb, json: bool) -> anyhow::Result<()> {
    match verb {
        BackupVerb::List { tenant, page } => {
            show(&page.of(client, "/v1/backups", &[("tenant", tenant)]).await?, BACKUP, json);
        }
        BackupVerb::Show { id } => show(&client.get(&one("backups", &id, "")).await?, BACKUP, json),
        BackupVerb::Verify { id } => {
            let operation = client.post(&one("backups", &id, "/verify"), json!({})).await?;
            done(client, &operation).await?;
            show(&client.get(&one("backups", &id, "")).await?, &["id", "last_verified_at", "verified"], json);
        }
    }
    Ok(())
}

/// `rowhouse restore …`
#[derive(Debug, Subcommand)]
pub enum RestoreVerb {
    /// Restored copies, newest first.
    List {
        /// Only those of this tenant.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// One restored copy, and how it is reached.
    Show {
        /// `restore_…`
        id: String,
    },
    /// The password of its login; each telling is on record.
    Reveal {
        /// `restore_…`
        id: String,
    },
    /// Remove it before its time.
    Remove {
        /// `restore_…`
        id: String,
    },
}

/// Runs `rowhouse restore …`.
pub async fn restore(client: &Client, verb: RestoreVerb, json: bool) -> anyhow::Result<()> {
    match verb {
        RestoreVerb::List { tenant, page } => {
            show(&page.of(client, "/v1/restores", &[("tenant", tenant)]).await?, RESTORE, json);
        }
        RestoreVerb::Show { id } => show(&client.get(&one("restores", &id, "")).await?, RESTORE, json),
        RestoreVerb::Reveal { id } => {
            show(&client.post(&one("restores", &id, "/reveal"), json!({})).await?, &[], json);
        }
        RestoreVerb::Remove { id } => {
            client.send(Method::DELETE, &one("restores", &id, ""), &[], None).await?;
            eprintln!("removed");
        }
    }
    Ok(())
}

/// `rowhouse tenant backup TENANT`: asks for one and waits until its file is whole.
pub async fn take(client: &Client, tenant: String, note: String, json: bool) -> anyhow::Result<()> {
    let path = at("/v1/backups", &[("tenant", Some(tenant))]);
    let backup = client.post(&path, json!({"kind": "snapshot", "note": note})).await?;
    let id = text(&backup, "id")?;
    let mut look = tokio::time::interval(std::time::Duration::from_millis(200));
    let ended = loop {
        look.tick().await;
        let backup = client.get(&one("backups", &id, "")).await?;
        if backup["state"] != "running" {
            break backup;
        }
    };
    if ended["state"] != "ok" {
        bail!("the backup is {}\n  next: rowhouse backup show {id}", text(&ended, "state")?);
    }
    show(&json!({"items": [ended]}), BACKUP, json);
    eprintln!("next: rowhouse backup verify {id}");
    Ok(())
}

/// `rowhouse tenant restore TENANT`: beside the living, and waits until it is open.
pub async fn beside(
    client: &Client,
    tenant: String,
    (backup, time): (Option<String>, Option<String>),
    json: bool,
) -> anyhow::Result<()> {
    let path = at("/v1/restores", &[("tenant", Some(tenant))]);
    let body = json!({"backup": backup, "at": time, "mode": "beside"});
    let ended = done(client, &client.post(&path, body).await?).await?;
    let id = text(&ended["result"], "restore")?;
    show(&client.get(&one("restores", &id, "")).await?, RESTORE, json);
    eprintln!("next: rowhouse restore reveal {id}");
    Ok(())
}

/// `rowhouse tenant export TENANT FILE`: waits until it is there, and fetches it.
pub async fn export(client: &Client, tenant: &str, file: &std::path::Path) -> anyhow::Result<()> {
    let path = format!("/v1/tenants/{}/export", escape(tenant));
    let ended = done(client, &client.post(&path, json!({"format": "jsonl"})).await?).await?;
    let download = text(&ended["result"], "download")?;
    let answer = client.send(Method::GET, &download, &[], None).await?;
    if !answer.status.is_success() {
        bail!("the export could not be fetched: {}", answer.status);
    }
    let mut out =
        tokio::fs::File::create(file).await.with_context(|| format!("making {}", file.display()))?;
    out.write_all(&answer.body).await?;
    out.sync_all().await?;
    eprintln!("{} bytes in {}", answer.body.len(), file.display());
    Ok(())
}

/// `rowhouse tenant move TENANT --isolation LEVEL`: waits until the tenant lies there.
pub async fn relocate(
    client: &Client,
    tenant: &str,
    body: Value,
    no_wait: bool,
    json: bool,
) -> anyhow::Result<()> {
    let operation = client.post(&format!("/v1/tenants/{}/move", escape(tenant)), body).await?;
    if no_wait {
        show(&operation, &[], json);
        eprintln!("next: rowhouse operation watch {}", text(&operation, "id")?);
        return Ok(());
    }
    done(client, &operation).await?;
    let tenant = client.get(&format!("/v1/tenants/{}", escape(tenant))).await?;
    show(&json!({"items": [tenant]}), &["code", "status", "isolation", "id"], json);
    Ok(())
}

async fn done(client: &Client, operation: &Value) -> anyhow::Result<Value> {
    let id = text(operation, "id")?;
    let ended = follow(client, &id).await?;
    if ended["state"] != "done" {
        bail!(
            "the operation ended as {}: {}\n  next: rowhouse operation show {id}",
            ended["state"].as_str().unwrap_or("?"),
            ended["problem"]["detail"].as_str().map_or_else(|| ended["problem"].to_string(), str::to_owned),
        );
    }
    Ok(ended)
}

fn one(nouns: &str, id: &str, rest: &str) -> String {
    format!("/v1/{nouns}/{}{rest}", escape(id))
}

fn text(value: &Value, name: &str) -> anyhow::Result<String> {
    Ok(value[name].as_str().with_context(|| format!("the answer has no `{name}`"))?.to_owned())
}
