//! Step 6: how much. What the route will count is reserved before it is done, so that exactly the limit is
//! reached and never more; what was reserved is corrected when the answer is known.

use rowhouse_domain::directory::{Quota, Tenant};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::resources::QuotaWindow;

use super::authorise::Permitted;
use super::{Recording, Stop};
use crate::core::Core;
use crate::quotas::{Reservation, known};

/// Proof that the tenant's plan still allows what is asked.
pub(crate) struct Within<'r, 'v> {
    pub(crate) permitted: Permitted<'r, 'v>,
}

/// Reserves what the route counts, all of it or nothing. A test key's usage is nobody's.
pub(crate) fn reserve<'r, 'v>(
    core: &Core,
    permitted: Permitted<'r, 'v>,
    recording: &mut Recording,
) -> Result<Within<'r, 'v>, Stop> {
    let route = permitted.matched().route;
    if let (Some(tenant), false) = (&permitted.known.resolved.tenant, route.usage.is_empty())
        && permitted.known.counts()
    {
        for (meter, quantity, _) in &route.usage {
            let place = tenant.quotas.iter().position(|quota| quota.meter == *meter);
            let Some(place) = place.filter(|place| tenant.quotas[*place].limit.is_some()) else { continue };
            // On a refusal the reservations made so far are dropped, which gives them back.
            reserve_one(core, tenant, place, quantity.units(), recording)?;
        }
    }
    Ok(Within { permitted })
}

fn reserve_one(
    core: &Core,
    tenant: &Tenant,
    place: usize,
    wanted: i128,
    recording: &mut Recording,
) -> Result<(), Stop> {
    let quota = &tenant.quotas[place];
    let Some(limit) = quota.limit else { return Ok(()) };
    let now_us = recording.started_at_us;
    let (counter, from_us) = core.quotas.counter(tenant, place, now_us);
    if counter.reserve(wanted, known(quota, from_us), limit) {
        recording.reservations.push(Reservation::new(counter, wanted));
        return Ok(());
    }
    recording.reservations.clear();
    Err(used_up(quota, now_us, recording).into())
}

#[cold]
fn used_up(quota: &Quota, now_us: i64, recording: &Recording) -> Refusal {
    let refusal = Refusal::new(&kind::QUOTA_EXCEEDED, format!("The quota of `{}` is used up.", quota.meter))
        .violates(&*quota.meter);
    if quota.window == QuotaWindow::None {
        return refusal;
    }
    let (_, until_us) = quota.window.bounds_us(now_us);
    refusal.retry_after(recording.spread((until_us - now_us).div_euclid(1_000_000) + 1))
}
