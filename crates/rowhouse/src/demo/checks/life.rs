//! The life of a tenant as its operator sees it: backed up and restored beside itself, moved to a level of its own with a
//! reader going on, and gone for good with a certificate that is verified without the server.

use std::time::Duration;

use anyhow::{Context, ensure};
use rowhouse_domain::audit::note::VerifierKey;
use rowhouse_domain::lifecycle::certificate::Certificate;
use rowhouse_domain::lifecycle::envelope::Envelope;
use serde_json::{Value, json};

use super::super::house::House;
use super::super::setting::{Setting, Tenant, make_tenant, text};
use super::{Call, Tally, expect};
use crate::cli::client::Client;

/// Runs the checks.
pub async fn check(house: &House, setting: &Setting, tally: &mut Tally) -> anyhow::Result<()> {
    let (acme, bolt) = (&setting.tenants[0], &setting.tenants[1]);
    tally.note(
        "a tenant is backed up, and its backup is proven by restoring it",
        backed_up(house, acme).await,
    );
    tally.note("a backup is restored beside the living tenant", restored(house, acme).await);
    tally.note("a tenant moves to a database of its own with all its stamps", moved(house, bolt).await);
    tally.note("a tenant leaves for good, and its certificate holds", left(house).await);
    tally.note("what is there is what is on record", on_record(house).await);
    Ok(())
}

/// Begins an operation and follows it to its end.
async fn done(operator: &Client, path: &str, body: Value) -> anyhow::Result<Value> {
    let operation = operator.post(path, body).await.with_context(|| path.to_owned())?;
    let ended = crate::cli::follow(operator, &text(&operation["id"])?).await?;
    ensure!(ended["state"] == "done", "{path} ended as {}: {}", ended["state"], ended["problem"]);
    Ok(ended)
}

async fn backed_up(house: &House, tenant: &Tenant) -> anyhow::Result<String> {
    let operator = house.operator()?;
    let asked = json!({"note": "before anything else"});
    let backup = operator.post(&format!("/v1/backups?tenant={}", tenant.code), asked).await?;
    let path = format!("/v1/backups/{}", text(&backup["id"])?);
    let mut beat = tokio::time::interval(Duration::from_millis(50));
    while operator.get(&path).await?["state"] == "running" {
        beat.tick().await;
    }
    done(&operator, &format!("{path}/verify"), json!({})).await?;
    let verified = operator.get(&path).await?;
    ensure!(verified["last_verified_at"].is_string(), "{verified}");
    Ok(format!("{} rows in {} sealed bytes", verified["rows"], verified["bytes"]))
}

async fn restored(house: &House, tenant: &Tenant) -> anyhow::Result<String> {
    let operator = house.operator()?;
    done(&operator, &format!("/v1/restores?tenant={}", tenant.code), json!({})).await?;
    let copy = operator.get(&format!("/v1/restores?tenant={}", tenant.code)).await?["items"][0].clone();
    ensure!(copy["state"] == "open" && copy["access"]["database"].is_string(), "{copy}");
    let call = Call::get("/v1/stamps").host(&tenant.code).key(&tenant.viewer_key);
    expect(&call.send(&house.gateway()?).await?, 200, "")?;
    let path = format!("/v1/restores/{}", text(&copy["id"])?);
    operator.json(http::Method::DELETE, &path, None).await?;
    Ok(format!("{} rows, read only, in {}", copy["rows"], text(&copy["access"]["database"])?))
}

/// The ids of a tenant's stamps, newest first, at most 200.
async fn stamps(house: &House, tenant: &Tenant) -> anyhow::Result<Vec<String>> {
    let call = Call::get("/v1/stamps?limit=200").host(&tenant.code).key(&tenant.viewer_key);
    let seen = call.send(&house.gateway()?).await?;
    expect(&seen, 200, "")?;
    seen.body["items"].as_array().context("a list")?.iter().map(|stamp| text(&stamp["id"])).collect()
}

async fn moved(house: &House, tenant: &Tenant) -> anyhow::Result<String> {
    let before = stamps(house, tenant).await?;
    ensure!(!before.is_empty(), "there is something to move");
    let tier = json!({"tier": "enterprise", "effective": "now"});
    done(&house.operator()?, &format!("/v1/tenants/{}/change_tier", tenant.code), tier).await?;
    let body = json!({"isolation": "database"});
    let operation = done(&house.operator()?, &format!("/v1/tenants/{}/move", tenant.code), body).await?;
    ensure!(stamps(house, tenant).await? == before, "other stamps than before");
    let made = Call::post("/v1/stamps", json!({"content": "after the move"}));
    expect(&made.host(&tenant.code).key(&tenant.key).send(&house.gateway()?).await?, 201, "")?;
    Ok(format!(
        "{} stamps at least, {} steps",
        before.len(),
        operation["steps"].as_array().map_or(0, Vec::len)
    ))
}

async fn left(house: &House) -> anyhow::Result<String> {
    let (operator, gateway) = (house.operator()?, house.gateway()?);
    let echo = make_tenant(&operator, "echo", "basic", "shared").await?;
    let stamp = || Call::post("/v1/stamps", json!({"content": "soon gone"})).host("echo").key(&echo.key);
    expect(&stamp().send(&gateway).await?, 201, "")?;
    done(&operator, "/v1/tenants/echo/export", json!({})).await?;
    let body = json!({"retention_days": 0, "reason": "it was only shown"});
    done(&operator, "/v1/tenants/echo/decommission", body).await?;
    let seen = stamp().send(&gateway).await?;
    ensure!(matches!(seen.status, 401 | 404 | 410), "{} {}", seen.status, seen.body);
    let envelope = operator.get(&format!("/v1/tenants/{}/certificate", echo.id)).await?;
    let key = VerifierKey::parse(&text(&envelope["verifier_key"])?).context("the platform's key")?;
    let certificate = Certificate::open(&Envelope::parse(&envelope.to_string())?, &[key])?;
    let certificate = serde_json::to_value(&certificate)?;
    ensure!(certificate.to_string().contains(&echo.id), "{certificate}");
    Ok(format!("{} afterwards, the certificate is as it was signed", seen.status))
}

async fn on_record(house: &House) -> anyhow::Result<String> {
    let checked = house.operator()?.post("/v1/inventory/check", json!({})).await?;
    ensure!(checked["findings"] == json!([]), "{checked}");
    Ok("databases, schemas, logins, ports and processes".to_owned())
}
