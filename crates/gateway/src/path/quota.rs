//! Step 6: how much. What is imposed on the tenant is kept to; then what the route will count is reserved before it is
//! done, so that exactly the limit is reached and never more. What was reserved is corrected when the answer is known.

use rowhouse_domain::directory::Tenant;
use rowhouse_domain::resources::Action;

use super::authorise::Permitted;
use super::{Recording, Stop};
use crate::core::Core;
use crate::quotas::{Asked, Reservation, enforce, refusal, trickle};

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
    let counts = permitted.known.counts();
    if let Some(tenant) = permitted.known.resolved.tenant {
        let mut trickles = false;
        if !tenant.imposed.is_empty() {
            let method = permitted.known.resolved.sound.parts.method.as_str();
            trickles = enforce(core, tenant, Asked { route, method, counts }, recording)?;
        }
        for (meter, quantity, _) in route.usage.iter().filter(|_| counts) {
            let Some(place) = tenant.quotas.iter().position(|quota| quota.meter == *meter) else { continue };
            // On a refusal the reservations made so far are dropped, which gives them back.
            trickles = reserve_one(core, tenant, place, (quantity.units(), trickles), recording)?;
        }
    }
    Ok(Within { permitted })
}

/// Reserves of one quota. Answers whether the request is part of a trickle by now.
fn reserve_one(
    core: &Core,
    tenant: &Tenant,
    place: usize,
    (wanted, trickles): (i128, bool),
    recording: &mut Recording,
) -> Result<bool, Stop> {
    let quota = &tenant.quotas[place];
    let Some(ceiling) = quota.ceiling() else { return Ok(trickles) };
    let (counter, from_us) = core.quotas.counter(tenant, place, recording.started_at_us);
    let is_throttle = quota.rule.action == Action::Throttle;
    let fits = counter.reserve(wanted, quota.known(from_us), ceiling);
    if !fits && is_throttle {
        if !trickles && let Err(refused) = trickle(core, tenant, &quota.meter, recording) {
            recording.reservations.clear();
            return Err(refused.into());
        }
        counter.correct(wanted);
    } else if !fits {
        let refused = refusal(quota.rule.action, Some(quota), &quota.meter, recording);
        recording.reservations.clear();
        return Err(refused.into());
    }
    recording.reservations.push(Reservation::new(counter, wanted));
    Ok(trickles || !fits)
}
