//! Who a request is from, as the gateway signed it. A service gets a [`TenantContext`] in no other way, and no
//! transaction without one.

use std::sync::Arc;

use rowhouse_domain::context::{ContextClaims, ContextError, ContextKey, verify};
use rowhouse_domain::id::TenantId;

use crate::plane::PlaneJwk;

/// The gateway's public keys.
#[derive(Debug, Clone, Default)]
pub struct ContextKeys(Arc<[ContextKey]>);

impl ContextKeys {
    /// Keys to verify with.
    pub fn new(keys: impl IntoIterator<Item = ContextKey>) -> Self {
        ContextKeys(keys.into_iter().collect())
    }

    /// The usable ones of `jwks`; another kind or a malformed key verifies nothing and is left out.
    pub(crate) fn from_jwks(jwks: &[PlaneJwk]) -> Self {
        let usable = |jwk: &&PlaneJwk| jwk.kty == "OKP" && jwk.crv == "Ed25519";
        ContextKeys::new(jwks.iter().filter(usable).filter_map(|jwk| ContextKey::from_jwk(&jwk.kid, &jwk.x)))
    }
}

/// A verified context: proof that the gateway let this caller through, for this tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantContext {
    claims: ContextClaims,
}

impl TenantContext {
    /// Believes the value of the header `rowhouse-context` if one of `keys` signed it, for `service`, and it is valid
    /// at `now_s` (seconds since 1970).
    ///
    /// # Errors
    /// If it is malformed, forged, for another service, or not valid now.
    pub fn from_header(
        keys: &ContextKeys,
        service: &str,
        header: &str,
        now_s: i64,
    ) -> Result<Self, ContextError> {
        verify(header, &keys.0, service, now_s).map(|claims| TenantContext { claims })
    }

    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.claims.tenant
    }

    /// All that the gateway said.
    pub fn claims(&self) -> &ContextClaims {
        &self.claims
    }
}
