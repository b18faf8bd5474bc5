//! Who calls: API keys, in the order in which they are checked.

use rowhouse_domain::keys::{Environment, KeyStanding, KeyState};
use rowhouse_journal::Class;

use crate::client::Answer;
use crate::directory::{ACME, KeyPlan};
use crate::stage::{NOON_US, Stage};

fn only_for(service: &str) -> rowhouse_domain::keys::Narrowing {
    let services = Some([service.into()].into());
    rowhouse_domain::keys::Narrowing { services, ..Default::default() }
}

fn standing(change: impl FnOnce(&mut KeyStanding)) -> KeyPlan {
    let mut plan = KeyPlan::of(ACME);
    change(&mut plan.standing);
    plan
}

#[test]
fn a_key_is_taken_from_either_header() {
    let stage = Stage::start();
    let bare = || stage.bare("GET", "/v1/stamps").host("acme.example.test");
    assert_eq!(bare().header("Authorization", format!("bearer {}", stage.acme)).send().status, 200);
    let answer = bare().header("X-API-Key", &stage.acme).send();
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains(&stage.acme), "no service ever sees a key");
}

#[test]
fn no_credential_or_more_than_one_is_refused() {
    let stage = Stage::start();
    let bare = || stage.bare("GET", "/v1/stamps").host("acme.example.test");
    let none = bare().send();
    assert_eq!(none.refusal(), (401, "identity.no_credentials".to_owned()));
    assert_eq!(none.header("www-authenticate"), Some("Bearer"));
    let basic = bare().header("Authorization", "Basic eDp5").send();
    assert_eq!(basic.refusal(), (401, "identity.no_credentials".to_owned()));

    let key = &stage.acme;
    let bearer = format!("Bearer {key}");
    for ask in [
        bare().key(key).header("X-API-Key", key),
        bare().key(key).key(key),
        bare().header("X-API-Key", key).header("X-API-Key", key),
        bare().header("Authorization", "Basic eDp5").header("X-API-Key", key),
        bare().header("Authorization", "Basic eDp5").header("Authorization", bearer),
    ] {
        assert_eq!(ask.send().refusal(), (401, "identity.ambiguous_credentials".to_owned()));
    }
    assert_eq!(stage.upstream.count(), 0);
}

/// Body and headers, without what differs in every answer.
fn outside(answer: &Answer) -> (u16, String, Vec<(String, String)>) {
    let mut problem = answer.json();
    problem["request_id"] = "".into();
    let changing = |name: &str| ["x-request-id", "date"].contains(&name);
    let headers = answer.headers.iter().filter(|(name, _)| !changing(name)).cloned();
    (answer.status, problem.to_string(), headers.collect())
}

#[test]
fn malformed_unknown_and_wrong_cannot_be_told_apart() {
    let stage = Stage::with(|plan| {
        // A key that is thrown away again: well-formed and unknown.
        plan.key(KeyPlan::of(ACME));
        plan.keys.pop();
    });
    let ask = |key: &str| stage.bare("GET", "/v1/stamps").host("acme.example.test").key(key).send();
    let unknown = "rh_live_local_Rowhouse01k3yk3yk3yk3yk3yk3yk3yk3yk3yk3yk32C50qD";
    // The public id of a real key, with another secret and its right checksum.
    let wrong = with_other_secret(&stage.acme);
    let malformed = ask("nonsense");
    assert_eq!(malformed.refusal(), (401, "keys.invalid".to_owned()));
    assert_eq!(malformed.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    assert_eq!(outside(&ask(unknown)), outside(&malformed));
    assert_eq!(outside(&ask(&wrong)), outside(&malformed));
    assert_eq!(outside(&ask("")), outside(&malformed));
    // Another tenant's key, and another tenant's public id with a wrong secret: nothing more is told.
    assert_eq!(outside(&ask(&stage.bolt)), outside(&malformed));
    assert_eq!(outside(&ask(&with_other_secret(&stage.bolt))), outside(&malformed));
    let records = stage.records(6);
    let known: Vec<_> = records.iter().map(|recorded| recorded.record().api_key.to_owned()).collect();
    assert_eq!(
        known.iter().filter(|id| !id.is_empty()).count(),
        3,
        "ids of existing keys are recorded: {known:?}"
    );
}

fn with_other_secret(key: &str) -> String {
    let (start, body) = key.rsplit_once('_').unwrap();
    let body = format!("{}{}", &body[..10], "A".repeat(32));
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = crc32(body.as_bytes());
    let mut check = Vec::new();
    for _ in 0..6 {
        check.insert(0, ALPHABET[(rest % 62) as usize] as char);
        rest /= 62;
    }
    format!("{start}_{body}{}", check.into_iter().collect::<String>())
}

/// CRC-32 (IEEE), bit by bit, independent of the library.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[test]
fn the_state_of_a_key_is_told_to_who_holds_it() {
    let rows: Vec<(KeyPlan, u16, &str)> = vec![
        (standing(|key| key.state = KeyState::Revoked), 401, "keys.revoked"),
        (standing(|key| key.state = KeyState::Disabled), 401, "keys.disabled"),
        (standing(|key| key.not_before_us = Some(NOON_US + 1)), 401, "keys.not_yet_valid"),
        (standing(|key| key.expires_at_us = Some(NOON_US)), 401, "keys.expired"),
        (standing(|key| key.owner_enabled = false), 401, "keys.owner_disabled"),
        (KeyPlan { region: "eu1", ..KeyPlan::of(ACME) }, 421, "keys.wrong_region"),
        (KeyPlan { narrowed: only_for("reports"), ..KeyPlan::of(ACME) }, 403, "keys.wrong_service"),
    ];
    let mut keys = Vec::new();
    let stage = Stage::with(|plan| {
        keys = rows.into_iter().map(|(key, status, code)| (plan.key(key), status, code)).collect();
    });
    for (key, status, code) in keys {
        let answer = stage.bare("GET", "/v1/stamps").host("acme.example.test").key(&key).send();
        assert_eq!(answer.refusal(), (status, code.to_owned()));
    }
    assert_eq!(stage.upstream.count(), 0);
}

#[test]
fn a_key_expires_by_itself() {
    let mut key = String::new();
    let stage = Stage::with(|plan| {
        key = plan.key(standing(|key| key.expires_at_us = Some(NOON_US + 1_000_000)));
    });
    let ask = || stage.bare("GET", "/v1/stamps").host("acme.example.test").key(&key).send();
    assert_eq!(ask().status, 200);
    stage.hand.advance_us(1_000_000);
    assert_eq!(ask().refusal(), (401, "keys.expired".to_owned()));
}

#[test]
fn another_tenants_genuine_key_is_a_synchronous_audit_event_of_its_own_tenant() {
    let stage = Stage::start();
    let answer = stage.bare("GET", "/v1/stamps").host("acme.example.test").key(&stage.bolt).send();
    assert_eq!(answer.refusal(), (401, "keys.invalid".to_owned()));
    let recorded = stage.record();
    assert_eq!(recorded.class, Class::S);
    let record = recorded.record();
    assert_eq!(record.tenant, Some(crate::directory::BOLT.as_u128()));
    let audit = record.audit.unwrap();
    assert_eq!((audit.counter, audit.target_kind), (1, "wrong_tenant"));
}

#[test]
fn a_tier_without_api_access_takes_no_keys() {
    let stage = Stage::with(|plan| plan.tenant_mut(ACME).api_access = false);
    assert_eq!(stage.ask("GET", "/v1/stamps").send().refusal(), (403, "keys.not_in_tier".to_owned()));
}

#[test]
fn usage_of_a_test_key_is_nobodys() {
    let mut key = String::new();
    let stage = Stage::with(|plan| {
        key = plan.key(KeyPlan { environment: Environment::Test, ..KeyPlan::of(ACME) });
        plan.quota(ACME, "stamps_created", 0, 0, 0);
    });
    let answer = stage.bare("POST", "/v1/stamps").host("acme.example.test").key(&key).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(stage.record().record().usage.is_empty());
}
