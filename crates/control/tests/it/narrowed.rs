//! Keys that are narrowed and changed: by network, thing and limit; renewed; explained; and when they were used last.

use rowhouse_control::keys::{PROJECTION, UseProjector};
use rowhouse_domain::id::KeyId;
use rowhouse_journal::{Class, PrincipalKind, RequestRecord};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::house::{House, outcome};
use crate::metering::Running;
use crate::platform::{PATIENCE, START_US};

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

async fn body_for(house: &House, tenant: &str, more: Value) -> Value {
    let member = house.member(tenant, "admin").await;
    let owner = json!({ "kind": "service_account", "id": member.account });
    let mut body = json!({ "name": "partner", "owner": owner, "roles": ["admin"] });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_narrows_a_key_is_kept_shown_and_in_force() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let more = json!({
        "allowed_ips": ["203.0.113.0/24"],
        "resources": [],
        "limits": [{ "name": "partner", "quota": 5, "window_ms": 60000 }],
    });
    let made = house.created(&house.root, "/v1/keys?tenant=acme", body_for(&house, "acme", more).await).await;
    assert_eq!(made["allowed_ips"], json!(["203.0.113.0/24"]));
    let limit = json!([{ "name": "partner", "algorithm": "token_bucket", "quota": 5, "window_ms": 60000 }]);
    assert_eq!((&made["limits"], &made["last_used"]), (&limit, &Value::Null));
    house.settled().await;
    let (status, answer) = house.platform.call(text(&made["key"]), "GET", "/v1/keys", None).await;
    assert_eq!(outcome(status, &answer), "403 keys.ip_denied");
    let shown = |ip: &str| json!({ "key": made["key"], "permission": "api_key:read", "ip": ip });
    for (ip, code) in
        [("203.0.113.9", "valid"), ("::ffff:203.0.113.9", "valid"), ("198.51.100.1", "ip_denied")]
    {
        let verdict = house.posted(&house.root, "/v1/keys/verify", shown(ip)).await;
        assert_eq!((&verdict["code"], &verdict["valid"]), (&json!(code), &json!(code == "valid")), "{ip}");
    }
    // Rotating keeps what narrows it, and its family.
    let rotate = format!("/v1/keys/{}/rotate", text(&made["id"]));
    let next = house.created(&house.root, &rotate, json!({})).await;
    assert_eq!(
        (&next["allowed_ips"], &next["limits"], &next["family"]),
        (&made["allowed_ips"], &made["limits"], &made["family"])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_narrow_a_key_is_told_field_by_field() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let rows = [
        (json!({ "allowed_ips": ["10.0.0.1/8"] }), "/allowed_ips/0"),
        (json!({ "allowed_ips": ["10.0.0.0/8", "nowhere"] }), "/allowed_ips/1"),
        (json!({ "allowed_ips": vec!["10.0.0.1"; 65] }), "/allowed_ips"),
        (json!({ "resources": [{ "type": "stamp", "id": "a*b" }] }), "/resources/0"),
        (json!({ "limits": [{ "name": "Partner", "quota": 5, "window_ms": 1000 }] }), "/limits/0/name"),
        (json!({ "limits": [{ "name": "partner", "quota": 0, "window_ms": 1000 }] }), "/limits/0"),
        (
            json!({ "limits": vec![json!({ "name": "p", "quota": 1, "window_ms": 1000 }); 2] }),
            "/limits/1/name",
        ),
    ];
    let body = body_for(&house, "acme", json!({})).await;
    for (more, place) in rows {
        let mut wrong = body.clone();
        wrong.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let said = house.refused(&house.root, "/v1/keys?tenant=acme", wrong).await;
        assert_eq!(said, format!("422 keys.invalid_field {place}"), "{more}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_changed_by_who_has_seen_it_and_only_narrows_what_it_may() {
    let house = House::start().await;
    let acme = house.tenant("acme", "basic").await;
    house.tenant("bolt", "basic").await;
    let stranger = house.member("bolt", "admin").await;
    let body = body_for(&house, "acme", json!({})).await;
    let made = house.created(&house.root, "/v1/keys?tenant=acme", body).await;
    let path = format!("/v1/keys/{}", text(&made["id"]));
    let patch = |edit: Value, seen: &'static str| {
        let (house, path) = (&house, path.clone());
        async move {
            let call =
                house.platform.call_with(&house.root, ("PATCH", &path), Some(("if-match", seen)), Some(edit));
            call.await
        }
    };
    let (status, changed) = patch(json!({ "name": "new", "services": ["rowhouse"] }), "\"1\"").await;
    assert_eq!((status, &changed["name"], &changed["version"]), (200, &json!("new"), &json!(2)), "{changed}");
    assert_eq!(changed["roles"], json!(["admin"]), "what is absent stays");
    let (status, late) = patch(json!({ "name": "late" }), "\"1\"").await;
    assert_eq!(outcome(status, &late), "412 api.changed_meanwhile");
    let (status, same) = patch(json!({ "name": "new" }), "\"2\"").await;
    assert_eq!((status, &same["version"]), (200, &json!(2)), "twice is once");
    let (status, open) = patch(json!({ "services": null }), "\"2\"").await;
    assert_eq!((status, &open["services"]), (200, &Value::Null));
    let (status, wrong) = patch(json!({ "allowed_ips": ["x"], "name": "" }), "*").await;
    assert_eq!(outcome(status, &wrong), "422 keys.invalid_field /name,/allowed_ips/0");
    let (status, wrong) = patch(json!({ "roles": ["nobody"] }), "*").await;
    assert_eq!(outcome(status, &wrong), "422 access.unknown_role");
    let (status, hidden) =
        house.platform.call(&stranger.key, "PATCH", &path, Some(json!({ "name": "mine" }))).await;
    assert!(
        matches!(outcome(status, &hidden).as_str(), "404 api.not_found" | "403 access.denied"),
        "{hidden}"
    );
    // Who may change keys but not do what this one may, opens it to nobody; its name he may change.
    let weak = json!({ "name": "weak", "owner": made["owner"], "permissions": ["api_key:update"] });
    let weak = house.created(&house.root, "/v1/keys?tenant=acme", weak).await;
    house.settled().await;
    let as_weak = |edit: Value| house.platform.call(text(&weak["key"]), "PATCH", &path, Some(edit));
    let (status, opened) = as_weak(json!({ "allowed_ips": ["0.0.0.0/0"] })).await;
    assert_eq!(outcome(status, &opened), "403 access.escalation");
    let (status, named) = as_weak(json!({ "name": "named" })).await;
    assert_eq!((status, &named["name"]), (200, &json!("named")), "{named}");
    let events = house.events(acme).await;
    assert_eq!(events.iter().filter(|name| *name == "keys.key_changed").count(), 3, "{events:?}");

    house.posted(&house.root, &format!("{path}/revoke"), json!({ "reason": "over" })).await;
    let (status, ended) = patch(json!({ "name": "again" }), "*").await;
    assert_eq!(outcome(status, &ended), "409 keys.wrong_state");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_renewed_while_it_lives() {
    let house = House::start().await;
    let acme = house.tenant("acme", "basic").await;
    let body = body_for(&house, "acme", json!({ "expires_at": "2026-11-21T11:00:00Z" })).await;
    let made = house.created(&house.root, "/v1/keys?tenant=acme", body).await;
    let renew = format!("/v1/keys/{}/renew", text(&made["id"]));
    let until = |at: &str| json!({ "expires_at": at });
    let longer = house.posted(&house.root, &renew, until("2026-11-21T12:00:00Z")).await;
    assert_eq!(longer["expires_at"], "2026-11-21T12:00:00Z");
    for (at, said) in [
        ("2026-11-21T09:00:00Z", "422 keys.bad_expiry /expires_at"),
        ("2027-11-22T10:00:00Z", "422 keys.bad_expiry /expires_at"),
    ] {
        assert_eq!(house.refused(&house.root, &renew, until(at)).await, said);
    }
    assert_eq!(house.events(acme).await.last().map(String::as_str), Some("keys.key_renewed"));
    house.platform.hand.advance_us(2 * 3_600_000_000);
    let said = house.refused(&house.root, &renew, until("2026-11-21T15:00:00Z")).await;
    assert_eq!(said, "409 keys.wrong_state", "it has ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_a_key_is_explained_check_by_check() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    house.tenant("bolt", "basic").await;
    let more = json!({ "allowed_ips": ["10.0.0.0/8"], "expires_at": "2026-11-21T11:00:00Z" });
    let made = house.created(&house.root, "/v1/keys?tenant=acme", body_for(&house, "acme", more).await).await;
    house.settled().await;
    let ask = |ip: &str, at: &str, host: &str| {
        let request = json!({ "method": "GET", "path": "/v1/nowhere", "ip": ip, "host": host });
        let body = json!({ "key_id": made["id"], "request": request, "at": at });
        let house = &house;
        async move { house.posted(&house.root, "/v1/keys/explain", body).await }
    };
    let (early, late) = ("2026-11-21T10:30:00Z", "2026-11-21T11:00:00Z");
    let outcomes = [
        ("10.1.1.1", early, "", "no_match", "pass"),
        ("11.1.1.1", early, "", "ip_denied", "fail"),
        ("11.1.1.1", late, "", "expired", "fail"),
        ("10.1.1.1", early, "bolt.example.com", "", "pass"),
    ];
    for (ip, at, host, expected, address) in outcomes {
        let told = ask(ip, at, host).await;
        let checks = told["checks"].as_array().expect("checks");
        let check = |name: &str| checks.iter().find(|check| check["check"] == name).expect("a check");
        if !expected.is_empty() {
            assert_eq!(told["outcome"], expected, "{told}");
        }
        assert_eq!(check("address")["result"], address, "{told}");
        assert_eq!(check("limits")["result"], "unknown");
    }
    let stranger = house.member("bolt", "admin").await;
    let request = json!({ "method": "GET", "path": "/" });
    let body = json!({ "key_id": made["id"], "request": request });
    assert_eq!(house.refused(&stranger.key, "/v1/keys/explain", body).await, "404 api.not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_use_of_a_key_is_known_to_a_minute_and_twice_is_once() {
    let house = House::start().await;
    let acme = house.tenant("acme", "basic").await;
    let made =
        house.created(&house.root, "/v1/keys?tenant=acme", body_for(&house, "acme", json!({})).await).await;
    let id: KeyId = text(&made["id"]).parse().expect("an id");
    let used = |at_us: i64, ip: &'static str, kind: PrincipalKind| RequestRecord {
        request_id: at_us as u128,
        started_at_us: at_us,
        tenant: Some(acme.0.as_u128()),
        principal_kind: kind,
        principal: Some(id.0.as_u128()),
        endpoint: "GET /v1/stamps",
        client_ip: ip,
        ..RequestRecord::default()
    };
    let mut lane = house.platform.journal.lane("g0").expect("a lane");
    let running = Running::start_with(&house.platform, UseProjector::default());
    let path = format!("/v1/keys/{}", text(&made["id"]));
    // Within a minute nothing is written, and what nobody proved is nobody's use.
    let rows = [
        (0, "192.0.2.1", PrincipalKind::ApiKey, "2026-11-21T10:00:00Z", "192.0.2.1"),
        (59, "192.0.2.2", PrincipalKind::ApiKey, "2026-11-21T10:00:00Z", "192.0.2.1"),
        (61, "192.0.2.3", PrincipalKind::User, "2026-11-21T10:00:00Z", "192.0.2.1"),
        (62, "192.0.2.4", PrincipalKind::ApiKey, "2026-11-21T10:01:02Z", "192.0.2.4"),
        (30, "192.0.2.5", PrincipalKind::ApiKey, "2026-11-21T10:01:02Z", "192.0.2.4"),
    ];
    for (after_s, ip, kind, at, from) in rows {
        let record = used(START_US + after_s * 1_000_000, ip, kind);
        lane.append_record(Class::R, &record).expect("room");
        let last = lane.next_sequence() - 1;
        let passed = house.platform.control.projections.passed(PROJECTION, lane.name(), last);
        timeout(PATIENCE, passed).await.expect("the projection gets there");
        let shown = house.platform.get(&house.root, &path).await;
        let expected = json!({ "at": at, "ip": from, "endpoint": "GET /v1/stamps" });
        assert_eq!(shown["last_used"], expected, "after {after_s} s from {ip}");
    }
    running.stop().await;
    // A projector that has forgotten everything, on records that were read already.
    house.platform.execute("DELETE FROM journal.positions").await;
    let before = house.platform.get(&house.root, &path).await;
    let running = Running::start_with(&house.platform, UseProjector::default());
    let again = async {
        let asked = "SELECT max(sequence) FROM journal.positions WHERE projection = 'key_uses'";
        while house.platform.ask(asked).await != lane.next_sequence().to_string() {}
    };
    timeout(PATIENCE, again).await.expect("it reads everything again");
    running.stop().await;
    assert_eq!(house.platform.get(&house.root, &path).await, before);
}
