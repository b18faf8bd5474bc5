//! Where the counters are kept. A core asks the shared book once per tenant, meter and window, under a lock, and
//! keeps what it got at its own desk; a request looks only there.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use rowhouse_domain::directory::{Quota, Tenant};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::resources::QuotaWindow;

use super::QuotaCounter;

/// Which stretch of counting a counter is for. A standing quota (`window` none) begins anew with every figure
/// that the directory publishes, because what exists can also become less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    from_us: i64,
    standing: i128,
}

/// A counter and what it is for.
type Counting = (Stretch, Arc<QuotaCounter>);

/// All counters of this process.
#[derive(Default)]
pub(crate) struct QuotaBook {
    counters: Mutex<HashMap<(TenantId, Arc<str>), Counting, RandomState>>,
}

impl QuotaBook {
    fn counter(&self, tenant: TenantId, quota: &Quota, stretch: Stretch) -> Arc<QuotaCounter> {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let made = if quota.window == QuotaWindow::None { QuotaCounter::standing } else { QuotaCounter::new };
        let fresh = || (stretch, Arc::new(made(quota.meter.clone(), known(quota, stretch.from_us))));
        let entry = counters.entry((tenant, quota.meter.clone())).or_insert_with(fresh);
        // A core whose clock is a little behind at the turn of a window does not bring the old one back.
        if entry.0 != stretch && entry.0.from_us <= stretch.from_us {
            *entry = fresh();
        }
        entry.1.clone()
    }
}

/// A counter as one core keeps it, until its window ends.
struct Held {
    stretch: Stretch,
    until_us: i64,
    counter: Arc<QuotaCounter>,
}

/// One core's own list of counters, by tenant and place in the tenant's quotas.
pub(crate) struct QuotaDesk {
    book: Arc<QuotaBook>,
    held: RefCell<HashMap<(TenantId, usize), Held, RandomState>>,
}

/// A desk with more counters starts over: it only holds what the book has too.
const HELD_MAX: usize = 100_000;

impl QuotaDesk {
    /// An empty desk beside `book`.
    pub(crate) fn new(book: Arc<QuotaBook>) -> Self {
        QuotaDesk { book, held: RefCell::default() }
    }

    /// The counter of a tenant's quota (by place) in the window that holds `now_us`, and when that began.
    pub(crate) fn counter(&self, tenant: &Tenant, place: usize, now_us: i64) -> (Arc<QuotaCounter>, i64) {
        let quota = &tenant.quotas[place];
        let standing = if quota.window == QuotaWindow::None { quota.used } else { 0 };
        let mut held = self.held.borrow_mut();
        if let Some(own) = held.get(&(tenant.id, place))
            && (own.stretch.from_us..own.until_us).contains(&now_us)
            && own.stretch.standing == standing
            && own.counter.meter == quota.meter
        {
            return (own.counter.clone(), own.stretch.from_us);
        }
        if held.len() >= HELD_MAX {
            held.clear();
        }
        let (from_us, until_us) = quota.window.bounds_us(now_us);
        let stretch = Stretch { from_us, standing };
        let counter = self.book.counter(tenant.id, quota, stretch);
        let own = Held { stretch, until_us, counter: counter.clone() };
        held.insert((tenant.id, place), own);
        (counter, from_us)
    }
}

/// What the directory knows to be used in the window that began at `from_us`.
pub(crate) fn known(quota: &Quota, from_us: i64) -> i128 {
    if quota.window == QuotaWindow::None || quota.used_from_us == from_us { quota.used } else { 0 }
}
