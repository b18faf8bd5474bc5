//! What is tried against signing in, and what it gets: `sign_in_attacks.txt`, which is read. Each row is one request over HTTP; names in
//! braces are made for it. `WRITE_ATTACKS=1` writes the answers anew; their diff is reviewed.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::people::{Town, refresh, town};
use crate::sign_in::{PASSWORD, code_now, token_of};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/sign_in_attacks.txt");
const ANA: &str = "ana@acme.example";
/// Without a second factor.
const BOB: &str = "bob@acme.example";
/// Suspended.
const SAM: &str = "sam@acme.example";
/// Of another tenant.
const BEA: &str = "bea@bolt.example";
/// Of acme, with a second factor, and of bolt, which asks for none.
const VERA: &str = "vera@acme.example";

struct Stage {
    town: Town,
    factor: String,
    veras_factor: String,
    secret: String,
    codes: Vec<String>,
    secret_of_robot: String,
    robot: String,
}

impl Stage {
    async fn set() -> Stage {
        let town = town().await;
        for (tenant, name) in [("acme", ANA), ("acme", BOB), ("acme", SAM), ("bolt", BEA), ("acme", VERA)] {
            town.member(tenant, name, &[]).await;
        }
        refresh(&town.platform).await;
        let done = town.signed_in(ANA).await;
        let (_, made) = town.as_person(&done, "POST", "/v1/me/factors/totp", Some(json!({}))).await;
        let text = |name: &str| made[name].as_str().expect("text").to_owned();
        let (factor, secret) = (text("factor"), text("secret"));
        let body = json!({"factor": factor, "code": code_now(&town, &secret)});
        let (_, made) = town.as_person(&done, "POST", "/v1/me/factors/totp/confirm", Some(body)).await;
        let codes = made["recovery_codes"].as_array().expect("codes").iter();
        let codes = codes.map(|code| code.as_str().expect("text").to_owned()).collect();
        let vera = town.signed_in(VERA).await;
        let (_, made) = town.as_person(&vera, "POST", "/v1/me/factors/totp", Some(json!({}))).await;
        let veras_factor = made["factor"].as_str().expect("text").to_owned();
        let code = code_now(&town, made["secret"].as_str().expect("text"));
        let body = json!({"factor": veras_factor, "code": code});
        let (status, made) = town.as_person(&vera, "POST", "/v1/me/factors/totp/confirm", Some(body)).await;
        assert_eq!(status, 200, "{made}");
        town.joins("bolt", VERA, &[]).await;
        assert_eq!(town.policy("bolt", json!({"mfa": "off"})).await.0, 200);
        let sam = town.signed_in(SAM).await;
        let (_, me) = town.me(&sam).await;
        let path = format!("/v1/users/{}/suspend?tenant=acme", me["id"].as_str().expect("an id"));
        let (status, suspended) = town.post(&path, json!({"reason": "a test"})).await;
        assert_eq!(status, 200, "{suspended}");
        let (_, robot) = town.post("/v1/service_accounts?tenant=acme", json!({"name": "robot"})).await;
        let robot = robot["id"].as_str().expect("an id").to_owned();
        let path = format!("/v1/service_accounts/{robot}/secrets?tenant=acme");
        let (_, made) = town.post(&path, json!({})).await;
        let secret_of_robot = made["client_secret"].as_str().expect("text").to_owned();
        refresh(&town.platform).await;
        Stage { town, factor, veras_factor, secret, codes, secret_of_robot, robot }
    }

    /// Ana's sign-in, at its second factor.
    async fn at_factor(&self) -> String {
        let flow = self.town.flow(ANA, None).await;
        let path = format!("/v1/sign_in/{flow}/password");
        let (status, step) = self.town.nobody(&path, json!({"password": PASSWORD})).await;
        assert_eq!((status, &step["state"]), (200, &json!("second_factor")), "{step}");
        flow
    }

    async fn bob(&self) -> Value {
        self.town.signed_in(BOB).await
    }

    fn forward(&self, seconds: i64) {
        self.town.platform.hand.advance_us(seconds * 1_000_000);
    }

    /// What a name in braces stands for, made anew.
    async fn made(&mut self, name: &str) -> String {
        let town = &self.town;
        let bob_token = async || token_of(&self.bob().await).to_owned();
        match name {
            "password" => PASSWORD.to_owned(),
            "long" => "x".repeat(1_025),
            "long_name" => format!("{}@acme.example", "x".repeat(320)),
            "factor" => self.factor.clone(),
            "veras_factor" => self.veras_factor.clone(),
            "operator" => town.operator.clone(),
            // By the password alone.
            "lax" => {
                let flow = town.flow(VERA, Some("bolt")).await;
                let path = format!("/v1/sign_in/{flow}/password");
                let (_, done) = town.nobody(&path, json!({"password": PASSWORD})).await;
                token_of(&done).to_owned()
            }
            "robot" => self.robot.clone(),
            "robot_secret" => self.secret_of_robot.clone(),
            "second" => self.at_factor().await,
            "first" => town.flow(ANA, None).await,
            "late" => {
                let flow = town.flow(BOB, None).await;
                self.forward(601);
                flow
            }
            "late_second" => {
                let flow = self.at_factor().await;
                self.forward(601);
                flow
            }
            "bent" => {
                let flow = town.flow(BOB, None).await;
                let last = if flow.ends_with('A') { 'B' } else { 'A' };
                format!("{}{last}", &flow[..flow.len() - 1])
            }
            "cut" => {
                let flow = town.flow(BOB, None).await;
                flow[..flow.len() - 4].to_owned()
            }
            "finished" => {
                let flow = town.flow(BOB, None).await;
                town.nobody(&format!("/v1/sign_in/{flow}/password"), json!({"password": PASSWORD})).await;
                flow
            }
            "code" => {
                self.forward(31);
                code_now(town, &self.secret)
            }
            "used_code" => {
                self.forward(31);
                let (flow, code) = (self.at_factor().await, code_now(town, &self.secret));
                let body = json!({"factor": self.factor, "code": code});
                assert_eq!(town.nobody(&format!("/v1/sign_in/{flow}/factor"), body).await.0, 200);
                code
            }
            "old_code" => {
                let code = code_now(town, &self.secret);
                self.forward(300);
                code
            }
            "recovery" => self.codes.pop().expect("one is left"),
            "used_recovery" => {
                let (flow, code) = (self.at_factor().await, self.codes.pop().expect("one is left"));
                let body = json!({"factor": "recovery_code", "code": code});
                assert_eq!(town.nobody(&format!("/v1/sign_in/{flow}/factor"), body).await.0, 200);
                code
            }
            "refresh" => self.bob().await["refresh_token"].as_str().expect("text").to_owned(),
            "used_refresh" => {
                let done = self.bob().await;
                assert_eq!(town.refreshed(&done["refresh_token"]).await.0, 200);
                self.forward(11);
                done["refresh_token"].as_str().expect("text").to_owned()
            }
            "ended_refresh" => {
                let done = self.bob().await;
                town.as_person(&done, "POST", "/v1/me/sign_out", None).await;
                done["refresh_token"].as_str().expect("text").to_owned()
            }
            "access" => bob_token().await,
            "expired_access" => {
                let token = bob_token().await;
                self.forward(631);
                token
            }
            "ended_access" => {
                let done = self.bob().await;
                town.as_person(&done, "POST", "/v1/me/sign_out", None).await;
                refresh(&town.platform).await;
                token_of(&done).to_owned()
            }
            header if header.starts_with("head:") => with_header(&bob_token().await, &header[5..]),
            "no_signature" => {
                let token = bob_token().await;
                token[..=token.rfind('.').expect("three parts")].to_owned()
            }
            "padded" => format!("{}=", bob_token().await),
            "four_parts" => format!("{}.e30", bob_token().await),
            "other_claims" => with_claims(&bob_token().await, |claims| {
                claims["tenant"] = json!("tenant_00000000000000000000000008")
            }),
            "longer" => with_claims(&bob_token().await, |claims| claims["exp"] = json!(99_999_999_999i64)),
            "administrator" => {
                with_claims(&bob_token().await, |claims| claims["roles"] = json!(["tenant_admin"]))
            }
            "swapped" => {
                let (a, b) = (bob_token().await, bob_token().await);
                let (body, _) = a.rsplit_once('.').expect("three parts");
                let (_, signature) = b.rsplit_once('.').expect("three parts");
                format!("{body}.{signature}")
            }
            other => panic!("{{{other}}} is not known"),
        }
    }

    async fn filled(&mut self, text: &str) -> String {
        let mut done = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("«") {
            let (name, after) = after.split_once('»').expect("a closing mark");
            let made = match name.strip_prefix("flow:") {
                Some(name) => self.town.flow(name, None).await,
                None => self.made(name).await,
            };
            let _ = write!(done, "{before}{made}");
            rest = after;
        }
        done + rest
    }

    /// `who | request | body` as it is answered: status and code.
    async fn answered(&mut self, who: &str, request: &str, body: &str) -> String {
        let (who, body) = (self.filled(who).await, self.filled(body).await);
        let request = self.filled(request).await;
        let (method, path) = request.split_once(' ').expect("a method and a path");
        let platform = &self.town.platform;
        let (status, answer) = if path.starts_with("/oauth2/") {
            let (status, text) = platform.page(method, path, &body).await;
            (status, serde_json::from_str(&text).unwrap_or_default())
        } else {
            let body = (!body.is_empty()).then(|| serde_json::from_str(&body).expect("JSON"));
            match who.as_str() {
                "" => platform.call_as_nobody(method, path, body.unwrap_or(Value::Null)).await,
                who => platform.call(who, method, path, body).await,
            }
        };
        let code = answer["code"].as_str().or(answer["error"].as_str()).or(answer["state"].as_str());
        format!("{status} {}", code.unwrap_or_default()).trim_end().to_owned()
    }
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// The token under another header; `kid` is kept unless it is said.
fn with_header(token: &str, json: &str) -> String {
    let (header, rest) = token.split_once('.').expect("three parts");
    let own: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).expect("base64url")).expect("JSON");
    let mut other: Value = serde_json::from_str(json).expect("JSON");
    if other.get("kid").is_none() {
        other["kid"] = own["kid"].clone();
    }
    if other.get("typ").is_none() {
        other["typ"] = own["typ"].clone();
    }
    format!("{}.{rest}", part(&other))
}

fn with_claims(token: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut parts = token.split('.');
    let (header, claims, signature) =
        (parts.next().expect("a part"), parts.next().expect("a part"), parts.next().expect("a part"));
    let mut own: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64url")).expect("JSON");
    change(&mut own);
    format!("{header}.{}.{signature}", part(&own))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_tried_against_signing_in_gets_what_the_table_says() {
    let mut stage = Stage::set().await;
    let table = std::fs::read_to_string(TABLE).expect("the table");
    let (mut made, mut rows) = (String::new(), 0);
    for line in table.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [what, who, request, body, _] = cells.as_slice() else {
            let _ = writeln!(made, "{line}");
            continue;
        };
        // Tries are counted by name and source for half an hour: each row stands for itself.
        stage.forward(1_801);
        refresh(&stage.town.platform).await;
        rows += 1;
        let answer = stage.answered(who, request, body).await;
        let _ = writeln!(made, "{what} | {who} | {request} | {body} | {answer}");
    }
    assert!(rows > 100, "{rows} rows");
    if std::env::var_os("WRITE_ATTACKS").is_some() {
        std::fs::write(TABLE, made).expect("the table is ours");
        return;
    }
    let differs: Vec<_> = table.lines().zip(made.lines()).filter(|(old, new)| old != new).collect();
    assert!(differs.is_empty(), "{differs:#?}");
}
