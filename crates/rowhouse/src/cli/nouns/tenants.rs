//! Tenants, their domains and instances, and the operations that change them.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::ask::{Page, at, escape};
use super::lives::{self, LifeVerb};
use super::{Client, backups};
use crate::cli::show::show;

const TENANT: &[&str] = &["code", "status", "tier", "isolation", "region", "id"];

/// `rowhouse tenant …`
#[derive(Debug, Subcommand)]
pub enum TenantVerb {
    #[command(flatten)]
    Life(LifeVerb),
    /// All tenants.
    List(TenantList),
    /// One tenant.
    Show {
        /// Its code or id.
        tenant: String,
    },
    /// What a service learns of it: features, enforcements, usage, limits.
    Context {
        /// Its code or id.
        tenant: String,
    },
    /// Set up a new tenant and wait until it is served.
    Create {
        /// Short name that stands in URLs: lower-case letters, digits, hyphens.
        code: String,
        /// Its company's name; the code if not said.
        #[arg(long)]
        name: Option<String>,
        /// As `rowhouse tier list` shows them.
        #[arg(long, default_value = "basic")]
        tier: String,
        /// shared, schema, database or instance; the tier's own if not said.
        #[arg(long)]
        isolation: Option<String>,
        /// A region or zone where its data may rest, and nowhere else; may be repeated.
        #[arg(long)]
        residency: Vec<String>,
        /// Don't wait; follow it with `rowhouse operation watch`.
        #[arg(long)]
        no_wait: bool,
    },
    /// Change what is said about it.
    Update {
        /// Its code or id.
        tenant: String,
        /// Its company's name.
        #[arg(long)]
        name: Option<String>,
        /// Where its bills go to.
        #[arg(long)]
        billing_email: Option<String>,
        /// `METER=QUANTITY`, `METER=unlimited`, or `METER=` for the tier's own; may be repeated.
        #[arg(long = "quota")]
        quotas: Vec<String>,
        /// A region or zone where its data may rest, and nowhere else; may be repeated.
        #[arg(long, conflicts_with = "any_residency")]
        residency: Vec<String>,
        /// Its data may rest wherever its home region permits.
        #[arg(long)]
        any_residency: bool,
    },
    /// Stop serving it, for a reason.
    Suspend {
        /// Its code or id.
        tenant: String,
        /// Why, for the audit log.
        #[arg(long)]
        reason: String,
        /// Leave reading open.
        #[arg(long)]
        read_only: bool,
    },
    /// Serve it again.
    Resume {
        /// Its code or id.
        tenant: String,
        /// Why, for the audit log.
        #[arg(long)]
        reason: String,
    },
    /// Take a backup of all its rows and wait until it is whole.
    Backup {
        /// Its code or id.
        tenant: String,
        /// Why.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Restore its rows beside the living ones, to be read for seven days.
    Restore {
        /// Its code or id.
        tenant: String,
        /// `backup_…`; the newest, if not said.
        #[arg(long, conflicts_with = "at")]
        backup: Option<String>,
        /// The newest backup taken by this time, as in 2026-11-20T14:03:07Z.
        #[arg(long)]
        at: Option<String>,
    },
    /// Fetch everything of it as a tar of JSON lines.
    Export {
        /// Its code or id.
        tenant: String,
        /// Where to put it.
        file: std::path::PathBuf,
    },
    /// Move it to another level of isolation; its writers wait while its rows are copied.
    Move {
        /// Its code or id.
        tenant: String,
        /// shared, schema, database or instance.
        #[arg(long)]
        isolation: String,
        /// The cell; the emptiest, if not said.
        #[arg(long)]
        cell: Option<String>,
        /// wait, cancel or abort: what becomes of transactions that do not end.
        #[arg(long, default_value = "wait")]
        on_long_transactions: String,
        /// Don't wait; follow it with `rowhouse operation watch`.
        #[arg(long)]
        no_wait: bool,
    },
}

/// Which tenants.
#[derive(Debug, Args)]
pub struct TenantList {
    /// active, suspended, provisioning, …
    #[arg(long)]
    status: Option<String>,
    /// Only this tier.
    #[arg(long)]
    tier: Option<String>,
    /// Only this level.
    #[arg(long)]
    isolation: Option<String>,
    #[command(flatten)]
    page: Page,
}

/// Runs `rowhouse tenant …`.
pub async fn tenant(client: &Client, verb: TenantVerb, json: bool) -> anyhow::Result<()> {
    match verb {
        TenantVerb::Life(verb) => lives::life(client, verb, json).await?,
        TenantVerb::List(TenantList { status, tier, isolation, page }) => {
            let filters = [("status", status), ("tier", tier), ("isolation", isolation)];
            show(&page.of(client, "/v1/tenants", &filters).await?, TENANT, json);
        }
        TenantVerb::Show { tenant } => show(&client.get(&path(&tenant, "")).await?, TENANT, json),
        TenantVerb::Context { tenant } => show(&client.get(&path(&tenant, "/context")).await?, &[], json),
        TenantVerb::Create { code, name, tier, isolation, residency, no_wait } => {
            let name = name.unwrap_or_else(|| code.clone());
            let body = json!({"code": code, "company_name": name, "tier": tier, "isolation": isolation, "residency": residency});
            create(client, &code, body, no_wait, json).await?;
        }
        TenantVerb::Update { tenant, name, billing_email, quotas, residency, any_residency } => {
            let residency = (any_residency || !residency.is_empty()).then_some(residency);
            let body = edit((name, billing_email, residency), &quotas)?;
            show(&client.json(Method::PATCH, &path(&tenant, ""), Some(body)).await?, TENANT, json);
        }
        TenantVerb::Suspend { tenant, reason, read_only } => {
            let mode = if read_only { "read_only" } else { "blocked" };
            let body = json!({"mode": mode, "reason": reason, "cause": "operator"});
            let answer = client.post(&path(&tenant, "/suspend"), body).await?;
            changed(&answer, json, &format!("rowhouse tenant resume {tenant} --reason …"));
        }
        TenantVerb::Resume { tenant, reason } => {
            let answer = client.post(&path(&tenant, "/resume"), json!({"reason": reason})).await?;
            changed(&answer, json, &format!("rowhouse audit search --tenant {tenant}"));
        }
        TenantVerb::Backup { tenant, note } => backups::take(client, tenant, note, json).await?,
        TenantVerb::Restore { tenant, backup, at } => {
            backups::beside(client, tenant, (backup, at), json).await?;
        }
        TenantVerb::Export { tenant, file } => backups::export(client, &tenant, &file).await?,
        TenantVerb::Move { tenant, isolation, cell, on_long_transactions, no_wait } => {
            let body =
                json!({"isolation": isolation, "cell": cell, "on_long_transactions": on_long_transactions});
            backups::relocate(client, &tenant, body, no_wait, json).await?;
        }
    }
    Ok(())
}

fn path(tenant: &str, rest: &str) -> String {
    format!("/v1/tenants/{}{rest}", escape(tenant))
}

/// The tenant as a row: after a change one wants to see its status, not everything.
fn changed(tenant: &Value, json: bool, next: &str) {
    if json {
        show(tenant, TENANT, true);
    } else {
        show(&json!({"items": [tenant]}), TENANT, false);
        eprintln!("next: {next}");
    }
}

async fn create(client: &Client, code: &str, body: Value, no_wait: bool, json: bool) -> anyhow::Result<()> {
    let operation = client.post("/v1/tenants", body).await?;
    let id = operation["id"].as_str().context("an operation has an id")?.to_owned();
    if no_wait {
        show(&operation, &[], json);
        eprintln!("next: rowhouse operation watch {id}");
        return Ok(());
    }
    let ended = follow(client, &id).await?;
    if ended["state"] != "done" {
        bail!(
            "the operation ended as {}: {}\n  next: rowhouse operation show {id}",
            ended["state"].as_str().unwrap_or("?"),
            ended["problem"]["detail"].as_str().map_or_else(|| ended["problem"].to_string(), str::to_owned),
        );
    }
    changed(
        &client.get(&path(code, "")).await?,
        json,
        &format!("rowhouse user invite ADDRESS --tenant {code} --role tenant_admin"),
    );
    Ok(())
}

fn edit(
    (name, billing_email, residency): (Option<String>, Option<String>, Option<Vec<String>>),
    quotas: &[String],
) -> anyhow::Result<Value> {
    let mut body = Map::new();
    body.extend(residency.map(|residency| ("residency".to_owned(), json!(residency))));
    body.extend(name.map(|name| ("company_name".to_owned(), json!(name))));
    body.extend(billing_email.map(|email| ("billing_contact".to_owned(), json!({"email": email}))));
    let mut overrides = Map::new();
    for quota in quotas {
        let (meter, quantity) =
            quota.split_once('=').with_context(|| format!("`{quota}` is not of the form METER=QUANTITY"))?;
        overrides.insert(meter.to_owned(), if quantity.is_empty() { Value::Null } else { json!(quantity) });
    }
    if !overrides.is_empty() {
        body.insert("quota_overrides".to_owned(), overrides.into());
    }
    if body.is_empty() {
        bail!("nothing to change; next: give --name, --billing-email or --quota");
    }
    Ok(body.into())
}

/// `rowhouse operation …`
#[derive(Debug, Subcommand)]
pub enum OperationVerb {
    /// Operations, newest first.
    List {
        /// Only those of this tenant.
        #[arg(long)]
        tenant: Option<String>,
        /// running, done, failed, stuck, …
        #[arg(long)]
        state: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// One operation with its steps.
    Show {
        /// `operation_…`
        id: String,
    },
    /// Follow one until it ends.
    Watch {
        /// `operation_…`
        id: String,
    },
    /// Why it stands where it stands, what would be undone, what may be decided.
    Explain {
        /// `operation_…`
        id: String,
    },
    /// Take a scheduled operation back, or turn a running one back while that is possible.
    Cancel(Decision),
    /// Try what failed in a stuck operation again.
    Resume(Decision),
    /// Go on without the stuck step; say in the reason what you did by hand.
    Skip(Decision),
    /// Give a stuck operation up; what it left stays in the inventory.
    Abandon(Decision),
}

/// What a person decides about a stuck operation.
#[derive(Debug, Args)]
pub struct Decision {
    /// `operation_…`
    id: String,
    /// Why, for the audit log.
    #[arg(long)]
    reason: String,
    /// The step that is stuck; refused if it is another one by now.
    #[arg(long)]
    step: Option<String>,
}

/// Runs `rowhouse operation …`; 1 if the operation ended badly.
pub async fn operation(client: &Client, verb: OperationVerb, json: bool) -> anyhow::Result<ExitCode> {
    let one = |id: &str, rest: &str| format!("/v1/operations/{}{rest}", escape(id));
    let decide = async |decision: Decision, rest: &str| {
        let body = json!({"reason": decision.reason, "step": decision.step});
        client.post(&one(&decision.id, rest), body).await
    };
    let answer = match verb {
        OperationVerb::List { tenant, state, page } => {
            page.of(client, "/v1/operations", &[("tenant", tenant), ("state", state)]).await?
        }
        OperationVerb::Show { id } => client.get(&one(&id, "")).await?,
        OperationVerb::Watch { id } => follow(client, &id).await?,
        OperationVerb::Explain { id } => {
            show(&client.get(&one(&id, "/explain")).await?, &[], json);
            return Ok(ExitCode::SUCCESS);
        }
        OperationVerb::Cancel(decision) => decide(decision, "/cancel").await?,
        OperationVerb::Resume(decision) => decide(decision, "/resume").await?,
        OperationVerb::Skip(decision) => decide(decision, "/skip").await?,
        OperationVerb::Abandon(decision) => decide(decision, "/abandon").await?,
    };
    show(&answer, &["id", "kind", "state", "created_at", "finished_at"], json);
    let ended_badly =
        answer["state"].as_str().is_some_and(|state| !matches!(state, "done" | "running" | "scheduled"));
    Ok(if ended_badly { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Asks for an operation until it ends; its steps on stderr as they finish.
pub async fn follow(client: &Client, id: &str) -> anyhow::Result<Value> {
    let mut told = 0;
    // Most end within a few looks; the rest need not be asked for so often.
    let (mut wait, longest) = (Duration::from_millis(5), Duration::from_millis(100));
    let end = Instant::now() + Duration::from_secs(300);
    while Instant::now() < end {
        tokio::time::sleep(wait).await;
        wait = (wait * 3 / 2).min(longest);
        let operation = client.get(&format!("/v1/operations/{}", escape(id))).await?;
        let steps = operation["steps"].as_array().cloned().unwrap_or_default();
        let finished: Vec<_> = steps.iter().filter(|step| step["state"] == "done").collect();
        finished.iter().skip(told).for_each(|step| eprintln!("  {}", step["name"].as_str().unwrap_or("?")));
        told = finished.len();
        if operation["state"] != "running" {
            return Ok(operation);
        }
    }
    bail!("the operation {id} still runs after five minutes\n  next: rowhouse operation watch {id}")
}

/// `rowhouse host …`
#[derive(Debug, Subcommand)]
pub enum HostVerb {
    /// Those of a tenant, or all.
    List {
        /// A tenant's id or code.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// One, with the record that proves it.
    Show {
        /// `host_…`
        id: String,
    },
    /// Claim a domain for a tenant; the answer says which TXT record proves it.
    Claim {
        /// As in `portal.acme.com`.
        name: String,
        /// A tenant's id or code; a tenant's own key has one already.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Serve a tenant under a domain of its own on the operator's word; nothing has to be proven.
    #[command(alias = "create")]
    Vouch {
        /// As in `portal.acme.com`.
        name: String,
        /// A tenant's id or code.
        #[arg(long)]
        tenant: String,
    },
    /// Look for the proof now.
    Verify {
        /// `host_…`
        id: String,
    },
    /// What DNS says of it, and what is to be done.
    Diagnose {
        /// `host_…`
        id: String,
    },
    /// Give it up.
    #[command(alias = "delete")]
    Remove {
        /// `host_…`
        id: String,
    },
}

/// Runs `rowhouse host …`.
pub async fn host(client: &Client, verb: HostVerb, json: bool) -> anyhow::Result<()> {
    let one = |id: &str, what: &str| format!("/v1/hosts/{}{what}", escape(id));
    let columns: &[&str] = match verb {
        HostVerb::List { .. } => &["id", "name", "tenant", "state", "last_problem"],
        _ => &[],
    };
    let answer = match verb {
        HostVerb::List { tenant, page } => page.of(client, "/v1/hosts", &[("tenant", tenant)]).await?,
        HostVerb::Show { id } => client.get(&one(&id, "")).await?,
        HostVerb::Claim { name, tenant } => {
            client
                .post(&at("/v1/hosts", &[("tenant", tenant)]), json!({"name": name, "vouch": false}))
                .await?
        }
        HostVerb::Vouch { name, tenant } => {
            client
                .post(&at("/v1/hosts", &[("tenant", Some(tenant))]), json!({"name": name, "vouch": true}))
                .await?
        }
        HostVerb::Verify { id } => client.post(&one(&id, "/verify"), json!({})).await?,
        HostVerb::Diagnose { id } => client.get(&one(&id, "/diagnose")).await?,
        HostVerb::Remove { id } => client.json(Method::DELETE, &one(&id, ""), None).await?,
    };
    if !answer.is_null() {
        show(&answer, columns, json);
    }
    Ok(())
}

/// `rowhouse instance …`
#[derive(Debug, Subcommand)]
pub enum InstanceVerb {
    /// Those of a tenant, or all.
    List {
        /// A tenant's id or code.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        page: Page,
    },
}

/// Runs `rowhouse instance …`.
pub async fn instance(client: &Client, verb: InstanceVerb, json: bool) -> anyhow::Result<()> {
    let InstanceVerb::List { tenant, page } = verb;
    let answer = page.of(client, "/v1/instances", &[("tenant", tenant)]).await?;
    show(
        &answer,
        &["tenant", "cell", "runner", "observed.phase", "observed.server.host", "observed.problem"],
        json,
    );
    Ok(())
}
