//! Releases of a service: who gets which, promoted and taken back.

use rowhouse_control::catalog::{self, CatalogFile};
use rowhouse_domain::id::OPERATOR_TENANT;
use serde_json::{Value, json};

use crate::house::House;

const SPLITS: &str = "/v1/services/stamping/splits";

/// The shipped catalogue, with a second release of its service.
async fn house() -> House {
    let mut own = serde_json::to_value(catalog::shipped()).expect("JSON");
    let service = own["services"].as_array_mut().expect("services").iter_mut();
    let service = service.into_iter().find(|service| service["name"] == "stamping").expect("shipped");
    service["release"] = json!("2.1.0");
    service["releases"] = json!([{ "name": "2.2.0", "upstreams": ["127.0.0.1:9300"] }]);
    let own: CatalogFile = serde_json::from_value(own).expect("a catalogue");
    House::with(&own).await
}

/// Release and copies that a tenant would get.
async fn tried(house: &House, code: &str, headers: Value) -> (Value, Value) {
    let question = json!({ "method": "GET", "host": null, "path": "/v1/stamps", "headers": headers,
        "token_tenant": code });
    let answer = house.posted(&house.root, "/v1/routes/test", question).await;
    (answer["release"].clone(), answer["upstreams"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_given_to_some_then_to_all_and_taken_back() {
    let house = house().await;
    house.tenant("acme", "basic").await;
    house.tenant("bolt", "basic").await;
    let root = house.root.as_str();
    let first = house.platform.get(root, SPLITS).await;
    assert_eq!(
        (&first["default_release"], &first["releases"], &first["version"]),
        (&json!("2.1.0"), &json!(["2.1.0", "2.2.0"]), &json!(0))
    );
    assert_eq!(tried(&house, "acme", json!({})).await.0, "2.1.0");

    let header = json!({ "name": "x-release", "value": "next" });
    let wanted = json!({ "splits": [{ "release": "2.2.0", "tenants": ["acme"] },
        { "release": "2.2.0", "header": header }] });
    let put = async || house.platform.call(root, "PUT", SPLITS, Some(wanted.clone())).await;
    let (status, set) = put().await;
    assert_eq!((status, &set["version"]), (200, &json!(1)), "{set}");
    assert_eq!(put().await.1["version"], 1, "twice is once");
    house.settled().await;
    assert_eq!(tried(&house, "acme", json!({})).await, (json!("2.2.0"), json!(["127.0.0.1:9300"])));
    assert_eq!(tried(&house, "bolt", json!({})).await.0, "2.1.0");
    assert_eq!(tried(&house, "bolt", json!({ "X-Release": "next" })).await.0, "2.2.0");

    let promoted = house.posted(root, "/v1/services/stamping/promote", json!({ "release": "2.2.0" })).await;
    assert_eq!((&promoted["default_release"], &promoted["splits"]), (&json!("2.2.0"), &json!([])));
    house.settled().await;
    assert_eq!(tried(&house, "bolt", json!({})).await.0, "2.2.0");

    let back = house.posted(root, "/v1/services/stamping/rollback", json!({})).await;
    assert_eq!((&back["default_release"], &back["version"]), (&json!("2.1.0"), &json!(3)));
    let took = house.settled().await;
    assert!(took.as_millis() < 1_000, "in force within a second: {took:?}");
    assert_eq!(tried(&house, "bolt", json!({})).await.0, "2.1.0");
    assert_eq!(tried(&house, "acme", json!({})).await.0, "2.2.0", "and what was split before is split again");

    let events = house.events(OPERATOR_TENANT).await;
    assert_eq!(events.iter().filter(|name| *name == "routes.splits_changed").count(), 3, "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_splits_cannot_be_and_who_may_not() {
    let house = house().await;
    house.tenant("acme", "basic").await;
    let root = house.root.as_str();
    let refused = async |key: &str, method: &str, path: &str, body: Value| {
        let (status, problem) = house.platform.call(key, method, path, Some(body)).await;
        (status, problem["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned())
    };
    let split = |own: Value| json!({ "splits": [own] });
    for (body, at) in [
        (split(json!({ "release": "9", "weight": 5 })), "/splits/0/release"),
        (split(json!({ "release": "2.2.0", "weight": 101 })), "/splits/0/weight"),
        (split(json!({ "release": "2.2.0" })), "/splits/0"),
        (split(json!({ "release": "2.2.0", "tenants": ["nobody"] })), "/splits/0/tenants"),
        (json!({ "default_release": "9" }), "/default_release"),
    ] {
        let expected = (422, at.to_owned());
        assert_eq!(refused(root, "PUT", SPLITS, body.clone()).await, expected, "{body}");
    }
    let promote = "/v1/services/stamping/promote";
    assert_eq!(refused(root, "POST", promote, json!({ "release": "9" })).await.0, 422);
    assert_eq!(refused(root, "POST", "/v1/services/stamping/rollback", json!({})).await.0, 422);
    let nobody = "/v1/services/none/splits";
    assert_eq!(refused(root, "PUT", nobody, json!({})).await.0, 404);
    let admin = house.member("acme", "tenant_admin").await.key;
    assert_eq!(
        refused(&admin, "PUT", SPLITS, json!({})).await.0,
        404,
        "where things run is not a tenant's to know"
    );
    assert_eq!(house.platform.call(&admin, "GET", SPLITS, None).await.0, 404);
    assert_eq!(house.platform.get(root, SPLITS).await["version"], 0, "nothing was changed");
}
