//! The ID token of a sign-in at a tenant's own provider (OpenID Connect Core §3.1.3.7): who has signed in there. It is believed only by
//! what stands in our record: the provider's name, its keys with one algorithm each, our own client id, the nonce of this very sign-in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, SHA512, digest};
use serde_json::{Map, Value};

use super::token::{audiences, read_header};
use super::{IssuerKey, SigningAlgorithm, strict};
use crate::identity::token::TOKEN_LEEWAY_S;

/// Longer texts are not looked at: groups make them long.
pub const ID_TOKEN_MAX: usize = 32 * 1024;
/// Our sign-ins take ten minutes; a token that was issued longer ago is of another one.
const AGE_MAX_S: i64 = 600;
/// Longest subject (OpenID Connect Core §2).
pub const SUBJECT_MAX: usize = 255;

/// What the token must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// `iss`, to the byte.
    pub issuer: &'a str,
    /// Ours, among `aud`.
    pub client_id: &'a str,
    /// Of this sign-in.
    pub nonce: &'a str,
    /// The token that came beside it, for `at_hash`.
    pub access_token: Option<&'a str>,
    /// The provider's keys.
    pub keys: &'a [IssuerKey],
    /// Seconds since 1970.
    pub now_s: i64,
}

/// What is against an ID token; fit to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenFault {
    /// No JWT with one reading, or without what each must say.
    #[error("it is no ID token")]
    Malformed,
    /// An algorithm that is none or that its key is not for, or a header with what we do not know.
    #[error("it is signed in a way that is not taken")]
    Header,
    /// A key that the provider does not publish.
    #[error("it names a key that the provider does not publish")]
    UnknownKey,
    /// Signed by somebody else.
    #[error("its signature is wrong")]
    Signature,
    /// Another provider's.
    #[error("it is of another issuer")]
    Issuer,
    /// For another client.
    #[error("it is for another client")]
    Audience,
    /// Of another sign-in.
    #[error("it is of another sign-in: its nonce is wrong")]
    Nonce,
    /// From the future.
    #[error("it is not valid yet: compare the clocks")]
    NotYet,
    /// Over, or of long ago.
    #[error("it has expired, or was issued too long ago")]
    Expired,
    /// Made for another access token.
    #[error("it was made for another access token")]
    AccessToken,
}

/// What a verified ID token says.
#[derive(Debug, Clone, PartialEq)]
pub struct IdClaims {
    /// Who, for ever: 1 to 255 characters.
    pub subject: String,
    /// When the person was last asked there, seconds since 1970.
    pub auth_time: Option<i64>,
    /// How (`amr`).
    pub methods: Vec<String>,
    /// All that it says.
    pub all: Map<String, Value>,
}

/// Verifies one.
///
/// # Errors
/// [`IdTokenFault`]: the signature before all that it says.
pub fn verify_id_token(token: &str, expected: &Expected<'_>) -> Result<IdClaims, IdTokenFault> {
    use IdTokenFault::{Header, Malformed, Signature, UnknownKey};
    if token.len() > ID_TOKEN_MAX {
        return Err(Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(Malformed)?;
    let part = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| Malformed);
    let object = |text: &str| strict::object(&part(text)?).ok_or(Malformed);
    let (header, claims, signature) = (object(header)?, object(claims)?, part(signature)?);
    let (algorithm, key_id) = read_header(&header).ok_or(Header)?;
    // An access token or another kind of token is none of who signed in (RFC 8725 §3.11).
    if !header
        .get("typ")
        .is_none_or(|said| said.as_str().is_some_and(|said| said.eq_ignore_ascii_case("jwt")))
    {
        return Err(Header);
    }
    let key = expected.keys.iter().find(|key| *key.key_id == *key_id).ok_or(UnknownKey)?;
    if key.algorithm != algorithm {
        return Err(Header);
    }
    if !key.verifies(signed.as_bytes(), &signature) {
        return Err(Signature);
    }
    believe(claims, algorithm, expected)
}

fn believe(
    claims: Map<String, Value>,
    algorithm: SigningAlgorithm,
    expected: &Expected<'_>,
) -> Result<IdClaims, IdTokenFault> {
    use IdTokenFault::{AccessToken, Audience, Expired, Issuer, Malformed, Nonce, NotYet};
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let whole = |name: &str| claims.get(name).and_then(Value::as_i64);
    if text("iss") != Some(expected.issuer) {
        return Err(Issuer);
    }
    let meant = audiences(claims.get("aud")).ok_or(Malformed)?;
    let party_fits = match claims.get("azp") {
        Some(party) => party.as_str() == Some(expected.client_id),
        None => meant.len() == 1,
    };
    if !meant.iter().any(|own| own == expected.client_id) || !party_fits {
        return Err(Audience);
    }
    let (issued_at, expires_at) = (whole("iat").ok_or(Malformed)?, whole("exp").ok_or(Malformed)?);
    let not_before = claims.get("nbf").map_or(Some(issued_at), Value::as_i64).ok_or(Malformed)?;
    let latest = expected.now_s.saturating_add(TOKEN_LEEWAY_S);
    if issued_at > latest || not_before > latest {
        return Err(NotYet);
    }
    let oldest = expected.now_s.saturating_sub(AGE_MAX_S + TOKEN_LEEWAY_S);
    if expected.now_s >= expires_at.saturating_add(TOKEN_LEEWAY_S) || issued_at < oldest {
        return Err(Expired);
    }
    if text("nonce") != Some(expected.nonce) {
        return Err(Nonce);
    }
    if let Some(said) = claims.get("at_hash") {
        let fits =
            expected.access_token.is_some_and(|token| said.as_str() == Some(&*half_hash(algorithm, token)));
        if !fits {
            return Err(AccessToken);
        }
    }
    let subject =
        text("sub").filter(|own| (1..=SUBJECT_MAX).contains(&own.len())).ok_or(Malformed)?.to_owned();
    let methods = claims.get("amr").and_then(Value::as_array).into_iter().flatten();
    let methods = methods.filter_map(|own| own.as_str().map(str::to_owned)).take(16).collect();
    Ok(IdClaims { subject, auth_time: whole("auth_time"), methods, all: claims })
}

/// The left half of the hash that goes with the algorithm (OpenID Connect Core §3.1.3.6).
fn half_hash(algorithm: SigningAlgorithm, token: &str) -> String {
    let how = if algorithm == SigningAlgorithm::EdDsa { &SHA512 } else { &SHA256 };
    let hash = digest(how, token.as_bytes());
    let bytes = hash.as_ref();
    URL_SAFE_NO_PAD.encode(&bytes[..bytes.len() / 2])
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};
    use serde_json::json;

    use super::super::read_keys;
    use super::*;

    const NOW: i64 = 1_795_255_200;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn keys() -> Vec<IssuerKey> {
        let x = URL_SAFE_NO_PAD.encode(key(1).verifying_key().as_bytes());
        let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "use": "sig", "x": x}]});
        read_keys(set.to_string().as_bytes(), &SigningAlgorithm::ALL).expect("a key set")
    }

    fn part(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    fn signed(by: u8, header: Value, claims: Value) -> String {
        let text = format!("{}.{}", part(&header), part(&claims));
        let signature = key(by).sign(text.as_bytes()).to_bytes();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn claims(change: impl FnOnce(&mut Value)) -> Value {
        let mut claims = json!({"iss": "https://login.acme.example", "aud": "rowhouse", "sub": "ana-1", "nonce": "n",
            "iat": NOW, "exp": NOW + 3_600, "auth_time": NOW - 5, "amr": ["pwd", "mfa"]});
        change(&mut claims);
        claims
    }

    fn verified(token: &str) -> Result<IdClaims, IdTokenFault> {
        let keys = keys();
        let expected = Expected {
            issuer: "https://login.acme.example",
            client_id: "rowhouse",
            nonce: "n",
            access_token: Some("access"),
            keys: &keys,
            now_s: NOW,
        };
        verify_id_token(token, &expected)
    }

    fn header() -> Value {
        json!({"alg": "EdDSA", "kid": "one", "typ": "JWT"})
    }

    #[test]
    fn one_of_this_sign_in_is_believed() {
        let seen = verified(&signed(1, header(), claims(|_| ()))).expect("it is sound");
        assert_eq!((seen.subject.as_str(), seen.auth_time), ("ana-1", Some(NOW - 5)));
        assert_eq!(seen.methods, ["pwd", "mfa"]);
        let half = half_hash(SigningAlgorithm::EdDsa, "access");
        assert!(verified(&signed(1, header(), claims(|own| own["at_hash"] = json!(half)))).is_ok());
        let both = claims(|own| (own["aud"], own["azp"]) = (json!(["other", "rowhouse"]), json!("rowhouse")));
        assert!(verified(&signed(1, header(), both)).is_ok());
    }

    #[test]
    fn every_forgery_has_its_fault() {
        use IdTokenFault::*;
        let alg = |alg: &str| json!({"alg": alg, "kid": "one"});
        let good = signed(1, header(), claims(|_| ()));
        let (text, _) = good.rsplit_once('.').expect("three parts");
        let cases: Vec<(String, IdTokenFault)> = vec![
            (format!("{text}."), Signature),
            (format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims(|_| ()))), Header),
            (signed(1, alg("HS256"), claims(|_| ())), Header),
            (signed(1, alg("ES256"), claims(|_| ())), Header),
            (signed(1, json!({"alg": "EdDSA", "kid": "one", "typ": "at+jwt"}), claims(|_| ())), Header),
            (signed(1, json!({"alg": "EdDSA", "kid": "one", "crit": ["x"]}), claims(|_| ())), Header),
            (signed(1, json!({"alg": "EdDSA"}), claims(|_| ())), Header),
            (signed(1, json!({"alg": "EdDSA", "kid": "two"}), claims(|_| ())), UnknownKey),
            (signed(2, header(), claims(|_| ())), Signature),
            (signed(1, header(), claims(|own| own["iss"] = json!("https://login.acme.example/"))), Issuer),
            (signed(1, header(), claims(|own| own["aud"] = json!("other"))), Audience),
            (signed(1, header(), claims(|own| own["aud"] = json!(["rowhouse", "other"]))), Audience),
            (signed(1, header(), claims(|own| own["azp"] = json!("other"))), Audience),
            (signed(1, header(), claims(|own| own["nonce"] = json!("m"))), Nonce),
            (signed(1, header(), claims(|own| own["nonce"] = Value::Null)), Nonce),
            (signed(1, header(), claims(|own| own["exp"] = json!(NOW - 30))), Expired),
            (signed(1, header(), claims(|own| own["iat"] = json!(NOW - 631))), Expired),
            (signed(1, header(), claims(|own| own["iat"] = json!(NOW + 31))), NotYet),
            (signed(1, header(), claims(|own| own["nbf"] = json!(NOW + 31))), NotYet),
            (signed(1, header(), claims(|own| own["exp"] = json!("soon"))), Malformed),
            (signed(1, header(), claims(|own| own["sub"] = json!(""))), Malformed),
            (signed(1, header(), claims(|own| own["sub"] = json!("x".repeat(256)))), Malformed),
            (signed(1, header(), claims(|own| own["at_hash"] = json!("x"))), AccessToken),
            ("a.b".to_owned(), Malformed),
            ("x".repeat(ID_TOKEN_MAX + 1), Malformed),
        ];
        for (token, fault) in cases {
            assert_eq!(verified(&token), Err(fault), "{token}");
        }
    }
}
