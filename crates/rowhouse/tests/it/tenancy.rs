//! A tenant's configuration and features, from the operator's call to what a service is told.

use http::Method;
use serde_json::{Value, json};

use crate::platform::{Call, Platform, Tenant, shared, text};

const SECRET: &str = "a-marker-that-must-not-be-seen";

fn put(path: &str, body: Value) -> Call {
    Call::post(path, body).method(Method::PUT)
}

/// The features in the signed context that a service gets.
async fn told(platform: &Platform, tenant: &Tenant) -> Vec<String> {
    let seen = platform.gateway(Call::get("/v1/notes/7").tenant(tenant)).await;
    assert_eq!(seen.status, 200, "{}", seen.body);
    let jwks = platform.control(&platform.operator, Call::get("/.well-known/jwks.json")).await.body;
    let (id, x) = (text(&jwks["keys"][0]["kid"]), text(&jwks["keys"][0]["x"]));
    let key = rowhouse_domain::context::ContextKey::from_jwk(&id, &x).expect("a key");
    let context = text(&seen.body["headers"]["rowhouse-context"]);
    let now_s = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() as i64;
    rowhouse_domain::context::verify(&context, &[key], "echo", now_s).expect("our context").features
}

#[tokio::test]
async fn a_feature_reaches_the_service_with_the_next_context_and_ends_by_itself() {
    let platform = shared().await;
    let tenant = platform.tenant("tenancy-features", "basic", "shared").await;
    let has = async |wanted: bool| {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
        let holds = async {
            while told(platform, &tenant).await.contains(&"advanced_analytics".to_owned()) != wanted {
                look.tick().await;
            }
        };
        tokio::time::timeout(crate::platform::PATIENCE, holds).await.expect("the service is told");
    };
    has(false).await;
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() as i64;
    let until = jiff::Timestamp::from_second(now + 8).expect("a time").to_string();
    let path = "/v1/features/advanced_analytics?tenant=tenancy-features";
    platform.operate(put(path, json!({"value": true, "reason": "trial", "until": until}))).await;
    has(true).await;
    let refused = platform
        .control(&tenant.key, put("/v1/features/sla", json!({"value": true, "reason": "free"})))
        .await;
    assert_eq!(refused.code(), (403, "access.denied"));
    has(false).await;
    let explained =
        platform.operate(Call::get("/v1/features/advanced_analytics/explain?tenant=tenancy-features")).await;
    assert_eq!((&explained["value"], &explained["because"]), (&json!(false), &json!("default")));
}

#[tokio::test]
async fn a_sealed_value_is_shown_to_who_reveals_it_and_lies_nowhere_in_clear() {
    let platform = shared().await;
    let tenant = platform.tenant("tenancy-sealed", "basic", "shared").await;
    let other = platform.tenant("tenancy-other", "basic", "shared").await;
    let item = "/v1/configuration/integrations/smtp";
    let body = json!({"value": {"password": SECRET}, "is_sensitive": true});
    let made = platform.control(&tenant.key, put(item, body)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let open = platform
        .control(&tenant.key, put("/v1/configuration/branding/accent", json!({"value": "#0a7"})))
        .await;
    assert_eq!(open.status, 201);
    let revealed = platform.control(&tenant.key, Call::post(&format!("{item}/reveal"), json!({}))).await;
    assert_eq!((revealed.status, &revealed.body["value"]["password"]), (200, &json!(SECRET)));
    assert_eq!(revealed.headers["cache-control"], "no-store");
    let context = platform.operate(Call::get("/v1/tenants/tenancy-sealed/context")).await;
    assert_eq!(context["configuration"], json!({"branding": {"accent": "#0a7"}}));
    for path in [item, "/v1/configuration", "/v1/audit/events"] {
        let seen = platform.control(&tenant.key, Call::get(path)).await;
        assert_eq!(seen.status, 200, "{path}: {}", seen.body);
        assert!(!seen.body.to_string().contains(SECRET), "{path}: {}", seen.body);
        let theirs = platform.control(&other.key, Call::get(&format!("{path}?tenant=tenancy-sealed"))).await;
        assert_eq!(theirs.status, 404, "{path}: {}", theirs.body);
    }
    let found = files_with(platform.data_dir(), SECRET.as_bytes());
    assert!(found.is_empty(), "in clear in {found:?}");
}

/// The files below `directory` in which `marker` stands: tables, logs, journal, everything.
fn files_with(directory: &std::path::Path, marker: &[u8]) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_with(&path, marker)),
            Ok(kind) if kind.is_file() => {
                let bytes = std::fs::read(&path).unwrap_or_default();
                if bytes.windows(marker.len()).any(|window| window == marker) {
                    found.push(path);
                }
            }
            _ => {}
        }
    }
    found
}

#[tokio::test]
async fn what_is_explained_is_what_the_gateway_does() {
    let platform = shared().await;
    let a = platform.tenant("tenancy-ways-a", "basic", "shared").await;
    platform.tenant("tenancy-ways-b", "basic", "shared").await;
    let (host_a, host_b) = ("tenancy-ways-a.localhost", "tenancy-ways-b.localhost");
    for (host, headers, path) in [
        (host_a, vec![], "/v1/notes/7"),
        (host_a, vec![("x-tenant-code", "tenancy-ways-b")], "/v1/notes/7"),
        (host_b, vec![], "/v1/notes/7"),
        ("nobody-here.localhost", vec![], "/v1/notes/7"),
        ("evil.example", vec![], "/v1/notes/7"),
        ("localhost", vec![("x-tenant-code", "tenancy-ways-a")], "/t/tenancy-ways-a/v1/notes/7"),
        ("localhost", vec![], "/t/tenancy-ways-b/v1/notes/7"),
    ] {
        let question = json!({"authority": host, "path": path, "token_tenant": a.id,
            "headers": headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<serde_json::Map<_, _>>()});
        let told = platform.operate(Call::post("/v1/resolution/explain", question.clone())).await;
        let call = Call::get(path).header("x-api-key", &a.key).header("host", host);
        let seen =
            platform.gateway(headers.iter().fold(call, |call, (name, value)| call.header(name, value))).await;
        let status = told["status"].as_u64().unwrap_or(200) as u16;
        let code = told["code"].as_str().unwrap_or("");
        // The operator is told that nobody has this name; at the gateway it is as if the key were another tenant's.
        let answered = if code == "tenancy.unknown" { (401, "keys.invalid") } else { (status, code) };
        assert_eq!(seen.code(), answered, "{question}: {told}");
    }
}
