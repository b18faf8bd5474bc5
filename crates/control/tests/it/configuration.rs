//! Configuration items: what is set is read, sensitive values lie sealed, and nobody sees another tenant's.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::house::{House, outcome};

const SECRET: &str = "hunter2-and-a-marker";

async fn put(house: &House, key: &str, item: &str, body: Value) -> (u16, Value) {
    house.platform.call(key, "PUT", &format!("/v1/configuration/{item}"), Some(body)).await
}

/// The same with one more header.
async fn with_header(
    house: &House,
    (key, header): (&str, (&str, &str)),
    method: &str,
    path: &str,
    body: &Value,
) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "control.test")
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .header(header.0, header.1)
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("a request");
    house.platform.send(request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_is_set_read_changed_and_removed() {
    let house = House::start().await;
    let tenant = house.tenant("acme", "basic").await;
    let admin = house.member("acme", "admin").await.key;
    let body = json!({ "value": "#0a7", "description": "The colour of buttons" });
    let (status, item) = put(&house, &admin, "branding/accent", body.clone()).await;
    assert_eq!((status, &item["version"], &item["value"]), (201, &json!(1), &json!("#0a7")), "{item}");
    assert_eq!((&item["audience"], &item["sealed"]), (&json!("services"), &json!(false)));
    let (status, again) = put(&house, &admin, "branding/accent", body).await;
    assert_eq!((status, &again), (200, &item), "twice is once");
    let (status, item) =
        put(&house, &admin, "branding/accent", json!({ "value": { "r": 1.5 }, "audience": "portal" })).await;
    assert_eq!(
        (status, &item["version"], &item["description"]),
        (200, &json!(2), &json!("The colour of buttons"))
    );
    let path = "/v1/configuration/branding/accent";
    assert_eq!(house.platform.get(&admin, path).await, item);
    assert_eq!(house.platform.get(&house.root, &format!("{path}?tenant=acme")).await, item);
    put(&house, &admin, "mail.smtp/port", json!({ "value": 25 })).await;
    let keys = |list: &Value| {
        list["items"].as_array().map(|items| items.iter().map(|item| item["key"].clone()).collect::<Vec<_>>())
    };
    assert_eq!(
        keys(&house.platform.get(&admin, "/v1/configuration").await),
        Some(vec![json!("accent"), json!("port")])
    );
    assert_eq!(
        keys(&house.platform.get(&admin, "/v1/configuration?category=branding").await),
        Some(vec![json!("accent")])
    );

    let stale =
        with_header(&house, (&admin, ("if-match", "\"1\"")), "PUT", path, &json!({ "value": 1 })).await;
    assert_eq!(outcome(stale.0, &stale.1), "412 api.changed_meanwhile");
    let stale = with_header(&house, (&admin, ("if-match", "\"1\"")), "DELETE", path, &json!({})).await;
    assert_eq!(outcome(stale.0, &stale.1), "412 api.changed_meanwhile");
    let gone = with_header(&house, (&admin, ("if-match", "\"2\"")), "DELETE", path, &json!({})).await;
    assert_eq!(gone.0, 204);
    for method in ["GET", "DELETE"] {
        let (status, answer) = house.platform.call(&admin, method, path, None).await;
        assert_eq!(outcome(status, &answer), "404 api.not_found", "{method}");
    }
    let (status, item) = put(&house, &admin, "branding/accent", json!({ "value": 1 })).await;
    assert_eq!((status, &item["version"]), (201, &json!(3)), "no version comes twice");
    let events = house.events(tenant).await;
    assert_eq!(
        events.iter().filter(|name| *name == "tenancy.configuration_changed").count(),
        5,
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sensitive_value_is_in_no_answer_event_or_row() {
    let house = House::start().await;
    let tenant = house.tenant("acme", "basic").await;
    let admin = house.member("acme", "admin").await.key;
    let body = json!({ "value": { "password": SECRET }, "is_sensitive": true, "description": "SMTP" });
    let (status, item) = put(&house, &admin, "integrations/smtp", body.clone()).await;
    assert_eq!((status, &item["value"], &item["sealed"]), (201, &Value::Null, &json!(true)));
    let fingerprint = item["fingerprint"].as_str().expect("a fingerprint").to_owned();
    assert!(fingerprint.len() == 8 && fingerprint.bytes().all(|b| b.is_ascii_hexdigit()));
    let (_, again) = put(&house, &admin, "integrations/smtp", body).await;
    assert_eq!(again["version"], 1, "the same value is no change");
    // What was read can be sent back: the value stays.
    let (status, kept) =
        put(&house, &admin, "integrations/smtp", json!({ "value": null, "description": "Mail" })).await;
    assert_eq!((status, &kept["version"], &kept["fingerprint"]), (200, &json!(2), &json!(fingerprint)));
    let context = house.platform.get(&admin, "/v1/tenants/acme/context").await;
    let list = house.platform.get(&admin, "/v1/configuration").await;
    for answer in [&item, &kept, &list, &context] {
        assert!(!answer.to_string().contains(SECRET), "{answer}");
    }
    let path = "/v1/configuration/integrations/smtp/reveal";
    let (status, opened) = house.platform.call(&admin, "POST", path, None).await;
    assert_eq!((status, &opened["value"]["password"]), (200, &json!(SECRET)), "{opened}");
    let events = house.events(tenant).await;
    assert_eq!(events.last().map(String::as_str), Some("tenancy.configuration_revealed"));
    for table in ["audit.outbox", "api.notices", "api.idempotency", "tenancy.configuration"] {
        let found = format!("SELECT count(*) FROM {table} row WHERE row::text LIKE '%{SECRET}%'");
        assert_eq!(house.platform.ask(&found).await, "0", "{table}");
        let hex = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let found = format!("SELECT count(*) FROM {table} row WHERE row::text LIKE '%{hex}%'");
        assert_eq!(house.platform.ask(&found).await, "0", "{table}");
    }

    let (status, refused) = put(&house, &admin, "integrations/smtp", json!({ "is_sensitive": false })).await;
    assert_eq!(outcome(status, &refused), "422 tenancy.configuration_invalid /value");
    let (_, plain) =
        put(&house, &admin, "integrations/smtp", json!({ "is_sensitive": false, "value": "open" })).await;
    assert_eq!(
        (&plain["value"], &plain["fingerprint"], &plain["sealed"]),
        (&json!("open"), &Value::Null, &json!(false))
    );
    assert_eq!(
        house.platform.ask("SELECT count(*) FROM tenancy.configuration WHERE sealed IS NOT NULL").await,
        "0"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_value_opens_only_where_it_was_sealed() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    house.tenant("bolt", "basic").await;
    for tenant in ["acme", "bolt"] {
        let (status, _) = put(
            &house,
            &house.root,
            &format!("a/b?tenant={tenant}"),
            json!({ "value": SECRET, "is_sensitive": true }),
        )
        .await;
        assert_eq!(status, 201);
    }
    let fingerprints =
        house.platform.ask("SELECT count(DISTINCT fingerprint) FROM tenancy.configuration").await;
    assert_eq!(fingerprints, "2", "equal values of two tenants cannot be told to be equal");
    let reveal = async || {
        let (status, answer) =
            house.platform.call(&house.root, "POST", "/v1/configuration/a/b/reveal?tenant=bolt", None).await;
        outcome(status, &answer)
    };
    assert_eq!(reveal().await, "200 -");
    // Somebody who can write the table puts one tenant's sealed value in the place of another's.
    house.platform.execute("UPDATE tenancy.configuration mine SET sealed = (SELECT sealed FROM tenancy.configuration other WHERE other.tenant_id <> mine.tenant_id)").await;
    assert_eq!(reveal().await, "503 tenancy.sealed_unavailable");
    let (status, answer) = put(&house, &house.root, "a/b?tenant=bolt", json!({ "description": "x" })).await;
    assert_eq!(outcome(status, &answer), "503 tenancy.sealed_unavailable", "it cannot be kept");
    assert_eq!(
        house.platform.call(&house.root, "GET", "/v1/configuration?tenant=bolt", None).await.0,
        200,
        "the rest goes on"
    );
    let (status, _) = put(&house, &house.root, "a/b?tenant=bolt", json!({ "value": "new" })).await;
    assert_eq!((status, reveal().await.as_str()), (200, "200 -"), "a new value heals it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_refused_with_its_field() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let admin = house.member("acme", "admin").await.key;
    let refused = async |item: &str, body: Value| {
        let (status, answer) = put(&house, &admin, item, body).await;
        outcome(status, &answer)
    };
    let invalid = "422 tenancy.configuration_invalid";
    assert_eq!(refused("Branding/1", json!({ "value": 1 })).await, format!("{invalid} /category,/key"));
    assert_eq!(refused("features/sla", json!({ "value": true })).await, format!("{invalid} /category"));
    assert_eq!(refused("a/b", json!({})).await, format!("{invalid} /value"));
    assert_eq!(refused("a/b", json!({ "value": null })).await, format!("{invalid} /value"));
    let long = json!({ "value": "x".repeat(64 * 1024 - 1), "description": "d".repeat(1_001) });
    assert_eq!(refused("a/b", long).await, format!("{invalid} /value,/description"));
    assert_eq!(
        refused("a/b", json!({ "value": 1, "audience": "everybody" })).await,
        "422 api.invalid /audience"
    );
    assert_eq!(refused("a/b", json!({ "valeu": 1 })).await.split(' ').nth(1), Some("api.invalid"));
    assert_eq!(refused("a/b", json!({ "value": "\u{0}" })).await, "422 api.invalid");
    // 16 of 64 KiB are 1 MiB.
    let full = json!({ "value": "x".repeat(64 * 1024 - 2) });
    for n in 0..16 {
        assert_eq!(put(&house, &admin, &format!("a/b{n}"), full.clone()).await.0, 201, "{n}");
    }
    assert_eq!(refused("a/b16", json!({ "value": 1 })).await, format!("{invalid} /value"));
    assert_eq!(put(&house, &admin, "a/b0", json!({ "value": 1 })).await.0, 200, "less always fits");
    let acme = house.platform.ask("SELECT tenant_id FROM tenancy.configuration LIMIT 1").await;
    house
        .platform
        .execute(&format!(
            "INSERT INTO tenancy.configuration (tenant_id, category, key, value, bytes, description, audience, version, created_at, updated_at, updated_by) \
             SELECT '{acme}', 'many', 'k' || n, '1', 1, '', 'none', 1, now(), now(), 'test' FROM generate_series(1, 484) n"
        ))
        .await;
    assert_eq!(refused("a/b17", json!({ "value": 1 })).await, format!("{invalid} /value"), "500 there are");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenant_finds_nothing_and_a_viewer_may_nothing() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    house.tenant("bolt", "basic").await;
    let stranger = house.member("bolt", "admin").await.key;
    let viewer = house.member("acme", "viewer").await.key;
    put(&house, &house.root, "a/b?tenant=acme", json!({ "value": SECRET, "is_sensitive": true })).await;
    let calls = [
        ("GET", "/v1/configuration"),
        ("GET", "/v1/configuration/a/b"),
        ("PUT", "/v1/configuration/a/b"),
        ("DELETE", "/v1/configuration/a/b"),
        ("POST", "/v1/configuration/a/b/reveal"),
    ];
    for (method, path) in calls {
        let body = (method == "PUT").then(|| json!({ "value": 1 }));
        let (status, answer) =
            house.platform.call(&stranger, method, &format!("{path}?tenant=acme"), body.clone()).await;
        assert_eq!(outcome(status, &answer), "404 api.not_found", "{method} {path}");
        let (status, answer) = house.platform.call(&viewer, method, path, body.clone()).await;
        assert_eq!(outcome(status, &answer), "403 access.denied", "{method} {path}");
        let (status, answer) = house.platform.call(&house.root, method, path, body).await;
        assert_eq!(outcome(status, &answer), "422 api.tenant_required", "{method} {path}");
    }
    let own = house.platform.get(&stranger, "/v1/configuration").await;
    assert_eq!(own["items"], json!([]));
    assert_eq!(
        house.platform.ask("SELECT count(*) FROM tenancy.configuration WHERE version = 1").await,
        "1",
        "untouched"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_asks_again_only_when_something_changed() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    put(&house, &house.root, "a/b?tenant=acme", json!({ "value": 1 })).await;
    let (path, root) = ("/v1/configuration?tenant=acme", house.root.as_str());
    let tag = |items: &Value| items["items"][0]["version"].as_i64();
    assert_eq!(tag(&house.platform.get(root, path).await), Some(1));
    let digest = {
        use sha2::Digest;
        sha2::Sha256::digest(b"a/b/1\n")[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let known = format!("\"{digest}\"");
    let unchanged = with_header(&house, (root, ("if-none-match", &known)), "GET", path, &json!({})).await;
    assert_eq!(unchanged.0, 304);
    put(&house, &house.root, "a/b?tenant=acme", json!({ "value": 2 })).await;
    let changed = with_header(&house, (root, ("if-none-match", &known)), "GET", path, &json!({})).await;
    assert_eq!((changed.0, tag(&changed.1)), (200, Some(2)));
    let context = house.platform.get(root, "/v1/tenants/acme/context").await;
    assert_eq!(context["configuration"], json!({ "a": { "b": 2 } }));
    put(&house, &house.root, "a/b?tenant=acme", json!({ "audience": "none" })).await;
    let context = house.platform.get(root, "/v1/tenants/acme/context").await;
    assert_eq!(context["configuration"], json!({}));
}
