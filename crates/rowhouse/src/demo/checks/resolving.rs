//! A call for each tenant by each way of resolving, and what each tenant then sees of the others.

use anyhow::ensure;
use serde_json::json;

use super::super::house::House;
use super::super::setting::{Setting, Tenant, text};
use super::{Call, Tally, expect};

/// Runs the checks.
pub async fn check(house: &House, setting: &Setting, tally: &mut Tally) -> anyhow::Result<()> {
    let gateway = house.gateway()?;
    let mut stamps = Vec::new();
    for tenant in &setting.tenants {
        let made = Call::post(
            "/v1/stamps",
            json!({"content": format!("of {}", tenant.code), "metadata": {"by": tenant.code}}),
        )
        .host(&tenant.code)
        .key(&tenant.key)
        .send(&gateway)
        .await?;
        let what = format!("{} ({}) stamps through its subdomain", tenant.code, tenant.isolation);
        let hidden = made.headers.keys().all(|name| !name.as_str().starts_with("rowhouse-"));
        let outcome = expect(&made, 201, "").and_then(|seen| {
            ensure!(hidden, "a header of ours reached the client: {:?}", made.headers);
            Ok(seen)
        });
        tally.note(&what, outcome);
        stamps.push(text(&made.body["id"]).unwrap_or_default());
        for (way, call) in ways(tenant) {
            let seen = call.key(&tenant.key).send(&gateway).await?;
            let outcome = expect(&seen, 200, "").and_then(|status| {
                let own = seen.body["items"].as_array().is_some_and(|items| {
                    items.len() == 1 && items[0]["metadata"]["by"] == tenant.code.as_str()
                });
                ensure!(own, "expected exactly its own stamp, saw {}", seen.body);
                Ok(format!("{status}, its own stamp and no other"))
            });
            tally.note(&format!("{} by {way}", tenant.code), outcome);
        }
    }
    for (reader, stamp) in setting.tenants.iter().zip(stamps.iter().cycle().skip(1)) {
        let seen = Call::get(&format!("/v1/stamps/{stamp}"))
            .host(&reader.code)
            .key(&reader.key)
            .send(&gateway)
            .await?;
        tally.note(
            &format!("{} reads a neighbour's stamp by its id", reader.code),
            expect(&seen, 404, "api.not_found"),
        );
    }
    Ok(())
}

fn ways(tenant: &Tenant) -> [(&'static str, Call); 6] {
    let stamps = || Call::get("/v1/stamps");
    [
        ("subdomain", stamps().host(&tenant.code)),
        ("its own domain", stamps().header("host", &tenant.domain)),
        ("X-Tenant-Code", stamps().header("x-tenant-code", &tenant.code)),
        ("X-Tenant-Id", stamps().header("x-tenant-id", &tenant.id)),
        ("path", Call::get(&format!("/t/{}/v1/stamps", tenant.code))),
        ("its key alone", stamps()),
    ]
}
