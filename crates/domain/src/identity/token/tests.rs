//! Attacks on tokens, as a table.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::*;
use crate::id::{SessionId, TenantId, UserId};

const NOW: i64 = 1_795_255_200;
const TURN: i64 = 90 * 86_400;

fn claims() -> TokenClaims {
    TokenClaims {
        issuer: "https://console.example.com".into(),
        subject: Subject::User(UserId::from_u128(7)),
        audience: vec![AUDIENCE_GATEWAY.into(), AUDIENCE_CONTROL.into()],
        tenant: TenantId::from_u128(5),
        session: SessionId::from_u128(9),
        id: "01".into(),
        issued_at: NOW,
        not_before: NOW,
        expires_at: NOW + TOKEN_LIFETIME_S,
        auth_time: NOW,
        assurance: "2".into(),
        methods: vec!["pwd".into(), "otp".into()],
        application: None,
        scope: None,
    }
}

fn ring() -> TokenRing {
    TokenRing::new([3; 32], 1)
}

fn keys() -> TokenKeys {
    TokenKeys { issuer: "https://console.example.com".into(), keys: ring().keys(NOW) }
}

fn read(token: &str, now_s: i64) -> Result<TokenClaims, TokenFault> {
    Unverified::read(token)?.verify(&keys(), AUDIENCE_GATEWAY, now_s)
}

/// A token with another header and claims, rightly signed by our own key.
fn signed(header: &str, body: &str) -> String {
    let parts = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(body));
    ring().signer(NOW).sign_text(&parts)
}

#[test]
fn a_token_is_believed_by_whom_it_is_for_while_it_is_good() {
    let token = ring().signer(NOW).sign(&claims());
    assert!(is_token(&token));
    assert_eq!(read(&token, NOW), Ok(claims()));
    assert_eq!(read(&token, NOW + 629), Ok(claims()), "within the leeway");
    assert_eq!(read(&token, NOW + 630), Err(TokenFault::Expired));
    assert_eq!(read(&token, NOW - 30), Ok(claims()));
    assert_eq!(read(&token, NOW - 31), Err(TokenFault::NotYet));
    let for_another = Unverified::read(&token).and_then(|token| token.verify(&keys(), "urn:other", NOW));
    assert_eq!(for_another, Err(TokenFault::WrongAudience));
    let machine = TokenClaims {
        subject: Subject::ServiceAccount(crate::id::ServiceAccountId::from_u128(3)),
        ..claims()
    };
    assert_eq!(read(&ring().signer(NOW).sign(&machine), NOW), Ok(machine));
    let application = TokenClaims {
        application: Some(crate::id::ApplicationId::from_u128(4)),
        scope: Some("openid email".into()),
        ..claims()
    };
    assert_eq!(read(&ring().signer(NOW).sign(&application), NOW), Ok(application.clone()));
    assert!(application.has_scope("email") && !application.has_scope("profile"));
    assert!(claims().has_scope("profile"), "a person's own token says all of them");
    let by_provider = |methods: &[&str]| TokenClaims {
        methods: methods.iter().map(|own| (*own).to_owned()).collect(),
        ..claims()
    };
    assert!(!by_provider(&["fed", "mfa"]).has_own() && by_provider(&["fed", "otp", "mfa"]).has_own());
}

#[test]
fn keys_turn_by_the_calendar_and_a_generation_ends_them_all() {
    let begin = NOW.div_euclid(TURN) * TURN;
    let late =
        TokenClaims { issued_at: begin - 1, not_before: begin - 1, expires_at: begin + 599, ..claims() };
    let token = ring().signer(begin - 1).sign(&late);
    let of = |now_s: i64| TokenKeys { issuer: claims().issuer, keys: ring().keys(now_s) };
    let ask = |keys: &TokenKeys, now_s| {
        Unverified::read(&token).and_then(|token| token.verify(keys, AUDIENCE_GATEWAY, now_s)).err()
    };
    assert_eq!(ask(&of(begin + 10), begin + 10), None, "the key before is still believed");
    assert_eq!(ask(&of(begin - 20 * 86_400), begin + 10), None, "to whom nothing was told since");
    let current = |now_s: i64| ring().signer(now_s).sign(&claims()).split('.').next().map(str::to_owned);
    assert_ne!(current(begin - 1), current(begin));
    let published: Vec<_> = of(begin - 86_400).keys.iter().map(|key| key.key_id.clone()).collect();
    assert!(published.contains(&of(begin).keys[1].key_id), "known a day before it signs");
    let turned = TokenKeys { issuer: claims().issuer, keys: TokenRing::new([3; 32], 2).keys(NOW) };
    assert_eq!(ask(&turned, begin + 10), Some(TokenFault::UnknownKey));
    let old = TokenKeys { issuer: claims().issuer, keys: ring().keys(NOW) };
    assert_eq!(ask(&old, begin + 5_000), Some(TokenFault::UnknownKey), "its time is over");
}

#[test]
fn no_forgery_is_believed() {
    let good = ring().signer(NOW).sign(&claims());
    let (header, rest) = good.split_once('.').expect("parts");
    let (body, signature) = rest.split_once('.').expect("parts");
    let kid = &keys().keys[1].key_id;
    let plain = serde_json::to_string(&claims()).expect("claims");
    let head = |extra: &str| format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}"{extra}}}"#);
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let changed = |from: &str, to: &str| signed(&head(""), &plain.replacen(from, to, 1));
    let hs256 = {
        let parts = format!("{}.{body}", encode(&head("").replace("EdDSA", "HS256")));
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(keys().keys[1].key.as_bytes()).expect("a key");
        mac.update(parts.as_bytes());
        format!("{parts}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    };
    let own_key = TokenRing::new([4; 32], 1).signer(NOW);
    let forged_kid = own_key.sign_text(&format!("{}.{body}", encode(&head(""))));
    let x = TokenRing::new([4; 32], 1).keys(NOW)[1].x();
    let embedded = own_key.sign_text(&format!(
        "{}.{body}",
        encode(&head(&format!(r#","jwk":{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#)))
    ));
    use TokenFault::*;
    let table = [
        ("alg none", format!("{}.{body}.", encode(&head("").replace("EdDSA", "none"))), WrongHeader),
        (
            "alg none with the signature",
            format!("{}.{body}.{signature}", encode(&head("").replace("EdDSA", "none"))),
            WrongHeader,
        ),
        ("HMAC with the public key", hs256, WrongHeader),
        ("another's key under our kid", forged_kid, BadSignature),
        ("another's key, named", own_key.sign(&claims()), UnknownKey),
        ("a key in the header", embedded, WrongHeader),
        (
            "a place of keys in the header",
            signed(&head(r#","jku":"https://evil.example""#), &plain),
            WrongHeader,
        ),
        ("an unknown critical header", signed(&head(r#","crit":["x"],"x":1"#), &plain), WrongHeader),
        ("alg twice", signed(&head(r#","alg":"none""#), &plain), WrongHeader),
        ("type JWT", signed(&head("").replace("at+jwt", "JWT"), &plain), WrongHeader),
        ("no kid", signed(r#"{"alg":"EdDSA","typ":"at+jwt"}"#, &plain), WrongHeader),
        ("no signature", format!("{header}.{body}."), Malformed),
        ("two parts", format!("{header}.{body}"), Malformed),
        ("four parts", format!("{good}.{signature}"), Malformed),
        ("padding", format!("{header}.{body}.{}", URL_SAFE.encode([1; 64])), Malformed),
        (
            "the other alphabet",
            format!("{}.{body}.{signature}", STANDARD.encode("{\"alg\":\"EdDSA??>>\"}")),
            Malformed,
        ),
        ("space", format!(" {good}"), Malformed),
        ("too long", format!("{good}{}", "A".repeat(8 * 1024)), Malformed),
        ("another issuer", changed("console.example", "evil.example"), WrongIssuer),
        ("another audience", changed("urn:rowhouse:gateway", "urn:x"), WrongAudience),
        (
            "a claim twice",
            changed(r#""sub":"#, r#""sub":"user_00000000000000000000000001","sub":"#),
            Malformed,
        ),
        ("a claim more", changed(r#""sub":"#, r#""role":"admin","sub":"#), Malformed),
        ("no expiry", changed(&format!(r#""exp":{},"#, NOW + 600), ""), Malformed),
        ("a float for a time", changed(&format!(r#""exp":{}"#, NOW + 600), r#""exp":1e10"#), Malformed),
        (
            "a life of a day",
            changed(&format!(r#""exp":{}"#, NOW + 600), &format!(r#""exp":{}"#, NOW + 86_400)),
            Malformed,
        ),
        (
            "the last instant of all",
            changed(&format!(r#""exp":{}"#, NOW + 600), r#""exp":9223372036854775807"#),
            Malformed,
        ),
        ("an id of another kind", changed(r#""tenant":"tenant_"#, r#""tenant":"user_"#), Malformed),
        ("deep nesting", signed(&head(""), &"[".repeat(4_000)), Malformed),
    ];
    for (what, token, fault) in table {
        assert_eq!(read(&token, NOW), Err(fault), "{what}");
    }
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(bytes).expect("ascii");
        assert!(altered == good || read(&altered, NOW).is_err(), "altered at {at}");
    }
}

impl TokenSigner {
    fn sign_text(&self, parts: &str) -> String {
        use ed25519_dalek::Signer;
        format!("{parts}.{}", URL_SAFE_NO_PAD.encode(self.key_for_tests().sign(parts.as_bytes()).to_bytes()))
    }
}
