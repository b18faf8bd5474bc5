//! Usage, money and audit agree with what was done.

use anyhow::{Context, ensure};
use rowhouse_domain::metering::quantity::Quantity;
use serde_json::{Value, json};

use super::super::house::House;
use super::super::setting::{Setting, text};
use super::{Call, Tally};
use crate::cli::client::Client;

/// Stamps made for the count.
const STAMPS: u32 = 25;

/// Runs the checks.
pub async fn check(house: &House, setting: &Setting, tally: &mut Tally) -> anyhow::Result<()> {
    tally.note("usage equals what was done", usage(house, setting).await);
    tally.note("the invoice preview adds up", invoice(house, setting).await);
    tally.note("an invoice line is followed to its requests", explained(house, setting).await);
    tally.note("the audit log verifies", audited(house, setting).await);
    tally.note("the doctor finds nothing on any level", examined(house).await);
    tally.note("the firewall says what SQL may do", judged(house).await);
    Ok(())
}

async fn examined(house: &House) -> anyhow::Result<String> {
    let answer =
        house.operator()?.json(http::Method::POST, "/v1/doctor", Some(json!({"probe": true}))).await?;
    let findings = answer["findings"].as_array().context("a list")?;
    let grave: Vec<_> = findings.iter().filter(|finding| finding["severity"] != "low").collect();
    ensure!(grave.is_empty() && answer["unreachable"] == json!([]), "{answer}");
    Ok(format!("{} things examined, known holes of the servers tried", answer["checked"]))
}

async fn judged(house: &House) -> anyhow::Result<String> {
    let operator = house.operator()?;
    let verdict = async |sql: &str| {
        let body = json!({"service": "stamping", "isolation": "shared", "sql": sql});
        operator.json(http::Method::POST, "/v1/firewall/explain", Some(body)).await
    };
    let refused = verdict("SELECT (60.0::float8).pg_sleep").await?;
    ensure!(refused["verdict"] == "refused" && refused["rule"] == "function", "{refused}");
    let allowed = verdict("SELECT count(*) FROM stamps").await?;
    ensure!(allowed["verdict"] == "allowed" && allowed["access"] == "read", "{allowed}");
    text(&refused["message"])
}

async fn usage(house: &House, setting: &Setting) -> anyhow::Result<String> {
    let (gateway, operator, crane) = (house.gateway()?, house.operator()?, &setting.tenants[2]);
    let before = used(&operator, &crane.code, "stamps_created").await?;
    for n in 0..STAMPS {
        let call = Call::post("/v1/stamps", json!({"content": format!("stamp {n}")}));
        let seen = call.host(&crane.code).key(&crane.key).send(&gateway).await?;
        ensure!(seen.status == 201, "stamp {n}: {} {}", seen.status, seen.body);
    }
    let expected = before + i128::from(STAMPS);
    settles(&operator, &crane.code, "stamps_created", expected).await?;
    Ok(format!("{STAMPS} stamps made, {expected} counted"))
}

/// Whole units used so far.
pub async fn used(operator: &Client, tenant: &str, meter: &str) -> anyhow::Result<i128> {
    let answer = operator.get(&format!("/v1/usage?tenant={tenant}&meter={meter}&step=total")).await?;
    let quantity: Quantity = text(&answer["total"]["quantity"])?.parse().context("a decimal")?;
    Ok(quantity.units() / Quantity::from_integer(1).context("one fits")?.units())
}

/// Waits, at most five seconds, until exactly `expected` units are counted; more is a failure at once.
async fn settles(operator: &Client, tenant: &str, meter: &str, expected: i128) -> anyhow::Result<()> {
    let mut beat = tokio::time::interval(std::time::Duration::from_millis(50));
    let mut last = 0;
    for _ in 0..100 {
        beat.tick().await;
        last = used(operator, tenant, meter).await?;
        ensure!(last <= expected, "{last} counted, {expected} done");
        if last == expected {
            return Ok(());
        }
    }
    anyhow::bail!("{last} counted after five seconds, {expected} done")
}

async fn invoice(house: &House, setting: &Setting) -> anyhow::Result<String> {
    let operator = house.operator()?;
    let crane = &setting.tenants[2];
    let preview = operator.get(&format!("/v1/billing/running?tenant={}", crane.code)).await?;
    let minor = |money: &Value| -> anyhow::Result<i128> {
        let quantity: Quantity = text(&money["amount"])?.parse().context("an amount")?;
        Ok(quantity.units())
    };
    let lines = preview["lines"].as_array().context("an invoice has lines")?;
    ensure!(!lines.is_empty(), "no lines");
    let mut sum = 0;
    for line in lines {
        sum += minor(&line["net"])?;
    }
    ensure!(sum == minor(&preview["subtotal"])?, "the lines do not add up to the subtotal");
    ensure!(minor(&preview["total"])? > 0, "nothing is charged");
    Ok(format!(
        "{} lines, {} {}",
        lines.len(),
        text(&preview["total"]["amount"])?,
        text(&preview["currency"])?
    ))
}

async fn explained(house: &House, setting: &Setting) -> anyhow::Result<String> {
    let operator = house.operator()?;
    let crane = &setting.tenants[2];
    let path = format!("/v1/usage/explain?tenant={}&meter=stamps_created&limit=200", crane.code);
    let answer = operator.get(&path).await?;
    let events = answer["events"].as_array().context("an explanation has events")?;
    ensure!(!events.is_empty(), "no events");
    let mut sum = 0;
    for event in events {
        ensure!(event["request_id"].is_string(), "an event without its request: {event}");
        let value: Quantity = text(&event["value"])?.parse().context("a decimal")?;
        sum += value.units();
    }
    let total: Quantity = text(&answer["quantity"])?.parse().context("a decimal")?;
    ensure!(
        answer["next_cursor"].is_string() || sum == total.units(),
        "the events do not add up to the line"
    );
    Ok(format!("{} requests make {} stamps", events.len(), total))
}

async fn audited(house: &House, setting: &Setting) -> anyhow::Result<String> {
    use rowhouse_domain::audit::bundle::{Bundle, Trust, TrustFile};
    let operator = house.operator()?;
    let acme = &setting.tenants[0];
    let log = operator.get(&format!("/v1/audit/logs/{}", acme.code)).await?;
    let keys: Vec<String> = serde_json::from_value(log["vkeys"].clone()).context("the log's keys")?;
    let bundle = operator.get(&format!("/v1/audit/logs/{}/bundle", acme.code)).await?;
    let bundle: Bundle = serde_json::from_value(bundle).context("a bundle")?;
    let trust = Trust::read(&TrustFile { log_vkeys: keys, ..TrustFile::default() })?;
    let report = rowhouse_domain::audit::verify::verify(&bundle, &trust, None);
    let told = report.findings.iter().map(|finding| finding.label()).collect::<Vec<_>>().join(" ");
    ensure!(matches!(report.exit_code(), 0 | 11), "{told}");
    let events = operator.get(&format!("/v1/audit/events?tenant={}&limit=200", acme.code)).await?;
    let names: Vec<_> =
        events["items"].as_array().into_iter().flatten().filter_map(|e| e["event"].as_str()).collect();
    for wanted in ["keys.key_created", "keys.key_revoked", "access.permission_denied"] {
        ensure!(names.contains(&wanted), "no `{wanted}` among {names:?}");
    }
    Ok(format!("{} leaves, {} events shown {told}", report.size, names.len()))
}
