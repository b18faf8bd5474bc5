//! Provisioning on all four levels, and asking twice.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_provisioned_on_every_level() {
    let stage = Stage::start().await;
    for (code, tier, isolation, database, schema) in [
        ("acme", "basic", "shared", "rh_shared", "stamping"),
        ("bolt", "professional", "schema", "rh_schemas_1", "t_"),
        ("crane", "enterprise", "database", "t_", "stamping"),
        ("dune", "premium", "instance", "t_", "stamping"),
    ] {
        let tenant = stage.tenant(code, tier, isolation).await;
        assert_eq!((&tenant["status"], &tenant["isolation"]), (&json!("active"), &json!(isolation)));
        let placement = &tenant["placement"];
        let starts = |value: &Value, with: &str| value.as_str().expect("a name").starts_with(with);
        assert!(starts(&placement["database_name"], database), "{placement}");
        assert_eq!(placement["epoch"], 1);
        // Services are told of it.
        let id = tenant["id"].as_str().expect("an id").parse().expect("a tenant's id");
        let plane = tenancy::plane::build(stage.control(), "stamping", Some(id)).await.expect("a plane");
        let place = &plane.places[&id];
        assert!(place.schema.starts_with(schema), "{place:?}");
        assert_eq!(place.rights.letters(), "rwd");
        assert!(plane.cells.contains_key(&place.cell) && plane.databases.len() == 1);
        // The gateway knows it, so its context can be asked for.
        let context = stage.get(&format!("/v1/tenants/{code}/context")).await;
        assert_eq!(context["features"]["api_access"], true, "{context}");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_tells_its_steps_and_a_tenant_begins_with_an_owner_and_a_plan() {
    let stage = Stage::start().await;
    let id = stage.ask_for("acme", "basic", "shared").await;
    let begun = stage.operation(&id).await;
    assert_eq!(
        (&begun["kind"], &begun["state"], &begun["progress"]),
        (&json!("provision"), &json!("running"), &json!(0.0))
    );
    assert_eq!(begun["steps"].as_array().map(Vec::len), Some(9));
    assert_eq!(
        begun["steps"][0],
        json!({"name": "reserve", "state": "waiting", "started_at": null, "finished_at": null, "detail": null})
    );
    let waiting = stage.get("/v1/tenants/acme").await;
    assert_eq!((&waiting["status"], &waiting["placement"]), (&json!("provisioning"), &Value::Null));
    let done = stage.execute(&lifecycle::engine(stage.control()), &id).await;
    assert_eq!(
        (&done["state"], &done["progress"], &done["problem"]),
        (&json!("done"), &json!(1.0), &Value::Null),
        "{done:#}"
    );
    assert_eq!(done["result"]["in_force"], true);
    let listed = stage.get("/v1/operations?tenant=acme&state=done&kind=provision").await;
    assert_eq!(listed["items"][0]["id"], id.as_str());
    assert_eq!(stage.get("/v1/operations?state=stuck,running").await["items"], json!([]));
    let owner = "SELECT a.name || ' ' || g.role FROM keys.service_accounts a JOIN access.grants g ON g.principal_id = a.service_account_id \
         WHERE a.tenant_id <> '00000000-0000-0000-0000-000000000001'";
    assert_eq!(stage.platform.ask(owner).await, "owner tenant_admin");
    assert_eq!(stage.platform.ask("SELECT plan FROM billing.subscriptions").await, "basic");
    let probes = "SELECT output->>'probes_refused' FROM lifecycle.saga_steps WHERE step = 'verify' AND event = 'succeeded'";
    assert_eq!(stage.platform.ask(probes).await, "8");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_an_operation_is_answered_once_it_is_over() {
    let stage = Stage::start().await;
    let id = stage.ask_for("acme", "basic", "shared").await;
    let path = format!("/v1/operations/{id}");
    let waited = |wait: &'static str| stage.call_with(("prefer", wait), "GET", &path, json!({}));
    // Nobody executes it yet.
    assert_eq!(waited("wait=1").await.1["state"], "running");
    let engine = lifecycle::engine(stage.control());
    let ((_, told), executed) = tokio::join!(waited("wait=5"), stage.execute(&engine, &id));
    assert_eq!((&told["state"], &executed["state"]), (&json!("done"), &json!("done")));
    assert_eq!(told["result"], executed["result"]);
    // What is over already, or is not there, is not waited for.
    let begun = tokio::time::Instant::now();
    assert_eq!(waited("wait=5").await.1["state"], "done");
    let other = "/v1/operations/operation_01h455vb4pex5vsknk084sn02q";
    assert_eq!(stage.call_with(("prefer", "wait=5"), "GET", other, json!({})).await.0, 404);
    assert!(begun.elapsed() < std::time::Duration::from_secs(4));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_idempotency_key_twice_is_one_tenant() {
    let stage = Stage::start().await;
    let body = json!({"code": "acme", "company_name": "Acme GmbH", "tier": "basic"});
    let key = ("idempotency-key", "once");
    let (first, second) = tokio::join!(
        stage.call_with(key, "POST", "/v1/tenants", body.clone()),
        stage.call_with(key, "POST", "/v1/tenants", body.clone())
    );
    assert_eq!((first.0, second.0), (202, 202), "{first:?} {second:?}");
    assert_eq!(first.1["id"], second.1["id"]);
    let count = "SELECT count(*) FROM tenancy.tenants WHERE code = 'acme'";
    assert_eq!(stage.platform.ask(count).await, "1");
    assert_eq!(stage.platform.ask("SELECT count(*) FROM lifecycle.sagas").await, "1");
    let other = json!({"code": "bolt", "company_name": "Bolt", "tier": "basic"});
    let (status, refused) = stage.call_with(key, "POST", "/v1/tenants", other).await;
    assert_eq!((status, &refused["code"]), (422, &json!("api.idempotency_mismatch")));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_with_its_reason() {
    let stage = Stage::start().await;
    stage.ask_for("acme", "basic", "shared").await;
    let good = json!({"code": "bolt", "company_name": "Bolt", "tier": "basic"});
    for (field, value, status, code) in [
        ("code", json!("acme"), 409, "tenancy.code_taken"),
        ("code", json!("www"), 409, "tenancy.code_taken"),
        ("code", json!("No"), 422, "api.invalid"),
        ("company_name", json!(""), 422, "api.invalid"),
        ("tier", json!("golden"), 422, "tenancy.unknown_tier"),
        ("isolation", json!("database"), 422, "tenancy.isolation_not_allowed"),
        ("isolation", json!("nowhere"), 422, "tenancy.isolation_not_allowed"),
        ("region", json!("mars-1"), 422, "api.invalid"),
        ("metadata", json!([1]), 422, "api.invalid"),
        ("billing", json!({"email": "nobody"}), 422, "api.invalid"),
        ("colour", json!("red"), 422, "api.invalid"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let (got, refused) = stage.call("POST", "/v1/tenants", body).await;
        assert_eq!((got, refused["code"].as_str()), (status, Some(code)), "{field}: {refused}");
    }
    let count = "SELECT count(*) FROM tenancy.tenants WHERE code = 'bolt'";
    assert_eq!(stage.platform.ask(count).await, "0");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_sees_itself_and_nobody_else() {
    let stage = Stage::start().await;
    stage.tenant("acme", "basic", "shared").await;
    stage.tenant("bolt", "basic", "shared").await;
    let operation = stage.get("/v1/operations?tenant=bolt").await["items"][0]["id"].clone();
    let owner = "SELECT service_account_id FROM keys.service_accounts JOIN tenancy.tenants USING (tenant_id) WHERE code = 'acme'";
    let owner =
        rowhouse_domain::id::ServiceAccountId(stage.platform.ask(owner).await.parse().expect("a UUID"));
    let wanted =
        json!({"name": "own", "owner": {"kind": "service_account", "id": owner}, "roles": ["tenant_admin"]});
    let (status, key) = stage.call("POST", "/v1/keys?tenant=acme", wanted).await;
    assert_eq!(status, 201, "{key}");
    let key = key["key"].as_str().expect("the key's text").to_owned();
    let seen = |path: &'static str| {
        let (platform, key) = (&stage.platform, key.clone());
        async move { platform.call(&key, "GET", path, None).await }
    };
    // The directory follows the new key within a moment.
    let mut own = seen("/v1/tenants/acme").await;
    while own.0 == 401 {
        own = seen("/v1/tenants/acme").await;
    }
    assert_eq!((own.0, &own.1["placement"]), (200, &Value::Null), "{}", own.1);
    assert_eq!(seen("/v1/tenants/bolt").await.0, 404);
    assert_eq!(seen("/v1/tenants/bolt/context").await.0, 404);
    let list = seen("/v1/tenants").await.1;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
    let path = format!("/v1/operations/{}", operation.as_str().expect("an id"));
    assert_eq!(stage.platform.call(&key, "GET", &path, None).await.0, 404);
    let (status, _) = stage
        .platform
        .call(&key, "POST", "/v1/tenants/bolt/suspend", Some(json!({"mode": "blocked", "reason": "x"})))
        .await;
    assert_eq!(status, 404);
    stage.stop().await;
}
