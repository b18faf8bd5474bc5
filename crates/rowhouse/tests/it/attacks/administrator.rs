//! A tenant's administrator as the attacker, over HTTP: nothing of others, nothing of the operator's, no way round
//! what it pays for, and no words of its own where services believe the gateway's.

use http::Method;
use serde_json::{Value, json};

use crate::platform::{Call, Tenant, shared, text};

fn note(path: &str, tenant: &Tenant) -> Call {
    Call::get(&format!("/v1/notes/{path}")).tenant(tenant)
}

#[tokio::test]
async fn a_service_hears_only_the_gateway_about_tenants() {
    let platform = shared().await;
    let tenant = platform.tenant("attack-words", "basic", "shared").await;
    let forged = [
        "rowhouse-context",
        "Rowhouse_Context",
        "rowhouse_tenant",
        "X_Tenant_Code",
        "x-tenant_id",
        "X_Forwarded_For",
        "X_Api_Key",
        "X_Request_Id",
    ];
    let call = forged.into_iter().fold(note("1", &tenant), |call, name| call.header(name, "forged"));
    let call = call.header("connection", "rowhouse-context, rowhouse-tenant, x-request-id");
    let seen = platform.gateway(call.header("x-request-id", &uuid::Uuid::nil().to_string())).await;
    assert_eq!(seen.status, 200, "{}", seen.body);
    let headers = seen.body["headers"].as_object().expect("headers");
    assert!(!headers.values().any(|value| value == "forged"), "{headers:?}");
    assert_eq!(headers["rowhouse-tenant"], tenant.id.as_str(), "what the gateway says cannot be taken away");
    assert!(headers["rowhouse-context"].is_string());
    assert_ne!(headers["x-request-id"], uuid::Uuid::nil().to_string());
}

#[tokio::test]
async fn a_path_has_one_reading_and_a_host_is_nothing_but_a_host() {
    let platform = shared().await;
    let tenant = platform.tenant("attack-paths", "basic", "shared").await;
    for path in
        ["a/..;/b", "..%2fstamps", "a%2F..%2f..%2Fb", "%2e%2e%2fb", "a%0d%0ax", "a%00", "a%5c..%5cb", ".;x"]
    {
        let seen = platform.gateway(note(path, &tenant)).await;
        assert_eq!(seen.code(), (400, "routes.malformed_request"), "{path}");
    }
    for host in ["[::1]\"><x", "[::1].attack-paths.localhost", "attack-paths.localhost:1:2"] {
        let call = Call::get("/v1/notes/1").header("x-api-key", &tenant.key).header("host", host);
        assert_eq!(platform.gateway(call).await.code(), (400, "routes.malformed_request"), "{host}");
    }
}

#[tokio::test]
async fn what_is_the_operators_is_refused_to_a_tenants_administrator() {
    let platform = shared().await;
    let tenant = platform.tenant("attack-rights", "basic", "shared").await;
    let operation = platform.operate(Call::get("/v1/operations?tenant=attack-rights")).await;
    let operation = text(&operation["items"][0]["id"]);
    let catalog = platform.operate(Call::get("/v1/catalog/export")).await;
    let reason = || json!({ "reason": "mine" });
    let own = "/v1/tenants/attack-rights";
    let rows: Vec<(Call, &[u16])> = vec![
        (
            Call::post("/v1/tenants", json!({"code": "evil", "company_name": "x", "tier": "basic"})),
            &[403, 404],
        ),
        (patch(own, json!({"quota_overrides": {"stamps_created": "9"}})), &[403]),
        (patch(own, json!({"metadata": {"a": 1}})), &[403]),
        (Call::post(&format!("{own}/suspend"), json!({"reason": "x", "mode": "blocked"})), &[403, 404]),
        (Call::post(&format!("{own}/resume"), reason()), &[403, 404]),
        (Call::post(&format!("{own}/change_tier"), json!({"tier": "premium"})), &[403, 404]),
        (Call::post(&format!("{own}/change_tier?dry_run=true"), json!({"tier": "premium"})), &[403, 404]),
        (Call::post(&format!("{own}/move"), json!({"isolation": "database"})), &[403, 404]),
        (
            Call::post(&format!("{own}/decommission"), json!({"retention_days": 0, "reason": "mine"})),
            &[403, 404],
        ),
        (Call::post(&format!("{own}/reinstate"), reason()), &[403, 404]),
        (Call::post("/v1/templates/welcome/send_test", json!({"to": "me@example.com"})), &[403, 404]),
        (
            put("/v1/quotas/stamps_created/override", json!({"limit": "unlimited", "reason": "mine"})),
            &[403, 404],
        ),
        (put("/v1/quotas/users/level", json!({"level": "0"})), &[403, 404]),
        (put("/v1/enforcements/stamps_created", json!({"action": "refuse", "reason": "mine"})), &[403, 404]),
        (
            Call::post(
                "/v1/enforcements/stamps_created",
                json!({"until": "2099-01-01T00:00:00Z", "reason": "mine"}),
            )
            .method(Method::DELETE),
            &[403, 404],
        ),
        (Call::post(&format!("/v1/operations/{operation}/cancel"), reason()), &[403, 404]),
        (Call::get(&format!("/v1/operations/{operation}/explain")), &[403, 404]),
        (Call::post(&format!("/v1/operations/{operation}/resume"), reason()), &[403, 404]),
        (Call::post(&format!("/v1/operations/{operation}/skip"), reason()), &[403, 404]),
        (Call::post(&format!("/v1/operations/{operation}/abandon"), reason()), &[403, 404]),
        (Call::post("/v1/catalog/plan", catalog), &[403, 404]),
        (Call::get("/v1/catalog/export"), &[403, 404]),
        (Call::get("/v1/services"), &[403, 404]),
        (Call::get("/v1/routes"), &[403, 404]),
        (Call::get("/v1/instances"), &[403, 404]),
    ];
    for (call, expected) in rows {
        let shown = format!("{call:?}");
        let seen = platform.control(&tenant.key, call).await;
        assert!(expected.contains(&seen.status), "{shown}: {} {}", seen.status, seen.body);
    }
    assert_eq!(platform.gateway(note("1", &tenant)).await.status, 200, "and nothing has changed");
}

#[tokio::test]
async fn nobody_works_unbilled_or_beyond_the_bounds_of_a_key() {
    let platform = shared().await;
    let tenant = platform.tenant("attack-keys", "basic", "shared").await;
    let owner = json!({"kind": "service_account", "id": tenant.owner});
    let key = |fields: Value| {
        let mut body = json!({"name": "k", "owner": owner, "roles": ["tenant_admin"]});
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        Call::post("/v1/keys", body)
    };
    let test = platform.control(&tenant.key, key(json!({"environment": "test"}))).await;
    assert_eq!(test.code(), (403, "access.denied"), "what a test key does is not billed");
    let bounded = platform.control(&tenant.key, key(json!({"services": ["echo"]}))).await;
    assert_eq!(bounded.status, 201, "{}", bounded.body);
    let bounded = text(&bounded.body["key"]);
    let host = "attack-keys.localhost";
    let call = || Call::get("/v1/notes/1").header("host", host).header("x-api-key", &bounded);
    platform.until(200, call).await;
    assert_eq!(platform.control(&bounded, key(json!({}))).await.code(), (403, "keys.wrong_service"));
    assert_eq!(platform.control(&bounded, Call::get("/v1/keys")).await.code(), (403, "keys.wrong_service"));
}

fn put(path: &str, body: Value) -> Call {
    Call::post(path, body).method(Method::PUT)
}

fn patch(path: &str, body: Value) -> Call {
    Call::post(path, body).method(Method::PATCH)
}

#[tokio::test]
async fn sql_of_the_shared_login_stops_no_other_tenant_from_coming() {
    let platform = shared().await;
    let served = platform.tenant("attack-sql-a", "basic", "shared").await;
    let mut config = tokio_postgres::Config::new();
    config.host_path(platform.data_dir().join("postgres/socket")).user("rh_app").dbname("rh_shared");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("its own database");
    let connection = tokio::spawn(connection);
    for setting in ["work_mem = '64kB'", "default_transaction_read_only = on", "synchronous_commit = off"] {
        let allowed = client.batch_execute(&format!("ALTER ROLE rh_app SET {setting}")).await;
        allowed.expect("PostgreSQL lets a role change itself");
    }
    for (sql, denied) in [
        ("SELECT * FROM rh.key", true),
        ("ALTER ROLE rh_app NOLOGIN", true),
        ("ALTER ROLE rh_app CONNECTION LIMIT 0", true),
        ("SET temp_file_limit = -1", true),
        ("DROP OWNED BY CURRENT_USER", true),
        ("SELECT 1", false),
    ] {
        let ended = client.batch_execute(sql).await;
        let code = ended.as_ref().err().and_then(|error| error.code()).map(|code| code.code().to_owned());
        assert_eq!(code.as_deref(), denied.then_some("42501"), "{sql}");
    }
    drop(client);
    connection.await.expect("joins").expect("closes");
    for database in ["rowhouse", "postgres", "rh_schemas_1"] {
        let mut elsewhere = config.clone();
        assert!(elsewhere.dbname(database).connect(tokio_postgres::NoTls).await.is_err(), "{database}");
    }
    platform.tenant("attack-sql-b", "basic", "shared").await;
    assert_eq!(platform.gateway(note("1", &served)).await.status, 200);
}

#[tokio::test]
async fn a_key_makes_power_only_if_that_is_listed_by_name_and_none_that_outlives_it() {
    let platform = shared().await;
    let tenant = platform.tenant("attack-power", "basic", "shared").await;
    let owner = json!({"kind": "service_account", "id": tenant.owner});
    let grant = || json!({"principal": owner, "role": "readonly", "reason": "mine"});
    let by_pattern = platform.control(&tenant.key, Call::post("/v1/grants", grant())).await;
    assert_eq!(by_pattern.code(), (403, "access.denied"), "{}", by_pattern.body);
    let usage = json!([{"specversion": "1.0", "id": "a", "source": "s", "type": "api_calls", "data": {"quantity": "1"}}]);
    let reported = platform.control(&tenant.key, Call::post("/v1/usage/events", usage)).await;
    assert_eq!(reported.code(), (403, "access.denied"), "{}", reported.body);
    // The operator gives a key that lists it; its administrator could not make one.
    let body = json!({"name": "by name", "owner": owner, "roles": ["tenant_admin"], "permissions": ["grant:create"]});
    let refused = platform.control(&tenant.key, Call::post("/v1/keys", body.clone())).await;
    assert_eq!(refused.code(), (403, "access.escalation"), "{}", refused.body);
    let named = text(&platform.operate(Call::post("/v1/keys?tenant=attack-power", body)).await["key"]);
    platform
        .until(200, || {
            Call::get("/v1/notes/1").header("host", "attack-power.localhost").header("x-api-key", &named)
        })
        .await;
    assert_eq!(platform.control(&named, Call::post("/v1/grants", grant())).await.status, 201);
    // A key for an hour makes no key for a year.
    let ends = (jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * 365 * 40)).to_string();
    let short = json!({"name": "short", "owner": owner, "roles": ["tenant_admin"], "expires_at": soon(platform).await});
    let short = platform.operate(Call::post("/v1/keys?tenant=attack-power", short)).await;
    let (key, expires_at) = (text(&short["key"]), text(&short["expires_at"]));
    platform
        .until(200, || {
            Call::get("/v1/notes/1").header("host", "attack-power.localhost").header("x-api-key", &key)
        })
        .await;
    let made = |fields: Value| {
        let mut body = json!({"name": "k", "owner": owner, "roles": ["readonly"]});
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        Call::post("/v1/keys", body)
    };
    let same = platform.control(&key, made(json!({}))).await;
    assert_eq!((same.status, text(&same.body["expires_at"])), (201, expires_at), "as late as possible");
    let longer = platform.control(&key, made(json!({"expires_at": ends}))).await;
    assert_eq!(longer.code(), (422, "keys.bad_expiry"), "{}", longer.body);
}

/// An hour from now, by the platform's clock.
async fn soon(platform: &crate::platform::Platform) -> String {
    let seen = platform.operate(Call::get("/v1/tenants/attack-power")).await;
    let created: jiff::Timestamp = text(&seen["created_at"]).parse().expect("a time");
    (created + jiff::SignedDuration::from_hours(1)).to_string()
}
