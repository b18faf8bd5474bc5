//! The signed context that services get: signed once per service, tenant version and principal, and used again for
//! 30 s by all cores, so that signing is off the path. A core looks at its own desk first and then in the book, which
//! all cores share under locks held for one look.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};

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
/// A part of the book with more contexts starts over.
const KEPT_MAX_PER_PART: usize = 1_024;

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

#[derive(Clone)]
struct Kept {
    tenant_version: u64,
    audience: Arc<str>,
    signed_at_s: i64,
    told: Told,
}

impl Kept {
    fn holds(&self, audience: &Arc<str>, tenant: &Tenant, now_s: i64) -> bool {
        let same = Arc::ptr_eq(&self.audience, audience) || self.audience == *audience;
        let fresh = (self.signed_at_s..self.signed_at_s + REUSE_S).contains(&now_s);
        self.tenant_version == tenant.version && same && fresh
    }
}

/// By place of the service in the directory, tenant and principal.
type Whose = (usize, TenantId, Principal);

/// Parts of the book; each has its own lock.
const PARTS: usize = 64;

/// What the cores have signed, for each other.
pub(crate) struct ContextBook {
    hash: RandomState,
    parts: [Mutex<HashMap<Whose, Kept, RandomState>>; PARTS],
}

impl Default for ContextBook {
    fn default() -> Self {
        ContextBook { hash: RandomState::default(), parts: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl ContextBook {
    fn part(&self, whose: &Whose) -> std::sync::MutexGuard<'_, HashMap<Whose, Kept, RandomState>> {
        let part = self.hash.hash_one(whose) as usize % PARTS;
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, whose: &Whose) -> Option<Kept> {
        self.part(whose).get(whose).cloned()
    }

    fn put(&self, whose: Whose, kept: Kept) {
        let mut part = self.part(&whose);
        if part.len() >= KEPT_MAX_PER_PART {
            part.clear();
        }
        part.insert(whose, kept);
    }
}

/// One core's signed contexts.
pub(crate) struct ContextDesk {
    signer: ContextSigner,
    book: Arc<ContextBook>,
    kept: RefCell<HashMap<Whose, Kept, RandomState>>,
}

impl ContextDesk {
    /// An empty desk beside `book`.
    pub(crate) fn new(signer: ContextSigner, book: Arc<ContextBook>) -> Self {
        ContextDesk { signer, book, kept: RefCell::default() }
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
        let whose = (place, tenant.id, principal);
        let mut kept = self.kept.borrow_mut();
        if let Some(own) = kept.get(&whose).filter(|own| own.holds(audience, tenant, now_s)) {
            return own.told.clone();
        }
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        let theirs = self.book.get(&whose).filter(|theirs| theirs.holds(audience, tenant, now_s));
        let own = theirs.unwrap_or_else(|| {
            let told = self.sign(audience, tenant, principal, now_s);
            let (tenant_version, audience) = (tenant.version, audience.clone());
            let own = Kept { tenant_version, audience, signed_at_s: now_s, told };
            self.book.put(whose, own.clone());
            own
        });
        let told = own.told.clone();
        kept.insert(whose, own);
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
