//! The nouns: each verb is one call, or two.

use std::process::ExitCode;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::show::{line, show};

/// Things with verbs.
#[derive(Debug, Subcommand)]
pub enum Noun {
    /// Customers of yours.
    #[command(subcommand)]
    Tenant(TenantVerb),
    /// Long changes that go on.
    #[command(subcommand)]
    Operation(OperationVerb),
    /// Principals of machines.
    #[command(subcommand)]
    ServiceAccount(ServiceAccountVerb),
    /// API keys.
    #[command(subcommand)]
    Key(KeyVerb),
    /// Rights given to principals.
    #[command(subcommand)]
    Grant(GrantVerb),
    /// What was used.
    #[command(subcommand)]
    Usage(UsageVerb),
    /// Invoices.
    #[command(subcommand)]
    Invoice(InvoiceVerb),
    /// What the operator declares.
    #[command(subcommand)]
    Service(ListVerb),
    /// Paths to services.
    #[command(subcommand)]
    Route(ListVerb),
    /// Bundles of quotas and features.
    #[command(subcommand)]
    Tier(ListVerb),
    /// Sets of permissions.
    #[command(subcommand)]
    Role(ListVerb),
    /// Rate limits.
    #[command(subcommand)]
    Limit(ListVerb),
    /// What usage is counted as.
    #[command(subcommand)]
    Meter(ListVerb),
    /// Sets of prices.
    #[command(subcommand)]
    Plan(ListVerb),
    /// What a tenant may use, and has used.
    #[command(subcommand)]
    Quota(QuotaVerb),
    /// Servers and applications of dedicated tenants.
    #[command(subcommand)]
    Instance(ListVerb),
}

/// `rowhouse tenant …`
#[derive(Debug, Subcommand)]
pub enum TenantVerb {
    /// All tenants.
    List,
    /// One tenant.
    Show { tenant: String },
    /// Set up a new tenant and wait until it is served.
    Create {
        /// Short URL-safe name.
        code: String,
        /// Its company's name; the code if not said.
        #[arg(long)]
        name: Option<String>,
        #[arg(long, default_value = "basic")]
        tier: String,
        /// shared, schema, database or instance; the tier's own if not said.
        #[arg(long)]
        isolation: Option<String>,
        /// Don't wait.
        #[arg(long)]
        no_wait: bool,
    },
    /// Stop serving it, for a reason.
    Suspend {
        tenant: String,
        #[arg(long)]
        reason: String,
        /// Leave reading open.
        #[arg(long)]
        read_only: bool,
    },
    /// Serve it again.
    Resume {
        tenant: String,
        #[arg(long)]
        reason: String,
    },
}

/// `rowhouse operation …`
#[derive(Debug, Subcommand)]
pub enum OperationVerb {
    /// All operations.
    List,
    /// One operation.
    Show { id: String },
    /// Follow one until it ends.
    Watch { id: String },
}

/// `rowhouse service-account …`
#[derive(Debug, Subcommand)]
pub enum ServiceAccountVerb {
    /// Those of a tenant.
    List {
        #[arg(long)]
        tenant: Option<String>,
    },
    /// A new one.
    Create {
        name: String,
        #[arg(long)]
        tenant: Option<String>,
    },
}

/// `rowhouse key …`
#[derive(Debug, Subcommand)]
pub enum KeyVerb {
    /// Those of a tenant.
    List {
        #[arg(long)]
        tenant: Option<String>,
    },
    /// One key.
    Show { id: String },
    /// A new key; its text is shown once.
    Create {
        name: String,
        #[arg(long)]
        tenant: Option<String>,
        /// `sa_…` that it acts for.
        #[arg(long)]
        owner: String,
        #[arg(long = "role")]
        roles: Vec<String>,
        #[arg(long = "permission")]
        permissions: Vec<String>,
    },
    /// End a key for ever.
    Revoke {
        id: String,
        #[arg(long, default_value = "revoked by hand")]
        reason: String,
    },
    /// A new key in its place; the old one works on for a while.
    Rotate {
        id: String,
        #[arg(long, default_value_t = 86_400)]
        grace_seconds: u32,
    },
}

/// `rowhouse grant …`
#[derive(Debug, Subcommand)]
pub enum GrantVerb {
    /// Those of a tenant.
    List {
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Give a role to a principal.
    Create {
        /// `sa_…` or `user_…`.
        principal: String,
        #[arg(long)]
        role: String,
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Take it back.
    Delete { id: String },
}

/// `rowhouse usage …`
#[derive(Debug, Subcommand)]
pub enum UsageVerb {
    /// Quantities of a meter.
    Show(UsageQuery),
    /// Down to the single events.
    Explain(UsageQuery),
}

/// Which usage.
#[derive(Debug, Args)]
pub struct UsageQuery {
    /// The meter.
    meter: String,
    #[arg(long)]
    tenant: Option<String>,
    /// From this instant (RFC 3339).
    #[arg(long)]
    from: Option<String>,
    /// Until before this instant.
    #[arg(long)]
    to: Option<String>,
    /// total, day, hour or minute.
    #[arg(long)]
    step: Option<String>,
}

/// `rowhouse invoice …`
#[derive(Debug, Subcommand)]
pub enum InvoiceVerb {
    /// The running period as an invoice.
    Preview {
        #[arg(long)]
        tenant: Option<String>,
    },
    /// One line of it, step by step.
    Explain {
        /// The price of the line.
        price: String,
        #[arg(long)]
        tenant: Option<String>,
    },
}

/// Verbs of what is only looked at here.
#[derive(Debug, Subcommand)]
pub enum ListVerb {
    /// All.
    List,
    /// One.
    Show { name: String },
}

/// `rowhouse quota …`
#[derive(Debug, Subcommand)]
pub enum QuotaVerb {
    /// Those of a tenant.
    List {
        #[arg(long)]
        tenant: Option<String>,
    },
}

/// Runs a noun's verb.
pub async fn run(client: &Client, noun: Noun, json: bool) -> anyhow::Result<ExitCode> {
    match noun {
        Noun::Tenant(verb) => tenant(client, verb, json).await?,
        Noun::Operation(verb) => return operation(client, verb, json).await,
        Noun::ServiceAccount(verb) => service_account(client, verb, json).await?,
        Noun::Key(verb) => key(client, verb, json).await?,
        Noun::Grant(verb) => grant(client, verb, json).await?,
        Noun::Usage(verb) => usage(client, verb, json).await?,
        Noun::Invoice(verb) => invoice(client, verb, json).await?,
        Noun::Service(verb) => list(client, "services", verb, &["name", "upstreams", "protocol"], json).await?,
        Noun::Route(verb) => list(client, "routes", verb, &["name", "methods", "path", "service", "permission"], json).await?,
        Noun::Tier(verb) => list(client, "tiers", verb, &["name", "rank", "isolation", "features"], json).await?,
        Noun::Role(verb) => list(client, "roles", verb, &["name", "inherits", "permissions"], json).await?,
        Noun::Limit(verb) => list(client, "limits", verb, &["name", "scope", "quota", "window_ms", "burst"], json).await?,
        Noun::Meter(verb) => list(client, "meters", verb, &["name", "unit", "aggregation"], json).await?,
        Noun::Plan(verb) => list(client, "plans", verb, &["name", "tier", "interval"], json).await?,
        Noun::Instance(verb) => list(client, "instances", verb, &["tenant", "state", "address"], json).await?,
        Noun::Quota(QuotaVerb::List { tenant }) => {
            let answer = client.get(&at("/v1/quotas", &[("tenant", tenant)])).await?;
            show(&answer, &["meter", "usage", "limit", "available", "state"], json);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, nouns: &str, verb: ListVerb, columns: &[&str], json: bool) -> anyhow::Result<()> {
    let path = match verb {
        ListVerb::List => format!("/v1/{nouns}"),
        ListVerb::Show { name } => format!("/v1/{nouns}/{name}"),
    };
    show(&client.get(&path).await?, columns, json);
    Ok(())
}

async fn tenant(client: &Client, verb: TenantVerb, json: bool) -> anyhow::Result<()> {
    const COLUMNS: &[&str] = &["code", "status", "tier", "isolation", "region", "id"];
    match verb {
        TenantVerb::List => show(&client.get("/v1/tenants?limit=200").await?, COLUMNS, json),
        TenantVerb::Show { tenant } => show(&client.get(&format!("/v1/tenants/{tenant}")).await?, COLUMNS, json),
        TenantVerb::Create { code, name, tier, isolation, no_wait } => {
            let name = name.unwrap_or_else(|| code.clone());
            let body = json!({"code": code, "company_name": name, "tier": tier, "isolation": isolation});
            let operation = client.post("/v1/tenants", body).await?;
            let id = operation["id"].as_str().context("an operation has an id")?.to_owned();
            if no_wait {
                show(&operation, &[], json);
            } else {
                let ended = follow(client, &id).await?;
                anyhow::ensure!(ended["state"] == "done", "the operation ended as {}: {}", ended["state"], ended["problem"]);
                show(&client.get(&format!("/v1/tenants/{code}")).await?, COLUMNS, json);
                eprintln!("next: rowhouse key create first --tenant {code} --owner <sa_…> --role developer");
            }
        }
        TenantVerb::Suspend { tenant, reason, read_only } => {
            let mode = if read_only { "read_only" } else { "blocked" };
            let body = json!({"mode": mode, "reason": reason, "cause": "operator"});
            show(&client.post(&format!("/v1/tenants/{tenant}/suspend"), body).await?, COLUMNS, json);
        }
        TenantVerb::Resume { tenant, reason } => {
            let answer = client.post(&format!("/v1/tenants/{tenant}/resume"), json!({"reason": reason})).await?;
            show(&answer, COLUMNS, json);
        }
    }
    Ok(())
}

/// Asks for an operation until it ends; its steps on stderr as they finish.
pub async fn follow(client: &Client, id: &str) -> anyhow::Result<Value> {
    let mut told = 0;
    let mut beat = tokio::time::interval(std::time::Duration::from_millis(100));
    for _ in 0..3_000 {
        beat.tick().await;
        let operation = client.get(&format!("/v1/operations/{id}")).await?;
        let steps = operation["steps"].as_array().cloned().unwrap_or_default();
        let finished: Vec<_> = steps.iter().filter(|step| step["state"] == "done").collect();
        finished.iter().skip(told).for_each(|step| eprintln!("  {}", step["name"].as_str().unwrap_or("?")));
        told = finished.len();
        if operation["state"] != "running" {
            return Ok(operation);
        }
    }
    bail!("the operation {id} still runs after five minutes; follow it with `rowhouse operation watch {id}`")
}

async fn operation(client: &Client, verb: OperationVerb, json: bool) -> anyhow::Result<ExitCode> {
    let answer = match verb {
        OperationVerb::List => client.get("/v1/operations?limit=200").await?,
        OperationVerb::Show { id } => client.get(&format!("/v1/operations/{id}")).await?,
        OperationVerb::Watch { id } => follow(client, &id).await?,
    };
    show(&answer, &["id", "kind", "state"], json);
    let ended_badly = answer["state"].as_str().is_some_and(|state| !matches!(state, "done" | "running"));
    Ok(if ended_badly { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn service_account(client: &Client, verb: ServiceAccountVerb, json: bool) -> anyhow::Result<()> {
    let answer = match verb {
        ServiceAccountVerb::List { tenant } => client.get(&at("/v1/service_accounts", &[("tenant", tenant)])).await?,
        ServiceAccountVerb::Create { name, tenant } => {
            client.post(&at("/v1/service_accounts", &[("tenant", tenant)]), json!({"name": name})).await?
        }
    };
    show(&answer, &["id", "name", "disabled"], json);
    Ok(())
}

async fn key(client: &Client, verb: KeyVerb, json: bool) -> anyhow::Result<()> {
    let answer = match verb {
        KeyVerb::List { tenant } => client.get(&at("/v1/keys", &[("tenant", tenant)])).await?,
        KeyVerb::Show { id } => client.get(&format!("/v1/keys/{id}")).await?,
        KeyVerb::Create { name, tenant, owner, roles, permissions } => {
            let kind = if owner.starts_with("user_") { "user" } else { "service_account" };
            let owner = json!({"kind": kind, "id": owner});
            let body = json!({"name": name, "owner": owner, "roles": roles, "permissions": permissions});
            client.post(&at("/v1/keys", &[("tenant", tenant)]), body).await?
        }
        KeyVerb::Revoke { id, reason } => client.post(&format!("/v1/keys/{id}/revoke"), json!({"reason": reason})).await?,
        KeyVerb::Rotate { id, grace_seconds } => {
            client.post(&format!("/v1/keys/{id}/rotate"), json!({"grace_seconds": grace_seconds})).await?
        }
    };
    show(&answer, &["id", "hint", "name", "state", "roles", "expires_at"], json);
    Ok(())
}

async fn grant(client: &Client, verb: GrantVerb, json: bool) -> anyhow::Result<()> {
    let answer = match verb {
        GrantVerb::List { tenant } => client.get(&at("/v1/grants", &[("tenant", tenant)])).await?,
        GrantVerb::Create { principal, role, tenant } => {
            let kind = if principal.starts_with("user_") { "user" } else { "service_account" };
            let body = json!({"principal": {"kind": kind, "id": principal}, "effect": "allow", "role": role});
            client.post(&at("/v1/grants", &[("tenant", tenant)]), body).await?
        }
        GrantVerb::Delete { id } => client.json(Method::DELETE, &format!("/v1/grants/{id}"), None).await?,
    };
    show(&answer, &["id", "principal.id", "effect", "role", "permission", "state"], json);
    Ok(())
}

async fn usage(client: &Client, verb: UsageVerb, json: bool) -> anyhow::Result<()> {
    let (path, query) = match verb {
        UsageVerb::Show(query) => ("/v1/usage", query),
        UsageVerb::Explain(query) => ("/v1/usage/explain", query),
    };
    let fields = [
        ("meter", Some(query.meter)),
        ("tenant", query.tenant),
        ("from", query.from),
        ("to", query.to),
        ("step", query.step),
    ];
    let answer = client.get(&at(path, &fields)).await?;
    match answer.get("total").filter(|_| !json) {
        Some(total) => line(&format!("{} {}", total["quantity"].as_str().unwrap_or("?"), answer["unit"].as_str().unwrap_or(""))),
        None => show(&answer, &["from", "to", "quantity", "events"], json),
    }
    Ok(())
}

async fn invoice(client: &Client, verb: InvoiceVerb, json: bool) -> anyhow::Result<()> {
    match verb {
        InvoiceVerb::Preview { tenant } => {
            let answer = client.get(&at("/v1/billing/running", &[("tenant", tenant)])).await?;
            if json {
                show(&answer, &[], true);
                return Ok(());
            }
            let lines = json!({"items": answer["lines"], "next_cursor": null});
            show(&lines, &["price", "description", "quantity", "net.amount", "net.currency"], false);
            line(&format!("total\t{}\t{}", answer["total"]["amount"].as_str().unwrap_or("?"), answer["currency"].as_str().unwrap_or("")));
        }
        InvoiceVerb::Explain { price, tenant } => {
            let path = format!("/v1/billing/running/lines/{price}/explain");
            show(&client.get(&at(&path, &[("tenant", tenant)])).await?, &[], json);
        }
    }
    Ok(())
}

/// `rowhouse api METHOD PATH [field=value …]`
#[derive(Debug, Args)]
pub struct ApiCall {
    /// GET, POST, PUT, PATCH or DELETE.
    method: String,
    /// As in `/v1/tenants?status=active`.
    path: String,
    /// Fields of the body: `name=text`, or `name:=json`. `-` alone reads the body from stdin.
    fields: Vec<String>,
}

/// Runs any call and prints the body as it came.
pub async fn api(client: &Client, call: ApiCall) -> anyhow::Result<ExitCode> {
    let method: Method = call.method.to_uppercase().parse().context("not a method")?;
    let body = match call.fields.as_slice() {
        [] => None,
        [dash] if dash == "-" => Some(Bytes::from(std::io::read_to_string(std::io::stdin())?)),
        fields => Some(Bytes::from(fields_to_body(fields)?.to_string())),
    };
    let body = body.or_else(|| (method == Method::POST).then(|| Bytes::from_static(b"{}")));
    let answer = client.send(method, &call.path, &[], body).await?;
    line(&String::from_utf8_lossy(&answer.body));
    let good = answer.status.is_success();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn fields_to_body(fields: &[String]) -> anyhow::Result<Value> {
    let mut body = Map::new();
    for field in fields {
        let (name, value) = match (field.split_once(":="), field.split_once('=')) {
            (Some((name, json)), _) if !name.contains('=') => (name, serde_json::from_str(json).context("not JSON")?),
            (_, Some((name, text))) => (name, Value::from(text)),
            _ => bail!("`{field}` is not of the form name=text or name:=json"),
        };
        body.insert(name.to_owned(), value);
    }
    Ok(body.into())
}

/// A path with the query parameters that are given.
fn at(path: &str, parameters: &[(&str, Option<String>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let query: Vec<_> = given.map(|(name, value)| format!("{name}={}", escape(value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// Percent-encodes what is not unreserved (RFC 3986 §2.3).
pub fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:".contains(&b);
    text.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}
