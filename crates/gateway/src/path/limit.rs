//! Step 4: how often. All limits of a stage are charged, or none is.

use rowhouse_domain::limits::{Bucket, LimitScope, Verdict};
use rowhouse_domain::refusal::{Refusal, kind};

use super::authenticate::{Destination, Known};
use super::{Recording, Stop};
use crate::core::Core;
use crate::limits::{CounterKey, Standing};
use crate::view::{LimitUse, View};

/// Proof that the limits of tenant, user, key and endpoint let a request in.
pub(crate) struct Admitted<'r, 'v> {
    pub(crate) known: Known<'r, 'v>,
}

/// One counter that a request is charged to.
pub(crate) struct Counted {
    /// Place of the limit in the directory.
    pub(crate) index: usize,
    pub(crate) visible: bool,
    pub(crate) bucket: Bucket,
    pub(crate) key: CounterKey,
}

/// Units a request costs.
const COST: i64 = 1;

/// Charges every limit that applies.
pub(crate) fn limit<'r, 'v>(
    core: &Core,
    view: &View,
    known: Known<'r, 'v>,
    recording: &mut Recording,
) -> Result<Admitted<'r, 'v>, Stop> {
    let uses = match &known.destination {
        Destination::Route(matched) => &view.services[matched.route.service].admission,
        _ => &view.unrouted,
    };
    if !uses.is_empty() {
        let counted = uses.iter().filter_map(|limit| counted(core, &known, limit));
        settle(core, view, counted.collect(), recording)?;
    }
    Ok(Admitted { known })
}

/// The counter of a limit for this request; none if the request lacks what it counts by, or has no such limit.
fn counted(core: &Core, known: &Known<'_, '_>, limit: &LimitUse) -> Option<Counted> {
    let tenant = known.resolved.tenant.as_deref();
    let bucket = match tenant {
        Some(tenant) => tenant.limits.get(limit.index).copied().flatten()?,
        None => limit.base?,
    };
    let hashes = &core.shared.hashes;
    let tick_us = bucket.tick_us();
    let tenant_id = tenant.map(|tenant| tenant.id.as_u128());
    let (bucket, key) = match limit.scope {
        LimitScope::Tenant => (bucket, CounterKey::of(hashes, &(limit.seed, tick_us, tenant_id?))),
        LimitScope::User => {
            let owner = known.key?.owner.id.as_u128();
            (bucket, CounterKey::of(hashes, &(limit.seed, tick_us, tenant_id?, owner)))
        }
        LimitScope::ApiKey => {
            let family = known.key?.family.as_u128();
            (bucket, CounterKey::of(hashes, &(limit.seed, tick_us, tenant_id?, family)))
        }
        LimitScope::Endpoint => {
            let Destination::Route(matched) = &known.destination else { return None };
            // Counted over all tenants, so no tenant has a value of its own.
            let bucket = limit.base?;
            let endpoint = matched.route.endpoint(known.resolved.sound.parts.method.as_str());
            (bucket, CounterKey::of(hashes, &(limit.seed, bucket.tick_us(), endpoint)))
        }
        LimitScope::Global | LimitScope::Ip => return None,
    };
    Some(Counted { index: limit.index, visible: limit.visible, bucket, key })
}

/// Charges all counters or none, and notes what the answer tells of them.
pub(super) fn settle(
    core: &Core,
    view: &View,
    counted: Vec<Counted>,
    recording: &mut Recording,
) -> Result<(), Stop> {
    let table = &core.shared.limits;
    let now_us = recording.started_at_us;
    let mut verdicts = Vec::with_capacity(counted.len());
    counted.iter().for_each(|counter| table.touch(counter.key));
    for counter in &counted {
        let verdict = table.charge(counter.key, &counter.bucket, now_us, COST);
        let allowed = verdict.allowed;
        verdicts.push(verdict);
        if !allowed {
            break;
        }
    }
    let all_allowed = verdicts.iter().all(|verdict| verdict.allowed);
    if !all_allowed {
        give_back(core, &counted, &mut verdicts, now_us);
    }
    let binding = (!all_allowed).then(|| binding(&verdicts));
    tell(&counted, &verdicts, binding, recording);
    match binding {
        None => Ok(()),
        Some(binding) => Err(exceeded(view, &counted, &verdicts, binding, recording).into()),
    }
}

/// Takes back what was charged before one refused, and looks at those that were not asked yet.
#[cold]
fn give_back(core: &Core, counted: &[Counted], verdicts: &mut Vec<Verdict>, now_us: i64) {
    let table = &core.shared.limits;
    let charged = verdicts.len() - 1;
    for counter in &counted[..charged] {
        table.refund(counter.key, &counter.bucket, COST);
    }
    for (counter, verdict) in counted.iter().zip(verdicts.iter_mut()).take(charged) {
        *verdict = table.look(counter.key, &counter.bucket, now_us, 0);
    }
    for counter in &counted[verdicts.len()..] {
        let with_cost = table.look(counter.key, &counter.bucket, now_us, COST);
        let without = table.look(counter.key, &counter.bucket, now_us, 0);
        verdicts.push(if with_cost.allowed { without } else { with_cost });
    }
}

/// The refusal with the longest wait; never is longest.
fn binding(verdicts: &[Verdict]) -> usize {
    let refused = verdicts.iter().enumerate().filter(|(_, verdict)| !verdict.allowed);
    let wait = |verdict: &Verdict| verdict.retry_after_us.unwrap_or(i64::MAX);
    refused.max_by_key(|(_, verdict)| wait(verdict)).map_or(0, |(place, _)| place)
}

/// Notes how each visible limit stands, and which one was nearest.
fn tell(counted: &[Counted], verdicts: &[Verdict], binding: Option<usize>, recording: &mut Recording) {
    recording.standings.reserve(counted.len());
    for (place, (counter, verdict)) in counted.iter().zip(verdicts).enumerate() {
        let binds = binding == Some(place);
        if counter.visible {
            let reset_s = if binds { retry_after_s(verdict) } else { whole_seconds(verdict.reset_after_us) };
            let (limit, bucket, remaining) = (counter.index, counter.bucket, verdict.remaining);
            recording.standings.push(Standing { limit, bucket, remaining, reset_s, binds });
        }
        let nearer = recording.limit.is_none_or(|(_, least)| verdict.remaining < least);
        if binds || (binding.is_none() && nearer) {
            recording.limit = Some((counter.index, verdict.remaining));
        }
    }
}

#[cold]
fn exceeded(
    view: &View,
    counted: &[Counted],
    verdicts: &[Verdict],
    binding: usize,
    recording: &Recording,
) -> Refusal {
    let (counter, verdict) = (&counted[binding], &verdicts[binding]);
    let seconds = retry_after_s(verdict);
    let detail = match counter.visible {
        true => format!(
            "{} allows {} requests in {} s. Try again in {seconds} s.",
            view.limit(counter.index).name,
            counter.bucket.burst(),
            counter.bucket.announced_window_s(),
        ),
        false => format!("Too many requests just now. Try again in {seconds} s."),
    };
    let mut refusal = Refusal::new(&kind::LIMIT_EXCEEDED, detail);
    for (counter, _) in counted.iter().zip(verdicts).filter(|(c, verdict)| c.visible && !verdict.allowed) {
        refusal = refusal.violates(view.limit(counter.index).name.as_str());
    }
    refusal.retry_after(recording.spread(seconds))
}

fn retry_after_s(verdict: &Verdict) -> i64 {
    whole_seconds(verdict.retry_after_us.unwrap_or(i64::MAX)).max(1)
}

fn whole_seconds(us: i64) -> i64 {
    us / 1_000_000 + i64::from(us % 1_000_000 != 0)
}
