//! Reading lists and editing tenants.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_names_its_version_or_is_refused_when_somebody_was_faster() {
    let stage = Stage::start().await;
    let tenant = stage.tenant("acme", "basic", "shared").await;
    let version = tenant["version"].as_i64().expect("a version");
    let current = format!("\"{version}\"");
    let edit = json!({"company_name": "Acme AG", "quota_overrides": {"users": "7"}, "metadata": {"crm": 12},
        "billing_contact": {"email": "b@acme.example", "address": {"country": "DE"}}});
    let (status, edited) =
        stage.call_with(("if-match", &current), "PATCH", "/v1/tenants/acme", edit.clone()).await;
    assert_eq!(status, 200, "{edited}");
    assert_eq!((&edited["company_name"], &edited["quotas"]["users"]), (&json!("Acme AG"), &json!("7")));
    assert_eq!(edited["version"], version + 1);
    let (status, refused) = stage.call_with(("if-match", &current), "PATCH", "/v1/tenants/acme", edit).await;
    assert_eq!((status, &refused["code"]), (412, &json!("api.changed_meanwhile")));
    // Absent stays, null clears.
    let patch = json!({"metadata": {"crm": null, "note": "x"}, "quota_overrides": {"users": null}});
    let (_, edited) = stage.call("PATCH", "/v1/tenants/acme", patch).await;
    assert_eq!((&edited["metadata"], &edited["quotas"]["users"]), (&json!({"note": "x"}), &json!("50")));
    assert_eq!(edited["billing_contact"]["address"]["country"], "DE");
    let (_, same) = stage.call("PATCH", "/v1/tenants/acme", json!({"company_name": "Acme AG"})).await;
    assert_eq!(same["version"], edited["version"], "nothing changed");
    for wrong in [
        json!({"code": "other"}),
        json!({"company_name": " "}),
        json!({"quota_overrides": {"flights": "1"}}),
        json!({"quota_overrides": {"users": "-1"}}),
        json!({"billing_contact": {"phone": "1"}}),
        json!({"billing_contact": {"address": {"country": "Germany"}}}),
    ] {
        assert_eq!(stage.call("PATCH", "/v1/tenants/acme", wrong.clone()).await.0, 422, "{wrong}");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_filtered_and_paged_without_skipping() {
    let stage = Stage::start().await;
    for (code, tier) in [("acme", "basic"), ("bolt", "professional"), ("crane", "basic"), ("dune", "basic")] {
        stage.ask_for(code, tier, "shared").await;
        stage.platform.hand.advance_us(1_000);
    }
    let codes = |list: &Value| {
        let items = list["items"].as_array().expect("a list");
        items.iter().map(|item| item["code"].as_str().expect("a code").to_owned()).collect::<Vec<_>>()
    };
    let first = stage.get("/v1/tenants?limit=3").await;
    assert_eq!(codes(&first), ["acme", "bolt", "crane"]);
    let cursor = first["next_cursor"].as_str().expect("more");
    let second = stage.get(&format!("/v1/tenants?limit=3&cursor={cursor}")).await;
    assert_eq!((codes(&second), &second["next_cursor"]), (vec!["dune".to_owned()], &Value::Null));
    assert_eq!(codes(&stage.get("/v1/tenants?tier=professional,premium").await), ["bolt"]);
    assert_eq!(codes(&stage.get("/v1/tenants?status=active").await), Vec::<String>::new());
    assert_eq!(codes(&stage.get("/v1/tenants?q=RAN&isolation=shared").await), ["crane"]);
    let (status, _) = stage.call("GET", &format!("/v1/tenants?tier=basic&cursor={cursor}"), json!({})).await;
    assert_eq!(status, 422, "the cursor belongs to another query");
    assert_eq!(stage.call("GET", "/v1/tenants?colour=red", json!({})).await.0, 400);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_residency_names_regions_and_leaves_nothing_of_the_tenant_outside() {
    let stage = Stage::start().await;
    let wanted = |residency: Value| json!({"code": "acme", "company_name": "Acme", "tier": "basic", "residency": residency});
    for (residency, pointer) in [
        (json!(["mars-1"]), "/residency/0"),
        (json!(["eu1", "eu1"]), "/residency/1"),
        (json!(vec!["eu1"; 17]), "/residency"),
    ] {
        let (status, refused) = stage.call("POST", "/v1/tenants", wanted(residency)).await;
        assert_eq!((status, &refused["errors"][0]["pointer"]), (422, &json!(pointer)), "{refused}");
    }
    let (status, operation) = stage.call("POST", "/v1/tenants", wanted(json!(["eu1"]))).await;
    assert_eq!(status, 202, "{operation}");
    let ended =
        stage.execute(&lifecycle::engine(stage.control()), operation["id"].as_str().expect("an id")).await;
    assert_eq!(ended["state"], "done", "it lies where it may: {ended:#}");
    let tenant = stage.get("/v1/tenants/acme").await;
    assert_eq!(tenant["residency"], json!(["eu1"]));
    let (_, free) =
        stage.call("PATCH", "/v1/tenants/acme", json!({"residency": [], "company_name": "A"})).await;
    assert_eq!(
        (&free["residency"], &free["version"]),
        (&json!([]), &json!(tenant["version"].as_i64().expect("a version") + 1))
    );
    assert_eq!(stage.call("PATCH", "/v1/tenants/acme", json!({"residency": ["mars-1"]})).await.0, 422);

    // A cell elsewhere, as from before the tenant wanted to be here only, and a copy of the tenant's in it.
    stage.platform.execute("UPDATE tenancy.cells SET region = 'us1'").await;
    let tried = "/v1/tenants/acme?dry_run=true";
    let (status, effect) = stage.call("PATCH", tried, json!({"residency": ["eu1"]})).await;
    assert_eq!((status, &effect["allowed"]), (200, &json!(["eu1"])), "{effect}");
    let place = json!([{"store": "place", "name": tenancy::LOCAL_CELL, "region": "us1"}]);
    assert_eq!(effect["outside"], place);
    assert_eq!(stage.get("/v1/tenants/acme").await["residency"], json!([]), "it was only said");
    let (status, refused) = stage.call("PATCH", "/v1/tenants/acme", json!({"residency": ["eu1"]})).await;
    assert_eq!((status, &refused["code"]), (409, &json!("tenancy.residency_conflict")), "{refused}");
    assert!(refused["errors"][0]["detail"].as_str().is_some_and(|words| words.contains("us1")), "{refused}");
    assert_eq!(
        stage.call("PATCH", tried, json!({"company_name": "B"})).await.0,
        422,
        "only a residency is tried out"
    );
    stage.platform.execute("UPDATE tenancy.cells SET region = 'eu1'").await;
    let (status, kept) = stage.call("PATCH", "/v1/tenants/acme", json!({"residency": ["eu1"]})).await;
    assert_eq!((status, &kept["residency"]), (200, &json!(["eu1"])));
    stage.stop().await;
}
