//! Keys that are narrowed: addresses, things, and limits of their own.

use rowhouse_domain::id::KeyId;
use rowhouse_domain::keys::{KeyLimitDefinition, Narrowing, ThingPattern, parse_network};
use rowhouse_domain::limits::Algorithm;

use crate::directory::{ACME, KeyPlan};
use crate::stage::Stage;

fn from_networks(networks: &[&str]) -> Narrowing {
    let allowed_ips = networks.iter().map(|text| parse_network(text).unwrap()).collect();
    Narrowing { allowed_ips, ..Narrowing::default() }
}

fn for_things(things: &[(&str, &str)]) -> Narrowing {
    let pattern = |(kind, id): &(&str, &str)| ThingPattern { kind: (*kind).into(), id: (*id).into() };
    Narrowing { things: things.iter().map(pattern).collect(), ..Narrowing::default() }
}

fn with_limit(quota: i64, burst: i64) -> Narrowing {
    let limit = KeyLimitDefinition {
        name: "partner".to_owned(),
        algorithm: Algorithm::TokenBucket,
        quota,
        window_ms: 60_000,
        burst: Some(burst),
    };
    Narrowing { limits: [limit.compiled().unwrap()].into(), ..Narrowing::default() }
}

fn key(narrowed: Narrowing) -> KeyPlan {
    KeyPlan { narrowed, ..KeyPlan::of(ACME) }
}

#[test]
fn a_key_is_used_from_its_networks_only() {
    let rows: [(&[&str], u16); 5] = [
        (&["127.0.0.1"], 200),
        (&["10.0.0.0/8", "127.0.0.0/8"], 200),
        (&["10.0.0.0/8"], 403),
        (&["::1"], 403),
        (&["0.0.0.0/0"], 200),
    ];
    let mut keys = Vec::new();
    let stage = Stage::with(|plan| {
        keys =
            rows.iter().map(|(networks, status)| (plan.key(key(from_networks(networks))), *status)).collect();
    });
    for (text, status) in &keys {
        let answer = stage.bare("GET", "/v1/stamps").host("acme.example.test").key(text).send();
        assert_eq!(answer.status, *status);
        if *status == 403 {
            assert_eq!(answer.refusal(), (403, "keys.ip_denied".to_owned()));
        }
    }
    let (refused, _) = &keys[2];
    let claimed = stage.bare("GET", "/v1/stamps").host("acme.example.test").key(refused);
    let claimed = claimed.header("x-forwarded-for", "10.0.0.1").send();
    assert_eq!(
        claimed.refusal(),
        (403, "keys.ip_denied".to_owned()),
        "nobody is believed who is no trusted proxy"
    );
}

#[test]
fn a_key_for_some_things_opens_these_and_nothing_else() {
    let mut keys = Vec::new();
    let stage = Stage::with(|plan| {
        plan.route_mut("stamps.one").resource =
            Some(serde_json::from_str(r#"{"type":"stamp","id_from":"path.stamp_id"}"#).unwrap());
        keys.push(plan.key(key(for_things(&[("stamp", "inv-*")]))));
        keys.push(plan.key(key(for_things(&[("report", "*"), ("stamp", "one")]))));
    });
    let rows = [
        (0, "/v1/stamps/inv-7", 200),
        (0, "/v1/stamps/one", 403),
        (0, "/v1/stamps/Inv-7", 403),
        (1, "/v1/stamps/one", 200),
        (1, "/v1/stamps/ones", 403),
        (0, "/v1/stamps", 403),
    ];
    for (number, path, status) in rows {
        let answer = stage.bare("GET", path).host("acme.example.test").key(&keys[number]).send();
        assert_eq!(answer.status, status, "key {number} {path}");
    }
}

#[test]
fn a_keys_own_limit_is_counted_by_family_and_told() {
    let mut keys = Vec::new();
    let stage = Stage::with(|plan| {
        let family = Some(KeyId::from_u128(77));
        keys.push(plan.key(KeyPlan { family, ..key(with_limit(1, 3)) }));
        keys.push(plan.key(KeyPlan { family, ..key(with_limit(1, 3)) }));
        keys.push(plan.key(key(with_limit(1, 3))));
    });
    let ask =
        |number: usize| stage.bare("GET", "/v1/stamps").host("acme.example.test").key(&keys[number]).send();
    let first = ask(0);
    assert_eq!(first.status, 200);
    assert_eq!(first.header("ratelimit"), Some(r#""partner";r=2;t=60"#));
    assert_eq!(ask(1).status, 200, "who replaces the key goes on with its count");
    assert_eq!(ask(0).status, 200);
    let refused = ask(1);
    assert_eq!(refused.refusal(), (429, "limits.exceeded".to_owned()));
    assert_eq!(refused.header("ratelimit-policy"), Some(r#""partner";q=3;w=180"#));
    assert_eq!(ask(2).status, 200, "another family has its own count");
    assert_eq!(stage.upstream.count(), 4);
    stage.hand.advance_us(60_000_000);
    assert_eq!((ask(0).status, ask(1).status), (200, 429));
}

#[test]
fn what_another_limit_refuses_is_not_charged_to_the_keys_own() {
    let mut text = String::new();
    let stage = Stage::with(|plan| {
        plan.limit("tenant-default", rowhouse_domain::limits::LimitScope::Tenant, 1, 1);
        text = plan.key(key(with_limit(1, 2)));
    });
    let ask = || stage.bare("GET", "/v1/stamps").host("acme.example.test").key(&text).send();
    assert_eq!(ask().status, 200);
    for _ in 0..5 {
        assert_eq!(ask().refusal(), (429, "limits.exceeded".to_owned()), "the tenant's");
    }
    stage.hand.advance_us(1_000_000);
    assert_eq!(ask().status, 200, "of two one was left");
}
