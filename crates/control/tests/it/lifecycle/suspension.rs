//! Suspending and resuming: status, database, directory, services.

use rowhouse_domain::tenancy::Service;

use super::*;

const RIGHTS: &str = "SELECT rights FROM rh.place";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspension_is_in_force_in_the_directory_and_in_the_database_and_ends() {
    let stage = Stage::start().await;
    let tenant = stage.tenant("acme", "basic", "schema").await;
    let id = tenant["id"].as_str().expect("an id").parse().expect("a tenant's id");
    let service = |wanted: Service| {
        let directory = stage.control().directory.clone();
        async move {
            while directory.current().tenants.get(&id).map(|entry| entry.service) != Some(wanted) {
                tokio::task::yield_now().await;
            }
        }
    };
    let read_only = json!({"mode": "read_only", "reason": "an unpaid bill", "cause": "billing"});
    let (status, suspended) = stage.call("POST", "/v1/tenants/acme/suspend", read_only.clone()).await;
    assert_eq!((status, &suspended["status"]), (200, &json!("suspended")), "{suspended}");
    assert_eq!(suspended["suspension"]["reason"], "an unpaid bill");
    assert_eq!(stage.in_cell("rh_schemas_1", RIGHTS).await, "r");
    service(Service::ReadOnly).await;
    let plane = tenancy::plane::build(stage.control(), "stamping", None).await.expect("a plane");
    assert_eq!(plane.places[&id].rights.letters(), "r");

    let (status, refused) = stage.call("POST", "/v1/tenants/acme/suspend", read_only.clone()).await;
    assert_eq!((status, &refused["code"]), (409, &json!("lifecycle.wrong_status")));
    let (status, active) = stage.call("POST", "/v1/tenants/acme/resume", json!({"reason": "paid"})).await;
    assert_eq!(
        (status, &active["status"], &active["suspension"]),
        (200, &json!("active"), &Value::Null),
        "{active}"
    );
    assert_eq!(stage.in_cell("rh_schemas_1", RIGHTS).await, "rwd");
    service(Service::Full).await;

    let blocked = json!({"mode": "blocked", "reason": "an attack"});
    stage.call("POST", "/v1/tenants/acme/suspend", blocked).await;
    assert_eq!(stage.in_cell("rh_schemas_1", RIGHTS).await, "");
    service(Service::Suspended).await;
    let (status, other) = stage.call("POST", "/v1/tenants/acme/suspend", read_only).await;
    assert_eq!((status, &other["suspension"]["mode"]), (200, &json!("read_only")), "{other}");
    assert_eq!(stage.in_cell("rh_schemas_1", RIGHTS).await, "r");
    service(Service::ReadOnly).await;
    let events = "SELECT string_agg(draft->>'event', ' ' ORDER BY id) FROM audit.outbox WHERE draft->>'event' LIKE 'lifecycle.tenant_%ed'";
    assert_eq!(
        stage.platform.ask(events).await,
        "lifecycle.tenant_provisioned lifecycle.tenant_activated lifecycle.tenant_suspended lifecycle.tenant_resumed lifecycle.tenant_suspended lifecycle.tenant_suspended"
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_leaves_between_record_and_database_is_brought_about() {
    let mut stage = Stage::start().await;
    stage.tenant("acme", "basic", "shared").await;
    // As if the process had ended right after the commit.
    stage.platform.execute("UPDATE tenancy.places SET rights = ''").await;
    assert_eq!(stage.in_cell("rh_shared", RIGHTS).await, "rwd");
    stage.run_lifecycle();
    while !stage.in_cell("rh_shared", RIGHTS).await.is_empty() {
        tokio::task::yield_now().await;
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_active_is_not_suspended_and_what_is_not_suspended_is_not_resumed() {
    let stage = Stage::start().await;
    stage.ask_for("acme", "basic", "shared").await;
    let suspend = json!({"mode": "blocked", "reason": "x"});
    assert_eq!(stage.call("POST", "/v1/tenants/acme/suspend", suspend.clone()).await.0, 409);
    assert_eq!(stage.call("POST", "/v1/tenants/acme/resume", json!({"reason": "x"})).await.0, 409);
    assert_eq!(stage.call("POST", "/v1/tenants/nobody/suspend", suspend.clone()).await.0, 404);
    assert_eq!(stage.call("POST", "/v1/tenants/operator/suspend", suspend).await.0, 404);
    let unknown = json!({"mode": "blocked", "reason": "x", "cause": "weather"});
    assert_eq!(stage.call("POST", "/v1/tenants/acme/suspend", unknown).await.0, 422);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspension_for_security_ends_only_when_two_want_it() {
    let stage = Stage::start().await;
    stage.tenant("acme", "basic", "shared").await;
    let security = json!({"mode": "read_only", "reason": "a leaked key", "cause": "security"});
    assert_eq!(stage.call("POST", "/v1/tenants/acme/suspend", security).await.0, 200);
    // Suspending it otherwise does not make the cause another one.
    let other = json!({"mode": "blocked", "reason": "to be sure", "cause": "operator"});
    let (_, blocked) = stage.call("POST", "/v1/tenants/acme/suspend", other).await;
    assert_eq!(blocked["suspension"]["cause"], "security", "{blocked}");
    let resume = json!({"reason": "the key is revoked"});
    let (status, asked) = stage.call("POST", "/v1/tenants/acme/resume", resume.clone()).await;
    assert_eq!((status, &asked["status"]), (202, &json!("suspended")), "{asked}");
    assert_eq!(asked["suspension"]["resume_asked"]["reason"], "the key is revoked");
    let (status, refused) = stage.call("POST", "/v1/tenants/acme/resume", resume.clone()).await;
    assert_eq!((status, &refused["code"]), (409, &json!("lifecycle.wrong_status")), "one person is not two");
    // The first person's word does not hold for ever.
    stage.platform.hand.advance_us(72 * 3_600_000_000 + 1);
    let second = stage.second_operator().await;
    let again = stage.platform.call(&second, "POST", "/v1/tenants/acme/resume", Some(resume.clone())).await;
    assert_eq!(again.0, 202, "{}", again.1);
    let (status, active) = stage.call("POST", "/v1/tenants/acme/resume", resume).await;
    assert_eq!((status, &active["status"]), (200, &json!("active")), "{active}");
    stage.stop().await;
}
