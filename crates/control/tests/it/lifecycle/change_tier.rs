//! Changes of tier: what is refused, what would be, what is, what waits; and crashes everywhere.

use rowhouse_store::sagas::LEASE_S;

use super::crash::killed_after;
use super::*;

impl Stage {
    async fn change_tier(&self, query: &str, body: Value) -> (u16, Value) {
        self.call("POST", &format!("/v1/tenants/acme/change_tier{query}"), body).await
    }

    /// As if the tenant had used so much of `transactions` this month.
    async fn use_transactions(&self, tenant: &Value, quantity: u32) {
        let id: rowhouse_domain::id::TenantId = tenant["id"].as_str().expect("an id").parse().expect("an id");
        self.platform
            .execute(&format!(
                "INSERT INTO metering.windows SELECT '{}', name, version, '2026-11-21T09:00:00Z', 1, {quantity} \
                 FROM metering.meters WHERE name = 'transactions'",
                id.0
            ))
            .await;
    }
}

const PLANS: &str = "SELECT string_agg(plan || CASE WHEN ended_at IS NULL THEN '' ELSE ' ended' END, ', ' \
     ORDER BY started_at, ended_at) FROM billing.subscriptions s JOIN tenancy.tenants t USING (tenant_id) \
     WHERE t.code = 'acme'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_is_at_once_with_quotas_features_and_plan() {
    let stage = Stage::start().await;
    let tenant = stage.tenant("acme", "basic", "shared").await;
    stage.use_transactions(&tenant, 9_000).await;
    let (status, preview) = stage.change_tier("?dry_run=true", json!({"tier": "professional"})).await;
    assert_eq!(status, 200, "{preview}");
    let would = &preview["would"];
    assert_eq!((&preview["dry_run"], &preview["refusals"]), (&json!(true), &json!([])));
    assert_eq!(would["quotas"]["users"], json!({"from": "50", "to": "500"}));
    assert_eq!(would["features_gained"], json!(["advanced_analytics", "custom_branding"]));
    assert_eq!(would["isolation"], json!({"from": "shared", "to": "shared"}));
    assert_eq!(would["effective"], "2026-11-21T10:00:00Z", "an upgrade is at once");
    // The whole period is still ahead: the parts are the wholes.
    let cost = &would["cost"];
    assert_eq!((&cost["charge"], &cost["credit"]), (&cost["fee"], &cost["fee_before"]), "{cost}");
    assert_eq!(stage.get("/v1/tenants/acme").await["tier"], "basic", "nothing was done");

    let (status, operation) = stage.change_tier("", json!({"tier": "professional"})).await;
    assert_eq!((status, &operation["state"]), (202, &json!("running")), "{operation}");
    let (status, busy) = stage.change_tier("", json!({"tier": "premium"})).await;
    assert_eq!((status, &busy["code"]), (409, &json!("lifecycle.busy")));
    let id = operation["id"].as_str().expect("an id");
    let operation = stage.execute(&lifecycle::engine(stage.control()), id).await;
    assert_eq!(operation["state"], "done", "{operation:#}");
    let tenant = stage.get("/v1/tenants/acme").await;
    assert_eq!((&tenant["tier"], &tenant["quotas"]["users"]), (&json!("professional"), &json!("500")));
    assert_eq!(stage.platform.ask(PLANS).await, "basic ended, professional");
    let entry = stage.control().directory.current();
    assert_eq!(entry.tenants.iter().filter(|(_, entry)| *entry.tier == *"professional").count(), 1);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_changed_is_refused_with_its_reason() {
    let stage = Stage::start().await;
    let tenant = stage.tenant("acme", "professional", "shared").await;
    let refused = async |body: Value, status: u16, code: &str| {
        let (seen, answer) = stage.change_tier("", body).await;
        assert_eq!((seen, &answer["code"]), (status, &json!(code)), "{answer}");
        answer
    };
    refused(json!({"tier": "none"}), 422, "tenancy.unknown_tier").await;
    refused(json!({"tier": "professional"}), 422, "lifecycle.nothing_to_do").await;
    refused(json!({"tier": "basic", "isolation": "instance"}), 422, "tenancy.isolation_not_allowed").await;
    refused(json!({"tier": "basic", "effective": "tomorrow"}), 422, "api.invalid").await;
    stage.use_transactions(&tenant, 10_001).await;
    let over = refused(json!({"tier": "basic", "effective": "now"}), 422, "lifecycle.over_quota").await;
    assert_eq!(over["errors"][0]["pointer"], "/quotas/transactions", "{over}");
    let (status, preview) = stage.change_tier("?dry_run=true", json!({"tier": "basic"})).await;
    assert_eq!(status, 200);
    assert_eq!(
        preview["would"]["over_quota"],
        json!([{"meter": "transactions", "usage": "10001", "limit": "10000"}])
    );
    assert_eq!(preview["would"]["blocked_by"], json!(["lifecycle.over_quota"]));
    let allowed = json!({"tier": "basic", "effective": "now", "allow_over_quota": true});
    assert_eq!(stage.change_tier("", allowed).await.0, 202);
    assert_eq!(stage.call("POST", "/v1/tenants/nobody/change_tier", json!({"tier": "basic"})).await.0, 404);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_downgrade_waits_for_the_end_of_the_period_is_seen_and_can_be_cancelled() {
    let stage = Stage::start().await;
    let tenant = stage.tenant("acme", "professional", "schema").await;
    let order = json!({"tier": "basic"});
    let (status, operation) = stage.change_tier("", order.clone()).await;
    assert_eq!((status, &operation["state"]), (202, &json!("scheduled")), "{operation}");
    assert_eq!(operation["starts_at"], "2026-12-21T10:00:00Z");
    let listed = stage.get("/v1/operations?state=scheduled&tenant=acme").await;
    assert_eq!(listed["items"][0]["id"], operation["id"]);
    let (status, twice) = stage.change_tier("", order.clone()).await;
    assert_eq!((status, &twice["code"]), (409, &json!("lifecycle.busy")));
    let path = format!("/v1/operations/{}/cancel", operation["id"].as_str().expect("an id"));
    let (status, cancelled) = stage.call("POST", &path, json!({"reason": "stays"})).await;
    assert_eq!((status, &cancelled["state"]), (200, &json!("undone")), "{cancelled}");

    let (_, operation) = stage.change_tier("", order).await;
    let id = operation["id"].as_str().expect("an id").to_owned();
    stage.platform.hand.advance_us(30 * 86_400_000_000);
    assert_eq!(lifecycle::begin_due(stage.control()).await.expect("answered"), 1);
    let operation = stage.execute(&lifecycle::engine(stage.control()), &id).await;
    assert_eq!(operation["state"], "done", "{operation:#}");
    assert_eq!(stage.get("/v1/tenants/acme").await["tier"], "basic");
    assert_eq!(stage.platform.ask(PLANS).await, "professional ended, basic");

    // Meanwhile so much may have been used that it does not fit any more.
    let (_, up) = stage.change_tier("", json!({"tier": "professional"})).await;
    stage.execute(&lifecycle::engine(stage.control()), up["id"].as_str().expect("an id")).await;
    let (_, down) =
        stage.change_tier("", json!({"tier": "basic", "effective": "2026-12-21T20:00:00Z"})).await;
    stage.use_transactions(&tenant, 0).await;
    stage
        .platform
        .execute("UPDATE metering.windows SET minute = '2026-12-21T11:00:00Z', quantity = 20000")
        .await;
    stage.platform.hand.advance_us(86_400_000_000);
    assert_eq!(lifecycle::begin_due(stage.control()).await.expect("answered"), 1);
    let down = stage.execute(&lifecycle::engine(stage.control()), down["id"].as_str().expect("an id")).await;
    assert_eq!(
        (&down["state"], &down["problem"]["code"]),
        (&json!("undone"), &json!("lifecycle.over_quota"))
    );
    assert_eq!(stage.get("/v1/tenants/acme").await["tier"], "professional", "nothing changed");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_anywhere_a_change_of_tier_is_finished_once() {
    let stage = Stage::start().await;
    stage.tenant("acme", "basic", "shared").await;
    for kill in 0.. {
        let to = if kill % 2 == 0 { "professional" } else { "basic" };
        let (_, operation) = stage.change_tier("", json!({"tier": to, "effective": "now"})).await;
        let id = operation["id"].as_str().expect("an id").to_owned();
        let engine = lifecycle::engine(stage.control());
        let ended = killed_after(kill * 5, engine.run_one()).await;
        stage.platform.hand.advance_us((LEASE_S + 1) * 1_000_000);
        let operation = stage.execute(&lifecycle::engine(stage.control()), &id).await;
        assert_eq!(operation["state"], "done", "killed at wait {}: {operation:#}", kill * 5);
        assert_eq!(stage.get("/v1/tenants/acme").await["tier"], to);
        let running = "SELECT string_agg(plan, ' ') FROM billing.subscriptions s JOIN tenancy.tenants t USING (tenant_id) \
             WHERE t.code = 'acme' AND ended_at IS NULL";
        assert_eq!(stage.platform.ask(running).await, to);
        let told = "SELECT count(*) FROM audit.outbox WHERE draft->>'event' = 'lifecycle.tier_changed'";
        assert_eq!(stage.platform.ask(told).await, (kill + 1).to_string(), "each happened once");
        if ended.is_some() {
            assert!(kill > 3, "only {kill} places were tried");
            break;
        }
    }
    stage.stop().await;
}
