//! Limits: tried out before they are declared, and bent for one tenant, for a time.

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::house::House;
use crate::platform::{PATIENCE, START_US};

const OVERRIDES: &str = "/v1/limits/tenant-default/overrides";

/// Quota and burst of a tenant's `tenant-default`, as the gateway decides from it.
fn numbers(house: &House, code: &str) -> Option<(i64, i64)> {
    let directory = house.platform.control.directory.current();
    let place = directory.limits.iter().position(|limit| limit.name == "tenant-default").expect("shipped");
    let tenant = directory.tenant_by_code(code).expect("a known tenant");
    tenant.limits[place].map(|rule| (rule.quota(), rule.most()))
}

fn at(seconds: i64) -> String {
    Timestamp::from_microsecond(START_US + seconds * 1_000_000).expect("a time").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_own_numbers_hold_end_by_themselves_and_are_nobody_elses() {
    let house = House::start().await;
    let acme = house.tenant("acme", "basic").await;
    house.tenant("bolt", "basic").await;
    let root = house.root.as_str();
    let base = numbers(&house, "acme");
    assert_eq!(base, numbers(&house, "bolt"));
    let wanted = json!({ "tenant": "acme", "quota": 7, "burst": 70, "reason": "a launch", "until": at(60) });
    let put = async |body: Value| house.platform.call(root, "PUT", OVERRIDES, Some(body)).await;
    let (status, own) = put(wanted.clone()).await;
    assert_eq!((status, &own["quota"], &own["reason"]), (200, &json!(7), &json!("a launch")), "{own}");
    house.settled().await;
    assert_eq!((numbers(&house, "acme"), numbers(&house, "bolt")), (Some((7, 70)), base));
    let (_, again) = put(wanted).await;
    assert_eq!(again["set_at"], own["set_at"], "twice is once");
    let listed = house.platform.get(root, OVERRIDES).await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");

    house.platform.hand.advance_us(60_000_000);
    let over = async {
        while numbers(&house, "acme") != base {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, over).await.expect("it ends by itself");
    let (status, _) = put(json!({ "tenant": "acme", "unlimited": true, "reason": "contract" })).await;
    assert_eq!(status, 200);
    house.settled().await;
    assert_eq!(numbers(&house, "acme"), None);
    let path = format!("{OVERRIDES}?tenant=acme");
    assert_eq!(house.platform.call(root, "DELETE", &path, None).await.0, 204);
    assert_eq!(house.platform.call(root, "DELETE", &path, None).await.0, 404);
    house.settled().await;
    assert_eq!(numbers(&house, "acme"), base);
    let events = house.events(acme).await;
    assert_eq!(events.iter().filter(|name| *name == "limits.override_changed").count(), 3, "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_override_cannot_be() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let root = house.root.as_str();
    let refused = async |path: &str, body: Value| {
        let (status, problem) = house.platform.call(root, "PUT", path, Some(body)).await;
        (status, problem["code"].as_str().unwrap_or_default().to_owned())
    };
    let bad = |code: &str| (422, code.to_owned());
    let body = |value: Value| {
        let mut body = json!({ "tenant": "acme", "reason": "r" });
        body.as_object_mut().expect("a map").extend(value.as_object().expect("a map").clone());
        body
    };
    assert_eq!(refused(OVERRIDES, body(json!({}))).await, bad("limits.bad_value"));
    assert_eq!(refused(OVERRIDES, body(json!({ "quota": 0 }))).await, bad("limits.bad_value"));
    assert_eq!(
        refused(OVERRIDES, body(json!({ "quota": 1, "until": at(-1) }))).await,
        bad("limits.bad_value")
    );
    assert_eq!(refused(OVERRIDES, body(json!({ "quota": 1, "reason": " " }))).await, bad("limits.bad_value"));
    let slow = json!({ "quota": 1, "window_ms": 86_400_000, "burst": 367 });
    assert_eq!(refused(OVERRIDES, body(slow)).await, bad("limits.too_slow"));
    let fine = json!({ "quota": 1_000_000_000, "window_ms": 10_000_001 });
    assert_eq!(refused(OVERRIDES, body(fine)).await, bad("limits.too_fine"));
    let global = "/v1/limits/global/overrides";
    assert_eq!(refused(global, body(json!({ "quota": 1 }))).await, bad("limits.bad_value"));
    assert_eq!(refused("/v1/limits/none/overrides", body(json!({ "quota": 1 }))).await.0, 404);
    let nobody = json!({ "tenant": "nobody", "quota": 1, "reason": "r" });
    assert_eq!(refused(OVERRIDES, nobody).await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_tried_out_before_they_are_declared() {
    let house = House::start().await;
    let root = house.root.as_str();
    let simulate =
        async |body: Value| house.platform.call(root, "POST", "/v1/limits/simulate", Some(body)).await;
    let requests: Vec<Value> = [(0, 1), (0, 2), (0, 1), (100, 1), (150, 0), (150, 4), (1000, 3)]
        .map(|(at_ms, cost)| json!({ "at_ms": at_ms, "cost": cost }))
        .to_vec();
    let limit = json!({ "algorithm": "token_bucket", "quota": 10, "window_ms": 1000, "burst": 3 });
    let (status, answer) = simulate(json!({ "limit": limit, "requests": requests })).await;
    let summary = json!({ "allowed": 5, "refused": 2, "cost_allowed": 7, "cost_refused": 5 });
    assert_eq!((status, &answer["summary"]), (200, &summary), "{answer}");
    assert_eq!(answer["decisions"][5]["retry_after_ms"], Value::Null);
    // What is declared can be pasted as it is.
    let declared = house.platform.get(root, "/v1/limits/tenant-default").await;
    let mut declared = declared.as_object().expect("a map").clone();
    declared.retain(|field, _| !["version", "catalog", "updated_at"].contains(&field.as_str()));
    let (status, answer) = simulate(json!({ "limits": [declared], "requests": [{ "at_ms": 0 }] })).await;
    assert_eq!((status, &answer["decisions"][0]["limits"][0]["remaining"]), (200, &json!(999)), "{answer}");
    let zero = json!({ "algorithm": "fixed_window", "quota": 0, "window_ms": 1000 });
    let (status, problem) = simulate(json!({ "limit": zero, "requests": [] })).await;
    assert_eq!((status, &problem["code"]), (422, &json!("limits.bad_value")), "{problem}");
    assert_eq!(problem["errors"][0]["pointer"], json!("/limit/quota"), "{problem}");
    let many = vec![json!({ "at_ms": 0 }); 100_001];
    let (status, problem) = simulate(json!({ "limit": limit, "requests": many })).await;
    assert_eq!((status, &problem["code"]), (422, &json!("limits.bad_value")), "{problem}");
}
