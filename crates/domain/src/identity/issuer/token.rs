//! A token of another issuer: read strictly, then believed or not, by what stands in our record of its issuer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::{FOREIGN_LIFETIME_MAX_S, SigningAlgorithm, TenantIssuers, strict};
use crate::id::ServiceAccountId;
use crate::identity::token::{TOKEN_LEEWAY_S, TokenFault};

/// Longer texts are not looked at.
const TOKEN_MAX: usize = 8 * 1024;
/// Audiences of one token.
const AUDIENCES_MAX: usize = 32;

/// A token that was read and **not yet verified**.
#[derive(Debug)]
pub struct Foreign<'t> {
    signed: &'t str,
    algorithm: SigningAlgorithm,
    key_id: String,
    issuer: String,
    audiences: Vec<String>,
    claims: Map<String, Value>,
    times: Times,
    signature: Vec<u8>,
}

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignClaims {
    /// As whom it signs in.
    pub account: ServiceAccountId,
    /// SHA-256 of the client certificate that its bearer must show (RFC 8705 §3.1), if it is bound to one.
    pub certificate: Option<[u8; 32]>,
    times: Times,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    issued_at: i64,
    not_before: i64,
    expires_at: i64,
}

impl<'t> Foreign<'t> {
    /// Reads it. Its header says how it is signed and with which key of its issuer; `jwk`, `jku`, `x5u` and `x5c` are not
    /// read, and whatever it says is critical (RFC 7515 §4.1.11) is unknown to us.
    ///
    /// # Errors
    /// [`TokenFault::Malformed`] and [`TokenFault::WrongHeader`].
    pub fn read(token: &'t str) -> Result<Self, TokenFault> {
        if token.len() > TOKEN_MAX {
            return Err(TokenFault::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenFault::Malformed)?;
        // The decoder takes no padding, no other alphabet and no bits left over.
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenFault::Malformed);
        let object = |text: &str| strict::object(&part(text)?).ok_or(TokenFault::Malformed);
        let (header, claims) = (object(header)?, object(claims)?);
        let (algorithm, key_id) = read_header(&header).ok_or(TokenFault::WrongHeader)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        let issuer = text("iss").ok_or(TokenFault::Malformed)?;
        let audiences = audiences(claims.get("aud")).ok_or(TokenFault::Malformed)?;
        let times = times(&claims).ok_or(TokenFault::Malformed)?;
        text("sub").filter(|subject| !subject.is_empty()).ok_or(TokenFault::Malformed)?;
        // RFC 7519 §4.1.7; others refuse it too.
        claims.get("jti").is_none_or(Value::is_string).then_some(()).ok_or(TokenFault::Malformed)?;
        Ok(Foreign {
            signed,
            algorithm,
            key_id,
            issuer,
            audiences,
            times,
            signature: part(signature)?,
            claims,
        })
    }

    /// Believes it if one of `issuers` made it, for one of its audiences, it is valid at `now_us`, and a service account
    /// trusts its subject.
    ///
    /// # Errors
    /// What is against it, the signature before all that it says.
    pub fn verify(&self, issuers: &TenantIssuers, now_us: i64) -> Result<ForeignClaims, TokenFault> {
        let issuer = issuers.named(&self.issuer).ok_or(TokenFault::WrongIssuer)?;
        let Some(key) = issuer.keys.iter().find(|key| *key.key_id == *self.key_id) else {
            issuer.missed.note(now_us);
            return Err(TokenFault::UnknownKey);
        };
        if key.algorithm != self.algorithm {
            return Err(TokenFault::WrongHeader);
        }
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err(TokenFault::BadSignature);
        }
        if !issuer.audiences.iter().any(|own| self.audiences.iter().any(|meant| *meant == **own)) {
            return Err(TokenFault::WrongAudience);
        }
        self.times.check(now_us.div_euclid(1_000_000))?;
        let certificate = confirmation(self.claims.get("cnf"))?;
        let subject = self.claims.get(&*issuer.subject_claim).and_then(Value::as_str);
        let account = subject.and_then(|subject| issuer.account(&self.audiences, subject));
        let account = account.ok_or(TokenFault::Untrusted)?;
        Ok(ForeignClaims { account, certificate, times: self.times })
    }
}

impl ForeignClaims {
    /// Whether its times hold at `now_s`; asked again of a token that was verified before.
    ///
    /// # Errors
    /// [`TokenFault::NotYet`], [`TokenFault::Expired`], and [`TokenFault::Malformed`] for a life longer than a day.
    pub fn check_time(&self, now_s: i64) -> Result<(), TokenFault> {
        self.times.check(now_s)
    }
}

impl Times {
    fn check(self, now_s: i64) -> Result<(), TokenFault> {
        let latest = now_s.saturating_add(TOKEN_LEEWAY_S);
        let life = self.expires_at.checked_sub(self.issued_at);
        match () {
            () if !life.is_some_and(|life| (0..=FOREIGN_LIFETIME_MAX_S).contains(&life)) => {
                Err(TokenFault::Malformed)
            }
            () if self.issued_at > latest || self.not_before > latest => Err(TokenFault::NotYet),
            () if now_s >= self.expires_at.saturating_add(TOKEN_LEEWAY_S) => Err(TokenFault::Expired),
            () => Ok(()),
        }
    }
}

pub(super) fn read_header(header: &Map<String, Value>) -> Option<(SigningAlgorithm, String)> {
    if header.contains_key("crit") || header.contains_key("b64") || !is_sound_type(header.get("typ")) {
        return None;
    }
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    Some((text("alg").and_then(SigningAlgorithm::parse)?, text("kid")?.to_owned()))
}

/// A token of another kind (of a logout, of a proof of possession) is none that signs in (RFC 8725 §3.11).
fn is_sound_type(said: Option<&Value>) -> bool {
    let Some(said) = said else { return true };
    let said = said.as_str().unwrap_or("-").to_ascii_lowercase();
    matches!(said.strip_prefix("application/").unwrap_or(&said), "jwt" | "at+jwt")
}

/// One text or a list of them (RFC 7519 §4.1.3).
pub(super) fn audiences(said: Option<&Value>) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match said? {
        Value::Array(list) if list.len() <= AUDIENCES_MAX => list.iter().map(text).collect(),
        one => Some(vec![text(one)?]),
    }
}

/// Whole seconds. `nbf` may be missing: most issuers leave it out, and then it is good from when it was issued on.
fn times(claims: &Map<String, Value>) -> Option<Times> {
    let issued_at = claims.get("iat")?.as_i64()?;
    let not_before = claims.get("nbf").map_or(Some(issued_at), Value::as_i64)?;
    Some(Times { issued_at, not_before, expires_at: claims.get("exp")?.as_i64()? })
}

/// The certificate it is bound to. A token that is bound to something that we cannot ask for is not believed at all.
fn confirmation(said: Option<&Value>) -> Result<Option<[u8; 32]>, TokenFault> {
    let Some(said) = said.filter(|said| !said.is_null()) else { return Ok(None) };
    let members = said.as_object().filter(|members| members.len() == 1);
    let hash = members.and_then(|members| members.get("x5t#S256")).and_then(Value::as_str);
    let hash = hash.and_then(|hash| URL_SAFE_NO_PAD.decode(hash).ok());
    hash.and_then(|hash| hash.try_into().ok()).map(Some).ok_or(TokenFault::Unbound)
}
