//! Operations that wait for a person.

use std::time::Duration;

use super::*;

/// Fails after `store`, and one undo on the way back fails for good.
fn cannot_be_undone() -> Kind<Shared> {
    jammed(lifecycle::provision::kind(), 3)
}

/// Fails behind the step of this number, and one undo on the way back fails for good.
fn jammed(mut kind: Kind<Shared>, at: usize) -> Kind<Shared> {
    kind.steps.insert(
        at,
        Step {
            name: "jam",
            deadline: Duration::from_secs(10),
            action: Action::Nothing,
            undo: Action::Outside(|_| {
                Box::pin(async { Err(StepError::never("test.planted", "a jammed undo")) })
            }),
        },
    );
    kind.steps.insert(at + 1, fault());
    kind
}

async fn stuck(stage: &Stage) -> (Engine<Shared>, String) {
    let engine = engine_of(stage.control(), cannot_be_undone());
    let id = stage.ask_for("acme", "basic", "schema").await;
    let operation = stage.execute(&engine, &id).await;
    assert_eq!(operation["state"], "stuck", "{operation:#}");
    assert_eq!(operation["problem"]["step"], "fault");
    assert_eq!(operation["problem"]["stuck_at"], "jam");
    (engine, id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skipped_it_ends_with_nothing_left() {
    let stage = Stage::start().await;
    let before = stage.traces().await;
    let (engine, id) = stuck(&stage).await;
    let why = stage.get(&format!("/v1/operations/{id}/explain")).await;
    assert_eq!(
        (&why["state"], &why["step"], &why["attempts"]),
        (&json!("stuck"), &json!("jam"), &json!(2)),
        "{why}"
    );
    assert_eq!(why["to_undo"], json!(["jam", "store", "place", "reserve"]));
    assert_eq!(why["choices"], json!(["resume", "skip", "abandon"]));
    assert_eq!(why["inventory"].as_array().map(Vec::len), Some(2), "{why}");
    let cancelled = stage.call("POST", &format!("/v1/operations/{id}/cancel"), json!({"reason": "no"})).await;
    assert_eq!(cancelled.0, 409, "{}", cancelled.1);
    let path = format!("/v1/operations/{id}/skip");
    let (status, refused) = stage.call("POST", &path, json!({"reason": ""})).await;
    assert_eq!((status, &refused["errors"][0]["pointer"]), (422, &json!("/reason")));
    let (status, refused) = stage.call("POST", &path, json!({"step": "store", "reason": "by hand"})).await;
    assert_eq!((status, &refused["code"]), (409, &json!("lifecycle.wrong_status")));
    let (status, operation) =
        stage.call("POST", &path, json!({"step": "jam", "reason": "freed by hand"})).await;
    assert_eq!((status, &operation["state"]), (200, &json!("running")), "{operation}");
    let operation = stage.execute(&engine, &id).await;
    assert_eq!(operation["state"], "undone");
    assert_eq!(stage.traces().await, before);
    let event = "SELECT draft->>'event' || ' ' || (draft->'details'->>'reason') FROM audit.outbox \
         WHERE draft->>'event' LIKE 'lifecycle.operation%'";
    assert_eq!(stage.platform.ask(event).await, "lifecycle.operation_skipped freed by hand");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_the_tenant_has_failed_and_the_inventory_says_what_is_left() {
    let stage = Stage::start().await;
    let (_, id) = stuck(&stage).await;
    let path = format!("/v1/operations/{id}/abandon");
    let (status, operation) = stage.call("POST", &path, json!({"reason": "the cell is lost"})).await;
    assert_eq!((status, &operation["state"]), (200, &json!("failed")), "{operation}");
    assert_eq!(stage.get("/v1/tenants/acme").await["status"], "failed");
    let left = "SELECT string_agg(kind, ' ' ORDER BY kind) FROM lifecycle.inventory WHERE state <> 'gone'";
    assert_eq!(stage.platform.ask(left).await, "role schema");
    let (status, refused) = stage.call("POST", &path, json!({"reason": "again"})).await;
    assert_eq!((status, &refused["code"]), (409, &json!("lifecycle.wrong_status")));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provisioning_that_is_cancelled_turns_back_and_one_that_is_over_does_not() {
    let stage = Stage::start().await;
    let before = stage.traces().await;
    let id = stage.ask_for("acme", "basic", "schema").await;
    let path = format!("/v1/operations/{id}/cancel");
    assert_eq!(stage.get(&format!("/v1/operations/{id}/explain")).await["choices"], json!(["cancel"]));
    let (status, operation) = stage.call("POST", &path, json!({"reason": "a mistake"})).await;
    assert_eq!((status, &operation["state"]), (200, &json!("running")), "{operation}");
    let operation = stage.execute(&lifecycle::engine(stage.control()), &id).await;
    assert_eq!(
        (&operation["state"], &operation["problem"]["code"]),
        (&json!("undone"), &json!("lifecycle.cancelled"))
    );
    assert_eq!(stage.traces().await, before);
    assert_eq!(stage.get("/v1/tenants/acme").await["status"], "failed", "nobody waits for it any more");
    assert_eq!(stage.call("POST", &path, json!({"reason": "again"})).await.0, 409);
    stage.stop().await;
}

/// Orders of every kind of operation that can turn back: path, body, its kind, and how many of its steps are done before it jams.
fn orders(backup: &str) -> Vec<(String, Value, Kind<Shared>, usize)> {
    vec![
        ("/v1/restores?tenant=acme".to_owned(), json!({}), lifecycle::restore::kind(), 2),
        (format!("/v1/backups/{backup}/verify"), json!({}), lifecycle::restore::verify_kind(), 2),
        ("/v1/tenants/acme/export".to_owned(), json!({}), lifecycle::export::kind(), 1),
        ("/v1/tenants/acme/move".to_owned(), json!({"isolation": "schema"}), lifecycle::relocate::kind(), 1),
        (
            "/v1/tenants/acme/change_tier".to_owned(),
            json!({"tier": "professional"}),
            lifecycle::change_tier::kind(),
            1,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_operation_that_is_stuck_is_seen_and_decided_by_the_operator_alone() {
    let stage = Stage::start().await;
    stage.tenant("acme", "basic", "shared").await;
    let own = stage.key_of("acme", true).await;
    let other = stage.key_of("bolt", false).await;
    let reader = stage.operators_key("platform_auditor").await;
    let backup = stage.backed_up("acme").await;
    let before = stage.traces().await;
    for (path, body, kind, at) in orders(backup["id"].as_str().expect("an id")) {
        let engine = engine_of(stage.control(), jammed(kind, at));
        let (status, operation) = stage.call("POST", &path, body).await;
        assert_eq!(status, 202, "{path}: {operation}");
        let id = operation["id"].as_str().expect("an id").to_owned();
        let operation = stage.execute(&engine, &id).await;
        assert_eq!(
            (&operation["state"], &operation["problem"]["stuck_at"]),
            (&json!("stuck"), &json!("jam")),
            "{path}"
        );
        let why = stage.get(&format!("/v1/operations/{id}/explain")).await;
        assert_eq!(why["choices"], json!(["resume", "skip", "abandon"]), "{path}: {why}");
        let listed = stage.get("/v1/operations?state=stuck").await;
        assert_eq!(listed["items"][0]["id"], json!(id), "{path}");
        for (caller, key) in [("its tenant", &own), ("another tenant", &other), ("a reader", &reader)] {
            for decision in ["resume", "skip", "abandon", "cancel"] {
                let decide = format!("/v1/operations/{id}/{decision}");
                let body = json!({"reason": "let me"});
                let (status, refused) = stage.platform.call(key, "POST", &decide, Some(body)).await;
                assert!([403, 404].contains(&status), "{path}: {caller} {decision}: {status} {refused}");
            }
        }
        let hidden = stage.platform.call(&other, "GET", &format!("/v1/operations/{id}"), None).await;
        assert_eq!(hidden.0, 404, "{path}: {}", hidden.1);
        let decide = |decision: &str| format!("/v1/operations/{id}/{decision}");
        let reason = json!({"step": "jam", "reason": "freed by hand"});
        assert_eq!(stage.call("POST", &decide("resume"), reason.clone()).await.0, 200, "{path}");
        assert_eq!(stage.execute(&engine, &id).await["state"], "stuck", "{path}: it is still jammed");
        assert_eq!(stage.call("POST", &decide("skip"), reason.clone()).await.0, 200, "{path}");
        assert_eq!(stage.execute(&engine, &id).await["state"], "undone", "{path}");
        assert_eq!(stage.call("POST", &decide("skip"), reason).await.0, 409, "{path}: twice");
        assert_eq!(stage.traces().await, before, "{path}");
        assert_eq!(stage.get("/v1/tenants/acme").await["status"], "active", "{path}");
    }
    stage.stop().await;
}
