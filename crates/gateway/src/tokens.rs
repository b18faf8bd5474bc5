//! Access tokens on this core: read strictly, verified once, remembered by their whole text. What is remembered is the signature alone;
//! times, session and tenant are looked at each time, and another set of keys forgets everything.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;
use rowhouse_domain::identity::token::{AUDIENCE_GATEWAY, TokenClaims, TokenFault, TokenKeys, Unverified};

/// More tokens than this are not remembered: the desk starts over.
const KEPT_MAX: usize = 8_192;

/// A token as it was sent: **not yet verified**, unless it is remembered.
pub(crate) enum ShownToken<'r> {
    /// Its signature was right before.
    Remembered(Rc<TokenClaims>),
    /// Well-formed.
    New { text: &'r str, token: Box<Unverified<'r>> },
    /// Not a token at all.
    Faulty(TokenFault),
}

impl ShownToken<'_> {
    /// What it claims, if it can be read: for the tenant signal only.
    pub(crate) fn claims(&self) -> Option<&TokenClaims> {
        match self {
            ShownToken::Remembered(claims) => Some(claims),
            ShownToken::New { token, .. } => Some(token.claims()),
            ShownToken::Faulty(_) => None,
        }
    }
}

#[derive(Default)]
struct Kept {
    keys: Arc<TokenKeys>,
    hash: RandomState,
    /// By the keyed hash of the text. The text is compared too, so a hash that two texts share does no harm.
    known: HashMap<u64, (Box<str>, Rc<TokenClaims>), RandomState>,
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
        match kept.known.get(&hash).filter(|(own, _)| **own == *text) {
            Some((_, claims)) => ShownToken::Remembered(claims.clone()),
            None => match Unverified::read(text) {
                Ok(token) => ShownToken::New { text, token: Box::new(token) },
                Err(fault) => ShownToken::Faulty(fault),
            },
        }
    }

    /// Believes it, or says why not.
    pub(crate) fn verify(
        &self,
        keys: &TokenKeys,
        shown: &ShownToken<'_>,
        now_s: i64,
    ) -> Result<Rc<TokenClaims>, TokenFault> {
        match shown {
            ShownToken::Remembered(claims) => claims.check_time(now_s).map(|()| claims.clone()),
            ShownToken::New { text, token } => {
                let claims = Rc::new(token.verify(keys, AUDIENCE_GATEWAY, now_s)?);
                let mut kept = self.0.borrow_mut();
                if kept.known.len() >= KEPT_MAX {
                    kept.known.clear();
                }
                let hash = kept.hash.hash_one(*text);
                kept.known.insert(hash, ((*text).into(), claims.clone()));
                Ok(claims)
            }
            ShownToken::Faulty(fault) => Err(*fault),
        }
    }
}
