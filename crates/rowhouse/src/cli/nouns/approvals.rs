//! What waits for a second person's yes.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Client;
use super::ask::{Page, at, escape, thing};
use crate::cli::show::show;

const APPROVAL: &[&str] =
    &["id", "operation", "requested_by", "state", "expires_at", "decided_by", "reason", "tenant"];

/// `rowhouse approval …`
#[derive(Debug, Subcommand)]
pub enum ApprovalVerb {
    /// The newest first; who may not read grants sees their own.
    List {
        /// Only those that are `pending`, `done`, `failed`, `refused`, `withdrawn` or `expired`.
        #[arg(long)]
        state: Option<String>,
        /// A tenant's id or code.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// One, with what was sent and what it would do.
    Show {
        /// `approval_…`
        id: String,
    },
    /// Says yes: it happens now. Nobody approves what is their own.
    Approve(Verdict),
    /// Says no.
    Refuse(Verdict),
    /// Takes back what you have asked for.
    Withdraw(Verdict),
}

/// Which, and why.
#[derive(Debug, Args)]
pub struct Verdict {
    /// `approval_…`
    id: String,
    /// Why, for the audit log.
    #[arg(long, default_value = "")]
    reason: String,
}

/// Runs `rowhouse approval …`.
pub async fn approval(client: &Client, verb: ApprovalVerb, json: bool) -> anyhow::Result<()> {
    let (verdict, word) = match verb {
        ApprovalVerb::List { state, tenant, page } => {
            let all = page.of(client, "/v1/approvals", &[("tenant", tenant), ("state", state)]).await?;
            show(&all, APPROVAL, json);
            return Ok(());
        }
        ApprovalVerb::Show { id } => {
            show(&client.get(&format!("/v1/approvals/{}", escape(&id))).await?, APPROVAL, json);
            return Ok(());
        }
        ApprovalVerb::Approve(verdict) => (verdict, "approve"),
        ApprovalVerb::Refuse(verdict) => (verdict, "refuse"),
        ApprovalVerb::Withdraw(verdict) => (verdict, "withdraw"),
    };
    let path = format!("/v1/approvals/{}/{word}", escape(&verdict.id));
    show(&client.post(&path, json!({ "reason": verdict.reason })).await?, APPROVAL, json);
    Ok(())
}

/// A role for oneself, for a time.
#[derive(Debug, Args)]
pub struct RoleOptions {
    /// Which role.
    role: String,
    /// For how long from the yes on.
    #[arg(long)]
    minutes: u32,
    /// What for.
    #[arg(long)]
    reason: String,
    /// `type:id` of a thing; the whole tenant if not said.
    #[arg(long)]
    on: Option<String>,
}

/// Runs `rowhouse access request`.
pub async fn request(client: &Client, asked: RoleOptions, json: bool) -> anyhow::Result<()> {
    let RoleOptions { role, minutes, reason, on } = asked;
    let resource = thing(on.as_deref())?;
    let body = json!({ "role": role, "minutes": minutes, "reason": reason, "resource": resource });
    let answer = client.post("/v1/access/requests", body).await?;
    show(&answer, &[], json);
    eprintln!(
        "next: somebody who could give it runs rowhouse approval approve {}",
        answer["approval_id"].as_str().unwrap_or("approval_…")
    );
    Ok(())
}

/// `rowhouse access settings`
#[derive(Debug, Args)]
pub struct SettingsOptions {
    /// Whether a grant of what is sensitive takes two people; shown if not said.
    #[arg(long)]
    approve_sensitive_grants: Option<bool>,
    /// A tenant's id or code; a tenant's key means its own.
    #[arg(long)]
    tenant: Option<String>,
}

/// Runs `rowhouse access settings`.
pub async fn settings(client: &Client, asked: SettingsOptions, json: bool) -> anyhow::Result<()> {
    let path = at("/v1/access/settings", &[("tenant", asked.tenant)]);
    let answer = match asked.approve_sensitive_grants {
        None => client.get(&path).await?,
        Some(wanted) => {
            let body = json!({ "approve_sensitive_grants": wanted });
            client.json(http::Method::PUT, &path, Some(body)).await?
        }
    };
    show(&answer, &[], json);
    Ok(())
}
