//! Keys of issuers: fetched when they are due or missed, never more often than allowed, kept while the issuer is away.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rowhouse_control::catalog;
use rowhouse_control::identity::issuers;
use rowhouse_domain::id::{ServiceAccountId, TenantId};
use rowhouse_domain::identity::issuer::Foreign;
use rowhouse_domain::identity::token::TokenFault;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::house::House;

const MINUTE_US: i64 = 60_000_000;

/// Another company's sign-in, with one key at a time.
struct Issuer {
    url: String,
    published: Arc<Mutex<Option<String>>>,
    fetched: Arc<AtomicU32>,
}

impl Issuer {
    async fn start() -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (published, fetched) = (Arc::<Mutex<Option<String>>>::default(), Arc::<AtomicU32>::default());
        let own = (published.clone(), fetched.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut seen = [0; 4096];
                let _ = stream.read(&mut seen).await;
                own.1.fetch_add(1, Ordering::Relaxed);
                let body = own.0.lock().expect("no panic while held").clone();
                let (status, body) = body.map_or((503, String::new()), |body| (200, body));
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Issuer { url, published, fetched }
    }

    fn publish(&self, document: Option<String>) {
        *self.published.lock().expect("no panic while held") = document;
    }

    /// A key of this name, published in place of all others.
    fn turn(&self, name: &str) -> Ed25519KeyPair {
        let key = Ed25519KeyPair::from_seed_unchecked(&[name.len() as u8; 32]).expect("a key");
        let x = URL_SAFE_NO_PAD.encode(key.public_key());
        let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": name, "x": x }] });
        self.publish(Some(set.to_string()));
        key
    }

    fn sign(&self, key: &Ed25519KeyPair, name: &str, now_s: i64) -> String {
        let claims =
            json!({ "iss": self.url, "sub": "robot", "aud": "urn:acme", "iat": now_s, "exp": now_s + 600 });
        let header = json!({ "alg": "EdDSA", "kid": name });
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())))
    }

    fn fetched(&self) -> u32 {
        self.fetched.load(Ordering::Relaxed)
    }
}

/// As whom a token signs in by the directory in force.
async fn signed_in(house: &House, tenant: TenantId, token: &str) -> Result<ServiceAccountId, TokenFault> {
    house.settled().await;
    let control = &house.platform.control;
    let directory = control.directory.current();
    let tenant = directory.tenants.get(&tenant).expect("a known tenant");
    let claims = Foreign::read(token)?.verify(&tenant.issuers, control.clock().now_us());
    claims.map(|claims| claims.account)
}

async fn put(house: &House, key: &str, account: &str, trust: Value) -> (u16, Value) {
    let path = format!("/v1/service_accounts/{account}/trust");
    house.platform.call(key, "PUT", &path, Some(json!({ "trust": trust }))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_turn_and_an_issuer_that_is_away_keeps_its_own_for_a_day() {
    let house = House::with(catalog::shipped()).await;
    let acme = house.tenant("acme", "premium").await;
    let admin = house.member("acme", "tenant_admin").await;
    let issuer = Issuer::start().await;
    let first = issuer.turn("a");
    let wanted = json!({ "name": "x", "issuer": issuer.url, "jwks_uri": format!("{}/keys", issuer.url),
        "audiences": ["urn:acme"], "algorithms": ["EdDSA"] });
    house.created(&admin.key, "/v1/issuers", wanted).await;
    let trust = json!([{ "issuer": issuer.url, "audience": "urn:acme", "subject": "robot" }]);
    let robot = house.member("acme", "viewer").await.account;
    let (status, answer) = put(&house, &admin.key, &robot, trust).await;
    assert_eq!(status, 200, "{answer}");
    let control = &house.platform.control;
    let now_s = || control.clock().now_us().div_euclid(1_000_000);
    let token = issuer.sign(&first, "a", now_s());
    assert_eq!(signed_in(&house, acme, &token).await.map(|own| own.to_string()), Ok(robot.clone()));
    assert_eq!(issuer.fetched(), 1);
    let explain = async |key: &str, token: &str| {
        let body = Some(json!({ "token": token }));
        house.platform.call(key, "POST", "/v1/tokens/explain", body).await.1
    };
    let told = explain(&admin.key, &token).await;
    assert_eq!((&told["active"], &told["account"]), (&json!(true), &json!(robot)), "{told}");
    let told = explain(&house.root, &token).await;
    assert_eq!(told["checks"][1]["check"], "issuer", "whose issuers was not said: {told}");

    // A token names a key that nobody knows: it is asked for, once, a minute after the last time.
    let second = issuer.turn("bb");
    let token = issuer.sign(&second, "bb", now_s());
    for _ in 0..3 {
        assert_eq!(signed_in(&house, acme, &token).await, Err(TokenFault::UnknownKey));
    }
    assert_eq!(issuers::look(control).await.expect("the database is there"), 0, "asked a moment ago");
    house.platform.hand.advance_us(MINUTE_US);
    assert_eq!(issuers::look(control).await.expect("the database is there"), 0, "and nobody asks any more");
    let told = explain(&admin.key, &token).await;
    let results: Vec<_> =
        told["checks"].as_array().expect("a list").iter().map(|one| one["result"].clone()).collect();
    assert_eq!(
        json!(results),
        json!(["pass", "pass", "fail", "unknown", "unknown", "unknown", "unknown"]),
        "{told}"
    );
    assert_eq!(signed_in(&house, acme, &token).await, Err(TokenFault::UnknownKey));
    assert_eq!(issuers::look(control).await.expect("the database is there"), 1);
    assert!(signed_in(&house, acme, &token).await.is_ok());
    let old = issuer.sign(&first, "a", now_s());
    assert_eq!(
        signed_in(&house, acme, &old).await,
        Err(TokenFault::UnknownKey),
        "what is not published is over"
    );
    assert_eq!(issuer.fetched(), 2);

    // Away, or publishing nonsense: what was good stays, for a day.
    for nonsense in [
        None,
        Some("<html>".to_owned()),
        Some(json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] }).to_string()),
    ] {
        issuer.publish(nonsense);
        house.platform.hand.advance_us(10 * MINUTE_US);
        assert_eq!(issuers::look(control).await.expect("the database is there"), 1);
        assert!(signed_in(&house, acme, &issuer.sign(&second, "bb", now_s())).await.is_ok());
    }
    let events = house.events(acme).await;
    let turned = events.iter().filter(|name| *name == "identity.issuer_keys_changed").count();
    assert_eq!(turned, 1, "{events:?}");
    house.platform.hand.advance_us(24 * 60 * MINUTE_US);
    assert_eq!(issuers::look(control).await.expect("the database is there"), 1);
    let token = issuer.sign(&second, "bb", now_s());
    assert_eq!(signed_in(&house, acme, &token).await, Err(TokenFault::UnknownKey));

    // Back again.
    issuer.turn("bb");
    house.platform.hand.advance_us(10 * MINUTE_US);
    assert_eq!(issuers::look(control).await.expect("the database is there"), 1);
    assert!(signed_in(&house, acme, &issuer.sign(&second, "bb", now_s())).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lets_others_act_as_an_account_holds_all_that_it_may_do() {
    let house = House::with(catalog::shipped()).await;
    house.tenant("acme", "premium").await;
    let admin = house.member("acme", "tenant_admin").await;
    let viewer = house.member("acme", "viewer").await;
    let issuer = Issuer::start().await;
    issuer.turn("a");
    let wanted =
        json!({ "name": "x", "issuer": issuer.url, "jwks_uri": issuer.url, "audiences": ["urn:acme"] });
    let trust = json!([{ "issuer": issuer.url, "audience": "urn:acme", "subject": "robot" }]);
    // The operator's issuers are every tenant's to trust, and nobody's to take the name of.
    house.created(&house.root, "/v1/issuers?tenant=operator", wanted.clone()).await;
    assert_eq!(house.refused(&admin.key, "/v1/issuers", wanted.clone()).await, "409 identity.issuer_taken");
    let (status, answer) = put(&house, &viewer.key, &viewer.account, trust.clone()).await;
    assert_eq!((status, &answer["code"]), (403, &json!("access.denied")), "{answer}");
    // A key holds nothing of what it does not name, and an account may hold that: so it cannot give an administrator away.
    let (status, answer) = put(&house, &admin.key, &admin.account, trust.clone()).await;
    assert_eq!((status, &answer["code"]), (403, &json!("access.escalation")), "{answer}");
    let (status, answer) = put(&house, &admin.key, &viewer.account, trust).await;
    assert_eq!((status, &answer["trust"][0]["subject"]), (200, &json!("robot")), "{answer}");
    assert_eq!(house.refused(&viewer.key, "/v1/issuers", wanted).await, "403 access.denied");
}
