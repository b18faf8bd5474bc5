//! The signed context that services get: signed once per service, tenant version and principal, and used again for
//! 30 s by all cores, so that signing is off the path. A core looks at its own desk first and then in the book, which
//! all cores share under locks held for one look.

use std::cell::{Ref, RefCell};
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use rowhouse_domain::access::{Principal, PrincipalKind};
use rowhouse_domain::context::{ContextClaims, ContextSigner, LIFETIME_S};
use rowhouse_domain::directory::Tenant;
use rowhouse_domain::id::{SessionId, TenantId};
use smallvec::SmallVec;

/// How long one signature is used.
const REUSE_S: i64 = 30;
/// Places of a desk for one principal; they lie in one line of the processor's cache.
const WAYS: usize = 4;
/// Groups of such places on a desk; it has room for 32,768 contexts.
const SETS: usize = 8_192;
/// A part of the book with more contexts starts over.
const KEPT_MAX_PER_PART: usize = 1_024;

/// Text that is kept beside what it is known by; longer ones lie elsewhere.
const NEAR_BYTES: usize = 768;

/// What a service is told about a caller, as values of headers. All text lies together, so that using it again touches
/// one place in memory.
pub(crate) struct Told {
    text: SmallVec<[u8; NEAR_BYTES]>,
    context_end: usize,
    tenant_end: usize,
}

impl Told {
    fn of(context: &str, tenant: &str, principal: &str) -> Self {
        let text = [context, tenant, principal].concat();
        debug_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "ids and tokens are visible ASCII");
        let tenant_end = context.len() + tenant.len();
        Told { text: SmallVec::from_slice(text.as_bytes()), context_end: context.len(), tenant_end }
    }

    /// `Rowhouse-Context`.
    pub(crate) fn context(&self) -> &[u8] {
        &self.text[..self.context_end]
    }

    /// `Rowhouse-Tenant`.
    pub(crate) fn tenant(&self) -> &[u8] {
        &self.text[self.context_end..self.tenant_end]
    }

    /// `Rowhouse-Principal`.
    pub(crate) fn principal(&self) -> &[u8] {
        &self.text[self.tenant_end..]
    }
}

struct Kept {
    whose: Whose,
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

/// By place of the service in the directory, tenant and caller.
type Whose = (usize, TenantId, Acting);

/// Who acts, and in which session if roles were chosen in it: all other sessions share what is signed.
pub(crate) type Acting = (Principal, Option<SessionId>);

/// Parts of the book; each has its own lock.
const PARTS: usize = 64;

type Part = Mutex<HashMap<Whose, Arc<Kept>, RandomState>>;

/// What the cores have signed, for each other.
pub(crate) struct ContextBook {
    hash: RandomState,
    parts: [Part; PARTS],
}

impl Default for ContextBook {
    fn default() -> Self {
        ContextBook { hash: RandomState::default(), parts: std::array::from_fn(|_| Part::default()) }
    }
}

impl ContextBook {
    fn part(&self, whose: &Whose) -> std::sync::MutexGuard<'_, HashMap<Whose, Arc<Kept>, RandomState>> {
        let part = self.hash.hash_one(whose) as usize % PARTS;
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, whose: &Whose) -> Option<Arc<Kept>> {
        self.part(whose).get(whose).cloned()
    }

    fn put(&self, kept: Arc<Kept>) {
        let mut part = self.part(&kept.whose);
        if part.len() >= KEPT_MAX_PER_PART {
            part.clear();
        }
        part.insert(kept.whose, kept);
    }
}

/// A place of a desk: a hash of whose it is, so that a stranger's is passed over without looking at it.
#[derive(Clone, Default)]
struct Slot {
    hash: u64,
    kept: Option<Arc<Kept>>,
}

/// The places for some principals.
#[derive(Clone, Default)]
#[repr(align(64))]
struct Set([Slot; WAYS]);

/// One core's signed contexts: places found by a hash of tenant and principal alone, so that they can be fetched from
/// memory before it is known which service is asked.
pub(crate) struct ContextDesk {
    signer: ContextSigner,
    book: Arc<ContextBook>,
    hash: RandomState,
    sets: RefCell<Box<[Set]>>,
}

impl ContextDesk {
    /// An empty desk beside `book`.
    pub(crate) fn new(signer: ContextSigner, book: Arc<ContextBook>) -> Self {
        let sets = vec![Set::default(); SETS].into_boxed_slice();
        ContextDesk { signer, book, hash: RandomState::default(), sets: RefCell::new(sets) }
    }

    fn hash(&self, tenant: TenantId, principal: Principal) -> u64 {
        self.hash.hash_one((tenant, principal))
    }

    /// Has the processor fetch what will be told, without waiting for it.
    pub(crate) fn touch(&self, tenant: TenantId, principal: Principal) {
        let hash = self.hash(tenant, principal);
        let sets = self.sets.borrow();
        let kept =
            sets[set_of(hash)].0.iter().find(|slot| slot.hash == hash).and_then(|slot| slot.kept.as_ref());
        std::hint::black_box(kept.map(|kept| kept.told.text.first().copied()));
    }

    /// What to tell `service` (its place and name) about who acts in `tenant`; signed anew only if something of the
    /// tenant changed or 30 s have passed. The session is only looked at where it has roles of its own.
    pub(crate) fn told(
        &self,
        service: (usize, &Arc<str>),
        tenant: &Tenant,
        (principal, session): Acting,
        now_s: i64,
    ) -> Ref<'_, Told> {
        let (place, audience) = service;
        let session = tenant.access.session_with_roles(&principal, session);
        let whose = (place, tenant.id, (principal, session));
        let hash = self.hash(tenant.id, principal);
        let own = |slot: &Slot| {
            slot.hash == hash
                && slot
                    .kept
                    .as_ref()
                    .is_some_and(|own| own.whose == whose && own.holds(audience, tenant, now_s))
        };
        let found = self.sets.borrow()[set_of(hash)].0.iter().position(own);
        let way = found.unwrap_or_else(|| self.fetch(hash, audience, tenant, whose, now_s));
        Ref::map(self.sets.borrow(), |sets| match &sets[set_of(hash)].0[way].kept {
            Some(kept) => &kept.told,
            None => unreachable!("it was found or put there"),
        })
    }

    /// Puts a context that holds on the desk, from the book or signed anew, and says in which way of its set.
    #[cold]
    fn fetch(&self, hash: u64, audience: &Arc<str>, tenant: &Tenant, whose: Whose, now_s: i64) -> usize {
        let theirs = self.book.get(&whose).filter(|theirs| theirs.holds(audience, tenant, now_s));
        let kept = theirs.unwrap_or_else(|| {
            let told = self.sign(audience, tenant, whose.2, now_s);
            let (tenant_version, audience) = (tenant.version, audience.clone());
            let kept = Arc::new(Kept { whose, tenant_version, audience, signed_at_s: now_s, told });
            self.book.put(kept.clone());
            kept
        });
        let mut sets = self.sets.borrow_mut();
        let set = &mut sets[set_of(hash)].0;
        let own = set.iter().position(|slot| slot.kept.as_ref().is_none_or(|kept| kept.whose == whose));
        // The oldest makes room.
        let age = |way: &usize| set[*way].kept.as_ref().map_or(i64::MIN, |kept| kept.signed_at_s);
        let way = own.unwrap_or_else(|| (0..WAYS).min_by_key(age).unwrap_or(0));
        set[way] = Slot { hash, kept: Some(kept) };
        way
    }

    fn sign(&self, audience: &str, tenant: &Tenant, (principal, session): Acting, now_s: i64) -> Told {
        let words = |list: &[Box<str>]| list.iter().map(|word| word.to_string()).collect();
        let rights = tenant.access.rights_in(&principal, session);
        let roles = rights.map_or_else(Vec::new, |rights| words(rights.roles()));
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

fn set_of(hash: u64) -> usize {
    hash as usize % SETS
}
