//! Each refusal a stranger meets, with its code and the way out.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http::Method;
use serde_json::json;

use super::super::house::House;
use super::super::setting::{Setting, make_key, text};
use super::{Call, Tally, expect};

/// A revocation must be in force within this time.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(1);

/// Runs the checks.
pub async fn check(house: &House, setting: &Setting, tally: &mut Tally) -> anyhow::Result<()> {
    at_the_door(house, setting, tally).await?;
    tally.note("a revoked key is refused", revoked(house, setting).await);
    tally.note("a limit is exhausted", exhausted(house, setting).await);
    suspended(house, setting, tally).await
}

async fn at_the_door(house: &House, setting: &Setting, tally: &mut Tally) -> anyhow::Result<()> {
    let gateway = house.gateway()?;
    let [acme, bolt] = [&setting.tenants[0], &setting.tenants[1]];
    let stamps = || Call::get("/v1/stamps");
    let malformed_key = format!("{}x", &acme.key[..acme.key.len() - 1]);
    let rows = [
        ("no key", stamps().host("acme"), 401, "identity.no_credentials"),
        ("a mistyped key", stamps().host("acme").key(&malformed_key), 401, "keys.invalid"),
        ("a key of another tenant", stamps().host("acme").key(&bolt.key), 401, "keys.invalid"),
        (
            "two credentials",
            stamps().host("acme").key(&acme.key).header("authorization", &format!("Bearer {}", acme.key)),
            401,
            "identity.ambiguous_credentials",
        ),
        ("an unknown tenant", stamps().host("nobody").key(&acme.key), 401, "keys.invalid"),
        (
            "host and header disagree",
            stamps().host("acme").header("x-tenant-code", "bolt").key(&acme.key),
            400,
            "tenancy.conflicting_signals",
        ),
        (
            "a foreign host",
            stamps().header("host", "evil.example").key(&acme.key),
            421,
            "tenancy.unknown_host",
        ),
        (
            "a permission that is missing",
            Call::post("/v1/stamps", json!({"content": "x"})).host("acme").key(&acme.viewer_key),
            403,
            "access.denied",
        ),
        ("no such path", Call::get("/v2/nothing").host("acme").key(&acme.key), 404, "routes.no_match"),
        (
            "no such method",
            stamps().method(Method::PATCH).host("acme").key(&acme.key),
            405,
            "routes.method_not_allowed",
        ),
        (
            "a malformed path",
            Call::get("/v1/%zz").host("acme").key(&acme.key),
            400,
            "routes.malformed_request",
        ),
    ];
    for (what, call, status, code) in rows {
        let seen = call.send(&gateway).await?;
        tally.note(what, expect(&seen, status, code));
    }
    Ok(())
}

async fn revoked(house: &House, setting: &Setting) -> anyhow::Result<String> {
    let (gateway, operator, acme) = (house.gateway()?, house.operator()?, &setting.tenants[0]);
    let made = make_key(&operator, &acme.code, "short-lived", &acme.owner, "developer").await?;
    let (id, key) = (text(&made["id"])?, text(&made["key"])?);
    let call = || Call::get("/v1/stamps").host(&acme.code).key(&key).send(&gateway);
    until(200, call).await.context("the new key is served")?;
    operator.post(&format!("/v1/keys/{id}/revoke"), json!({"reason": "the demo"})).await?;
    let begun = Instant::now();
    let seen = until(401, call).await?;
    ensure!(begun.elapsed() < IN_FORCE_WITHIN, "in force only after {} ms", begun.elapsed().as_millis());
    Ok(format!("{} after {} ms", expect(&seen, 401, "keys.revoked")?, begun.elapsed().as_millis()))
}

/// Calls until the status comes, for at most two seconds.
async fn until<F: Future<Output = anyhow::Result<super::Seen>>>(
    status: u16,
    mut call: impl FnMut() -> F,
) -> anyhow::Result<super::Seen> {
    let deadline = Instant::now() + 2 * IN_FORCE_WITHIN;
    let mut beat = tokio::time::interval(Duration::from_millis(5));
    loop {
        beat.tick().await;
        let seen = call().await?;
        if seen.status == status {
            return Ok(seen);
        }
        ensure!(Instant::now() < deadline, "still {} after two seconds: {}", seen.status, seen.body);
    }
}

async fn exhausted(house: &House, setting: &Setting) -> anyhow::Result<String> {
    let (gateway, operator, bolt) = (house.gateway()?, house.operator()?, &setting.tenants[1]);
    let made = make_key(&operator, &bolt.code, "flood", &bolt.owner, "viewer").await?;
    let key = text(&made["key"])?;
    let call = || Call::get("/v1/stamps").host(&bolt.code).key(&key).send(&gateway);
    until(200, call).await?;
    for served in 1..3_000 {
        let seen = call().await?;
        if seen.status == 429 {
            let retry = seen.headers.get("retry-after").and_then(|value| value.to_str().ok());
            let retry = retry.context("no Retry-After")?.to_owned();
            ensure!(seen.headers.contains_key("ratelimit"), "no RateLimit header");
            return Ok(format!(
                "{} after {served} calls, Retry-After {retry} s",
                expect(&seen, 429, "limits.exceeded")?
            ));
        }
    }
    anyhow::bail!("3,000 calls in a row were all served")
}

async fn suspended(house: &House, setting: &Setting, tally: &mut Tally) -> anyhow::Result<()> {
    let (gateway, operator, crane) = (house.gateway()?, house.operator()?, &setting.tenants[2]);
    let call = || Call::get("/v1/stamps").host(&crane.code).key(&crane.key).send(&gateway);
    let body = json!({"mode": "blocked", "reason": "the demo", "cause": "operator"});
    operator.post(&format!("/v1/tenants/{}/suspend", crane.code), body).await?;
    let outcome = until(403, call).await.and_then(|seen| expect(&seen, 403, "tenancy.suspended"));
    tally.note("a suspended tenant", outcome);
    operator.post(&format!("/v1/tenants/{}/resume", crane.code), json!({"reason": "the demo"})).await?;
    tally.note("the same tenant resumed", until(200, call).await.map(|seen| seen.status.to_string()));
    Ok(())
}
