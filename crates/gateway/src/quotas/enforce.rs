//! What is imposed on a tenant, on the path. Most tenants have nothing imposed and pass with one look at an empty
//! list; what follows is for the others.

use rowhouse_domain::directory::{Imposed, Quota, Tenant};
use rowhouse_domain::limits::{Algorithm, Rule};
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::resources::Action;
use rowhouse_domain::routes::Route;

use crate::core::Core;
use crate::limits::CounterKey;
use crate::path::Recording;

/// A throttled tenant's trickle: one request …
const TRICKLE: i64 = 1;
/// … in so many milliseconds.
const TRICKLE_WINDOW_MS: i64 = 10_000;

/// What is asked, as far as it matters here.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) route: &'a Route,
    pub(crate) method: &'a str,
    /// Whether its usage counts; a test key's does not.
    pub(crate) counts: bool,
}

/// Refuses what is imposed. Answers whether the request is part of a throttled tenant's trickle, which may pass a
/// quota that is used up.
#[cold]
pub(crate) fn enforce(
    core: &Core,
    tenant: &Tenant,
    asked: Asked<'_>,
    recording: &Recording,
) -> Result<bool, Refusal> {
    let now_us = recording.started_at_us;
    let mut trickles = false;
    for imposed in tenant.imposed.iter().filter(|own| own.until_us.is_none_or(|until| now_us < until)) {
        let uses = asked
            .route
            .usage
            .iter()
            .any(|(meter, quantity, _)| *meter == imposed.meter && !quantity.is_zero());
        let refused = match imposed.action {
            Action::BlockWrites => asked.route.writes(asked.method, &imposed.services),
            Action::BlockCreation => uses,
            Action::Refuse => uses && asked.counts,
            Action::Throttle if asked.counts && !trickles => {
                trickle(core, tenant, &imposed.meter, recording)?;
                trickles = true;
                false
            }
            Action::Throttle | Action::Notify => false,
        };
        if refused {
            return Err(refused_by(tenant, imposed, recording));
        }
    }
    Ok(trickles)
}

/// Takes the one request that a throttled tenant has in ten seconds.
#[cold]
pub(crate) fn trickle(
    core: &Core,
    tenant: &Tenant,
    meter: &str,
    recording: &Recording,
) -> Result<(), Refusal> {
    let bucket = Rule::new(Algorithm::TokenBucket, TRICKLE, TRICKLE_WINDOW_MS, None)
        .expect("within the bounds of buckets");
    let key = CounterKey::of(&core.shared.hashes, &("trickle", tenant.id.as_u128()));
    let verdict = core.shared.limits.charge(key, &bucket, recording.counted_at_us, 1);
    if verdict.allowed {
        return Ok(());
    }
    let wait_us = verdict.retry_after_us.unwrap_or(TRICKLE_WINDOW_MS * 1_000);
    let refusal = exceeded(quota_of(tenant, meter), meter, recording);
    Err(refusal.retry_after(u32::try_from(wait_us.div_euclid(1_000_000) + 1).unwrap_or(u32::MAX)))
}

#[cold]
fn refused_by(tenant: &Tenant, imposed: &Imposed, recording: &Recording) -> Refusal {
    let quota = quota_of(tenant, &imposed.meter);
    let blocked = refusal(imposed.action, quota, &imposed.meter, recording);
    match (imposed.action, imposed.until_us) {
        (Action::Refuse, Some(until_us)) => blocked.retry_after(wait(until_us, recording)),
        _ => blocked,
    }
}

fn quota_of<'a>(tenant: &'a Tenant, meter: &str) -> Option<&'a Quota> {
    tenant.quotas.iter().find(|quota| *quota.meter == *meter)
}

/// The refusal of what `action` stops.
#[cold]
pub(crate) fn refusal(action: Action, quota: Option<&Quota>, meter: &str, recording: &Recording) -> Refusal {
    let flag = action.flag(meter);
    match action {
        Action::BlockWrites => Refusal::new(
            &kind::STORAGE_BLOCKED,
            "The storage of the plan is full: nothing new can be stored. Reading and deleting go on.",
        )
        .member("meter", meter)
        .member("flag", flag),
        Action::BlockCreation => {
            Refusal::new(&kind::CREATION_BLOCKED, format!("The plan has room for no more of `{meter}`."))
                .member("meter", meter)
                .member("flag", flag)
        }
        Action::Throttle | Action::Refuse | Action::Notify => {
            let refusal = exceeded(quota, meter, recording);
            let end_us = quota.map_or(i64::MAX, |quota| quota.bounds_us(recording.started_at_us).1);
            if end_us == i64::MAX { refusal } else { refusal.retry_after(wait(end_us, recording)) }
        }
    }
}

fn wait(until_us: i64, recording: &Recording) -> u32 {
    recording.spread((until_us - recording.started_at_us).div_euclid(1_000_000) + 1)
}

/// 429 with the figures: the usage is what this gateway has admitted, or the directory knows, whichever is more.
#[cold]
fn exceeded(quota: Option<&Quota>, meter: &str, recording: &Recording) -> Refusal {
    let shown = |units: i128| Quantity::from_units(units).unwrap_or_default().to_string();
    let Some((quota, limit)) = quota.and_then(|quota| Some((quota, quota.limit?))) else {
        let detail = format!("Requests that count for {meter} are stopped just now.");
        return Refusal::new(&kind::QUOTA_EXCEEDED, detail).violates(meter).member("meter", meter);
    };
    let (from_us, _) = quota.bounds_us(recording.started_at_us);
    let used = recording.usage_of(quota).max(quota.known(from_us));
    let asked = recording.asked_of(meter);
    let limit = shown(limit);
    let detail = format!("Quota exceeded for {meter}: {}/{limit}.", shown(used.saturating_add(asked)));
    let ends = quota.window_ends_at(recording.started_at_us);
    Refusal::new(&kind::QUOTA_EXCEEDED, detail)
        .violates(meter)
        .member("meter", meter)
        .member("limit", limit)
        .member("current_usage", shown(used))
        .member("window_ends_at", ends.map(|end| end.to_string()))
}
