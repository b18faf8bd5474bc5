//! What issuing and verifying an access token costs on one core, and the same tokens to `jsonwebtoken`; and what the hash of one password
//! costs, which is most of a sign-in.
//!
//! Usage: bench-identity FOLDER [--quick]
//!
//! The tokens and the public key are written to FOLDER (`tokens.json`), so that libraries in other languages verify the same ones. Rounds of
//! ours and theirs take turns; each figure is the median over the rounds.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use argon2::{Algorithm, Argon2, Params, Version};
use jsonwebtoken::{DecodingKey, Validation, decode};
use rowhouse_domain::id::{SessionId, TenantId, UserId};
use rowhouse_domain::identity::token::{
    AUDIENCE_GATEWAY, Subject, TokenClaims, TokenKeys, TokenRing, TokenSigner, Unverified,
};
use serde_json::{Value, json};
use uuid::Uuid;

const ISSUER: &str = "https://console.example.com";
const ROUNDS: usize = 9;

fn main() {
    let mut words = std::env::args().skip(1);
    let folder = words.next().expect("a folder");
    let count = if words.any(|word| word == "--quick") { 1_000 } else { 10_000 };
    let now_s = now_s();
    let ring = TokenRing::new([7; 32], 1);
    let keys = TokenKeys { issuer: ISSUER.to_owned(), keys: ring.keys(now_s) };
    let signer = ring.signer(now_s);
    let tokens: Vec<String> = (0..count).map(|number| signer.sign(&claims(number as u128, now_s))).collect();
    let key = written(Path::new(&folder), &keys, &tokens);

    let (mut ours, mut theirs, mut issued) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(each_us(&tokens, |token| verified(&keys, token, now_s)));
        theirs.push(each_us(&tokens, |token| verified_by_jsonwebtoken(&key, token)));
        issued.push(issue_us(&signer, count, now_s));
    }
    let (ours, theirs, issued) = (median(ours), median(theirs), median(issued));
    let figures = json!({
        "verify_first_us": ours,
        "verify_jsonwebtoken_us": theirs,
        "vs_jsonwebtoken": theirs / ours,
        "issue_per_s_core": 1e6 / issued,
        "hash_ms": median((0..ROUNDS).map(|_| hash_ms()).collect()),
    });
    println!("{figures}");
}

fn now_s() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    now.as_secs() as i64
}

fn claims(number: u128, now_s: i64) -> TokenClaims {
    TokenClaims {
        issuer: ISSUER.to_owned(),
        subject: Subject::User(UserId(Uuid::from_u128(number))),
        audience: vec![AUDIENCE_GATEWAY.to_owned()],
        tenant: TenantId(Uuid::from_u128(number % 1_000)),
        session: SessionId(Uuid::from_u128(number << 1)),
        id: format!("{number:032x}"),
        issued_at: now_s,
        not_before: now_s,
        // Good for as long as tokens may be, so that others verify the same ones later.
        expires_at: now_s + 3_600,
        auth_time: now_s,
        assurance: "2".to_owned(),
        methods: vec!["pwd".to_owned(), "otp".to_owned(), "mfa".to_owned()],
        application: None,
        scope: None,
    }
}

/// Writes the tokens for others; the key as `jsonwebtoken` has it.
fn written(folder: &Path, keys: &TokenKeys, tokens: &[String]) -> DecodingKey {
    let head = jsonwebtoken::decode_header(&tokens[0]).expect("a header");
    let key = keys.keys.iter().find(|key| Some(&key.key_id) == head.kid.as_ref()).expect("the key");
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": key.x(), "kid": key.key_id, "alg": "EdDSA"});
    let all = json!({"issuer": ISSUER, "audience": AUDIENCE_GATEWAY, "jwk": jwk, "tokens": tokens});
    std::fs::write(folder.join("tokens.json"), all.to_string()).expect("the folder can be written to");
    DecodingKey::from_ed_components(&key.x()).expect("a key")
}

fn verified(keys: &TokenKeys, token: &str, now_s: i64) -> bool {
    Unverified::read(token).and_then(|read| read.verify(keys, AUDIENCE_GATEWAY, now_s)).is_ok()
}

fn verified_by_jsonwebtoken(key: &DecodingKey, token: &str) -> bool {
    let mut rules = Validation::new(jsonwebtoken::Algorithm::EdDSA);
    rules.set_audience(&[AUDIENCE_GATEWAY]);
    rules.set_issuer(&[ISSUER]);
    rules.validate_nbf = true;
    decode::<Value>(token, key, &rules).is_ok()
}

/// Microseconds of each.
fn each_us(tokens: &[String], verify: impl Fn(&str) -> bool) -> f64 {
    let begun = Instant::now();
    for token in tokens {
        assert!(black_box(verify(black_box(token))), "a good token is refused");
    }
    begun.elapsed().as_secs_f64() * 1e6 / tokens.len() as f64
}

fn issue_us(signer: &TokenSigner, count: usize, now_s: i64) -> f64 {
    let begun = Instant::now();
    for number in 0..count {
        black_box(signer.sign(black_box(&claims(number as u128, now_s))));
    }
    begun.elapsed().as_secs_f64() * 1e6 / count as f64
}

/// As Rowhouse hashes: 19 MiB, two passes, one lane, with a pepper.
fn hash_ms() -> f64 {
    let begun = Instant::now();
    let parameters = Params::new(19 * 1024, 2, 1, Some(32)).expect("within bounds");
    let argon =
        Argon2::new_with_secret(&[3; 32], Algorithm::Argon2id, Version::V0x13, parameters).expect("a pepper");
    let mut digest = [0; 32];
    argon.hash_password_into(b"correct horse battery staple", &[5; 16], &mut digest).expect("hashed");
    black_box(digest);
    begun.elapsed().as_secs_f64() * 1e3
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    all[all.len() / 2]
}
