//! Releases of a service: who gets which, promoted and taken back.

use rowhouse_control::catalog::{self, CatalogFile};
use rowhouse_domain::id::{OPERATOR_TENANT, TenantId};
use rowhouse_domain::routes::{CircuitState, Seen, Trouble};
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

/// A copy that is well, as one core sees it.
fn copy(address: &str, tenant: Option<TenantId>) -> Seen {
    Seen {
        service: "stamping".into(),
        release: "".into(),
        tenant,
        address: address.into(),
        in_flight: 2,
        latency_us: Some(1_500),
        unwell: None,
        ejected_until_us: None,
        ejections: 0,
        failures: 0,
        last_trouble: None,
        circuit: CircuitState::Closed,
        cores: [1, 0, 0],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_upstreams_stand_is_told_to_the_operator_with_the_reason_and_by_gateway() {
    let house = House::start().await;
    let id = house.tenant("acme", "basic").await;
    let member = house.member("acme", "tenant_admin").await;
    let control = &house.platform.control;
    let now_us = control.clock().now_us();
    let out = Seen {
        ejected_until_us: Some(now_us + 5_000_000),
        failures: 5,
        ejections: 1,
        last_trouble: Some((now_us, Trouble::Status(503))),
        circuit: CircuitState::HalfOpen,
        cores: [1, 1, 1],
        ..copy("b:1", None)
    };
    control.upstreams.board().tell(0, vec![copy("a:1", None), out.clone(), copy("own:1", Some(id))]);
    control.upstreams.board().tell(1, vec![copy("a:1", None)]);
    let unwell = Seen { unwell: Some(Trouble::NoAnswer), ..copy("a:1", None) };
    let left = Seen { service: "".into(), ..copy("gone:1", None) };
    control.upstreams.told("east", now_us, vec![unwell, left]);
    let listed = async |query: &str| -> Vec<Value> {
        let all = house.platform.get(&house.root, &format!("/v1/upstreams{query}")).await;
        all["items"].as_array().expect("a list").clone()
    };
    let shown = |all: &[Value]| -> Vec<String> {
        let text = |own: &Value, field: &str| own[field].as_str().unwrap_or("-").to_owned();
        all.iter()
            .map(|own| ["gateway", "address", "state", "circuit"].map(|field| text(own, field)).join(" "))
            .collect()
    };
    let all = listed("").await;
    let expected = [
        "n1 a:1 healthy closed",
        "n1 b:1 ejected half_open",
        "n1 own:1 healthy closed",
        "east a:1 unhealthy closed",
        "east gone:1 draining closed",
    ];
    assert_eq!(shown(&all), expected);
    assert_eq!(
        (&all[0]["in_flight"], &all[0]["cores"], &all[0]["latency_us"]),
        (&json!(4), &json!(2), &json!(1_500))
    );
    assert_eq!(all[1]["why"], "5 requests failed in a row; last: it answered 503");
    assert!(all[1]["ejected_until"].is_string() && all[1]["cores_that_ejected"] == 1, "{}", all[1]);
    assert_eq!(all[2]["tenant"], id.to_string());
    assert_eq!(all[3]["why"], "asked whether it is well, it did not answer in time");
    assert!(all[4]["service"].is_null());
    for (query, count) in
        [("?gateway=east", 2), ("?service=stamping", 4), ("?state=ejected", 1), ("?tenant=acme", 1)]
    {
        assert_eq!(listed(query).await.len(), count, "{query}");
    }
    // What a node told long ago is nothing that is known now.
    house.platform.hand.advance_us(30_000_000);
    assert_eq!(listed("?gateway=east").await.len(), 0);
    // Where things run is the operator's alone.
    let (status, refused) = house.platform.call(&member.key, "GET", "/v1/upstreams", None).await;
    assert_eq!(status, 404, "{refused}");
    let (status, refused) = house.platform.call(&house.root, "GET", "/v1/upstreams?nonsense=1", None).await;
    assert_eq!((status, &refused["code"]), (400, &json!("api.unknown_parameter")));
}
