//! What the demo starts with: the stamping service's tables, four tenants on four levels, keys.

use anyhow::Context;
use serde_json::{Value, json};

use super::house::House;
use crate::cli::client::Client;

/// Code, tier and isolation of the tenants.
const TENANTS: [(&str, &str, &str); 4] = [
    ("acme", "basic", "shared"),
    ("bolt", "professional", "schema"),
    ("crane", "enterprise", "database"),
    ("dune", "premium", "instance"),
];

const MANIFEST: &str = include_str!("../../../../examples/stamping/tables/rowhouse-tables.toml");
const MIGRATION: &str = include_str!("../../../../examples/stamping/tables/migrations/001_stamps.sql");

/// A tenant of the demo and what one needs to call as it.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its code.
    pub code: String,
    /// Its id.
    pub id: String,
    /// A domain of its own.
    pub domain: String,
    /// Its level.
    pub isolation: String,
    /// The principal that its keys act for.
    pub owner: String,
    /// A key that may do all with stamps.
    pub key: String,
    /// A key that may only read.
    pub viewer_key: String,
}

/// All that was set up.
#[derive(Debug, Clone)]
pub struct Setting {
    /// In the order of the levels.
    pub tenants: Vec<Tenant>,
}

/// Registers the service's tables and makes tenants and keys, all through the public API.
pub async fn furnish(house: &House) -> anyhow::Result<Setting> {
    let operator = house.operator()?;
    declare_service(&operator, house).await?;
    let tables = json!({
        "manifest": MANIFEST,
        "migrations": [{"number": 1, "name": "stamps", "sql": MIGRATION}],
    });
    operator.json(http::Method::PUT, "/v1/services/stamping/tables", Some(tables)).await.context("tables")?;
    let mut tenants = Vec::new();
    for (code, tier, isolation) in TENANTS {
        let begun = std::time::Instant::now();
        tenants.push(make_tenant(&operator, code, tier, isolation).await.with_context(|| code.to_owned())?);
        eprintln!("{code} ({tier}, {isolation}) is served after {} ms", begun.elapsed().as_millis());
    }
    Ok(Setting { tenants })
}

/// The shipped catalogue, with the service where the demo runs it.
async fn declare_service(operator: &Client, house: &House) -> anyhow::Result<()> {
    let mut catalog = operator.get("/v1/catalog/export").await?;
    let address = format!("127.0.0.1:{}", house.gateway_port() + 3);
    for service in catalog["services"].as_array_mut().context("an exported catalogue has services")? {
        if service["name"] == "stamping" {
            service["upstreams"] = json!([address]);
        }
    }
    let plan = operator.post("/v1/catalog/plan", catalog.clone()).await?;
    let apply = json!({"plan": plan["digest"], "catalog": catalog, "prune": false});
    operator.post("/v1/catalog/apply", apply).await.context("catalogue")?;
    Ok(())
}

/// Makes a tenant with a domain and two keys, and waits until it is served.
pub async fn make_tenant(
    operator: &Client,
    code: &str,
    tier: &str,
    isolation: &str,
) -> anyhow::Result<Tenant> {
    let body = json!({"code": code, "company_name": code, "tier": tier, "isolation": isolation});
    let operation = operator.post("/v1/tenants", body).await?;
    let id = operation["id"].as_str().context("an operation has an id")?;
    let ended = crate::cli::follow(operator, id).await?;
    anyhow::ensure!(
        ended["state"] == "done",
        "provisioning ended as {}: {}",
        ended["state"],
        ended["problem"]
    );
    let tenant = operator.get(&format!("/v1/tenants/{code}")).await?;
    let owner = owner_of(operator, code).await?;
    let key = |name: &'static str, role: &'static str| make_key(operator, code, name, &owner, role);
    let developer = key("developer", "developer").await?;
    let viewer = key("viewer", "viewer").await?;
    let domain = format!("stamps.{code}.example");
    operator
        .post(&format!("/v1/hosts?tenant={code}"), json!({"name": domain}))
        .await
        .context("its domain")?;
    Ok(Tenant {
        code: code.to_owned(),
        id: text(&tenant["id"])?,
        isolation: isolation.to_owned(),
        domain,
        key: text(&developer["key"])?,
        viewer_key: text(&viewer["key"])?,
        owner,
    })
}

async fn owner_of(operator: &Client, code: &str) -> anyhow::Result<String> {
    let accounts = operator.get(&format!("/v1/service_accounts?tenant={code}")).await?;
    let first = accounts["items"].get(0).context("provisioning makes a first service account")?;
    text(&first["id"])
}

/// Makes a key of a tenant; the answer has its text.
pub async fn make_key(
    operator: &Client,
    tenant: &str,
    name: &str,
    owner: &str,
    role: &str,
) -> anyhow::Result<Value> {
    let body = json!({"name": name, "owner": {"kind": "service_account", "id": owner}, "roles": [role]});
    operator.post(&format!("/v1/keys?tenant={tenant}"), body).await
}

/// A field that must be text.
pub fn text(value: &Value) -> anyhow::Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("expected text, found {value}"))
}

impl Setting {
    /// What a person may try now.
    pub fn words(&self, house: &House) -> String {
        let (acme, bolt) = (&self.tenants[0], &self.tenants[1]);
        let port = house.gateway_port();
        let program = house.program().display();
        let config = format!(
            "ROWHOUSE_URL={} ROWHOUSE_TOKEN_FILE={}",
            house.control_url(),
            house.data_dir().join("data").join(crate::secrets::OPERATOR_KEY_FILE).display()
        );
        format!(
            "
Four tenants are served: acme (shared), bolt (schema), crane (database), dune (instance).

A call:            curl -s -H 'Host: acme.localhost' -H 'X-API-Key: {acme_key}' \\
                        -H 'Content-Type: application/json' -d '{{\"content\":\"hello\"}}' http://127.0.0.1:{port}/v1/stamps
By header:         curl -s -H 'X-Tenant-Code: acme' -H 'X-API-Key: {acme_key}' http://127.0.0.1:{port}/v1/stamps
By path:           curl -s -H 'X-API-Key: {acme_key}' http://127.0.0.1:{port}/t/acme/v1/stamps
Another's key:     curl -s -H 'Host: acme.localhost' -H 'X-API-Key: {bolt_key}' http://127.0.0.1:{port}/v1/stamps
Only a viewer:     curl -s -H 'Host: acme.localhost' -H 'X-API-Key: {viewer}' -H 'Content-Type: application/json' \\
                        -d '{{\"content\":\"no\"}}' http://127.0.0.1:{port}/v1/stamps
The limit:         for i in $(seq 700); do curl -s -o /dev/null -w '%{{http_code}}\\n' -H 'Host: acme.localhost' \\
                        -H 'X-API-Key: {viewer}' http://127.0.0.1:{port}/v1/stamps; done | sort | uniq -c

export {config}
What it costs:     {program} invoice preview --tenant acme
Down to requests:  {program} usage explain stamps_created --tenant acme
The audit log:     {program} audit search --tenant acme
                   {program} audit verify --log acme --key \"$({program} audit key acme)\"
Suspended:         {program} tenant suspend acme --reason 'to see it'
                   {program} tenant resume acme --reason 'seen'

Ctrl-C ends the demo.",
            acme_key = acme.key,
            bolt_key = bolt.key,
            viewer = acme.viewer_key,
        )
    }
}
