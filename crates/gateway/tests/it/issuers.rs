//! Who calls: machines with tokens of their tenant's own issuers. What is remembered of a token is looked at anew with every change.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rowhouse_domain::id::{IssuerId, ServiceAccountId, TenantId};
use rowhouse_domain::identity::issuer::{Issuer, Missed, SigningAlgorithm, TenantIssuers, Trust, read_keys};
use serde_json::{Value, json};

use crate::client::Answer;
use crate::directory::{ACME, BOLT};
use crate::stage::{NOON_US, Stage};

const ISSUER: &str = "https://login.acme.test";

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

pub fn token(seed: u8, change: impl FnOnce(&mut Value)) -> String {
    let now = NOON_US / 1_000_000;
    let mut claims =
        json!({ "iss": ISSUER, "sub": "robot", "aud": "urn:acme", "iat": now, "exp": now + 600 });
    change(&mut claims);
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": "EdDSA", "kid": "k" })), part(&claims));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key(seed).sign(signed.as_bytes())))
}

/// An issuer whose robot is the owner of this number.
pub fn issuers(seed: u8, owner: u128, missed: &Missed) -> Arc<TenantIssuers> {
    let x = URL_SAFE_NO_PAD.encode(key(seed).public_key());
    let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x }] }).to_string();
    let trust = Trust {
        audience: "urn:acme".into(),
        subject: "robot".into(),
        account: ServiceAccountId::from_u128(owner),
    };
    Arc::new(TenantIssuers::new(vec![Issuer {
        id: IssuerId::from_u128(1),
        issuer: ISSUER.into(),
        audiences: vec!["urn:acme".into()],
        subject_claim: "sub".into(),
        keys: read_keys(set.as_bytes(), &[SigningAlgorithm::EdDsa]).unwrap(),
        trusts: vec![trust],
        missed: missed.clone(),
    }]))
}

fn stage(tenant: TenantId, issuers: Arc<TenantIssuers>) -> Stage {
    Stage::with(|plan| plan.tenant_mut(tenant).issuers = issuers)
}

fn get(stage: &Stage, host: &str, token: &str) -> Answer {
    stage.bare("GET", "/v1/stamps").host(host).header("Authorization", format!("Bearer {token}")).send()
}

fn code(stage: &Stage, token: &str) -> (u16, String) {
    get(stage, "acme.example.test", token).refusal()
}

#[test]
fn a_machine_is_who_its_issuer_says_and_may_what_that_account_may() {
    let mut stage = stage(ACME, issuers(1, 9, &Missed::default()));
    let good = token(1, |_| ());
    // Nobody has granted the account anything: it is known, and may do nothing.
    assert_eq!(code(&stage, &good), (403, "access.denied".to_owned()));
    let records = stage.records(1);
    assert_eq!(records[0].record().principal, Some(9));
    assert_eq!(records[0].record().principal_kind, rowhouse_journal::PrincipalKind::ServiceAccount);
    for _ in 0..2 {
        let elsewhere = get(&stage, "bolt.example.test", &good).refusal();
        assert_eq!(elsewhere, (401, "identity.token_invalid".to_owned()), "remembered for acme alone");
    }
    // Without API access machines stay out, whatever they show.
    stage.publish(|plan| plan.tenant_mut(ACME).api_access = false);
    assert_eq!(code(&stage, &good), (403, "keys.not_in_tier".to_owned()));
}

#[test]
fn what_was_believed_is_looked_at_anew() {
    let missed = Missed::default();
    let mut stage = stage(ACME, issuers(1, 9, &missed));
    let (good, bound) =
        (token(1, |_| ()), token(1, |all| all["cnf"] = json!({ "x5t#S256": "A".repeat(43) })));
    assert_eq!(code(&stage, &good).0, 403);
    assert_eq!(
        code(&stage, &bound),
        (401, "identity.token_invalid".to_owned()),
        "its certificate was not shown"
    );
    stage.publish(|plan| plan.tenant_mut(ACME).issuers = issuers(1, 9, &missed));
    assert_eq!(code(&stage, &good).0, 403, "the same again");
    stage.publish(|plan| plan.tenant_mut(ACME).issuers = issuers(2, 9, &missed));
    assert_eq!(
        code(&stage, &good),
        (401, "identity.token_invalid".to_owned()),
        "another key of the same name"
    );
    stage.publish(|plan| plan.tenant_mut(ACME).issuers = Arc::default());
    assert_eq!(code(&stage, &good), (401, "identity.token_invalid".to_owned()), "nobody is trusted any more");
    stage.publish(|plan| plan.tenant_mut(BOLT).issuers = issuers(1, 9, &missed));
    assert_eq!(code(&stage, &good), (401, "identity.token_invalid".to_owned()), "another tenant's issuer");
    stage.publish(|plan| plan.tenant_mut(ACME).issuers = issuers(1, 9, &missed));
    assert_eq!(code(&stage, &good).0, 403);
    stage.hand.advance_us(630_000_000);
    assert_eq!(code(&stage, &good), (401, "identity.token_expired".to_owned()));
    assert_eq!(missed.take(), None, "every key was known");
}
