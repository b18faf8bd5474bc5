//! The signed context that services get: signed once per service, tenant version and principal, and used again for
//! 30 s, so that signing is off the path.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use http::HeaderValue;
use rowhouse_domain::access::{Principal, PrincipalKind};
use rowhouse_domain::context::{ContextClaims, ContextSigner, LIFETIME_S};
use rowhouse_domain::directory::Tenant;
use rowhouse_domain::id::TenantId;

/// How long one signature is used.
const REUSE_S: i64 = 30;
/// A desk with more contexts starts over.
const KEPT_MAX: usize = 20_000;

/// What a service is told about a caller, as header values.
#[derive(Clone)]
pub(crate) struct Told {
    /// `Rowhouse-Context`.
    pub(crate) context: HeaderValue,
    /// `Rowhouse-Tenant`.
    pub(crate) tenant: HeaderValue,
    /// `Rowhouse-Principal`.
    pub(crate) principal: HeaderValue,
}

impl Told {
    /// One allocation holds all text, so that using it again touches one place in memory.
    fn of(context: &str, tenant: &str, principal: &str) -> Self {
        let text = Bytes::from([context, tenant, principal].concat());
        let mut start = 0;
        let mut value = |part: &str| {
            let slice = text.slice(start..start + part.len());
            start += part.len();
            HeaderValue::from_maybe_shared(slice).expect("ids and tokens are visible ASCII")
        };
        Told { context: value(context), tenant: value(tenant), principal: value(principal) }
    }
}

struct Kept {
    tenant_version: u64,
    audience: Arc<str>,
    signed_at_s: i64,
    told: Told,
}

/// One core's signed contexts.
pub(crate) struct ContextDesk {
    signer: ContextSigner,
    /// By place of the service in the directory, tenant and principal.
    kept: RefCell<HashMap<(usize, TenantId, Principal), Kept, RandomState>>,
}

impl ContextDesk {
    /// An empty desk.
    pub(crate) fn new(signer: ContextSigner) -> Self {
        ContextDesk { signer, kept: RefCell::default() }
    }

    /// What to tell `service` (its place and name) about `principal` of `tenant`; signed anew only if something of the
    /// tenant changed or 30 s have passed.
    pub(crate) fn told(
        &self,
        service: (usize, &Arc<str>),
        tenant: &Tenant,
        principal: Principal,
        now_s: i64,
    ) -> Told {
        let (place, audience) = service;
        let mut kept = self.kept.borrow_mut();
        if let Some(own) = kept.get(&(place, tenant.id, principal))
            && own.tenant_version == tenant.version
            && own.audience == *audience
            && (own.signed_at_s..own.signed_at_s + REUSE_S).contains(&now_s)
        {
            return own.told.clone();
        }
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        let told = self.sign(audience, tenant, principal, now_s);
        let own = Kept {
            tenant_version: tenant.version,
            audience: audience.clone(),
            signed_at_s: now_s,
            told: told.clone(),
        };
        kept.insert((place, tenant.id, principal), own);
        told
    }

    fn sign(&self, audience: &str, tenant: &Tenant, principal: Principal, now_s: i64) -> Told {
        let words = |list: &[Box<str>]| list.iter().map(|word| word.to_string()).collect();
        let roles = tenant.access.rights(&principal).map_or_else(Vec::new, |rights| words(&rights.roles));
        let shown = match principal.kind {
            PrincipalKind::Anonymous => String::new(),
            _ => principal.to_string(),
        };
        let claims = ContextClaims {
            audience: audience.to_owned(),
            tenant: tenant.id,
            code: tenant.code.to_string(),
            tier: tenant.tier.to_string(),
            isolation: tenant.isolation,
            region: tenant.region.to_string(),
            principal_kind: principal.kind.as_str().to_owned(),
            principal: shown,
            roles,
            features: words(&tenant.features),
            enforcements: words(&tenant.enforcements),
            issued_at: now_s,
            expires_at: now_s + LIFETIME_S,
        };
        Told::of(&self.signer.sign(&claims), &tenant.id.to_string(), &principal.to_string())
    }
}
