//! The signed context: what a service is told about its caller, as a JWT (RFC 7519) signed with EdDSA
//! (RFC 8037). A service trusts nothing else about who calls.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::id::TenantId;
use crate::tenancy::Isolation;

/// The request header that carries it.
pub const HEADER: &str = "rowhouse-context";
/// How long a context is good for, in seconds.
pub const LIFETIME_S: i64 = 60;
/// Clocks of gateway and service may differ by this much.
const LEEWAY_S: i64 = 5;
/// Longer tokens are not looked at.
const TOKEN_MAX: usize = 16 * 1024;

/// Who calls, for whom, with what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextClaims {
    /// The service it is for: no other one believes it (RFC 7519 §4.1.3).
    #[serde(rename = "aud")]
    pub audience: String,
    /// The tenant.
    pub tenant: TenantId,
    /// Its code.
    pub code: String,
    /// Its tier.
    pub tier: String,
    /// How its data is kept apart.
    pub isolation: Isolation,
    /// Its home region.
    pub region: String,
    /// Kind of the principal.
    pub principal_kind: String,
    /// Its id; empty for anonymous.
    pub principal: String,
    /// Roles it was granted.
    pub roles: Vec<String>,
    /// Features that are on for the tenant.
    pub features: Vec<String>,
    /// What is imposed on the tenant.
    pub enforcements: Vec<String>,
    /// Seconds since 1970.
    #[serde(rename = "iat")]
    pub issued_at: i64,
    /// Seconds since 1970.
    #[serde(rename = "exp")]
    pub expires_at: i64,
}

/// Why a context is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// Not three base64url parts, another algorithm, or not our claims.
    #[error("the context is not well-formed")]
    Malformed,
    /// Signed by nobody we know.
    #[error("the context is signed with an unknown key")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the context's signature is wrong")]
    BadSignature,
    /// Meant for another service.
    #[error("the context is for another service")]
    WrongAudience,
    /// Too old, or from the future.
    #[error("the context is not valid now")]
    Expired,
}

/// A key that signs contexts.
#[derive(Clone)]
pub struct ContextSigner {
    key_id: String,
    key: SigningKey,
    header: String,
}

impl std::fmt::Debug for ContextSigner {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "ContextSigner({})", self.key_id)
    }
}

impl ContextSigner {
    /// A signer from 32 random bytes.
    pub fn new(key_id: impl Into<String>, seed: &[u8; 32]) -> Self {
        let key_id = key_id.into();
        let header = format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{key_id}"}}"#);
        ContextSigner { key_id, key: SigningKey::from_bytes(seed), header: URL_SAFE_NO_PAD.encode(header) }
    }

    /// What others verify with.
    pub fn verifier(&self) -> ContextKey {
        ContextKey { key_id: self.key_id.clone(), key: self.key.verifying_key() }
    }

    /// The token for `claims`.
    pub fn sign(&self, claims: &ContextClaims) -> String {
        let claims = serde_json::to_vec(claims).expect("claims are text and numbers");
        let mut token = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.to_bytes(), &mut token);
        token
    }
}

/// A key that contexts are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextKey {
    key_id: String,
    key: VerifyingKey,
}

impl ContextKey {
    /// From a JWK's `kid` and `x` (RFC 8037 §2).
    pub fn from_jwk(key_id: &str, x: &str) -> Option<Self> {
        let bytes: [u8; 32] = URL_SAFE_NO_PAD.decode(x).ok()?.try_into().ok()?;
        Some(ContextKey { key_id: key_id.to_owned(), key: VerifyingKey::from_bytes(&bytes).ok()? })
    }

    /// From its 32 bytes; `None` if they are no key.
    pub fn from_bytes(key_id: &str, bytes: &[u8; 32]) -> Option<Self> {
        Some(ContextKey { key_id: key_id.to_owned(), key: VerifyingKey::from_bytes(bytes).ok()? })
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// The JWK's `kid`.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The JWK's `x`.
    pub fn x(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.as_bytes())
    }
}

#[derive(Deserialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
}

/// Believes `token` if one of `keys` signed it, for `audience` (the service that asks), and it is valid at `now_s`
/// (seconds since 1970).
pub fn verify(
    token: &str,
    keys: &[ContextKey],
    audience: &str,
    now_s: i64,
) -> Result<ContextClaims, ContextError> {
    use ContextError::*;
    if token.len() > TOKEN_MAX {
        return Err(Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(Malformed)?;
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| Malformed)?;
    let header: Header<'_> = serde_json::from_slice(&header).map_err(|_| Malformed)?;
    if header.alg != "EdDSA" {
        return Err(Malformed);
    }
    let key = keys.iter().find(|key| key.key_id == header.kid).ok_or(UnknownKey)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Malformed)?;
    let signature = Signature::from_slice(&signature).map_err(|_| Malformed)?;
    key.key.verify(signed.as_bytes(), &signature).map_err(|_| BadSignature)?;
    let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| Malformed)?;
    let claims: ContextClaims = serde_json::from_slice(&claims).map_err(|_| Malformed)?;
    if claims.audience != audience {
        return Err(WrongAudience);
    }
    let valid = claims.issued_at <= now_s + LEEWAY_S && now_s < claims.expires_at + LEEWAY_S;
    if valid { Ok(claims) } else { Err(Expired) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> ContextClaims {
        ContextClaims {
            audience: "stamping".into(),
            tenant: TenantId::from_u128(5),
            code: "acme".into(),
            tier: "basic".into(),
            isolation: Isolation::Shared,
            region: "local".into(),
            principal_kind: "api_key".into(),
            principal: "key_x".into(),
            roles: vec!["developer".into()],
            features: vec![],
            enforcements: vec![],
            issued_at: 1000,
            expires_at: 1060,
        }
    }

    #[test]
    fn only_our_untouched_and_current_tokens_are_believed() {
        let signer = ContextSigner::new("k1", &[3; 32]);
        let keys = [signer.verifier()];
        let token = signer.sign(&claims());
        assert_eq!(verify(&token, &keys, "stamping", 1030), Ok(claims()));
        assert_eq!(verify(&token, &keys, "stamping", 1066), Err(ContextError::Expired));
        assert_eq!(verify(&token, &keys, "stamping", 990), Err(ContextError::Expired));
        assert_eq!(verify(&token, &[], "stamping", 1030), Err(ContextError::UnknownKey));
        assert_eq!(verify(&token, &keys, "parking", 1030), Err(ContextError::WrongAudience));
        let other = ContextSigner::new("k1", &[4; 32]);
        assert_eq!(verify(&other.sign(&claims()), &keys, "stamping", 1030), Err(ContextError::BadSignature));
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(bytes).expect("ascii");
            assert!(verify(&altered, &keys, "stamping", 1030).is_err(), "altered at {at}");
        }
        let none = token.replacen(&signer.header, &URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"k1"}"#), 1);
        assert_eq!(verify(&none, &keys, "stamping", 1030), Err(ContextError::Malformed));
    }
}
