//! Service accounts, keys, grants, and why something is allowed.

use anyhow::{Context, bail};
use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::ask::{Page, at, escape, principal, thing};
use super::{Client, ListVerb, list};
use crate::cli::show::{line, show};

const ROLE: &[&str] = &["name", "inherits", "permissions", "requires", "max_members"];
const REVIEW: &[&str] = &[
    "principal",
    "effect",
    "what",
    "resource",
    "state",
    "valid_until",
    "granted_by",
    "granted_at",
    "giver_still_could",
];
const KEY: &[&str] = &["id", "hint", "name", "state", "roles", "tenant", "expires_at"];

/// `rowhouse service-account …`
#[derive(Debug, Subcommand)]
pub enum ServiceAccountVerb {
    /// Those of a tenant, or all.
    List {
        /// A tenant's id or code.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// A new one; give it a role with `rowhouse grant create`.
    Create {
        /// Once in the tenant.
        name: String,
        /// A tenant's id or code, `operator` for the operator's own; a tenant's key means its own.
        #[arg(long)]
        tenant: Option<String>,
    },
}

/// Runs `rowhouse service-account …`.
pub async fn service_account(client: &Client, verb: ServiceAccountVerb, json: bool) -> anyhow::Result<()> {
    match verb {
        ServiceAccountVerb::List { tenant, page } => {
            let answer = page.of(client, "/v1/service_accounts", &[("tenant", tenant)]).await?;
            show(&answer, &["id", "name", "disabled", "tenant"], json);
        }
        ServiceAccountVerb::Create { name, tenant } => {
            let path = at("/v1/service_accounts", &[("tenant", tenant.clone())]);
            let answer = client.post(&path, json!({"name": name})).await?;
            show(&answer, &[], json);
            let own = tenant.map(|tenant| format!(" --tenant {tenant}")).unwrap_or_default();
            eprintln!(
                "next: rowhouse grant create {} --role developer{own}",
                answer["id"].as_str().unwrap_or("sa_…")
            );
        }
    }
    Ok(())
}

/// `rowhouse key …`
#[derive(Debug, Subcommand)]
pub enum KeyVerb {
    /// Those of a tenant, or all.
    List {
        /// A tenant's id or code.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// One key.
    Show {
        /// `key_…`
        id: String,
    },
    /// A new key; its text is shown once.
    Create {
        /// What you call it.
        name: String,
        /// A tenant's id or code, `operator` for the operator's own; a tenant's key means its own.
        #[arg(long)]
        tenant: Option<String>,
        /// `sa_…` that it acts for; the tenant's `owner` if not said, who was made with it.
        #[arg(long)]
        owner: Option<String>,
        /// May be repeated; the key may never do more than its owner.
        #[arg(long = "role")]
        roles: Vec<String>,
        /// `type:action`; may be repeated.
        #[arg(long = "permission")]
        permissions: Vec<String>,
        #[command(flatten)]
        narrow: NarrowOptions,
    },
    /// Change what narrows a key, its name or its rights; what is not given stays.
    Edit {
        /// `key_…`
        id: String,
        /// Another name.
        #[arg(long)]
        name: Option<String>,
        /// All its roles from now on; may be repeated.
        #[arg(long = "role")]
        roles: Vec<String>,
        #[command(flatten)]
        narrow: NarrowOptions,
    },
    /// Move the end of a key, at most to 365 days from now.
    Renew {
        /// `key_…`
        id: String,
        /// RFC 3339, as in 2027-06-30T00:00:00Z.
        #[arg(long)]
        until: String,
    },
    /// What the gateway would say to a request with a key, check by check.
    Explain {
        /// `key_…`
        id: String,
        /// `GET`, `POST` …
        method: String,
        /// Path and query.
        path: String,
        /// The client's address.
        #[arg(long)]
        ip: Option<String>,
        /// The `Host`, if it names a tenant.
        #[arg(long)]
        host: Option<String>,
    },
    /// Whether a key is good, and what for; its text is read from stdin.
    Verify {
        /// `type:action` that it is to be used for.
        #[arg(long)]
        permission: Option<String>,
    },
    /// Switch a key off until it is enabled.
    Disable {
        /// `key_…`
        id: String,
    },
    /// Switch a disabled key on.
    Enable {
        /// `key_…`
        id: String,
    },
    /// End a key for ever.
    Revoke {
        /// `key_…`
        id: String,
        /// Why, for the audit log.
        #[arg(long, default_value = "revoked by hand")]
        reason: String,
    },
    /// A new key in its place; the old one works on for a while.
    Rotate {
        /// `key_…`
        id: String,
        /// How long, in seconds.
        #[arg(long, default_value_t = 86_400)]
        grace_seconds: u32,
    },
}

/// What narrows a key.
#[derive(Debug, Default, clap::Args)]
pub struct NarrowOptions {
    /// Only from this address or network (CIDR); may be repeated.
    #[arg(long = "allow-ip", value_name = "NETWORK")]
    allowed_ips: Vec<String>,
    /// Only for this service; may be repeated.
    #[arg(long = "service")]
    services: Vec<String>,
    /// Only for this thing, `TYPE/ID`, where a `*` may end the id; may be repeated.
    #[arg(long = "thing", value_name = "TYPE/ID", value_parser = thing_of)]
    things: Vec<Value>,
    /// A limit of its own, `NAME=UNITS/SECONDS`; may be repeated.
    #[arg(long = "limit", value_name = "NAME=UNITS/SECONDS", value_parser = limit_of)]
    limits: Vec<Value>,
}

fn thing_of(text: &str) -> Result<Value, String> {
    let (kind, id) = text.split_once('/').ok_or("a type and an id, as in stamp/inv-*")?;
    Ok(json!({"type": kind, "id": id}))
}

fn limit_of(text: &str) -> Result<Value, String> {
    let parsed = || {
        let (name, numbers) = text.split_once('=')?;
        let (units, seconds) = numbers.split_once('/')?;
        let window_ms = seconds.parse::<i64>().ok()?.checked_mul(1_000)?;
        Some(json!({"name": name, "quota": units.parse::<i64>().ok()?, "window_ms": window_ms}))
    };
    parsed().ok_or_else(|| "a name and two numbers, as in partner=100/60".to_owned())
}

impl NarrowOptions {
    /// Puts what was given into a body.
    fn put(self, body: &mut Value) {
        let lists = [
            ("allowed_ips", json!(self.allowed_ips)),
            ("services", json!(self.services)),
            ("resources", json!(self.things)),
            ("limits", json!(self.limits)),
        ];
        for (name, list) in
            lists.into_iter().filter(|(_, list)| list.as_array().is_some_and(|all| !all.is_empty()))
        {
            body[name] = list;
        }
    }
}

/// Runs `rowhouse key …`.
pub async fn key(client: &Client, verb: KeyVerb, json: bool) -> anyhow::Result<()> {
    let one = |id: &str, rest: &str| format!("/v1/keys/{}{rest}", escape(id));
    match verb {
        KeyVerb::List { tenant, page } => {
            show(&page.of(client, "/v1/keys", &[("tenant", tenant)]).await?, KEY, json);
        }
        KeyVerb::Show { id } => show(&client.get(&one(&id, "")).await?, KEY, json),
        KeyVerb::Create { name, tenant, owner, roles, permissions, narrow } => {
            if roles.is_empty() && permissions.is_empty() {
                bail!(
                    "the key could do nothing; next: give --role (see `rowhouse role list`) or --permission"
                );
            }
            let owner = match owner {
                Some(owner) => owner,
                None => first_account(client, tenant.clone()).await?,
            };
            let mut body =
                json!({"name": name, "owner": principal(&owner), "roles": roles, "permissions": permissions});
            narrow.put(&mut body);
            new(client, &client.post(&at("/v1/keys", &[("tenant", tenant)]), body).await?, json).await;
        }
        KeyVerb::Edit { id, name, roles, narrow } => {
            let mut body = json!({});
            narrow.put(&mut body);
            if let Some(name) = name {
                body["name"] = json!(name);
            }
            if !roles.is_empty() {
                body["roles"] = json!(roles);
            }
            ended(&client.json(Method::PATCH, &one(&id, ""), Some(body)).await?, json);
        }
        KeyVerb::Renew { id, until } => {
            ended(&client.post(&one(&id, "/renew"), json!({"expires_at": until})).await?, json);
        }
        KeyVerb::Explain { id, method, path, ip, host } => {
            let request = json!({"method": method.to_uppercase(), "path": path, "ip": ip, "host": host});
            let answer = client.post("/v1/keys/explain", json!({"key_id": id, "request": request})).await?;
            show(
                &if json { answer } else { json!({"items": answer["checks"]}) },
                &["check", "result", "detail"],
                json,
            );
        }
        KeyVerb::Verify { permission } => {
            let key = std::io::read_to_string(std::io::stdin())?;
            let body = json!({"key": key.trim(), "permission": permission});
            show(&client.post("/v1/keys/verify", body).await?, &[], json);
        }
        KeyVerb::Disable { id } => ended(&client.post(&one(&id, "/disable"), json!({})).await?, json),
        KeyVerb::Enable { id } => ended(&client.post(&one(&id, "/enable"), json!({})).await?, json),
        KeyVerb::Revoke { id, reason } => {
            ended(&client.post(&one(&id, "/revoke"), json!({"reason": reason})).await?, json)
        }
        KeyVerb::Rotate { id, grace_seconds } => {
            let body = json!({"grace_seconds": grace_seconds});
            new(client, &client.post(&one(&id, "/rotate"), body).await?, json).await;
        }
    }
    Ok(())
}

/// A new key: its text alone on stdout, so that it can go straight into a file.
async fn new(client: &Client, answer: &Value, json: bool) {
    let Some(text) = answer["key"].as_str() else { return show(answer, KEY, json) };
    if !in_force(client, text).await {
        eprintln!("the gateway does not know the key yet; it will in a moment");
    }
    if json {
        return show(answer, KEY, true);
    }
    line(text);
    eprintln!("this is {}; it is shown only now", answer["id"].as_str().unwrap_or("the key"));
}

/// Whether the gateway knows the key; asks for at most two seconds. The answer comes from the same directory that
/// the gateway reads.
async fn in_force(client: &Client, key: &str) -> bool {
    let mut beat = tokio::time::interval(std::time::Duration::from_millis(20));
    for _ in 0..100 {
        beat.tick().await;
        match client.post("/v1/keys/verify", json!({"key": key})).await {
            Ok(verdict) if verdict["key_id"].is_string() => return true,
            Ok(_) => {}
            // Who may make keys need not be allowed to ask about them.
            Err(_) => return false,
        }
    }
    false
}

fn ended(answer: &Value, json: bool) {
    let row = json!({"items": [answer]});
    show(if json { answer } else { &row }, KEY, json);
}

/// The service account that a key is for when nobody says so: the one that was made with the tenant, or the only one.
async fn first_account(client: &Client, tenant: Option<String>) -> anyhow::Result<String> {
    let own = tenant.as_ref().map(|tenant| format!(" --tenant {tenant}")).unwrap_or_default();
    let answer = client.get(&at("/v1/service_accounts", &[("tenant", tenant)])).await?;
    let accounts = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
    let mut made_with_it = accounts.iter().filter(|account| account["name"] == "owner");
    let chosen = match (accounts, made_with_it.next(), made_with_it.next()) {
        ([one], ..) | (_, Some(one), None) => one,
        ([], ..) => bail!("there is no service account; next: rowhouse service-account create NAME{own}"),
        _ => bail!("whose key is it? next: give --owner, one of `rowhouse service-account list{own}`"),
    };
    Ok(chosen["id"].as_str().context("a service account has an id")?.to_owned())
}

/// `rowhouse grant …`
#[derive(Debug, Subcommand)]
pub enum GrantVerb {
    /// Those of a tenant, or all.
    List {
        /// A tenant's id or code.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Give a role or a permission to a principal.
    Create {
        /// `sa_…`, `user_…`, `group_…` or `everyone`.
        principal: String,
        /// As `rowhouse role list` shows them.
        #[arg(long, conflicts_with = "permission", required_unless_present = "permission")]
        role: Option<String>,
        /// `type:action`, or a pattern as `note:*`.
        #[arg(long)]
        permission: Option<String>,
        /// Take the permission away, whatever else gives it.
        #[arg(long)]
        deny: bool,
        /// `type:id` of the thing that it is about, with what that holds; the whole tenant if not said.
        #[arg(long)]
        on: Option<String>,
        /// Until before this instant, as `2026-12-31T00:00:00Z`.
        #[arg(long)]
        until: Option<String>,
        /// Only under this condition, a Cedar expression: `context.mfa && context.ip.isInRange(ip("10.0.0.0/8"))`.
        #[arg(long)]
        when: Option<String>,
        /// JSON: what the condition reads as `context.params`.
        #[arg(long, requires = "when")]
        parameters: Option<String>,
        /// A tenant's id or code, `operator` for the operator's own; a tenant's key means its own.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Take it back.
    Delete {
        /// `grant_…`
        id: String,
    },
}

/// Runs `rowhouse grant …`.
pub async fn grant(client: &Client, verb: GrantVerb, json: bool) -> anyhow::Result<()> {
    let answer = match verb {
        GrantVerb::List { tenant, page } => page.of(client, "/v1/grants", &[("tenant", tenant)]).await?,
        GrantVerb::Create {
            principal: whom,
            role,
            permission,
            deny,
            on,
            until,
            when,
            parameters,
            tenant,
        } => {
            let effect = if deny { "deny" } else { "allow" };
            let body = json!({
                "principal": principal(&whom), "effect": effect, "role": role, "permission": permission,
                "resource": thing(on.as_deref())?, "valid_until": until, "condition": when,
                "parameters": object(parameters.as_deref(), "--parameters")?,
            });
            client.post(&at("/v1/grants", &[("tenant", tenant)]), body).await?
        }
        GrantVerb::Delete { id } => {
            client.json(Method::DELETE, &format!("/v1/grants/{}", escape(&id)), None).await?
        }
    };
    if !answer.is_null() {
        show(&answer, &["id", "principal.id", "effect", "role", "permission", "state"], json);
    }
    Ok(())
}

/// A JSON object that was given as text; an empty one if none was.
fn object(text: Option<&str>, option: &str) -> anyhow::Result<serde_json::Map<String, serde_json::Value>> {
    let read = |text: &str| serde_json::from_str(text);
    text.map_or(Ok(Default::default()), read).with_context(|| format!("{option} is no JSON object"))
}

/// `rowhouse access …`
#[derive(Debug, Subcommand)]
pub enum AccessVerb {
    /// The same decision as the gateway's, with the grant that makes it.
    Explain {
        /// `sa_…`, `user_…` or `key_…`.
        principal: String,
        /// `type:action`.
        permission: String,
        /// `type:id` of a thing; the whole tenant if not said.
        #[arg(long)]
        on: Option<String>,
        /// JSON: what conditions can ask for, as `{"ip": "192.0.2.1", "mfa": true}`.
        #[arg(long)]
        context: Option<String>,
        /// A tenant's id or code, `operator` for the operator's own; a tenant's key means its own.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Everybody who may do something now.
    WhoCan {
        /// `type:action`.
        permission: String,
        /// `type:id` of a thing; the whole tenant if not said.
        #[arg(long)]
        on: Option<String>,
        /// JSON: what conditions can ask for.
        #[arg(long)]
        context: Option<String>,
        /// A tenant's id or code; a tenant's key means its own.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Everything that somebody may do now.
    WhatCan {
        /// `sa_…` or `user_…`.
        principal: String,
        /// `type:id` of a thing; the whole tenant if not said.
        #[arg(long)]
        on: Option<String>,
        /// A tenant's id or code; a tenant's key means its own.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// A role for oneself, for a time that begins when somebody who could give it says yes.
    Request(super::approvals::RoleOptions),
    /// Who has what, since when and from whom, for review.
    Review {
        /// Comma-separated values (RFC 4180), for a spreadsheet.
        #[arg(long)]
        csv: bool,
        /// A tenant's id or code; a tenant's key means its own.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// What a tenant asks of its own administrators.
    Settings(super::approvals::SettingsOptions),
    /// Changes and questions from a file, run in order on a copy; nothing is stored.
    Simulate {
        /// JSON: `{"base": "current", "steps": [{"op": …}]}`.
        file: std::path::PathBuf,
        /// A tenant's id or code; a tenant's key means its own.
        #[arg(long)]
        tenant: Option<String>,
    },
}

/// Runs `rowhouse access …`.
pub async fn access(client: &Client, verb: AccessVerb, json: bool) -> anyhow::Result<()> {
    let answer = match verb {
        AccessVerb::Explain { principal: whom, permission, on, context, tenant } => {
            let body = json!({
                "principal": principal(&whom), "permission": permission, "resource": thing(on.as_deref())?,
                "context": object(context.as_deref(), "--context")?,
            });
            client.post(&at("/v1/access/explain", &[("tenant", tenant)]), body).await?
        }
        AccessVerb::WhoCan { permission, on, context, tenant } => {
            let body = json!({
                "permission": permission, "resource": thing(on.as_deref())?,
                "context": object(context.as_deref(), "--context")?,
            });
            let answer = client.post(&at("/v1/access/who_can", &[("tenant", tenant)]), body).await?;
            show(&answer, &["principal.kind", "principal.id", "via", "conditional", "until"], json);
            return Ok(());
        }
        AccessVerb::WhatCan { principal: whom, on, tenant } => {
            let body = json!({ "principal": principal(&whom), "resource": thing(on.as_deref())? });
            client.post(&at("/v1/access/what_can", &[("tenant", tenant)]), body).await?
        }
        AccessVerb::Request(asked) => return super::approvals::request(client, asked, json).await,
        AccessVerb::Settings(asked) => return super::approvals::settings(client, asked, json).await,
        AccessVerb::Review { csv: true, tenant } => {
            let format = Some("csv".to_owned());
            let path = at("/v1/access/review", &[("tenant", tenant), ("format", format)]);
            line(client.text(&path).await?.trim_end());
            return Ok(());
        }
        AccessVerb::Review { csv: false, tenant } => {
            let answer = client.get(&at("/v1/access/review", &[("tenant", tenant)])).await?;
            show(&answer, REVIEW, json);
            return Ok(());
        }
        AccessVerb::Simulate { file, tenant } => {
            let text = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            let body =
                serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", file.display()))?;
            client.post(&at("/v1/access/simulate", &[("tenant", tenant)]), body).await?
        }
    };
    show(&answer, &[], json);
    Ok(())
}

/// `rowhouse role …`
#[derive(Debug, Subcommand)]
pub enum RoleVerb {
    /// The catalogue's, and with a tenant's key its own.
    #[command(flatten)]
    Look(ListVerb),
    /// A role of a tenant's own.
    Create {
        /// `[a-z][a-z0-9_-]{0,62}`.
        name: String,
        /// `type:action` or `type:*`; may be given several times.
        #[arg(long = "permission")]
        permissions: Vec<String>,
        /// A role whose permissions it has too; may be given several times.
        #[arg(long)]
        inherits: Vec<String>,
        /// A role that who has it must have besides; may be given several times.
        #[arg(long)]
        requires: Vec<String>,
        /// At most so many may have it.
        #[arg(long)]
        max_members: Option<u32>,
        /// Shown to people.
        #[arg(long, default_value = "")]
        title: String,
        /// A tenant's id or code; a tenant's key means its own.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Removes a role of a tenant's own that nobody has.
    Delete {
        /// Its name.
        name: String,
        /// A tenant's id or code; a tenant's key means its own.
        #[arg(long)]
        tenant: Option<String>,
    },
}

/// Runs `rowhouse role …`.
pub async fn role(client: &Client, verb: RoleVerb, json: bool) -> anyhow::Result<()> {
    let answer = match verb {
        RoleVerb::Look(verb) => return list(client, "roles", verb, ROLE, json).await,
        RoleVerb::Create { name, permissions, inherits, requires, max_members, title, tenant } => {
            let body = json!({
                "name": name, "permissions": permissions, "inherits": inherits, "title": title,
                "requires": requires, "max_members": max_members,
            });
            client.post(&at("/v1/roles", &[("tenant", tenant)]), body).await?
        }
        RoleVerb::Delete { name, tenant } => {
            let path = at(&format!("/v1/roles/{}", escape(&name)), &[("tenant", tenant)]);
            client.json(Method::DELETE, &path, None).await?;
            return Ok(());
        }
    };
    show(&answer, ROLE, json);
    Ok(())
}
