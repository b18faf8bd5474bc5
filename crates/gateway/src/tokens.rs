//! Access tokens on this core: read strictly, verified once, remembered by their whole text. What is remembered is the signature alone;
//! times, session and tenant are looked at each time, and another set of keys forgets everything. A token of an issuer that
//! a tenant trusts is remembered for that tenant, with all that it was believed by: another key, another trust, and it is read anew.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;
use rowhouse_domain::directory::Tenant;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::identity::issuer::{Foreign, ForeignClaims, TenantIssuers};
use rowhouse_domain::identity::token::{AUDIENCE_GATEWAY, TokenClaims, TokenFault, TokenKeys, Unverified};

use crate::certificate::ShownCertificate;

/// More tokens than this are not remembered: the desk starts over.
const KEPT_MAX: usize = 8_192;

/// A token as it was sent: **not yet verified**, unless it is remembered.
pub(crate) enum ShownToken<'r> {
    /// Its signature was right before.
    Remembered(Rc<TokenClaims>),
    /// Well-formed, and of us by its own word.
    New { text: &'r str, token: Box<Unverified<'r>> },
    /// Another issuer's, if it is a token at all. Whom it signs in depends on the tenant that the request is for.
    Foreign { text: &'r str, fault: TokenFault },
}

/// Who a verified token speaks for.
#[derive(Clone)]
pub(crate) enum Bearer {
    /// Who has a session here.
    Own(Rc<TokenClaims>),
    /// A machine that another issuer vouches for.
    Foreign(Rc<ForeignClaims>),
}

impl ShownToken<'_> {
    /// What it claims, if it can be read: for the tenant signal only. Another issuer's word on the tenant is not asked.
    pub(crate) fn claims(&self) -> Option<&TokenClaims> {
        match self {
            ShownToken::Remembered(claims) => Some(claims),
            ShownToken::New { token, .. } => Some(token.claims()),
            ShownToken::Foreign { .. } => None,
        }
    }
}

/// What was believed of another issuer's token: for whom, and by which issuers.
struct Vouched {
    tenant: TenantId,
    issuers: Arc<TenantIssuers>,
    claims: Rc<ForeignClaims>,
}

#[derive(Default)]
struct Kept {
    keys: Arc<TokenKeys>,
    hash: RandomState,
    /// By the keyed hash of the text. The text is compared too, so a hash that two texts share does no harm.
    known: HashMap<u64, (Box<str>, Rc<TokenClaims>), RandomState>,
    vouched: HashMap<u64, (Box<str>, Vouched), RandomState>,
}

/// One core's tokens.
#[derive(Default)]
pub(crate) struct TokenDesk(RefCell<Kept>);

impl TokenDesk {
    /// Reads a token.
    pub(crate) fn read<'r>(&self, keys: &Arc<TokenKeys>, text: &'r str) -> ShownToken<'r> {
        let mut kept = self.0.borrow_mut();
        if !Arc::ptr_eq(&kept.keys, keys) {
            if *kept.keys != **keys {
                kept.known.clear();
            }
            kept.keys = keys.clone();
        }
        let hash = kept.hash.hash_one(text);
        if let Some((_, claims)) = kept.known.get(&hash).filter(|(own, _)| **own == *text) {
            return ShownToken::Remembered(claims.clone());
        }
        if kept.vouched.get(&hash).is_some_and(|(own, _)| **own == *text) {
            return ShownToken::Foreign { text, fault: TokenFault::WrongIssuer };
        }
        match Unverified::read(text) {
            Ok(token) if token.claims().issuer == keys.issuer => {
                ShownToken::New { text, token: Box::new(token) }
            }
            Ok(_) => ShownToken::Foreign { text, fault: TokenFault::WrongIssuer },
            Err(fault) => ShownToken::Foreign { text, fault },
        }
    }

    /// Believes it for `tenant`, or says why not. One that is bound to a certificate (RFC 8705 §3) needs it to be shown.
    pub(crate) fn verify(
        &self,
        keys: &TokenKeys,
        tenant: Option<&Tenant>,
        (shown, certificate): (&ShownToken<'_>, Option<&ShownCertificate>),
        now_us: i64,
    ) -> Result<Bearer, TokenFault> {
        let now_s = now_us.div_euclid(1_000_000);
        match shown {
            ShownToken::Remembered(claims) => claims.check_time(now_s).map(|()| Bearer::Own(claims.clone())),
            ShownToken::New { text, token } => {
                let claims = Rc::new(token.verify(keys, AUDIENCE_GATEWAY, now_s)?);
                let mut kept = self.0.borrow_mut();
                let hash = kept.hash.hash_one(*text);
                keep(&mut kept.known, hash, ((*text).into(), claims.clone()));
                Ok(Bearer::Own(claims))
            }
            ShownToken::Foreign { text, fault } => {
                let tenant = tenant.filter(|tenant| !tenant.issuers.is_empty()).ok_or(*fault)?;
                let claims = self.vouched(tenant, text, now_us)?;
                if let Some(bound) = &claims.certificate {
                    let own = certificate.map(ShownCertificate::fingerprint).ok_or(TokenFault::Unbound)?;
                    if own != bound || tenant.authorities.is_revoked(own) {
                        return Err(TokenFault::Unbound);
                    }
                }
                Ok(Bearer::Foreign(claims))
            }
        }
    }

    /// A token of one of the tenant's issuers.
    fn vouched(&self, tenant: &Tenant, text: &str, now_us: i64) -> Result<Rc<ForeignClaims>, TokenFault> {
        let mut kept = self.0.borrow_mut();
        let hash = kept.hash.hash_one(text);
        if let Some((own, vouched)) = kept.vouched.get_mut(&hash)
            && **own == *text
            && vouched.holds(tenant)
        {
            vouched.claims.check_time(now_us.div_euclid(1_000_000))?;
            return Ok(vouched.claims.clone());
        }
        let claims = Rc::new(Foreign::read(text)?.verify(&tenant.issuers, now_us)?);
        let vouched = Vouched { tenant: tenant.id, issuers: tenant.issuers.clone(), claims: claims.clone() };
        keep(&mut kept.vouched, hash, (text.into(), vouched));
        Ok(claims)
    }
}

impl Vouched {
    /// Whether the tenant still believes all that this was believed by.
    fn holds(&mut self, tenant: &Tenant) -> bool {
        if self.tenant != tenant.id {
            return false;
        }
        let same = Arc::ptr_eq(&self.issuers, &tenant.issuers);
        if !same && *self.issuers == *tenant.issuers {
            // Equal to the last key: from here on that is seen at once.
            self.issuers = tenant.issuers.clone();
            return true;
        }
        same
    }
}

fn keep<T>(known: &mut HashMap<u64, T, RandomState>, hash: u64, entry: T) {
    if known.len() >= KEPT_MAX {
        known.clear();
    }
    known.insert(hash, entry);
}
