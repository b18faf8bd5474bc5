//! Step 4: how often. All limits of a stage are charged, or none is.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use rowhouse_domain::limits::{Announced, LimitScope, Rule, Verdict};
use rowhouse_domain::network::Network;
use rowhouse_domain::refusal::{Refusal, kind};
use smallvec::SmallVec;

use super::authenticate::{Destination, Known};
use super::{Recording, Stop};
use crate::core::Core;
use crate::limits::{CounterKey, keeps_window};
use crate::view::{LimitUse, View};

/// Proof that the limits of tenant, user, key and endpoint let a request in.
pub(crate) struct Admitted<'r, 'v> {
    pub(crate) known: Known<'r, 'v>,
}

/// One counter that a request is charged to.
pub(super) struct Counted<'v> {
    pub(super) limit: &'v LimitUse,
    pub(super) rule: Rule,
    pub(super) key: CounterKey,
}

/// What a request is counted by: one value for each scope, and the tenant.
pub(super) type Values = [u128; 4];

/// So many limits as most requests have, without an allocation.
type Few<T> = SmallVec<[T; 4]>;

/// What a counter is told apart by; it begins anew when its limit counts by another algorithm or another tick. Hashed number by number, because hashing
/// the same as bytes takes three times as long.
struct ToldApart<'a> {
    limit: &'a LimitUse,
    rule: &'a Rule,
    values: &'a Values,
}

impl Hash for ToldApart<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.limit.seed);
        state.write_i64(apart_by_window(self.rule));
        state.write_i64(self.rule.tick_us() << 2 | self.rule.algorithm() as i64);
        self.values.iter().for_each(|value| state.write_u128(*value));
    }
}

/// The window, where a counter does not keep it beside its state; else 0, so that what is used stays used when it changes.
pub(super) fn apart_by_window(rule: &Rule) -> i64 {
    if keeps_window(rule) { 0 } else { rule.window() }
}

impl<'v> Counted<'v> {
    pub(super) fn new(core: &Core, limit: &'v LimitUse, rule: Rule, values: &Values) -> Self {
        let apart = ToldApart { limit, rule: &rule, values };
        Counted { limit, rule, key: CounterKey::of(&core.shared.hashes, &apart) }
    }
}

/// Charges every limit that applies.
pub(crate) fn limit<'r, 'v>(
    core: &Core,
    view: &View,
    known: Known<'r, 'v>,
    recording: &mut Recording,
) -> Result<Admitted<'r, 'v>, Stop> {
    let (uses, cost) = that_apply(view, &known);
    if !uses.is_empty() {
        let client = recording.client;
        let endpoint = |endpoint: &str| CounterKey::of(&core.shared.hashes, &endpoint).bits();
        let counted = uses.iter().filter_map(|limit| {
            let (rule, values) = counted_by(&known, limit, client, endpoint)?;
            Some(Counted::new(core, limit, rule, &values))
        });
        settle(core, view, &counted.collect::<Few<_>>(), cost, recording)?;
    }
    Ok(Admitted { known })
}

/// The limits of the service that is asked, and what the request costs.
pub(super) fn that_apply<'a>(view: &'a View, known: &Known<'_, '_>) -> (&'a [LimitUse], i64) {
    match &known.destination {
        Destination::Route(matched) => {
            (&view.services[matched.route.service].admission, i64::from(matched.route.definition.cost))
        }
        _ => (&view.unrouted, 1),
    }
}

/// What a limit counts this request by, and with which numbers; none if the limit is not for it, if the request lacks
/// what it counts by, or if it has no such limit.
pub(super) fn counted_by(
    known: &Known<'_, '_>,
    limit: &LimitUse,
    client: IpAddr,
    hash: impl Fn(&str) -> u128,
) -> Option<(Rule, Values)> {
    let tenant = known.resolved.tenant.map(|tenant| &**tenant);
    let method = known.resolved.sound.parts.method.as_str();
    let endpoint = || match &known.destination {
        Destination::Route(matched) => Some(matched.route.endpoint(method)),
        _ => None,
    };
    if limit.is_narrowed && !limit.is_for(method, endpoint(), tenant) {
        return None;
    }
    // What is counted over all tenants has no tenant's own value.
    let rule = match tenant.filter(|_| limit.within_tenant) {
        Some(tenant) => tenant.limits.get(limit.index).copied().flatten()?,
        None => limit.base?,
    };
    let mut values: Values = [0; 4];
    for (value, scope) in values.iter_mut().zip(&limit.scopes) {
        *value = match scope {
            LimitScope::Global => 0,
            LimitScope::Ip => Network::of(client).to_bits(),
            LimitScope::Tenant => tenant?.id.as_u128(),
            LimitScope::User => known.user()?.id.as_u128(),
            LimitScope::ApiKey => known.key()?.family.as_u128(),
            LimitScope::Endpoint => hash(endpoint()?),
        };
    }
    if limit.within_tenant {
        values[3] = tenant?.id.as_u128();
    }
    Some((rule, values))
}

/// Charges all counters or none, and notes what the answer tells of them. A limit that only watches refuses nothing.
pub(super) fn settle(
    core: &Core,
    view: &View,
    counted: &[Counted<'_>],
    cost: i64,
    recording: &mut Recording,
) -> Result<(), Stop> {
    let table = &core.shared.limits;
    let now_us = recording.counted_at_us;
    let mut verdicts: Few<Verdict> = SmallVec::with_capacity(counted.len());
    counted.iter().for_each(|counter| table.touch(counter.key));
    let mut refused = false;
    for counter in counted {
        let verdict = table.charge(counter.key, &counter.rule, now_us, cost);
        refused = !verdict.allowed && !counter.limit.watches;
        verdicts.push(verdict);
        if refused {
            break;
        }
    }
    if refused {
        give_back(core, counted, &mut verdicts, cost, now_us);
    }
    conclude(view, counted, &verdicts, refused, recording)
}

/// Counts what was decided, notes what the answer tells of it, and refuses.
pub(super) fn conclude(
    view: &View,
    counted: &[Counted<'_>],
    verdicts: &[Verdict],
    refused: bool,
    recording: &mut Recording,
) -> Result<(), Stop> {
    for (counter, verdict) in counted.iter().zip(verdicts) {
        counter.limit.figures.count(&counter.rule, verdict, counter.limit.watches);
    }
    let binding = refused.then(|| binding(counted, verdicts));
    tell(counted, verdicts, binding, recording);
    match binding {
        None => Ok(()),
        Some(binding) => Err(refused_by(view, counted, verdicts, binding, recording).into()),
    }
}

/// Takes back what was charged before one refused, and looks at those that were not asked yet.
#[cold]
fn give_back(core: &Core, counted: &[Counted<'_>], verdicts: &mut Few<Verdict>, cost: i64, now_us: i64) {
    let table = &core.shared.limits;
    for (counter, verdict) in counted.iter().zip(verdicts.iter_mut()).filter(|(_, verdict)| verdict.allowed) {
        table.refund(counter.key, &counter.rule, cost);
        *verdict = table.look(counter.key, &counter.rule, now_us, 0);
    }
    for counter in &counted[verdicts.len()..] {
        let with_cost = table.look(counter.key, &counter.rule, now_us, cost);
        let without = table.look(counter.key, &counter.rule, now_us, 0);
        verdicts.push(if with_cost.allowed { without } else { with_cost });
    }
}

/// The refusal with the longest wait; never is longest, and of equal ones the first is told.
fn binding(counted: &[Counted<'_>], verdicts: &[Verdict]) -> usize {
    let refused = counted.iter().zip(verdicts).enumerate();
    let refused = refused.filter(|(_, (counter, verdict))| !verdict.allowed && !counter.limit.watches);
    let wait = |verdict: &Verdict| verdict.retry_after_us.unwrap_or(i64::MAX);
    let longest = refused.min_by_key(|(_, (_, verdict))| std::cmp::Reverse(wait(verdict)));
    longest.map_or(0, |(place, _)| place)
}

/// Notes how each visible limit stands, and which one was nearest.
fn tell(counted: &[Counted<'_>], verdicts: &[Verdict], binding: Option<usize>, recording: &mut Recording) {
    recording.standings.reserve(counted.len());
    for (place, (counter, verdict)) in counted.iter().zip(verdicts).enumerate() {
        let binds = binding == Some(place);
        if counter.limit.visible {
            recording.standings.push(counter.limit.index, Announced::of(counter.rule, verdict, binds));
        }
        let nearer = recording.limit.is_none_or(|(_, least)| verdict.remaining < least);
        if binds || (binding.is_none() && nearer && !counter.limit.watches) {
            recording.limit = Some((counter.limit.index, verdict.remaining));
        }
    }
}

/// The refusal of one limit; what is not visible is not named.
#[cold]
pub(super) fn exceeded(
    name: &str,
    visible: bool,
    rule: &Rule,
    verdict: &Verdict,
    recording: &Recording,
) -> Refusal {
    if verdict.retry_after_us.is_none() {
        let detail = format!("This costs more than the {} units of {name}.", rule.most());
        return Refusal::new(&kind::LIMIT_COST_TOO_LARGE, detail);
    }
    let seconds = Announced::of(*rule, verdict, true).reset_s;
    let (units, window_s) = rule.announced();
    let detail = match visible {
        true => format!("{name} allows {units} requests in {window_s} s. Try again in {seconds} s."),
        false => format!("Too many requests just now. Try again in {seconds} s."),
    };
    Refusal::new(&kind::LIMIT_EXCEEDED, detail).retry_after(recording.spread(seconds))
}

#[cold]
fn refused_by(
    view: &View,
    counted: &[Counted<'_>],
    verdicts: &[Verdict],
    binding: usize,
    recording: &Recording,
) -> Refusal {
    let (counter, verdict) = (&counted[binding], &verdicts[binding]);
    let name = &view.limit(counter.limit.index).name;
    let mut refusal = exceeded(name, counter.limit.visible, &counter.rule, verdict, recording);
    for (counter, _) in
        counted.iter().zip(verdicts).filter(|(c, verdict)| c.limit.visible && !verdict.allowed)
    {
        refusal = refusal.violates(view.limit(counter.limit.index).name.as_str());
    }
    refusal
}
