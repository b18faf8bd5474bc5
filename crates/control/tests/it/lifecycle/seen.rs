//! What people see of tenants' lives: health, what inventory and reality disagree about, and what they are told.

use super::*;

impl Stage {
    async fn check_of(&self, code: &str, name: &str) -> Value {
        let health = self.get(&format!("/v1/tenants/{code}/health")).await;
        let checks = health["checks"].as_array().expect("checks");
        checks
            .iter()
            .find(|check| check["name"] == name)
            .unwrap_or_else(|| panic!("no {name}: {health}"))
            .clone()
    }

    async fn findings(&self) -> Value {
        self.platform.hand.advance_us(1_000_000);
        let (status, checked) = self.call("POST", "/v1/inventory/check", json!({})).await;
        assert_eq!(status, 200, "{checked}");
        checked["findings"].clone()
    }

    /// Templates and keys of the messages, in the order of their queueing.
    async fn messages(&self) -> String {
        let sql = "SELECT coalesce(string_agg(template, ' ' ORDER BY message_id), '') FROM messages.messages";
        self.platform.ask(sql).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_as_well_as_its_worst_check_says() {
    let stage = Stage::start().await;
    stage.tenant("acme", "basic", "schema").await;
    let health = stage.get("/v1/tenants/acme/health").await;
    assert_eq!(health["state"], "ok", "{health}");
    let since = stage.check_of("acme", "database").await["since"].clone();
    stage.platform.hand.advance_us(60_000_000);
    assert_eq!(stage.check_of("acme", "rights").await["since"], since, "it is so since then");
    // Its database says something else than the record.
    let config = stage.server.connect_config("rh_schemas_1", SUPERUSER);
    crate::platform::execute(&config, "UPDATE rh.place SET rights = 'r'").await;
    let rights = stage.check_of("acme", "rights").await;
    assert_eq!(
        (&rights["state"], &rights["value"], &rights["limit"]),
        (&json!("warn"), &json!("r"), &json!("rwd"))
    );
    assert_ne!(rights["since"], since);
    crate::platform::execute(&config, "DELETE FROM rh.place").await;
    assert_eq!(stage.check_of("acme", "rights").await["state"], "bad");
    assert_eq!(stage.get("/v1/tenants/acme/health").await["state"], "bad", "the worst wins");
    assert_eq!(stage.call("GET", "/v1/tenants/nobody/health", Value::Null).await.0, 404);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_and_what_is_on_record_are_compared_both_ways_and_nothing_is_removed() {
    let stage = Stage::start().await;
    for (tier, isolation) in [("basic", "shared"), ("basic", "schema"), ("enterprise", "database")] {
        stage.tenant(isolation, tier, isolation).await;
    }
    assert_eq!(stage.findings().await, json!([]));
    let server = stage.server.connect_config("postgres", SUPERUSER);
    crate::platform::execute(&server, "CREATE DATABASE t_0123456789abcdef").await;
    crate::platform::execute(&server, "CREATE ROLE t_0123456789abcdef").await;
    std::fs::create_dir_all(stage.directory.join("instances/00000000deadbeef")).expect("a directory");
    let own = stage.get("/v1/tenants/shared").await["id"].as_str().expect("an id").to_owned();
    let id: rowhouse_domain::id::TenantId = own.parse().expect("an id");
    let shared = stage.server.connect_config("rh_shared", SUPERUSER);
    crate::platform::execute(&shared, &format!("DELETE FROM rh.place WHERE tenant = '{}'", id.0)).await;
    let findings = stage.findings().await;
    let told: Vec<String> = findings
        .as_array()
        .expect("a list")
        .iter()
        .map(|finding| {
            format!("{} {} {}", finding["problem"], finding["kind"], finding["id"]).replace('"', "")
        })
        .collect();
    assert_eq!(
        told,
        [
            "lost rows rh_shared",
            "orphan database t_0123456789abcdef",
            "orphan role t_0123456789abcdef",
            "orphan server 00000000deadbeef"
        ],
        "{findings}"
    );
    assert_eq!(stage.findings().await, findings, "nothing was removed");
    assert_eq!(stage.get("/v1/inventory/findings").await["items"].as_array().map(Vec::len), Some(4));
    let told = "SELECT count(*) FROM audit.outbox WHERE draft->>'event' = 'lifecycle.inventory_differs'";
    assert_eq!(stage.platform.ask(told).await, "1", "only what is new is told");
    crate::platform::execute(&server, "DROP DATABASE t_0123456789abcdef").await;
    assert_eq!(stage.findings().await.as_array().map(Vec::len), Some(3), "what was cleared is gone");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_told_of_each_thing_once() {
    let stage = Stage::start().await;
    stage.tenant("acme", "basic", "shared").await;
    assert_eq!(stage.messages().await, "welcome");
    stage.platform.hand.advance_us(1_000_000);
    stage.call("POST", "/v1/tenants/acme/suspend", json!({"mode": "blocked", "reason": "unpaid"})).await;
    stage.platform.hand.advance_us(1_000_000);
    stage.call("POST", "/v1/tenants/acme/resume", json!({"reason": "paid"})).await;
    stage.platform.hand.advance_us(1_000_000);
    let order = json!({"tier": "professional"});
    let (_, operation) = stage.call("POST", "/v1/tenants/acme/change_tier", order).await;
    stage.execute(&lifecycle::engine(stage.control()), operation["id"].as_str().expect("an id")).await;
    stage.platform.hand.advance_us(1_000_000);
    stage.call("POST", "/v1/tenants/acme/decommission", json!({"reason": "leaves"})).await;
    let all = "welcome tenant_suspended tenant_resumed tier_changed tenant_leaving";
    assert_eq!(stage.messages().await, all);
    for days in [20, 4, 0, 5] {
        stage.platform.hand.advance_us(days * 86_400_000_000);
        for _ in 0..2 {
            lifecycle::remind_leaving(stage.control()).await.expect("the database is there");
        }
    }
    assert_eq!(
        stage.messages().await,
        format!("{all} tenant_leaving tenant_leaving"),
        "a week and a day before"
    );
    stage.stop().await;
}
