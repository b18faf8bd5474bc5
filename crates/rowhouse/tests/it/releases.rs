//! A second release of a service, as an operator brings it out: to one tenant, to all, and back, with the command line.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, interval};

use crate::platform::{Call, PATIENCE, Platform, Tenant, shared};
use crate::services::{operate, rowhouse};

/// A copy of a service that answers everything with its name; its address.
async fn copy(name: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut seen = [0; 8192];
                while stream.read(&mut seen).await.is_ok_and(|count| count > 0) {
                    let body = json!({ "release": name }).to_string();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                }
            });
        }
    });
    address
}

async fn declare(platform: &Platform, first: &str, second: &str) {
    let catalog = json!({
        "name": "staged",
        "services": [{ "name": "staged", "upstreams": [first], "release": "1.0",
            "releases": [{ "name": "2.0", "upstreams": [second] }] }],
        "resource_types": [{ "name": "stage", "service": "staged", "actions": ["read"], "role_defaults": "standard" }],
        "routes": [{ "name": "staged", "service": "staged", "path": "/v1/stages/{stage_id}", "resource_type": "stage",
            "methods": ["GET"] }],
    });
    let plan = platform.operate(Call::post("/v1/catalog/plan", catalog.clone())).await;
    let apply = json!({ "plan": plan["digest"], "catalog": catalog, "prune": false });
    platform.operate(Call::post("/v1/catalog/apply", apply)).await;
}

/// Waits until a tenant gets a release.
async fn gets(platform: &Platform, tenant: &Tenant, release: &str) {
    let begun = Instant::now();
    let mut beat = interval(std::time::Duration::from_millis(5));
    loop {
        beat.tick().await;
        let seen = platform.gateway(Call::get("/v1/stages/7").tenant(tenant)).await;
        if (seen.status, &seen.body["release"]) == (200, &Value::from(release)) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{}: {} {}", tenant.code, seen.status, seen.body);
    }
}

#[tokio::test]
async fn a_release_goes_to_one_tenant_then_to_all_and_back() {
    let platform = shared().await;
    let (first, second) = (copy("1.0").await, copy("2.0").await);
    declare(platform, &first, &second).await;
    let early = platform.tenant("stage-early", "basic", "shared").await;
    let late = platform.tenant("stage-late", "basic", "shared").await;
    gets(platform, &early, "1.0").await;

    let split = ["service", "split", "staged", "--release", "2.0", "--tenants", "stage-early"];
    operate(platform, &split).await;
    gets(platform, &early, "2.0").await;
    gets(platform, &late, "1.0").await;
    let tried = ["route", "test", "GET", "http://stage-early.localhost/v1/stages/7", "--json"];
    let tried: Value = serde_json::from_str(&operate(platform, &tried).await).expect("JSON");
    assert_eq!((&tried["release"], &tried["upstreams"]), (&json!("2.0"), &json!([second])));

    operate(platform, &["service", "promote", "staged", "--release", "2.0"]).await;
    gets(platform, &late, "2.0").await;
    operate(platform, &["service", "rollback", "staged"]).await;
    gets(platform, &late, "1.0").await;
    gets(platform, &early, "2.0").await;
    operate(platform, &["service", "unsplit", "staged", "--release", "2.0"]).await;
    gets(platform, &early, "1.0").await;

    let refused = rowhouse(platform, &["service", "promote", "staged", "--release", "3.0"]).await;
    assert!(!refused.status.success() && !refused.stderr.is_empty());
    let seen = platform.control(&early.key, Call::get("/v1/services/staged/splits")).await;
    assert_eq!(seen.status, 404, "where things run is the operator's: {}", seen.body);
}

#[tokio::test]
async fn two_routes_that_take_one_request_are_refused_with_it() {
    let platform = shared().await;
    let route = |name: &str, path: &str| json!({ "name": name, "service": "echo", "path": path, "public": true, "methods": ["GET"] });
    let catalog = json!({ "name": "torn",
        "routes": [route("torn.one", "/v1/torn/{a}/c"), route("torn.two", "/v1/torn/b/{d}")] });
    let seen = platform.control(platform.operator(), Call::post("/v1/catalog/plan", catalog)).await;
    assert!(
        seen.status == 422 && seen.body.to_string().contains("GET /v1/torn/b/c"),
        "{} {}",
        seen.status,
        seen.body
    );
}
