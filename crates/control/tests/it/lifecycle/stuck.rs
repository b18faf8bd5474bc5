//! Operations that wait for a person.

use std::time::Duration;

use super::*;

/// Fails after `store`, and one undo on the way back fails for good.
fn cannot_be_undone() -> Kind<Shared> {
    let mut kind = lifecycle::provision::kind();
    kind.steps.insert(
        3,
        Step {
            name: "jam",
            deadline: Duration::from_secs(10),
            action: Action::Nothing,
            undo: Action::Outside(|_| {
                Box::pin(async { Err(StepError::never("test.planted", "a jammed undo")) })
            }),
        },
    );
    kind.steps.insert(4, fault());
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
    assert_eq!(stage.call("POST", &path, json!({"reason": "again"})).await.0, 409);
    stage.stop().await;
}
