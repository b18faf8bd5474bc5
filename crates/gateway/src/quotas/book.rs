//! Where the counters are kept. A core asks the shared book once per tenant, meter and window, under a lock, and
//! keeps what it got at its own desk; a request looks only there.
//!
//! Neither grows with every tenant that was ever seen. A desk lets go of counters that it has not needed for a while;
//! the book, of counters whose window is over, and of those that no desk has held for so long that the directory knows
//! everything they counted.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use rowhouse_domain::directory::{Quota, Tenant};
use rowhouse_domain::id::TenantId;

use super::QuotaCounter;

/// Which stretch of counting a counter is for. A standing quota (`window` none) begins anew with every figure
/// that the directory publishes, because what exists can also become less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    from_us: i64,
    standing: i128,
    as_of_us: i64,
}

impl Stretch {
    fn of(quota: &Quota, from_us: i64) -> Self {
        let is_standing = quota.window().is_standing();
        let (standing, as_of_us) = if is_standing { (quota.used, quota.as_of_us) } else { (0, 0) };
        Stretch { from_us, standing, as_of_us }
    }
}

/// A counter and what it is for.
struct Counting {
    stretch: Stretch,
    until_us: i64,
    counter: Arc<QuotaCounter>,
    /// Since when a sweep has found it with no desk.
    unheld_since_us: Option<i64>,
}

/// All counters of this process.
#[derive(Default)]
pub(crate) struct QuotaBook {
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    counters: HashMap<(TenantId, Arc<str>), Counting, RandomState>,
    swept_us: i64,
}

/// With fewer counters nothing is swept.
const SWEPT_FROM: usize = 16_384;
/// Between two sweeps.
const SWEEP_US: i64 = 60_000_000;
/// A counter without a desk for so long has nothing that the directory does not know: growth of usage is published
/// within ten minutes however little it is (`control::resources`).
const UNHELD_US: i64 = 20 * 60_000_000;

impl QuotaBook {
    fn counter(
        &self,
        tenant: TenantId,
        quota: &Quota,
        bounds_us: (i64, i64),
        now_us: i64,
    ) -> Arc<QuotaCounter> {
        let (from_us, until_us) = bounds_us;
        let stretch = Stretch::of(quota, from_us);
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.sweep(now_us);
        let made = if quota.window().is_standing() { QuotaCounter::standing } else { QuotaCounter::new };
        let fresh = || Counting {
            stretch,
            until_us,
            counter: Arc::new(made(quota.meter.clone(), quota.known(from_us))),
            unheld_since_us: None,
        };
        let entry = pages.counters.entry((tenant, quota.meter.clone())).or_insert_with(fresh);
        // A core whose clock is a little behind at the turn of a window does not bring the old one back, nor one
        // with an older directory the figure that was replaced.
        let is_newer = entry.stretch.from_us < from_us
            || entry.stretch.from_us == from_us && entry.stretch.as_of_us <= stretch.as_of_us;
        if entry.stretch != stretch && is_newer {
            // A figure that was taken before the last request reported its own is on its way here while more exists already.
            let is_late = stretch.as_of_us != 0
                && entry.stretch.from_us == from_us
                && entry.counter.knows_more_than(stretch.as_of_us);
            match is_late {
                true => entry.stretch = stretch,
                false => *entry = fresh(),
            }
        }
        entry.unheld_since_us = None;
        entry.counter.clone()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).counters.len()
    }
}

impl Pages {
    fn sweep(&mut self, now_us: i64) {
        if self.counters.len() < SWEPT_FROM || now_us - self.swept_us < SWEEP_US {
            return;
        }
        self.swept_us = now_us;
        self.counters.retain(|_, own| {
            if Arc::strong_count(&own.counter) > 1 {
                own.unheld_since_us = None;
                return true;
            }
            let since_us = *own.unheld_since_us.get_or_insert(now_us);
            own.until_us > now_us && now_us - since_us < UNHELD_US
        });
        self.counters.shrink_to(SWEPT_FROM);
    }
}

/// A counter as one core keeps it, until its window ends.
struct Held {
    stretch: Stretch,
    until_us: i64,
    counter: Arc<QuotaCounter>,
    /// Needed since the last sweep.
    needed: bool,
}

/// One core's own list of counters, by tenant and place in the tenant's quotas.
pub(crate) struct QuotaDesk {
    book: Arc<QuotaBook>,
    held: RefCell<Holdings>,
}

#[derive(Default)]
struct Holdings {
    counters: HashMap<(TenantId, usize), Held, RandomState>,
    swept_us: i64,
}

/// A desk with more counters starts over: it only holds what the book has too.
const HELD_MAX: usize = 100_000;
/// Between two sweeps of a desk.
const DESK_SWEEP_US: i64 = 10 * 60_000_000;

impl QuotaDesk {
    /// An empty desk beside `book`.
    pub(crate) fn new(book: Arc<QuotaBook>) -> Self {
        QuotaDesk { book, held: RefCell::default() }
    }

    /// Has the processor fetch a counter that will be needed, without waiting for it.
    pub(crate) fn touch(&self, tenant: &Tenant, place: usize) {
        let held = self.held.borrow();
        let known = held.counters.get(&(tenant.id, place));
        std::hint::black_box(known.map(|own| own.counter.used()));
    }

    /// The counter of a tenant's quota (by place) in the window that holds `now_us`, and when that began.
    pub(crate) fn counter(&self, tenant: &Tenant, place: usize, now_us: i64) -> (Arc<QuotaCounter>, i64) {
        let quota = &tenant.quotas[place];
        let mut held = self.held.borrow_mut();
        if let Some(own) = held.counters.get_mut(&(tenant.id, place))
            && (own.stretch.from_us..own.until_us).contains(&now_us)
            && own.stretch == Stretch::of(quota, own.stretch.from_us)
            && own.counter.meter == quota.meter
        {
            own.needed = true;
            return (own.counter.clone(), own.stretch.from_us);
        }
        held.sweep(now_us);
        let bounds_us = quota.bounds_us(now_us);
        let counter = self.book.counter(tenant.id, quota, bounds_us, now_us);
        let (from_us, until_us) = bounds_us;
        let stretch = Stretch::of(quota, from_us);
        let own = Held { stretch, until_us, counter: counter.clone(), needed: true };
        held.counters.insert((tenant.id, place), own);
        (counter, from_us)
    }
}

impl Holdings {
    fn sweep(&mut self, now_us: i64) {
        if self.counters.len() >= HELD_MAX {
            self.counters.clear();
        }
        if now_us - self.swept_us >= DESK_SWEEP_US {
            self.swept_us = now_us;
            self.counters.retain(|_, own| std::mem::take(&mut own.needed) && own.until_us > now_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_US: i64 = 60_000_000;

    fn quota(meter: &str) -> Quota {
        Quota::of_meter(meter, Some(100))
    }

    #[test]
    fn a_book_forgets_what_no_desk_has_needed_for_long_and_keeps_the_rest() {
        let book = QuotaBook::default();
        let quota = quota("stamps_created");
        let ask = |tenant: usize, now_us: i64| {
            book.counter(TenantId::from_u128(tenant as u128), &quota, quota.bounds_us(now_us), now_us)
        };
        let start = 1_795_255_200_000_000;
        let held = ask(0, start);
        held.reserve(7, 0, 100);
        for tenant in 1..SWEPT_FROM {
            ask(tenant, start);
        }
        ask(SWEPT_FROM, start + MINUTE_US);
        assert_eq!(book.len(), SWEPT_FROM + 1, "found without a desk for the first time");
        ask(SWEPT_FROM + 1, start + 20 * MINUTE_US);
        assert_eq!(book.len(), SWEPT_FROM + 2, "nineteen minutes are not long enough");
        ask(SWEPT_FROM + 2, start + 22 * MINUTE_US);
        assert!(book.len() < 10, "{}", book.len());
        assert_eq!(ask(0, start + 23 * MINUTE_US).used(), 7, "what a desk holds stays");
    }

    #[test]
    fn a_figure_that_was_measured_later_begins_a_standing_counter_anew() {
        let book = QuotaBook::default();
        let mut users = quota("users");
        (users.used, users.as_of_us) = (5, 10);
        let of = |quota: &Quota| book.counter(TenantId::from_u128(1), quota, quota.bounds_us(20), 20);
        of(&users).correct(1);
        assert_eq!(of(&users).used(), 6);
        let older = users.clone();
        users.as_of_us = 11;
        assert_eq!(of(&users).used(), 5, "measured again, and found to be the same");
        of(&users).correct(1);
        assert_eq!(of(&older).used(), 6, "a core with an older directory does not bring the old figure back");
    }

    #[test]
    fn a_figure_that_is_late_takes_nothing_back_that_a_request_has_told_since() {
        let book = QuotaBook::default();
        let mut locations = quota("users");
        (locations.used, locations.as_of_us) = (3, 10);
        let of = |quota: &Quota| book.counter(TenantId::from_u128(1), quota, quota.bounds_us(20), 20);
        of(&locations).noted_at(30);
        of(&locations).note(5, 0);
        (locations.used, locations.as_of_us) = (4, 20);
        assert_eq!(of(&locations).used(), 5, "four were there before the fifth");
        (locations.used, locations.as_of_us) = (5, 30);
        assert_eq!(of(&locations).used(), 5);
        (locations.used, locations.as_of_us) = (2, 40);
        assert_eq!(of(&locations).used(), 2, "what is known of later counts");
    }
}
