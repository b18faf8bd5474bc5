//! What one core works with, and what it shares with the others.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use foldhash::quality::FixedState;
use rowhouse_domain::clock::Clock;
use rowhouse_domain::context::ContextSigner;
use rowhouse_domain::directory::DirectoryWatch;
use rowhouse_domain::id::{OPERATOR_TENANT, TenantId};
use rowhouse_domain::keys::Peppers;
use rowhouse_journal::LaneWriter;

use crate::addresses::Addresses;
use crate::caller::Date;
use crate::context::{ContextBook, ContextDesk};
use crate::discovery::Names;
use crate::drain::Drain;
use crate::gateway::{Collaborators, GatewayConfig};
use crate::limits::{LimitStore, LimitTable, StoreShared};
use crate::metrics::CoreMetrics;
use crate::path::LeftBehind;
use crate::probes::Probes;
use crate::quotas::{QuotaBook, QuotaDesk};
use crate::random::RandomStock;
use crate::tls::Tls;
use crate::tokens::TokenDesk;
use crate::upstream::{Pools, SecureBook};
use crate::view::View;

/// With fewer counters of audit events nothing is swept; never more than tenants are in the directory, then doubled.
const AUDIT_COUNTERS_SWEPT: usize = 1_024;

/// What all cores share.
pub(crate) struct Shared {
    pub(crate) config: GatewayConfig,
    pub(crate) directory: DirectoryWatch,
    pub(crate) peppers: Peppers,
    pub(crate) signer: ContextSigner,
    pub(crate) clock: Clock,
    pub(crate) limits: Arc<LimitTable>,
    store: Option<Arc<StoreShared>>,
    pub(crate) quotas: Arc<QuotaBook>,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) probes: Arc<Probes>,
    pub(crate) secure: Arc<SecureBook>,
    pub(crate) names: Arc<Names>,
    contexts: Arc<ContextBook>,
    /// Two keyed hashes of counters of limits.
    pub(crate) hashes: [FixedState; 2],
    /// How TLS is spoken, if it is.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) entropy: rowhouse_domain::entropy::Entropy,
}

impl Shared {
    pub(crate) fn new(
        limits: LimitTable,
        quotas: Arc<QuotaBook>,
        config: GatewayConfig,
        collaborators: Collaborators,
    ) -> Self {
        let Collaborators { directory, peppers, signer, clock, entropy } = collaborators;
        let hash = || FixedState::with_seed(u64::from_le_bytes(entropy.bytes()));
        let hashes = [hash(), hash()];
        let secure = Arc::new(SecureBook::new(config.upstream_certificates.clone()));
        let store = config.limit_store.clone().map(|store| {
            let secret = peppers.current().digest("names of the counters of limits");
            let secret = secret[..16].try_into().expect("32 bytes have 16");
            StoreShared::new(store, secure.clone(), secret, u128::from_le_bytes(entropy.bytes()))
        });
        Shared {
            secure,
            names: Arc::default(),
            store,
            tls: None,
            config,
            directory,
            peppers,
            signer,
            clock,
            limits: Arc::new(limits),
            quotas,
            contexts: Arc::default(),
            addresses: Arc::default(),
            probes: Arc::default(),
            hashes,
            entropy,
        }
    }
}

/// One core's own state. Nothing here is seen by another thread, except the metrics.
pub(crate) struct Core {
    /// Which one it is.
    pub(crate) number: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) lane: RefCell<LaneWriter>,
    pub(crate) metrics: Arc<CoreMetrics>,
    pub(crate) random: RandomStock,
    pub(crate) pools: Pools,
    pub(crate) contexts: ContextDesk,
    pub(crate) tokens: TokenDesk,
    pub(crate) quotas: QuotaDesk,
    pub(crate) drain: Rc<Drain>,
    /// Where heads of answers are written, one after the other.
    pub(crate) answers: RefCell<Vec<u8>>,
    pub(crate) date: RefCell<Date>,
    /// Answers that are heard out for clients that have gone.
    pub(crate) left: LeftBehind,
    /// Where limits are counted together.
    pub(crate) store: Option<Rc<LimitStore>>,
    view: RefCell<Rc<View>>,
    audit_counters: RefCell<HashMap<u128, u64>>,
    latest_us: Cell<i64>,
}

impl Core {
    pub(crate) fn new(
        number: usize,
        shared: Arc<Shared>,
        lane: LaneWriter,
        metrics: Arc<CoreMetrics>,
    ) -> Self {
        let pools = Pools::new(shared.probes.clone());
        let view = View::new(
            shared.directory.current(),
            &pools,
            (&shared.secure, &shared.names),
            &metrics,
            &shared.hashes[0],
        );
        Core {
            number,
            random: RandomStock::new(shared.entropy.clone()),
            contexts: ContextDesk::new(shared.signer.clone(), shared.contexts.clone()),
            quotas: QuotaDesk::new(shared.quotas.clone()),
            tokens: TokenDesk::default(),
            drain: Rc::default(),
            answers: RefCell::default(),
            date: RefCell::default(),
            left: LeftBehind::default(),
            store: shared.store.clone().map(|store| LimitStore::new(store, metrics.clone())),
            view: RefCell::new(Rc::new(view)),
            audit_counters: RefCell::default(),
            latest_us: Cell::new(i64::MIN),
            pools,
            lane: RefCell::new(lane),
            metrics,
            shared,
        }
    }

    /// The version to decide one request with, for its whole life.
    pub(crate) fn view(&self) -> Rc<View> {
        let mut own = self.view.borrow_mut();
        let names = self.shared.names.generation();
        if own.directory.version != self.shared.directory.version() || own.names != names {
            let directory = self.shared.directory.current();
            *own = Rc::new(View::new(
                directory,
                &self.pools,
                (&self.shared.secure, &self.shared.names),
                &self.metrics,
                &self.shared.hashes[0],
            ));
            self.pools.forget_unused();
        }
        own.clone()
    }

    /// Wall-clock time in µs, and whether it had stepped back and the last value is used instead.
    pub(crate) fn now_us(&self) -> (i64, bool) {
        let now = self.shared.clock.now_us();
        let stepped = now < self.latest_us.get();
        if !stepped {
            self.latest_us.set(now);
        }
        (self.latest_us.get(), stepped)
    }

    /// Wall-clock time in µs, as it is.
    pub(crate) fn clock_us(&self) -> i64 {
        self.shared.clock.now_us()
    }

    /// The next number for a log's event from this lane, from 1, gapless while the process lives.
    pub(crate) fn next_audit_counter(&self, log: TenantId) -> u64 {
        let mut counters = self.audit_counters.borrow_mut();
        if counters.len() >= AUDIT_COUNTERS_SWEPT && counters.len() == counters.capacity() {
            // Before it grows: who is not in the directory any more has no events.
            let directory = self.shared.directory.current();
            let is_known = |log: u128| {
                log == OPERATOR_TENANT.as_u128() || directory.tenants.get(&TenantId::from_u128(log)).is_some()
            };
            counters.retain(|log, _| is_known(*log));
        }
        let counter = counters.entry(log.as_u128()).or_insert(0);
        *counter += 1;
        *counter
    }

    /// Counts a record that the journal could not take.
    pub(crate) fn lost_record(&self) {
        self.metrics.records_lost.fetch_add(1, Ordering::Relaxed);
    }
}
