//! Quotas through the door: stopped and freed within a second, told to services, and never passed, whoever dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::platform::{Call, PATIENCE, Platform, Tenant, shared, text};

/// Gives a tenant a limit of its own.
async fn limit(platform: &Platform, tenant: &Tenant, meter: &str, limit: &str) -> Value {
    let path = format!("/v1/quotas/{meter}/override?tenant={}", tenant.code);
    let body = json!({"limit": limit, "reason": "a story"});
    platform.operate(Call::post(&path, body).method(Method::PUT)).await
}

/// The flags that the service was told of a request, from the context that was signed for it.
async fn flags(platform: &Platform, body: &Value) -> Vec<String> {
    let jwks = platform.control(&platform.operator, Call::get("/.well-known/jwks.json")).await.body;
    let (id, x) = (text(&jwks["keys"][0]["kid"]), text(&jwks["keys"][0]["x"]));
    let key = rowhouse_domain::context::ContextKey::from_jwk(&id, &x).expect("a key");
    let context = text(&body["headers"]["rowhouse-context"]);
    let now_s = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() as i64;
    rowhouse_domain::context::verify(&context, &[key], "echo", now_s).expect("our context").enforcements
}

/// Calls until the service is told exactly these flags; how long that took.
async fn told(platform: &Platform, tenant: &Tenant, expected: &[&str]) -> Duration {
    let begun = Instant::now();
    let mut beat = tokio::time::interval(Duration::from_millis(10));
    loop {
        beat.tick().await;
        let seen = platform.gateway(Call::get("/v1/notes/7").tenant(tenant)).await;
        if seen.status == 200 && flags(platform, &seen.body).await == expected {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < PATIENCE, "never {expected:?}: {}", seen.body);
    }
}

#[tokio::test]
async fn usage_that_a_service_reports_stops_a_tenant_and_a_larger_limit_frees_it() {
    let platform = shared().await;
    let tenant = platform.tenant("quota-flags", "basic", "shared").await;
    let other = platform.tenant("quota-other", "basic", "shared").await;
    limit(platform, &tenant, "stamps_created", "5").await;
    for usage in ["stamps_created=3", "stamps_created=2"] {
        let seen = platform.gateway(Call::get("/v1/notes/7").tenant(&tenant).header("x-usage", usage)).await;
        assert_eq!(seen.status, 200, "{}", seen.body);
    }
    told(platform, &tenant, &["stamps_created_refused"]).await;
    let check = platform.operate(Call::get("/v1/quotas/stamps_created/check?tenant=quota-flags")).await;
    assert_eq!((&check["state"], &check["would_allow"]), (&json!("enforced"), &json!(false)), "{check}");
    let seen = platform.gateway(Call::get("/v1/notes/7").tenant(&other)).await;
    assert!(flags(platform, &seen.body).await.is_empty(), "nobody else");

    limit(platform, &tenant, "stamps_created", "100").await;
    let freed = told(platform, &tenant, &[]).await;
    assert!(freed < Duration::from_secs(5), "{freed:?}");
    let messages = platform.operate(Call::get("/v1/quotas/stamps_created/explain?tenant=quota-flags")).await;
    let templates: Vec<String> =
        messages["messages"].as_array().expect("a list").iter().map(|own| text(&own["template"])).collect();
    assert_eq!(templates, ["quota_lifted", "quota_reached"]);
    let events = platform
        .operate(Call::get("/v1/audit/events?tenant=quota-flags&event=resources.quota_reached"))
        .await;
    assert!(events["items"].as_array().is_some_and(|items| items.len() <= 1), "{events}");
}

#[tokio::test]
async fn a_tenant_that_has_used_its_calls_up_trickles_until_it_upgrades() {
    let platform = shared().await;
    let tenant = platform.tenant("quota-trickle", "basic", "shared").await;
    let call = || Call::get("/v1/notes/7").tenant(&tenant);
    limit(platform, &tenant, "api_calls", "1").await;
    platform.until(429, call).await;
    let refused = platform.gateway(call()).await;
    assert_eq!(refused.code(), (429, "resources.quota_exceeded"));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!((&refused.body["meter"], &refused.body["limit"]), (&json!("api_calls"), &json!("1")));
    limit(platform, &tenant, "api_calls", "unlimited").await;
    platform.until(200, call).await;
}

#[tokio::test]
async fn killed_under_load_no_unit_passes_the_quota() {
    const QUOTA: u64 = 300;
    let platform = Arc::new(Platform::start().await);
    let mut catalog = platform.operate(Call::get("/v1/catalog/export")).await;
    catalog["routes"].as_array_mut().expect("a list").push(json!({"name": "echo.marks", "service": "echo",
        "path": "/v1/marks/*", "resource_type": "note", "metering": [{"meter": "stamps_created", "quantity": "1"}]}));
    let plan = platform.operate(Call::post("/v1/catalog/plan", catalog.clone())).await;
    let apply = json!({"plan": plan["digest"], "catalog": catalog, "prune": false});
    platform.operate(Call::post("/v1/catalog/apply", apply)).await;
    let tenant = platform.tenant("quota-kill", "basic", "shared").await;
    limit(&platform, &tenant, "stamps_created", &QUOTA.to_string()).await;
    let call = {
        let tenant = tenant.clone();
        move || Call::post("/v1/marks/7", json!({})).tenant(&tenant)
    };
    let served = Arc::new(AtomicU64::new(0));
    for share in [QUOTA / 3, QUOTA * 2 / 3] {
        let clients = hammer(&platform, &call, &served);
        let mut beat = tokio::time::interval(Duration::from_millis(2));
        while served.load(Ordering::SeqCst) < share {
            beat.tick().await;
        }
        platform.kill().await;
        clients.join_all().await;
        platform.run().await;
        platform.until(200, || Call::get("/v1/notes/7").tenant(&tenant)).await;
    }
    hammer(&platform, &call, &served).join_all().await;
    let served = served.load(Ordering::SeqCst);
    assert!(served <= QUOTA, "{served} were answered, {QUOTA} allowed");
    platform.counted(&tenant.code, "stamps_created", QUOTA).await;
}

/// Four clients that call until the quota refuses, or nobody answers any more.
fn hammer(
    platform: &Arc<Platform>,
    call: &(impl Fn() -> Call + Clone + Send + 'static),
    served: &Arc<AtomicU64>,
) -> tokio::task::JoinSet<()> {
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (platform, call, served) = (platform.clone(), call.clone(), served.clone());
        clients.spawn(async move {
            while let Some(seen) = platform.try_gateway(call()).await {
                match seen.code() {
                    (200, _) => drop(served.fetch_add(1, Ordering::SeqCst)),
                    (429, "resources.quota_exceeded") => return,
                    // Before the quota, the limits of the tier may have a word.
                    (429, "limits.exceeded") => tokio::task::yield_now().await,
                    _ => panic!("{} {}", seen.status, seen.body),
                }
            }
        });
    }
    clients
}
