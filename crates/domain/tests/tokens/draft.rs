//! A token while it is made: its members as they will be written, so that one can stand there twice, and what is done to the text.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::NOW_S;
use crate::signers::{Signers, With};

pub const ISSUER: &str = "https://login.acme.example";
pub const OWN_ISSUER: &str = "https://console.example.com";
/// Ours, and those of other issuers.
pub const ALGORITHMS: [&str; 5] = ["own", "RS256", "PS256", "ES256", "EdDSA"];
/// Stands where the stranger's key will.
pub const STRANGERS_KEY: &str = "<the stranger's key>";

type Members = Vec<(String, String)>;
type OnBytes = fn(Vec<u8>) -> Vec<u8>;
type OnText = fn(String) -> String;

/// See above.
#[derive(Clone)]
pub struct Draft {
    /// Whose verifier it is for: `own` or `foreign`.
    pub world: &'static str,
    /// Name and JSON of each member.
    pub header: Members,
    pub claims: Members,
    pub header_bytes: Vec<OnBytes>,
    pub claims_bytes: Vec<OnBytes>,
    pub signature_bytes: Vec<OnBytes>,
    pub header_part: Vec<OnText>,
    pub claims_part: Vec<OnText>,
    pub signature_part: Vec<OnText>,
    pub whole: Vec<OnText>,
    pub with: With,
}

fn members(all: &[(&str, String)]) -> Members {
    all.iter().map(|(name, json)| ((*name).to_owned(), json.clone())).collect()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Draft {
    /// A good token.
    pub fn new(algorithm: &'static str) -> Self {
        let is_own = algorithm == "own";
        let (alg, typ) = if is_own { ("EdDSA", "at+jwt") } else { (algorithm, "JWT") };
        let header = [("alg", quoted(alg)), ("typ", quoted(typ)), ("kid", quoted(algorithm))];
        let times =
            [("iat", NOW_S.to_string()), ("nbf", NOW_S.to_string()), ("exp", (NOW_S + 600).to_string())];
        let id = "00000000000000000000000001";
        let mut claims = match is_own {
            false => members(&[
                ("iss", quoted(ISSUER)),
                ("sub", quoted("repo:acme/app")),
                ("aud", quoted("urn:acme:stamps")),
            ]),
            true => members(&[
                ("iss", quoted(OWN_ISSUER)),
                ("sub", quoted(&format!("user_{id}"))),
                ("aud", r#"["urn:rowhouse:gateway","urn:rowhouse:control"]"#.to_owned()),
                ("tenant", quoted(&format!("tenant_{id}"))),
                ("sid", quoted(&format!("session_{id}"))),
                ("jti", quoted("01")),
                ("auth_time", NOW_S.to_string()),
                ("acr", quoted("2")),
                ("amr", r#"["pwd","otp"]"#.to_owned()),
            ]),
        };
        claims.extend(members(&times));
        Draft {
            world: if is_own { "own" } else { "foreign" },
            header: members(&header),
            claims,
            header_bytes: vec![],
            claims_bytes: vec![],
            signature_bytes: vec![],
            header_part: vec![],
            claims_part: vec![],
            signature_part: vec![],
            whole: vec![],
            with: With::Algorithm(alg),
        }
    }

    /// The member of the header is this JSON.
    pub fn head(&mut self, name: &str, json: &str) {
        set(&mut self.header, name, json);
    }

    /// The claim is this JSON.
    pub fn claim(&mut self, name: &str, json: &str) {
        set(&mut self.claims, name, json);
    }

    /// The claim is a time so far from now.
    pub fn time(&mut self, name: &str, from_now: i64) {
        set(&mut self.claims, name, &(NOW_S + from_now).to_string());
    }

    /// It is not there.
    pub fn without(&mut self, name: &str) {
        self.header.retain(|(own, _)| own != name);
        self.claims.retain(|(own, _)| own != name);
    }

    /// Once more, in front of the first or behind the last.
    pub fn twice(&mut self, name: &str, json: &str, in_front: bool) {
        let is_head = matches!(name, "alg" | "typ" | "kid");
        let members = if is_head { &mut self.header } else { &mut self.claims };
        let at = if in_front { 0 } else { members.len() };
        members.insert(at, (name.to_owned(), json.to_owned()));
    }

    /// Signed over whatever it has become.
    pub fn token(&self, signers: &Signers) -> String {
        let part = |members: &Members, bytes: &[OnBytes], texts: &[OnText]| {
            let written: Vec<String> =
                members.iter().map(|(name, json)| format!("{}:{json}", quoted(name))).collect();
            let json = format!("{{{}}}", written.join(",")).replace(STRANGERS_KEY, &signers.strangers_key());
            let raw = bytes.iter().fold(json.into_bytes(), |raw, change| change(raw));
            texts.iter().fold(URL_SAFE_NO_PAD.encode(raw), |text, change| change(text))
        };
        let header = part(&self.header, &self.header_bytes, &self.header_part);
        let claims = part(&self.claims, &self.claims_bytes, &self.claims_part);
        let signed = format!("{header}.{claims}");
        let signature = signers.sign(self.with, signed.as_bytes());
        let signature = self.signature_bytes.iter().fold(signature, |raw, change| change(raw));
        let signature = URL_SAFE_NO_PAD.encode(signature);
        let signature = self.signature_part.iter().fold(signature, |text, change| change(text));
        self.whole.iter().fold(format!("{signed}.{signature}"), |text, change| change(text))
    }
}

fn set(members: &mut Members, name: &str, json: &str) {
    match members.iter_mut().find(|(own, _)| own == name) {
        Some((_, own)) => json.clone_into(own),
        None => members.push((name.to_owned(), json.to_owned())),
    }
}
