//! Reading a token, strictly: three parts of canonical base64url without padding, at most 8 KiB; a header of exactly `alg`, `typ`
//! and `kid` (so no `crit`, no `jwk`, no `jku`, no `x5c`), none twice; exactly our claims, none twice.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signature;
use serde::Deserialize;

use super::{TOKEN_LEEWAY_S, TOKEN_LIFETIME_MAX_S, TokenClaims, TokenFault, TokenKeys};

/// Longer texts are not looked at.
const TOKEN_MAX: usize = 8 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// A token that was read and **not yet verified**.
#[derive(Debug)]
pub struct Unverified<'t> {
    signed: &'t str,
    key_id: String,
    claims: TokenClaims,
    signature: Signature,
}

impl<'t> Unverified<'t> {
    /// Reads it.
    ///
    /// # Errors
    /// [`TokenFault::Malformed`] and [`TokenFault::WrongHeader`].
    pub fn read(token: &'t str) -> Result<Self, TokenFault> {
        use TokenFault::{Malformed, WrongHeader};
        if token.len() > TOKEN_MAX {
            return Err(Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Malformed);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| WrongHeader)?;
        if header.alg != "EdDSA" || header.typ != "at+jwt" {
            return Err(WrongHeader);
        }
        let claims: TokenClaims = serde_json::from_slice(&decode(claims)?).map_err(|_| Malformed)?;
        let signature = Signature::from_slice(&decode(signature)?).map_err(|_| Malformed)?;
        Ok(Unverified { signed, key_id: header.kid, claims, signature })
    }

    /// What it claims: for the tenant signal only.
    pub fn claims(&self) -> &TokenClaims {
        &self.claims
    }

    /// Believes it if one of `keys` signed it, for `audience`, and it is valid at `now_s`.
    ///
    /// # Errors
    /// What is against it, the signature first.
    pub fn verify(&self, keys: &TokenKeys, audience: &str, now_s: i64) -> Result<TokenClaims, TokenFault> {
        let known = keys.keys.iter().find(|key| key.key_id == self.key_id);
        let key = known.filter(|key| (key.from_s..key.until_s).contains(&now_s));
        let key = key.ok_or(TokenFault::UnknownKey)?;
        // Strictly: no key of small order, no second form of a signature.
        key.key
            .verify_strict(self.signed.as_bytes(), &self.signature)
            .map_err(|_| TokenFault::BadSignature)?;
        if self.claims.issuer != keys.issuer {
            return Err(TokenFault::WrongIssuer);
        }
        if !self.claims.audience.iter().any(|own| own == audience) {
            return Err(TokenFault::WrongAudience);
        }
        self.claims.check_time(now_s)?;
        Ok(self.claims.clone())
    }
}

impl TokenClaims {
    /// Whether its times hold at `now_s`; asked again of a token that was verified before.
    ///
    /// # Errors
    /// [`TokenFault::NotYet`], [`TokenFault::Expired`], and [`TokenFault::Malformed`] for a life longer than an hour.
    pub fn check_time(&self, now_s: i64) -> Result<(), TokenFault> {
        let latest = now_s.saturating_add(TOKEN_LEEWAY_S);
        let life = self.expires_at.checked_sub(self.issued_at);
        match () {
            () if !life.is_some_and(|life| (0..=TOKEN_LIFETIME_MAX_S).contains(&life)) => {
                Err(TokenFault::Malformed)
            }
            () if self.issued_at > latest || self.not_before > latest => Err(TokenFault::NotYet),
            () if now_s >= self.expires_at.saturating_add(TOKEN_LEEWAY_S) => Err(TokenFault::Expired),
            () => Ok(()),
        }
    }
}
