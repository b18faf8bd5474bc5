//! Keys that are narrowed, at the gateway: by network, with a limit of their own, explained as it is, and known by their
//! last use.

use serde_json::json;

use crate::platform::{Call, PATIENCE, shared, text};

#[tokio::test]
async fn a_narrowed_key_is_refused_elsewhere_until_it_is_changed_and_its_last_use_is_known() {
    let platform = shared().await;
    let tenant = platform.tenant("keys-narrow", "professional", "shared").await;
    let owner = json!({"kind": "service_account", "id": tenant.owner});
    let body = json!({"name": "partner", "owner": owner, "roles": ["tenant_admin"], "allowed_ips": ["203.0.113.0/24"],
        "limits": [{"name": "partner", "quota": 2, "window_ms": 86_400_000}]});
    let made = platform.operate(Call::post("/v1/keys?tenant=keys-narrow", body)).await;
    let (id, key) = (text(&made["id"]), text(&made["key"]));
    let call = || Call::get("/v1/notes/7").header("host", "keys-narrow.localhost").header("x-api-key", &key);
    platform.until(403, call).await;
    assert_eq!(platform.gateway(call()).await.code(), (403, "keys.ip_denied"));
    let explained = |ip: &'static str| {
        let request = json!({"method": "GET", "path": "/v1/notes/7", "ip": ip});
        platform.operate(Call::post("/v1/keys/explain", json!({"key_id": id, "request": request})))
    };
    assert_eq!(explained("127.0.0.1").await["outcome"], "ip_denied");
    assert_eq!(explained("203.0.113.5").await["outcome"], "allowed");

    let edit = Call::post(&format!("/v1/keys/{id}"), json!({"allowed_ips": ["127.0.0.0/8"]}));
    platform.operate(edit.method(http::Method::PATCH)).await;
    platform.until(200, call).await;
    assert_eq!(platform.gateway(call()).await.status, 200, "the second of two");
    let refused = platform.gateway(call()).await;
    assert_eq!(refused.code(), (429, "limits.exceeded"));
    assert_eq!(refused.body["violated-policies"], json!(["partner"]));

    let mut pause = std::time::Duration::from_millis(20);
    let begun = std::time::Instant::now();
    let used = loop {
        let shown = platform.operate(Call::get(&format!("/v1/keys/{id}"))).await;
        if !shown["last_used"].is_null() {
            break shown["last_used"].clone();
        }
        assert!(begun.elapsed() < PATIENCE, "its use is not known: {shown}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(std::time::Duration::from_secs(1));
    };
    assert_eq!(used["ip"], "127.0.0.1", "{used}");
}
