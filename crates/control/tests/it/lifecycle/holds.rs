//! Legal holds: what they keep is neither erased nor expires, and says so; what they release goes on by itself.

use std::sync::Arc;

use rowhouse_control::audit;
use rowhouse_control::lifecycle::backup;

use super::*;

const DAY_US: i64 = 86_400_000_000;

impl Stage {
    /// A hold that was placed.
    async fn hold(&self, tenant: &str, resource: Value) -> Value {
        let body = json!({"tenant": tenant, "resource": resource, "case_id": "2026-17", "basis": "GDPR 17(3)(e)",
            "owner": "legal@rowhouse.example"});
        let (status, hold) = self.call("POST", "/v1/audit/holds", body).await;
        assert_eq!((status, &hold["state"]), (201, &json!("in_force")), "{hold}");
        hold
    }

    async fn release(&self, hold: &Value) -> (u16, Value) {
        let path = format!("/v1/audit/holds/{}/release", hold["id"].as_str().expect("an id"));
        self.call("POST", &path, json!({"reason": "the case is closed"})).await
    }

    async fn leaving(&self, code: &str, days: u16) -> (u16, Value) {
        let body = json!({"retention_days": days, "reason": "the contract ended"});
        self.call("POST", &format!("/v1/tenants/{code}/decommission"), body).await
    }

    async fn due(&self) -> usize {
        lifecycle::begin_due(self.control()).await.expect("the control database is there")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_under_a_legal_hold_is_erased_only_when_the_hold_is_released() {
    let mut stage = Stage::start().await;
    let (control, journal) = (stage.control().clone(), Arc::clone(&stage.platform.journal));
    let (checkpoints, stop) = (stage.directory.join("audit"), stage.shutdown.subscribe());
    stage.tasks.spawn(audit::run(control, journal, checkpoints, stop));
    stage.tenant("acme", "basic", "schema").await;
    stage.tenant("bolt", "basic", "shared").await;
    let before = stage.backed_up("acme").await;
    let hold = stage.hold("acme", Value::Null).await;
    assert_eq!(hold["review_at"], "2027-05-20T10:00:00Z", "180 days, if nothing is said");
    // At once is not possible, with retention it is: the tenant leaves now, and its erasure waits.
    let (status, refused) = stage.leaving("acme", 0).await;
    assert_eq!((status, &refused["code"]), (409, &json!("lifecycle.held")), "{refused}");
    let id = hold["id"].as_str().expect("an id");
    assert!(refused["detail"].as_str().expect("words").contains(id), "{refused}");
    assert_eq!(stage.get("/v1/tenants/acme").await["status"], "active");
    let (status, operation) = stage.leaving("acme", 1).await;
    assert_eq!((status, &operation["state"]), (202, &json!("scheduled")), "{operation}");
    let operation = operation["id"].as_str().expect("an id").to_owned();
    let (_, other) = stage.leaving("bolt", 1).await;
    stage.platform.hand.advance_us(40 * DAY_US);
    assert_eq!(stage.due().await, 1, "the neighbour's alone");
    stage.execute(&lifecycle::engine(stage.control()), other["id"].as_str().expect("an id")).await;
    let why = stage.get(&format!("/v1/operations/{operation}/explain")).await;
    assert_eq!((&why["state"], &why["blocked_by"]), (&json!("scheduled"), &json!([id])), "{why}");
    assert!(why["next"].as_str().expect("words").contains("case 2026-17"), "{why}");
    // Its backup is older than its tier keeps it, and stays.
    backup::expire(stage.control()).await.expect("looked");
    let path = format!("/v1/backups/{}", before["id"].as_str().expect("an id"));
    assert_eq!(stage.get(&path).await["state"], "ok");
    assert_eq!(stage.due().await, 0, "asked again, it waits on");

    let (status, released) = stage.release(&hold).await;
    assert_eq!((status, &released["state"]), (200, &json!("released")), "{released}");
    assert_eq!(stage.release(&hold).await.0, 409, "once");
    assert_eq!(stage.due().await, 1, "what waited goes on");
    let late = json!({"tenant": "acme", "case_id": "2", "basis": "b", "owner": "o"});
    let (status, refused) = stage.call("POST", "/v1/audit/holds", late.clone()).await;
    assert_eq!((status, &refused["code"]), (409, &json!("lifecycle.wrong_status")), "its erasure has begun");
    let ended = stage.execute(&lifecycle::engine(stage.control()), &operation).await;
    assert_eq!(ended["state"], "done", "{ended:#}");
    assert_eq!(stage.get(&path).await["state"], "shredded");
    assert_eq!(stage.call("POST", "/v1/audit/holds", late).await.0, 409, "it is gone");
    let listed = stage.get("/v1/audit/holds?state=released").await;
    assert_eq!(listed["items"][0]["release_reason"], "the case is closed", "{listed}");
    assert_eq!(stage.get("/v1/audit/holds?state=in_force").await["items"], json!([]));
    let told = "SELECT string_agg(ev, ' ' ORDER BY idx) FROM audit.events WHERE ev LIKE 'audit.hold%'";
    assert_eq!(stage.platform.ask(told).await, "audit.hold_placed audit.hold_released");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_backup_under_a_legal_hold_outlives_the_others_and_its_tenant_stays() {
    let stage = Stage::start().await;
    stage.tenant("acme", "basic", "shared").await;
    stage.tenant("bolt", "basic", "shared").await;
    let (kept, other) = (stage.backed_up("acme").await, stage.backed_up("acme").await);
    let foreign = stage.backed_up("bolt").await;
    let held = |backup: &Value| json!({"kind": "backup", "id": backup["id"]});
    let wanted = |resource: Value| json!({"tenant": "acme", "resource": resource, "case_id": "1", "basis": "b", "owner": "o"});
    for (resource, status) in [(held(&foreign), 404), (json!({"kind": "user", "id": "user_1"}), 422)] {
        let (seen, refused) = stage.call("POST", "/v1/audit/holds", wanted(resource)).await;
        assert_eq!(seen, status, "{refused}");
    }
    let hold = stage.hold("acme", held(&kept)).await;
    stage.platform.hand.advance_us(60 * DAY_US);
    backup::expire(stage.control()).await.expect("removed");
    let state = async |backup: &Value| {
        stage.get(&format!("/v1/backups/{}", backup["id"].as_str().expect("an id"))).await["state"].clone()
    };
    assert_eq!((state(&kept).await, state(&other).await), (json!("ok"), json!("expired")));
    assert_eq!(stage.leaving("acme", 0).await.1["code"], "lifecycle.held", "it would take the backup along");
    // It must be looked at again in time; when nobody does, it holds on and says so.
    let id = hold["id"].as_str().expect("an id");
    let review = format!("/v1/audit/holds/{id}/review");
    stage.platform.hand.advance_us(121 * DAY_US);
    assert_eq!(stage.get(&format!("/v1/audit/holds/{id}")).await["review_overdue"], true);
    let far = json!({"review_at": "2030-01-01T00:00:00Z"});
    assert_eq!(stage.call("POST", &review, far).await.0, 422, "not more than 180 days ahead");
    let (status, reviewed) = stage.call("POST", &review, json!({})).await;
    assert_eq!((status, &reviewed["review_overdue"]), (200, &json!(false)), "{reviewed}");
    stage.release(&hold).await;
    backup::expire(stage.control()).await.expect("removed");
    assert_eq!(state(&kept).await, "expired");
    assert_eq!(stage.call("POST", &review, json!({})).await.0, 409, "it is released");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_neither_sees_nor_lifts_a_hold_and_a_reader_places_none() {
    let stage = Stage::start().await;
    stage.tenant("acme", "basic", "shared").await;
    let hold = stage.hold("acme", Value::Null).await;
    let id = hold["id"].as_str().expect("an id");
    let key = stage.key_of("acme", true).await;
    let body = json!({"tenant": "acme", "case_id": "1", "basis": "b", "owner": "o"});
    for (method, path, body) in [
        ("GET", "/v1/audit/holds".to_owned(), None),
        ("GET", "/v1/audit/holds?tenant=acme".to_owned(), None),
        ("GET", format!("/v1/audit/holds/{id}"), None),
        ("POST", "/v1/audit/holds".to_owned(), Some(body.clone())),
        ("POST", format!("/v1/audit/holds/{id}/review"), Some(json!({}))),
        ("POST", format!("/v1/audit/holds/{id}/release"), Some(json!({"reason": "mine"}))),
    ] {
        let (status, refused) = stage.platform.call(&key, method, &path, body).await;
        assert_eq!(status, 403, "{method} {path}: {refused}");
    }
    let auditor = stage.operators_key("platform_auditor").await;
    let read = stage.platform.call(&auditor, "GET", "/v1/audit/holds", None).await;
    assert_eq!((read.0, &read.1["items"][0]["id"]), (200, &json!(id)), "{}", read.1);
    let refused = stage.platform.call(&auditor, "POST", "/v1/audit/holds", Some(body)).await;
    assert_eq!(refused.0, 403, "{}", refused.1);
    for field in ["case_id", "basis", "owner"] {
        let mut wrong = json!({"tenant": "acme", "case_id": "1", "basis": "b", "owner": "o"});
        wrong[field] = json!(" ");
        let (status, refused) = stage.call("POST", "/v1/audit/holds", wrong).await;
        let pointer = &refused["errors"][0]["pointer"];
        assert_eq!((status, pointer), (422, &json!(format!("/{field}"))), "{refused}");
    }
    assert_eq!(stage.get("/v1/audit/holds").await["items"].as_array().map(Vec::len), Some(1));
    stage.stop().await;
}
