//! Counters that gateways share, in Redis: all limits of a request in one call, leases that are spent in memory, and a
//! way to go on without it.
//!
//! Each core has a connection of its own on which its calls are pipelined. No request waits past the deadline, and after
//! a few that waited in vain none waits at all until the store answers again: see [`Breaker`].

mod breaker;
mod held;
mod link;
mod owed;
mod tend;
#[cfg(test)]
mod tests;
mod wire;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redis::{ConnectionInfo, IntoConnectionInfo};
use rowhouse_domain::limits::{Rule, Verdict};
use rowhouse_domain::routes::UpstreamTls;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::table::{CounterKey, LimitTable};
use crate::metrics::{CoreMetrics, bump};
use crate::upstream::SecureBook;
use breaker::Breaker;
pub(crate) use held::Held;
use owed::Owed;
pub(crate) use wire::Asked;

/// Where limits are counted together.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `redis://host:port`, `rediss://host:port` over TLS, or `redis+unix:///path`.
    pub url: String,
    /// Whom to believe over TLS, and what to show.
    pub tls: UpstreamTls,
    /// How long a request waits for it.
    pub deadline: Duration,
}

impl StoreConfig {
    /// A store that is spoken to as its address says.
    pub fn new(url: &str, deadline: Duration) -> Self {
        StoreConfig { url: url.to_owned(), tls: UpstreamTls::default(), deadline }
    }

    /// What the address says, without the TLS around it, which is ours.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn read(&self) -> redis::RedisResult<(ConnectionInfo, bool)> {
        let secure = self.url.strip_prefix("rediss://").or_else(|| self.url.strip_prefix("valkeys://"));
        let plain = secure.map(|rest| format!("redis://{rest}"));
        let info = plain.as_deref().unwrap_or(&self.url).into_connection_info()?;
        Ok((info, secure.is_some()))
    }
}

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// It failed too often lately, or is not connected; nobody waited.
    #[error("the store of limits is left alone for now")]
    LeftAlone,
    /// The deadline passed.
    #[error("the store of limits did not answer in time")]
    TooLate,
    /// Nobody is there, or nobody who is believed.
    #[error("the store of limits cannot be reached")]
    Away(#[from] std::io::Error),
    /// It answered that it cannot.
    #[error("the store of limits failed")]
    Failed(#[from] redis::RedisError),
    /// It answered something else than was asked.
    #[error("the store of limits answered something unreadable")]
    Unreadable,
}

/// What all cores of a gateway know of the store.
pub(crate) struct StoreShared {
    config: StoreConfig,
    secure: Arc<SecureBook>,
    /// Of the names of counters: no address and no id stands in them.
    secret: [u8; 16],
    /// This gateway, among those that live.
    id: String,
    /// Gateways that live, this one too.
    gateways: AtomicI64,
    /// Leases that may have units to give back. Never touched by a request.
    held: Mutex<std::collections::HashMap<u128, Held>>,
    /// The clock of leases: it never goes back.
    began: Instant,
    calls: AtomicU64,
}

impl StoreShared {
    pub(crate) fn new(config: StoreConfig, secure: Arc<SecureBook>, secret: [u8; 16], id: u128) -> Arc<Self> {
        Arc::new(StoreShared {
            secure,
            config,
            secret,
            id: format!("{id:032x}"),
            gateways: AtomicI64::new(1),
            held: Mutex::default(),
            began: Instant::now(),
            calls: AtomicU64::new(0),
        })
    }

    /// Gateways that live.
    pub(crate) fn gateways(&self) -> i64 {
        self.gateways.load(Ordering::Relaxed)
    }

    /// Microseconds since this gateway began, at least 1.
    pub(crate) fn elapsed_us(&self, at: Instant) -> i64 {
        i64::try_from(at.saturating_duration_since(self.began).as_micros()).unwrap_or(i64::MAX).max(1)
    }

    /// A keyed hash that is the same in every gateway.
    pub(crate) fn hash(&self, parts: &[&[u8]]) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.secret);
        for part in parts {
            std::hash::Hasher::write(&mut hasher, part);
        }
        hasher.finish128().as_u128()
    }

    /// The name of a counter. Counters of one tenant lie in one slot of a cluster, so that they can be asked together.
    pub(crate) fn key(&self, limit: &str, rule: &Rule, tenant: Option<u128>, values: &[u128; 4]) -> String {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let counter = self.hash(&[limit.as_bytes(), &[0], &bytes]);
        let (sort, of) = match tenant {
            Some(tenant) => ('b', self.hash(&[&tenant.to_le_bytes()])),
            None => ('c', counter),
        };
        let (kind, tick) = (wire::kind(rule), wire::tick(rule));
        format!("rh:{{{sort}{:03x}}}:{limit}:{kind}{tick}:{counter:032x}", of % 1024)
    }
}

/// One core's way to the store.
pub(crate) struct LimitStore {
    pub(crate) shared: Arc<StoreShared>,
    connection: RefCell<Option<redis::aio::MultiplexedConnection>>,
    breaker: RefCell<Breaker>,
    owed: RefCell<Owed>,
    metrics: Arc<CoreMetrics>,
    tended: Cell<bool>,
    /// Whether the last probe failed.
    unreached: Cell<bool>,
    /// Probes in a row that were not answered on this connection.
    unanswered: Cell<u32>,
}

/// A lease to be fetched.
pub(crate) struct Wanted {
    pub(crate) lease: Held,
    pub(crate) units: i64,
    /// When what is left is noted, by the gateway's clock: that is where it goes on from when the store does not answer. None where
    /// nobody waits for the store, and what was used without it is counted already.
    pub(crate) go_on_us: Option<i64>,
}

/// What the store decided.
pub(crate) struct Taken {
    /// One per limit that was asked.
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) allowed: bool,
}

impl LimitStore {
    pub(crate) fn new(shared: Arc<StoreShared>, metrics: Arc<CoreMetrics>) -> Rc<Self> {
        Rc::new(LimitStore {
            shared,
            connection: RefCell::default(),
            breaker: RefCell::default(),
            owed: RefCell::default(),
            metrics,
            tended: Cell::new(false),
            unreached: Cell::new(false),
            unanswered: Cell::new(0),
        })
    }

    /// Charges all limits or none, in one call.
    pub(crate) async fn take(&self, asked: &[Asked<'_>], cost: i64) -> Result<Taken, StoreError> {
        let answer = self.call(&wire::take(asked, cost)).await?;
        wire::taken(asked, &answer).ok_or(StoreError::Unreadable)
    }

    /// Notes what was let in without asking; it is charged when the store answers again.
    pub(crate) fn owe(&self, key: &str, rule: &Rule, units: i64) {
        self.owed.borrow_mut().add(key, rule, units);
    }

    /// Fetches a lease for a counter beside the request that saw that it runs low.
    pub(crate) fn refill(self: &Rc<Self>, table: Arc<LimitTable>, key: CounterKey, wanted: Wanted) {
        let store = self.clone();
        tokio::task::spawn_local(async move {
            if store.fetch_lease(&table, key, wanted).await.is_err() {
                table.stop_refill(key);
            }
        });
    }

    async fn fetch_lease(
        &self,
        table: &LimitTable,
        key: CounterKey,
        Wanted { lease: wanted, units, go_on_us }: Wanted,
    ) -> Result<(), StoreError> {
        // Units are spent by the time that passed since before they were granted.
        let sent_us = self.shared.elapsed_us(Instant::now());
        let answer = self.call(&wire::lease(&wanted, units, self.shared.gateways())).await?;
        let granted = wire::granted(&wanted.rule, &answer).ok_or(StoreError::Unreadable)?;
        if let Some(now_us) = go_on_us {
            self.note_left(table, key, &wanted.rule, granted.remaining, now_us);
        }
        if granted.units == 0 {
            table.stop_refill(key);
            return Ok(());
        }
        let expires_us = sent_us + granted.valid_us;
        let held =
            Held { expires_us, drained_us: sent_us + granted.reset_us, number: granted.number, ..wanted };
        table.pace(key, sent_us, granted.units);
        let left = table.put_lease(key, granted.units, granted.remaining, expires_us);
        let before = self.shared.hold(key, held);
        if let Some(before) = before.filter(|_| left > 0) {
            self.give_back(&before, left, sent_us).await?;
        }
        Ok(())
    }

    /// Notes what the store has left, for when it does not answer: of that, this gateway's share.
    pub(crate) fn note_left(
        &self,
        table: &LimitTable,
        key: CounterKey,
        rule: &Rule,
        remaining: i64,
        now_us: i64,
    ) {
        let gateways = self.shared.gateways();
        let share = rule.shared_among(gateways);
        let own = (remaining / gateways).min(share.most());
        table.put(key, &share, share.with_remaining(own, now_us), now_us);
    }

    /// Gives units of a lease back, unless others may have used them already.
    async fn give_back(&self, held: &Held, units: i64, now_us: i64) -> Result<(), StoreError> {
        match held.can_give_back(now_us) {
            true => self.call(&wire::give_back(held, units)).await.map(drop),
            false => Ok(()),
        }
    }

    fn count_call(&self) {
        self.shared.calls.fetch_add(1, Ordering::Relaxed);
        bump(&self.metrics.store_calls, 1);
    }
}
