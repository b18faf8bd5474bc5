//! Provisioning that fails after each of its steps, and steps that are done and undone twice.

use super::*;

/// The saga with a fault behind the step of this number.
fn failing_after(index: usize) -> Kind<Shared> {
    let mut kind = lifecycle::provision::kind();
    kind.steps.insert(index + 1, fault());
    kind
}

async fn fails_at_each_step(tier: &str, isolation: &str) {
    let stage = Stage::start().await;
    let before = stage.traces().await;
    // The last step opens the tenant: nothing after it fails.
    for index in 0..lifecycle::provision::STEPS.len() - 1 {
        let code = format!("acme{index}");
        let id = stage.ask_for(&code, tier, isolation).await;
        let operation = stage.execute(&engine_of(stage.control(), failing_after(index)), &id).await;
        let step = lifecycle::provision::STEPS[index];
        assert_eq!(operation["state"], "undone", "{step}: {operation:#}");
        assert_eq!(operation["problem"]["code"], "test.planted", "{step}");
        assert_eq!(stage.get(&format!("/v1/tenants/{code}")).await["status"], "failed", "{step}");
        assert_eq!(stage.traces().await, before, "{step}");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_at_each_step_leaves_nothing_on_shared() {
    fails_at_each_step("basic", "shared").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_at_each_step_leaves_nothing_on_schema() {
    fails_at_each_step("basic", "schema").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_at_each_step_leaves_nothing_on_database() {
    fails_at_each_step("enterprise", "database").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_at_each_step_leaves_nothing_on_instance() {
    fails_at_each_step("premium", "instance").await;
}

/// Each step outside the control database follows itself: it is done twice, and undone twice.
fn doubled() -> Kind<Shared> {
    let mut kind = lifecycle::provision::kind();
    for name in ["store", "tables", "deploy", "verify"] {
        let at = kind.steps.iter().position(|step| step.name == name).expect("a step");
        let Step { deadline, action, undo, .. } = kind.steps[at];
        let again = format!("{name} again").leak();
        kind.steps.insert(at + 1, Step { name: again, deadline, action, undo });
    }
    kind
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_outside_may_be_repeated_both_ways_on_all_levels() {
    let stage = Stage::start().await;
    let before = stage.traces().await;
    for (tier, isolation) in
        [("basic", "shared"), ("basic", "schema"), ("enterprise", "database"), ("premium", "instance")]
    {
        let mut kind = doubled();
        kind.steps.push(fault());
        // Opening it would forbid the way back.
        kind.steps.retain(|step| step.name != "activate");
        let id = stage.ask_for(isolation, tier, isolation).await;
        let undone = stage.execute(&engine_of(stage.control(), kind), &id).await;
        assert_eq!(undone["state"], "undone", "{isolation}: {undone:#}");
        assert_eq!(stage.traces().await, before, "{isolation}");
        let id = stage.ask_for(&format!("{isolation}-twice"), tier, isolation).await;
        let done = stage.execute(&engine_of(stage.control(), doubled()), &id).await;
        assert_eq!(done["state"], "done", "{isolation}: {done:#}");
        // The next level starts from what this one has left.
        let tenant = stage.get(&format!("/v1/tenants/{isolation}-twice")).await;
        assert_eq!(tenant["status"], "active");
        break_off(&stage).await;
    }
    stage.stop().await;
}

/// Makes the tenant that was just provisioned look unfinished, and unwinds it: what was done twice is taken away once.
async fn break_off(stage: &Stage) {
    stage
        .platform
        .execute(
            "UPDATE tenancy.tenants SET status = 'provisioning' WHERE status = 'active' AND code LIKE '%-twice'; \
             UPDATE lifecycle.sagas SET state = 'unwinding', finished_at = NULL, lease_until = NULL WHERE state = 'done'",
        )
        .await;
    let engine = engine_of(stage.control(), doubled());
    while stage.platform.ask("SELECT count(*) FROM lifecycle.sagas WHERE state = 'unwinding'").await != "0" {
        engine.run_one().await.expect("the control database is there");
        stage.platform.hand.advance_us(1_000_000);
    }
    assert_eq!(stage.platform.ask("SELECT count(*) FROM lifecycle.sagas WHERE state <> 'undone'").await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_code_of_a_failed_tenant_is_free_at_once() {
    let stage = Stage::start().await;
    let id = stage.ask_for("acme", "basic", "shared").await;
    stage.execute(&engine_of(stage.control(), failing_after(2)), &id).await;
    let again = json!({"code": "acme", "company_name": "Acme GmbH", "tier": "basic"});
    let (status, operation) = stage.call("POST", "/v1/tenants", again.clone()).await;
    assert_eq!(status, 202, "{operation}");
    let (status, refused) = stage.call("POST", "/v1/tenants", again).await;
    assert_eq!((status, &refused["code"]), (409, &json!("tenancy.code_taken")), "it is being made");
    stage.stop().await;
}
