//! Step 4 where gateways count together: what is held in memory first, then one call to the store for the rest. All limits
//! are charged, or none is.

use std::net::IpAddr;
use std::rc::Rc;

use rowhouse_domain::limits::{LimitMode, LimitScope, OnStoreFailure, Rule, Verdict};
use rowhouse_domain::network::Network;
use rowhouse_domain::refusal::{Refusal, kind};

use super::authenticate::Known;
use super::limit::{Admitted, Counted, Values, conclude, counted_by, that_apply};
use super::{Recording, Stop};
use crate::core::Core;
use crate::limits::{Asked, Held, LimitStore, Taken, Wanted};
use crate::view::{LimitUse, View};

/// Counters that are slower on this gateway, in units a second, take no lease.
const LEASED_FROM: i64 = 10;

/// A counter, and how the request stands with it.
struct Shared<'v> {
    counted: Counted<'v>,
    /// What this gateway may use of it alone.
    share: Rule,
    values: Values,
    tenant: Option<u128>,
    verdict: Option<Verdict>,
    charged: Charged,
}

/// Where the request is charged, and would have to be given back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Charged {
    Nowhere,
    /// In this gateway's table; the store is told of it later.
    Table {
        owes: bool,
    },
    Lease,
    Store,
}

/// The story of one stage.
struct Stage<'a> {
    core: &'a Core,
    store: &'a Rc<LimitStore>,
    view: &'a View,
    cost: i64,
    /// By the clock of the gateway, and by that of leases.
    now_us: i64,
    elapsed_us: i64,
}

/// Charges every limit that applies, with one call to the store at most.
pub(crate) async fn limit_together<'r, 'v>(
    core: &Core,
    store: &Rc<LimitStore>,
    view: &View,
    known: Known<'r, 'v>,
    recording: &mut Recording,
) -> Result<Admitted<'r, 'v>, Stop> {
    let (uses, cost) = that_apply(view, &known);
    let stage = Stage::new(core, store, view, cost, recording);
    let client = recording.client;
    let endpoint = |endpoint: &str| store.shared.hash(&[endpoint.as_bytes()]);
    let tenant = known.resolved.tenant.as_ref().map(|tenant| tenant.id.as_u128());
    let applying = uses.iter().filter_map(|limit| {
        let (rule, values) = counted_by(&known, limit, client, endpoint)?;
        Some(stage.shared(limit, rule, values, tenant.filter(|_| limit.within_tenant)))
    });
    let mut all: Vec<Shared<'_>> = applying.collect();
    let mut refused = stage.charge_in_memory(&mut all);
    if !refused && all.iter().any(|one| one.verdict.is_none()) {
        refused = stage.ask(&mut all).await?;
    }
    stage.conclude(all, refused, recording)?;
    Ok(Admitted { known })
}

/// The same for what is counted before the caller is known: nobody waits for the store.
pub(super) fn arrive_together(
    core: &Core,
    store: &Rc<LimitStore>,
    view: &View,
    client: IpAddr,
    recording: &mut Recording,
) -> Result<(), Stop> {
    let stage = Stage::new(core, store, view, 1, recording);
    let applying = view.arrival.iter().filter_map(|limit| {
        let mut values = [0; 4];
        for (value, scope) in values.iter_mut().zip(&limit.scopes) {
            *value = if *scope == LimitScope::Ip { Network::of(client).to_bits() } else { 0 };
        }
        Some(stage.shared(limit, limit.base?, values, None))
    });
    let mut all: Vec<Shared<'_>> = applying.collect();
    let refused = stage.charge_in_memory(&mut all);
    stage.conclude(all, refused, recording)
}

impl<'a> Stage<'a> {
    fn new(
        core: &'a Core,
        store: &'a Rc<LimitStore>,
        view: &'a View,
        cost: i64,
        recording: &Recording,
    ) -> Self {
        let elapsed_us = store.shared.elapsed_us(recording.started);
        Stage { core, store, view, cost, now_us: recording.counted_at_us, elapsed_us }
    }

    fn shared<'v>(
        &self,
        limit: &'v LimitUse,
        rule: Rule,
        values: Values,
        tenant: Option<u128>,
    ) -> Shared<'v> {
        Shared {
            counted: Counted::new(self.core, limit, rule, &values),
            share: rule.shared_among(self.store.shared.gateways()),
            values,
            tenant,
            verdict: None,
            charged: Charged::Nowhere,
        }
    }

    /// Charges what needs no call. Answers whether one refused; then nothing is charged.
    fn charge_in_memory(&self, all: &mut [Shared<'_>]) -> bool {
        for place in 0..all.len() {
            let one = &mut all[place];
            match one.counted.limit.mode {
                LimitMode::Strict => {}
                LimitMode::Local => self.charge_table(one, false),
                LimitMode::Leased => self.charge_leased(one),
            }
            if self.refuses(&all[place]) {
                self.give_back(all);
                return true;
            }
        }
        false
    }

    /// Spends of a lease. Without one, the store is asked; of what is counted over all tenants, this gateway's share is
    /// used instead, and the store told.
    fn charge_leased(&self, one: &mut Shared<'_>) {
        let (table, key) = (&self.core.shared.limits, one.counted.key);
        if let Some(spent) = table.spend_lease(key, self.elapsed_us, self.cost) {
            let rule = &one.counted.rule;
            let remaining = spent.remaining.min(rule.most());
            one.verdict = Some(let_in(rule, remaining, self.now_us));
            one.charged = Charged::Lease;
            if spent.runs_low {
                self.refill(one, table.pace(key, self.elapsed_us, 0));
            }
            return;
        }
        let pace = table.pace(key, self.elapsed_us, self.cost);
        let is_fast = pace >= LEASED_FROM;
        if is_fast && table.begin_refill(key, self.elapsed_us) {
            self.refill(one, pace);
        }
        if one.tenant.is_none() {
            self.charge_table(one, is_fast);
        }
    }

    /// A tenth of a second's use.
    fn refill(&self, one: &Shared<'_>, pace: i64) {
        let wanted = Wanted {
            lease: Held::wanted(self.name(one), one.counted.rule),
            units: (pace.max(1) + 9) / 10,
            go_on_us: one.tenant.map(|_| self.now_us),
        };
        self.store.refill(self.core.shared.limits.clone(), one.counted.key, wanted);
    }

    fn charge_table(&self, one: &mut Shared<'_>, owes: bool) {
        let verdict = self.core.shared.limits.charge(one.counted.key, &one.share, self.now_us, self.cost);
        if verdict.allowed {
            one.charged = Charged::Table { owes };
        }
        one.verdict = Some(verdict);
    }

    /// Asks the store for what is not decided yet. Answers whether one refused; then nothing is charged.
    async fn ask(&self, all: &mut Vec<Shared<'_>>) -> Result<bool, Stop> {
        let open: Vec<usize> = (0..all.len()).filter(|place| all[*place].verdict.is_none()).collect();
        let names: Vec<String> = open.iter().map(|place| self.name(&all[*place])).collect();
        let asked = open.iter().zip(&names).map(|(place, name)| {
            let counted = &all[*place].counted;
            Asked { name, rule: counted.rule, watches: counted.limit.watches }
        });
        let asked: Vec<Asked<'_>> = asked.collect();
        match self.store.take(&asked, self.cost).await {
            Ok(Taken { verdicts, allowed }) => {
                for (place, verdict) in open.iter().zip(verdicts) {
                    self.note(&mut all[*place], verdict, allowed);
                }
                if !allowed {
                    self.give_back(all);
                }
                Ok(!allowed)
            }
            Err(_told_by_the_store) => self.go_on_alone(all, &open),
        }
    }

    /// Keeps what the store decided, and how the counter stands for when it does not answer.
    fn note(&self, one: &mut Shared<'_>, verdict: Verdict, allowed: bool) {
        let (key, rule) = (one.counted.key, &one.counted.rule);
        self.store.note_left(&self.core.shared.limits, key, rule, verdict.remaining, self.now_us);
        one.verdict = Some(verdict);
        one.charged = if allowed && verdict.allowed { Charged::Store } else { Charged::Nowhere };
    }

    /// Does what each limit says for when the store does not answer.
    fn go_on_alone(&self, all: &mut Vec<Shared<'_>>, open: &[usize]) -> Result<bool, Stop> {
        let mut refused = false;
        for place in open {
            let one = &mut all[*place];
            match one.counted.limit.on_store_failure {
                OnStoreFailure::Open => {}
                OnStoreFailure::Local => self.charge_table(one, true),
                OnStoreFailure::Closed if one.counted.limit.watches => {}
                OnStoreFailure::Closed => {
                    self.give_back(all);
                    return Err(unavailable());
                }
            }
            refused = refused || self.refuses(&all[*place]);
        }
        if refused {
            self.give_back(all);
        }
        Ok(refused)
    }

    fn refuses(&self, one: &Shared<'_>) -> bool {
        !one.counted.limit.watches && one.verdict.is_some_and(|verdict| !verdict.allowed)
    }

    /// Takes back what was charged, and looks at what was not asked yet as far as it is known here.
    #[cold]
    fn give_back(&self, all: &mut [Shared<'_>]) {
        let table = &self.core.shared.limits;
        for one in all {
            let key = one.counted.key;
            let look = || table.look(key, &one.share, self.now_us, 0);
            match std::mem::replace(&mut one.charged, Charged::Nowhere) {
                Charged::Table { .. } => {
                    table.refund(key, &one.share, self.cost);
                    one.verdict = Some(look());
                }
                Charged::Lease => {
                    table.unspend_lease(key, self.elapsed_us, self.cost);
                    if let Some(verdict) = &mut one.verdict {
                        verdict.remaining = (verdict.remaining + self.cost).min(one.counted.rule.most());
                    }
                }
                Charged::Store | Charged::Nowhere => {
                    one.verdict.get_or_insert_with(look);
                }
            }
        }
    }

    /// Owes the store what it does not know, and tells.
    fn conclude(&self, all: Vec<Shared<'_>>, refused: bool, recording: &mut Recording) -> Result<(), Stop> {
        for one in all.iter().filter(|one| one.charged == Charged::Table { owes: true }) {
            self.store.owe(&self.name(one), &one.counted.rule, self.cost);
        }
        let decided = all.into_iter().filter_map(|one| Some((one.counted, one.verdict?)));
        let (counted, verdicts): (Vec<_>, Vec<_>) = decided.unzip();
        conclude(self.view, &counted, &verdicts, refused, recording)
    }

    fn name(&self, one: &Shared<'_>) -> String {
        let limit = &self.view.limit(one.counted.limit.index).name;
        self.store.shared.key(limit, &one.counted.rule, one.tenant, &one.values)
    }
}

/// What a lease tells: it was let in, and what the counter had left when the lease was granted.
fn let_in(rule: &Rule, remaining: i64, now_us: i64) -> Verdict {
    Verdict {
        allowed: true,
        remaining,
        retry_after_us: Some(0),
        reset_after_us: rule.reset_after_us(remaining, now_us),
        delay_us: 0,
        next: Default::default(),
    }
}

#[cold]
fn unavailable() -> Stop {
    Refusal::new(&kind::LIMIT_UNAVAILABLE, "A limit of this request cannot be counted just now.")
        .retry_after(1)
        .into()
}
