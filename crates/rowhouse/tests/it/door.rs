//! One request, from the door to the invoice: it works, it refuses, twice is once, another tenant sees nothing.

use std::time::Instant;

use http::Method;
use serde_json::{Value, json};

use crate::platform::{Call, PATIENCE, Platform, Tenant, shared, text};

fn notes() -> Call {
    Call::get("/v1/notes/7")
}

#[tokio::test]
async fn a_request_arrives_with_a_verified_tenant_and_leaves_without_our_headers() {
    let platform = shared().await;
    let tenant = platform.tenant("door-works", "basic", "shared").await;
    let forged = notes()
        .tenant(&tenant)
        .header("rowhouse-tenant", "tenant_forged")
        .header("rowhouse-context", "forged")
        .header("x-usage", "stamps_created=2");
    let seen = platform.gateway(forged).await;
    assert_eq!(seen.status, 200, "{}", seen.body);
    let headers = &seen.body["headers"];
    assert_eq!(headers["rowhouse-tenant"], tenant.id.as_str());
    assert!(headers["x-api-key"].is_null(), "the key stays at the gateway: {headers}");
    assert_eq!(seen.body["path"], "/v1/notes/7");
    let jwks = platform.control(&platform.operator, Call::get("/.well-known/jwks.json")).await.body;
    let key = rowhouse_domain::context::ContextKey::from_jwk(
        &text(&jwks["keys"][0]["kid"]),
        &text(&jwks["keys"][0]["x"]),
    );
    let context = text(&headers["rowhouse-context"]);
    let now_s = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() as i64;
    let claims = rowhouse_domain::context::verify(&context, &[key.expect("a key")], "echo", now_s)
        .expect("our context");
    assert_eq!((claims.tenant.to_string(), claims.code), (tenant.id.clone(), tenant.code.clone()));
    assert!(seen.headers.keys().all(|name| !name.as_str().starts_with("rowhouse-")), "{:?}", seen.headers);
    assert!(seen.headers.contains_key("x-request-id") && seen.headers.contains_key("ratelimit"));
    platform.counted(&tenant.code, "stamps_created", 2).await;
}

#[tokio::test]
async fn each_way_of_naming_the_tenant_leads_to_it_and_contradictions_are_refused() {
    let platform = shared().await;
    let a = platform.tenant("door-ways-a", "basic", "shared").await;
    let b = platform.tenant("door-ways-b", "basic", "shared").await;
    let with_key = |call: Call| call.header("x-api-key", &a.key);
    let host = |code: &str| format!("{code}.localhost");
    let ways = [
        notes().header("host", &host(&a.code)),
        notes().header("x-tenant-id", &a.id),
        notes().header("x-tenant-code", &a.code),
        Call::get(&format!("/t/{}/v1/notes/7", a.code)),
        notes().header("host", "Portal.Door-Ways.example.:80"),
        notes(),
    ];
    platform
        .operate(Call::post("/v1/hosts?tenant=door-ways-a", json!({"name": "portal.door-ways.example"})))
        .await;
    platform.until(200, || with_key(notes().header("host", "portal.door-ways.example"))).await;
    for call in ways {
        let shown = format!("{call:?}");
        let seen = platform.gateway(with_key(call)).await;
        assert_eq!(seen.status, 200, "{shown}: {}", seen.body);
        assert_eq!(seen.body["headers"]["rowhouse-tenant"], a.id.as_str(), "{shown}");
        assert_eq!(seen.body["path"], "/v1/notes/7", "the prefix is removed");
    }
    let refused = [
        (
            notes().header("host", &host(&a.code)).header("x-tenant-code", &b.code),
            (400, "tenancy.conflicting_signals"),
        ),
        (
            notes().header("x-tenant-id", &a.id).header("x-tenant-code", &b.code),
            (400, "tenancy.conflicting_signals"),
        ),
        (notes().header("host", &host(&b.code)), (401, "keys.invalid")),
        (
            notes().header("host", "portal.door-ways.example").header("x-tenant-code", &b.code),
            (400, "tenancy.conflicting_signals"),
        ),
        (notes().header("host", &host("nobody-here")), (401, "keys.invalid")),
        (notes().header("host", "evil.example"), (421, "tenancy.unknown_host")),
    ];
    for (call, expected) in refused {
        let shown = format!("{call:?}");
        let seen = platform.gateway(with_key(call)).await;
        assert_eq!(seen.code(), expected, "{shown}");
        assert!(!text(&seen.body["next"]).is_empty() && seen.body["request_id"].is_string());
    }
    let nameless = platform.gateway(notes()).await;
    assert!(
        matches!(nameless.code(), (400, "tenancy.unresolved") | (401, "identity.no_credentials")),
        "{nameless:?}"
    );
}

#[tokio::test]
async fn keys_are_checked_and_a_revocation_is_in_force_at_once() {
    let platform = shared().await;
    let tenant = platform.tenant("door-keys", "basic", "shared").await;
    let made = platform.make_key(&tenant.code, &tenant.owner, "developer").await;
    let key = text(&made["key"]);
    let call = || notes().header("host", "door-keys.localhost").header("x-api-key", &key);
    platform.until(200, call).await;
    let mistyped = format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { '1' } else { '0' });
    let wrong = notes().header("host", "door-keys.localhost").header("x-api-key", &mistyped);
    assert_eq!(platform.gateway(wrong).await.code(), (401, "keys.invalid"));
    let none = platform.gateway(notes().header("host", "door-keys.localhost")).await;
    assert_eq!(none.code(), (401, "identity.no_credentials"));
    assert!(none.headers.contains_key("www-authenticate"));
    let both = call().header("authorization", &format!("Bearer {key}"));
    assert_eq!(platform.gateway(both).await.code(), (401, "identity.ambiguous_credentials"));
    let revoke = format!("/v1/keys/{}/revoke", text(&made["id"]));
    platform.operate(Call::post(&revoke, json!({"reason": "test"}))).await;
    platform.until(401, call).await;
    assert_eq!(platform.gateway(call()).await.code(), (401, "keys.revoked"));
}

#[tokio::test]
async fn a_role_gives_what_it_says_and_no_more() {
    let platform = shared().await;
    let tenant = platform.tenant("door-roles", "basic", "shared").await;
    let viewer = platform.key(&tenant.code, &tenant.owner, "viewer").await;
    let as_viewer = |call: Call| call.header("host", "door-roles.localhost").header("x-api-key", &viewer);
    platform.until(200, || as_viewer(notes())).await;
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let seen = platform.gateway(as_viewer(notes().method(method.clone()))).await;
        assert_eq!(seen.code(), (403, "access.denied"), "{method}");
        assert!(text(&seen.body["detail"]).contains("note:"), "names the permission: {}", seen.body);
    }
    let events = platform
        .operate(Call::get("/v1/audit/events?tenant=door-roles&event=access.permission_denied"))
        .await;
    let denied = events["items"].as_array().expect("a list").len();
    assert!(denied <= 3, "one event for each refusal at most: {denied}");
}

#[tokio::test]
async fn a_limit_refuses_with_the_time_to_come_back_and_others_go_on() {
    let platform = shared().await;
    let tenant = platform.tenant("door-limits", "professional", "shared").await;
    let body = json!({"name": "flood"});
    let flood = platform.operate(Call::post("/v1/service_accounts?tenant=door-limits", body)).await;
    let principal = json!({"kind": "service_account", "id": flood["id"]});
    let grant = json!({"principal": principal, "role": "viewer"});
    platform.operate(Call::post("/v1/grants?tenant=door-limits", grant)).await;
    let flood = platform.key(&tenant.code, &text(&flood["id"]), "viewer").await;
    let call = || notes().header("host", "door-limits.localhost").header("x-api-key", &flood);
    platform.until(200, call).await;
    let mut refused = None;
    for _ in 0..20_000 {
        let seen = platform.gateway(call()).await;
        if seen.status != 200 {
            refused = Some(seen);
            break;
        }
    }
    let refused = refused.expect("a key has 500 at once and 50 a second, its owner 600 and 10");
    assert_eq!(refused.code(), (429, "limits.exceeded"));
    let retry = refused.headers["retry-after"].to_str().expect("text").parse::<u32>().expect("seconds");
    assert!(retry >= 1 && refused.body["retry_after_s"] == retry, "{}", refused.body);
    assert!(refused.body["violated-policies"].as_array().is_some_and(|names| !names.is_empty()));
    assert_eq!(platform.gateway(notes().tenant(&tenant)).await.status, 200, "somebody else of the tenant");
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_or_only_read_and_served_again() {
    let platform = shared().await;
    let tenant = platform.tenant("door-status", "basic", "shared").await;
    let suspend = |mode: &str| json!({"mode": mode, "reason": "test", "cause": "operator"});
    platform.operate(Call::post("/v1/tenants/door-status/suspend", suspend("blocked"))).await;
    platform.until(403, || notes().tenant(&tenant)).await;
    assert_eq!(platform.gateway(notes().tenant(&tenant)).await.code(), (403, "tenancy.suspended"));
    let twice = platform
        .control(&platform.operator, Call::post("/v1/tenants/door-status/suspend", suspend("blocked")))
        .await;
    assert_eq!(twice.code(), (409, "lifecycle.wrong_status"));
    platform.operate(Call::post("/v1/tenants/door-status/resume", json!({"reason": "test"}))).await;
    platform.until(200, || notes().tenant(&tenant)).await;
    platform.operate(Call::post("/v1/tenants/door-status/suspend", suspend("read_only"))).await;
    platform.until(403, || notes().method(Method::POST).tenant(&tenant)).await;
    assert_eq!(platform.gateway(notes().tenant(&tenant)).await.status, 200, "reading goes on");
}

#[tokio::test]
async fn usage_is_what_was_served_and_the_invoice_adds_up() {
    let platform = shared().await;
    let tenant = platform.tenant("door-money", "basic", "shared").await;
    let before = served(platform, &tenant).await;
    for n in 0..20 {
        let call = notes().tenant(&tenant).header("x-usage", "stamps_created=3, hash_operations=\"0.5\"");
        let call = if n < 5 { call.header("x-answer", "503") } else { call };
        platform.gateway(call).await;
    }
    let viewer = platform.key(&tenant.code, &tenant.owner, "viewer").await;
    let denied =
        notes().method(Method::POST).header("host", "door-money.localhost").header("x-api-key", &viewer);
    platform.until(403, || denied.clone()).await;
    platform.counted(&tenant.code, "api_calls", before + 15).await;
    let invoice = platform.operate(Call::get("/v1/billing/running?tenant=door-money")).await;
    let cents = |money: &Value| text(&money["amount"]).replace('.', "").parse::<i64>().expect("an amount");
    let lines = invoice["lines"].as_array().expect("lines");
    let sum: i64 = lines.iter().map(|line| cents(&line["net"])).sum();
    assert_eq!((sum, sum), (cents(&invoice["subtotal"]), cents(&invoice["total"])), "{invoice}");
    assert!(sum > 0, "{invoice}");
    let explain = "/v1/usage/explain?tenant=door-money&meter=api_calls&limit=200";
    let explained = platform.operate(Call::get(explain)).await;
    let events = explained["events"].as_array().expect("events");
    assert_eq!(events.len() as u64, before + 15, "each unit is one request");
    assert!(events.iter().all(|event| event["request_id"].is_string()));
}

/// Calls of a tenant counted so far, when all are: making the tenant has already called, on any core.
async fn served(platform: &Platform, tenant: &Tenant) -> u64 {
    let seen = platform.gateway(notes().tenant(tenant).header("x-usage", "transactions=1")).await;
    assert_eq!(seen.status, 200);
    platform.counted(&tenant.code, "transactions", 1).await;
    let explain = format!("/v1/usage/explain?tenant={}&meter=transactions", tenant.code);
    let last = platform.operate(Call::get(&explain)).await["events"][0]["time"].clone();
    let instant = |value: &Value| value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let path = format!("/v1/usage?tenant={}&meter=api_calls&step=total", tenant.code);
    let begun = Instant::now();
    loop {
        let answer = platform.operate(Call::get(&path)).await;
        if instant(&answer["complete_to"]) >= instant(&last) {
            return text(&answer["total"]["quantity"]).parse().expect("a whole number");
        }
        assert!(begun.elapsed() < PATIENCE, "complete to {}, not {last}", answer["complete_to"]);
    }
}

#[tokio::test]
async fn another_tenant_sees_nothing_through_the_control_api() {
    let platform = shared().await;
    let a = platform.tenant("door-mine", "basic", "shared").await;
    let b = platform.tenant("door-theirs", "basic", "shared").await;
    let key = platform.make_key(&b.code, &b.owner, "developer").await;
    let paths = [
        format!("/v1/tenants/{}", b.code),
        format!("/v1/tenants/{}", b.id),
        format!("/v1/keys/{}", text(&key["id"])),
        format!("/v1/keys?tenant={}", b.code),
        format!("/v1/service_accounts?tenant={}", b.id),
        format!("/v1/grants?tenant={}", b.code),
        format!("/v1/usage?tenant={}&meter=api_calls", b.code),
        format!("/v1/usage/explain?tenant={}&meter=api_calls", b.code),
        format!("/v1/quotas?tenant={}", b.code),
        format!("/v1/billing/running?tenant={}", b.code),
        format!("/v1/audit/events?tenant={}", b.code),
        format!("/v1/audit/logs/{}", b.id),
        format!("/v1/audit/logs/{}/bundle", b.id),
    ];
    for path in paths {
        let seen = platform.control(&a.key, Call::get(&path)).await;
        assert_eq!(seen.status, 404, "{path}: {}", seen.body);
        assert!(
            !seen.body.to_string().contains(&b.id) || path.contains(&b.id),
            "{path} tells of the other: {}",
            seen.body
        );
    }
    for path in ["/v1/tenants", "/v1/keys", "/v1/service_accounts", "/v1/grants", "/v1/operations"] {
        let seen = platform.control(&a.key, Call::get(path)).await;
        assert!(matches!(seen.status, 200 | 403), "{path}: {}", seen.body);
        assert!(!seen.body.to_string().contains(&b.id), "{path} lists the other: {}", seen.body);
    }
    let revoke = format!("/v1/keys/{}/revoke", text(&key["id"]));
    assert_eq!(platform.control(&a.key, Call::post(&revoke, json!({"reason": "x"}))).await.status, 404);
}

#[tokio::test]
async fn twice_is_once() {
    let platform = shared().await;
    let body = json!({"code": "door-twice", "company_name": "Twice", "tier": "basic"});
    let create = || Call::post("/v1/tenants", body.clone()).header("idempotency-key", "twice-1");
    let first = platform.operate(create()).await;
    let again = platform.control(&platform.operator, create()).await;
    assert_eq!((again.status, &again.body["id"]), (202, &first["id"]));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    platform.ends(&first["id"], "done").await;
    let other =
        Call::post("/v1/tenants", json!({"code": "door-other", "company_name": "Other", "tier": "basic"}));
    let mismatch = platform.control(&platform.operator, other.header("idempotency-key", "twice-1")).await;
    assert_eq!(mismatch.code(), (422, "api.idempotency_mismatch"));
    let noise: String =
        (0u64..400).map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let long = Call::post(&format!("/v1/tenants?{noise}"), body.clone()).header("idempotency-key", "twice-2");
    assert_eq!(platform.control(&platform.operator, long).await.code(), (409, "tenancy.code_taken"));
    let taken = platform.control(&platform.operator, Call::post("/v1/tenants", body)).await;
    assert_eq!(taken.code(), (409, "tenancy.code_taken"));
    let unfit = json!({"code": "door-unfit", "company_name": "x", "tier": "basic", "isolation": "instance"});
    let unfit = platform.control(&platform.operator, Call::post("/v1/tenants", unfit)).await;
    assert_eq!(unfit.code(), (422, "tenancy.isolation_not_allowed"));
}

#[tokio::test]
async fn the_faces_answer() {
    let platform = shared().await;
    let openapi = platform.control(&platform.operator, Call::get("/openapi.json")).await.body;
    assert_eq!(openapi["openapi"].as_str().map(|v| &v[..3]), Some("3.1"));
    for path in ["/v1/tenants", "/v1/keys/{id}/revoke", "/v1/usage", "/v1/audit/events", "/v1/catalog/apply"]
    {
        assert!(openapi["paths"][path].is_object(), "{path} is not documented");
    }
    let metrics = platform.admin("/metrics").await;
    let page = metrics.body.as_str().expect("text");
    assert!(page.contains("rowhouse_routes_requests_total{outcome=\"served\"}"), "{page}");
    assert_eq!(platform.admin("/health/live").await.status, 200);
    let unknown = platform.control(&platform.operator, Call::get("/v1/nothing")).await;
    assert_eq!(unknown.code(), (404, "api.not_found"));
    let wrong = platform.control(&platform.operator, Call::post("/v1/tenants", json!({"cod": "x"}))).await;
    assert_eq!(wrong.status, 422, "{}", wrong.body);
    assert!(text(&wrong.body["errors"][0]["detail"]).contains("cod"), "{}", wrong.body);
    let explained = platform.operate(Call::get("/v1/explain/limits.exceeded")).await;
    assert_eq!(explained["status"], 429);
}
