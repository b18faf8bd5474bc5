//! Step 4 for a key that has limits of its own: counted by its family, so that replacing a key doubles no allowance, and
//! by this gateway alone. Charged before the others; given back if one of those refuses, so that all are charged or none.

use rowhouse_domain::directory::Key;
use rowhouse_domain::keys::KeyLimit;
use rowhouse_domain::limits::{Announced, Rule, Verdict};
use smallvec::SmallVec;

use super::authenticate::{Known, Who};
use super::limit::{apart_by_window, exceeded, that_apply};
use super::{Recording, Stop};
use crate::core::Core;
use crate::limits::{CounterKey, Standings};
use crate::view::View;

/// What was charged to a key's own limits. Dropped, it is given back, unless it was kept.
pub(crate) struct OwnCharge<'c> {
    core: &'c Core,
    charged: SmallVec<[(CounterKey, Rule); 2]>,
    cost: i64,
}

impl OwnCharge<'_> {
    /// The request is let in.
    pub(crate) fn keep(mut self) {
        self.charged.clear();
    }
}

impl Drop for OwnCharge<'_> {
    fn drop(&mut self) {
        for (key, rule) in &self.charged {
            self.core.shared.limits.refund(*key, rule, self.cost);
        }
    }
}

/// Charges the limits that the key has of its own.
pub(crate) fn limit_own<'c>(
    core: &'c Core,
    view: &View,
    known: &Known<'_, '_>,
    recording: &mut Recording,
) -> Result<OwnCharge<'c>, Stop> {
    let mut charge = OwnCharge { core, charged: SmallVec::new(), cost: 1 };
    if let Who::Key(key) = &known.who
        && !key.limits().is_empty()
    {
        charge.cost = that_apply(view, known).1;
        recording.standings.is_of(key);
        charge_all(&mut charge, key, recording)?;
    }
    Ok(charge)
}

#[cold]
fn charge_all(charge: &mut OwnCharge<'_>, key: &Key, recording: &mut Recording) -> Result<(), Stop> {
    let (core, cost, now_us) = (charge.core, charge.cost, recording.counted_at_us);
    for (number, limit) in key.limits().iter().enumerate() {
        let counter = counter(core, key, limit);
        let verdict = core.shared.limits.charge(counter, &limit.rule, now_us, cost);
        tell(number, limit, &verdict, recording);
        if !verdict.allowed {
            let refusal = exceeded(&limit.name, true, &limit.rule, &verdict, recording);
            return Err(refusal.violates(&*limit.name).into());
        }
        charge.charged.push((counter, limit.rule));
    }
    Ok(())
}

/// It begins anew when the limit counts by another algorithm or another tick.
fn counter(core: &Core, key: &Key, limit: &KeyLimit) -> CounterKey {
    let rule = &limit.rule;
    let apart =
        (key.family.as_u128(), &*limit.name, apart_by_window(rule), rule.tick_us(), rule.algorithm() as i64);
    CounterKey::of(&core.shared.hashes, &("key", apart))
}

fn tell(number: usize, limit: &KeyLimit, verdict: &Verdict, recording: &mut Recording) {
    let place = Standings::place_of_own(number);
    recording.standings.push(place, Announced::of(limit.rule, verdict, !verdict.allowed));
    recording.limit = Some((place, verdict.remaining));
}
