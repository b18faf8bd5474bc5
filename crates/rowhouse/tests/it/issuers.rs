//! Machines that sign in with tokens of another company's sign-in: a real issuer with an HTTP server and keys of every kind, signed
//! by an independent library; discovery, trust, rotation, an issuer that is away, and what is refused.

use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::platform::{Call, Platform, Seen, Tenant, text};
use crate::services::root;

const AUDIENCE: &str = "urn:acme:api";

/// Another company's sign-in.
struct Issuer {
    url: String,
    /// What it publishes; nothing is served while it is away.
    keys: Arc<Mutex<Option<Value>>>,
    fetched: Arc<AtomicU32>,
}

impl Issuer {
    async fn start() -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/login", listener.local_addr().expect("an address"));
        let issuer = Issuer { url: url.clone(), keys: Arc::default(), fetched: Arc::default() };
        let (keys, fetched) = (issuer.keys.clone(), issuer.fetched.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (keys, fetched, url) = (keys.clone(), fetched.clone(), url.clone());
                tokio::spawn(async move {
                    let mut seen = vec![0; 8192];
                    let count = stream.read(&mut seen).await.unwrap_or(0);
                    let asked = String::from_utf8_lossy(&seen[..count]).into_owned();
                    let keys = keys.lock().expect("no panic while held").clone();
                    let body = match (asked.split(' ').nth(1), keys) {
                        (Some("/login/.well-known/openid-configuration"), Some(_)) => {
                            Some(json!({ "issuer": url, "jwks_uri": format!("{url}/keys"), "more": [] }))
                        }
                        (Some("/login/keys"), Some(keys)) => {
                            fetched.fetch_add(1, Ordering::Relaxed);
                            Some(keys)
                        }
                        _ => None,
                    };
                    let (status, body) = body.map_or((404, String::new()), |body| (200, body.to_string()));
                    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                });
            }
        });
        issuer
    }

    /// New keys with names of their own, published at once; the tokens that they sign.
    async fn turn(&self, prefix: &str, tokens: Value) -> Value {
        let signed = sign(prefix, tokens).await;
        *self.keys.lock().expect("no panic while held") = Some(signed["jwks"].clone());
        signed["tokens"].clone()
    }

    fn claims(&self, change: impl FnOnce(&mut Value)) -> Value {
        let now = UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
        let mut claims = json!({ "iss": self.url, "sub": "repo:acme/app", "aud": AUDIENCE, "iat": now,
            "exp": now + 3_600, "name": "a claim that nobody asked for" });
        change(&mut claims);
        claims
    }
}

async fn sign(prefix: &str, tokens: Value) -> Value {
    let mut python = Command::new(root().join("target/venv/bin/python"))
        .arg(root().join("crates/rowhouse/tests/it/issuer.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("scripts/test sets Python up");
    let wanted = json!({ "prefix": prefix, "tokens": tokens }).to_string();
    let mut input = python.stdin.take().expect("piped");
    input.write_all(wanted.as_bytes()).await.expect("it listens");
    drop(input);
    let output = python.wait_with_output().await.expect("it ends");
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

async fn register(platform: &Platform, tenant: &Tenant, issuer: &str) -> Seen {
    let body = json!({ "name": "Acme's sign-in", "issuer": issuer, "audiences": [AUDIENCE] });
    platform.control(&tenant.key, Call::post("/v1/issuers", body)).await
}

async fn trust(platform: &Platform, key: &str, account: &str, trust: Value) -> Seen {
    let call = Call::post(&format!("/v1/service_accounts/{account}/trust"), json!({ "trust": trust }));
    platform.control(key, call.method(Method::PUT)).await
}

/// A service account that may read and has no key.
async fn robot(platform: &Platform, tenant: &Tenant) -> String {
    let of = |path: &str| format!("{path}?tenant={}", tenant.code);
    let account = platform.operate(Call::post(&of("/v1/service_accounts"), json!({ "name": "robot" }))).await;
    let principal = json!({ "kind": "service_account", "id": account["id"] });
    platform
        .operate(Call::post(&of("/v1/grants"), json!({ "principal": principal, "role": "viewer" })))
        .await;
    text(&account["id"])
}

fn shown(tenant: &Tenant, token: &Value) -> Call {
    Call::get("/v1/notes/7")
        .header("x-tenant-code", &tenant.code)
        .header("authorization", &format!("Bearer {}", token.as_str().expect("a token")))
}

#[tokio::test]
async fn machines_sign_in_with_tokens_of_their_own_issuer() {
    let platform = Platform::start_with(&[("ROWHOUSE_OUTBOUND__ALLOW_NETWORKS", r#"["127.0.0.0/8"]"#)]).await;
    let acme = platform.tenant("acme-issuers", "professional", "shared").await;
    let bolt = platform.tenant("bolt-issuers", "professional", "shared").await;
    let (robot, other) = (robot(&platform, &acme).await, robot(&platform, &bolt).await);
    let issuer = Issuer::start().await;

    // Nobody there: nothing is registered.
    let unreached = register(&platform, &acme, &issuer.url).await;
    assert_eq!(unreached.code(), (422, "identity.issuer_unreachable"), "{}", unreached.body);
    let good = issuer.claims(|_| ());
    let late = issuer.claims(|claims| {
        let now = claims["iat"].as_i64().expect("a number");
        (claims["iat"], claims["exp"]) = (json!(now - 1_000), json!(now - 100));
    });
    let wanted = json!({
        "RS256": { "alg": "RS256", "claims": good }, "PS256": { "alg": "PS256", "claims": good },
        "ES256": { "alg": "ES256", "claims": good }, "EdDSA": { "alg": "EdDSA", "claims": good },
        "none": { "alg": "none", "kid": "RS256", "claims": good },
        "HS256": { "alg": "HS256", "kid": "RS256", "claims": good },
        "another key's name": { "alg": "RS256", "kid": "PS256", "claims": good },
        "a key set in the header": { "alg": "EdDSA", "kid": "x", "claims": good,
            "headers": { "jku": format!("{}/keys", issuer.url) } },
        "critical": { "alg": "EdDSA", "claims": good, "headers": { "crit": ["x"], "x": 1 } },
        "another audience": { "alg": "EdDSA", "claims": issuer.claims(|claims| claims["aud"] = json!("urn:x")) },
        "another issuer": { "alg": "EdDSA", "claims": issuer.claims(|claims| claims["iss"] = json!("http://127.0.0.1:1")) },
        "expired": { "alg": "EdDSA", "claims": late },
        "a stranger": { "alg": "EdDSA", "claims": issuer.claims(|claims| claims["sub"] = json!("repo:evil/app")) },
    });
    let tokens = issuer.turn("a-", wanted).await;
    let registered = register(&platform, &acme, &issuer.url).await;
    assert_eq!(registered.status, 201, "{}", registered.body);
    assert_eq!(registered.body["keys"].as_array().map(Vec::len), Some(4), "{}", registered.body);
    assert_eq!(register(&platform, &acme, &issuer.url).await.code(), (409, "identity.issuer_taken"));
    let id = text(&registered.body["id"]);

    // Registered alone, it lets nobody in.
    platform.until(401, || shown(&acme, &tokens["EdDSA"])).await;
    let entry = |audience: &str, subject: &str| json!([{ "issuer": issuer.url, "audience": audience, "subject": subject }]);
    let wrong = trust(&platform, &acme.key, &robot, entry("urn:other", "repo:acme/*")).await;
    assert_eq!(wrong.code(), (422, "keys.invalid_field"), "{}", wrong.body);
    let wild = trust(&platform, &acme.key, &robot, entry(AUDIENCE, "*")).await;
    assert_eq!(wild.code(), (422, "keys.invalid_field"), "anybody at all is nobody to trust: {}", wild.body);
    let trusted = trust(&platform, &acme.key, &robot, entry(AUDIENCE, "repo:acme/*")).await;
    assert_eq!(trusted.status, 200, "{}", trusted.body);
    platform.until(200, || shown(&acme, &tokens["EdDSA"])).await;
    for name in ["RS256", "PS256", "ES256", "EdDSA"] {
        for _ in 0..2 {
            let seen = platform.gateway(shown(&acme, &tokens[name])).await;
            assert_eq!(seen.status, 200, "{name}: {}", seen.body);
            let told = seen.body.to_string();
            assert!(told.contains(&robot), "the service is told who it is: {told}");
        }
    }
    let refused = [
        "none",
        "HS256",
        "another key's name",
        "a key set in the header",
        "critical",
        "another audience",
        "another issuer",
    ];
    for name in refused {
        let seen = platform.gateway(shown(&acme, &tokens[name])).await;
        assert_eq!(seen.code(), (401, "identity.token_invalid"), "{name}: {}", seen.body);
    }
    let seen = platform.gateway(shown(&acme, &tokens["expired"])).await;
    assert_eq!(seen.code(), (401, "identity.token_expired"), "{}", seen.body);
    let seen = platform.gateway(shown(&acme, &tokens["a stranger"])).await;
    assert_eq!(seen.code(), (401, "identity.subject_untrusted"), "{}", seen.body);

    // Another tenant sees none of it, at the gateway and in the API.
    let seen = platform.gateway(shown(&bolt, &tokens["EdDSA"])).await;
    assert_eq!(seen.code(), (401, "identity.token_invalid"), "{}", seen.body);
    let one = format!("/v1/issuers/{id}");
    assert_eq!(platform.control(&bolt.key, Call::get(&one)).await.status, 404);
    assert_eq!(platform.control(&bolt.key, Call::get(&one).method(Method::DELETE)).await.status, 404);
    let stolen = trust(&platform, &bolt.key, &other, entry(AUDIENCE, "repo:acme/*")).await;
    assert_eq!(stolen.code(), (422, "keys.invalid_field"), "another's issuer is not there: {}", stolen.body);
    let stolen = trust(&platform, &bolt.key, &robot, entry(AUDIENCE, "repo:acme/*")).await;
    assert_eq!(stolen.status, 404, "{}", stolen.body);

    // While the issuer is away its keys stay, and while it is trusted it stays registered.
    let published = issuer.keys.lock().expect("no panic while held").take();
    let away = platform.control(&acme.key, Call::post(&format!("{one}/refresh"), json!({}))).await;
    assert_eq!(away.body["keys"].as_array().map(Vec::len), Some(4), "{}", away.body);
    assert_eq!(platform.gateway(shown(&acme, &tokens["EdDSA"])).await.status, 200);
    *issuer.keys.lock().expect("no panic while held") = published;
    let used = platform.control(&acme.key, Call::get(&one).method(Method::DELETE)).await;
    assert_eq!(used.code(), (409, "identity.issuer_in_use"), "{}", used.body);

    // Whom nobody trusts any more is out, remembered or not; then the issuer can go.
    assert_eq!(trust(&platform, &acme.key, &robot, json!([])).await.status, 200);
    platform.until(401, || shown(&acme, &tokens["EdDSA"])).await;
    assert_eq!(platform.control(&acme.key, Call::get(&one).method(Method::DELETE)).await.status, 204);
    assert_eq!(platform.control(&acme.key, Call::get(&one)).await.status, 404);
}

#[tokio::test]
async fn nobody_is_fetched_from_inside() {
    let platform = crate::platform::shared().await;
    let acme = platform.tenant("acme-inside", "professional", "shared").await;
    let [control, admin] = platform.other_ports();
    for place in [
        format!("http://127.0.0.1:{control}"),
        format!("https://localhost:{admin}"),
        "https://169.254.169.254".to_owned(),
        "https://[::1]".to_owned(),
        "https://10.0.0.1".to_owned(),
        "https://[::ffff:127.0.0.1]".to_owned(),
    ] {
        let refused = register(platform, &acme, &place).await;
        assert_eq!(refused.code(), (422, "identity.issuer_unreachable"), "{place}: {}", refused.body);
        assert!(
            refused.body["detail"].as_str().is_some_and(|detail| detail.contains("not public")),
            "{}",
            refused.body
        );
    }
    for place in
        ["file:///etc/passwd", "acme", "https://user:word@acme.example", "https://acme.example/?x", ""]
    {
        let refused = register(platform, &acme, place).await;
        assert_eq!(refused.code(), (422, "identity.issuer_invalid"), "{place}: {}", refused.body);
    }
}
