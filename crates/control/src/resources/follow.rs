//! Keeps the directory's usage figures fresh: when a tenant's usage has moved enough against a quota, a notice
//! makes the directory's reconciler read it again. At most one notice a second for each tenant.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use rowhouse_domain::access::Permit;
use rowhouse_domain::directory::{Directory, Quota};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::resources::evaluate;
use rowhouse_store::{Notice, StoreError};
use tokio::sync::watch;

use crate::metering::Growth;
use crate::{Control, Shared};

/// Between two rounds of notices.
const PACE: Duration = Duration::from_secs(1);
/// Usage that grew by this part of its quota is worth a notice.
const WORTH: i128 = 100;

/// Follows usage until `shutdown` says true.
pub async fn run(control: Shared, mut shutdown: watch::Receiver<bool>) {
    let mut bell = control.usage_changes.bell();
    let mut pending = Pending::default();
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let heard = async {
            // What was not worth a notice against one directory may be against the next.
            if pending.0.is_empty() {
                bell.changed().await.expect("the sender lives as long as `control`");
            }
        };
        tokio::select! {
            () = heard => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        tokio::select! {
            _ = pace.tick() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        bell.mark_unchanged();
        if let Err(error) = round(&control, &mut pending).await {
            tracing::warn!(%error, "usage against quotas cannot be announced now; trying again");
        }
    }
}

/// Growth that no notice has told yet.
#[derive(Default)]
struct Pending(HashMap<(TenantId, String), i128>);

async fn round(control: &Control, pending: &mut Pending) -> Result<(), StoreError> {
    pending.add(control.usage_changes.take());
    let directory = control.directory.current();
    let due = pending.due(&directory);
    if due.is_empty() {
        return Ok(());
    }
    let transaction = control.store.write(&Permit::for_system(None, "usage against quotas")).await?;
    let notices: Vec<Notice> = due.iter().map(|tenant| Notice::tenant(*tenant)).collect();
    transaction.commit_telemetry_with(&notices).await?;
    pending.told(&due);
    Ok(())
}

impl Pending {
    fn add(&mut self, growth: Growth) {
        for (whose, units) in growth {
            let sum = self.0.entry(whose).or_default();
            *sum = sum.saturating_add(units);
        }
    }

    /// Tenants for whom some quota's usage has moved enough. What no quota counts is forgotten.
    fn due(&mut self, directory: &Directory) -> BTreeSet<TenantId> {
        let mut due = BTreeSet::new();
        self.0.retain(|(tenant, meter), grown| {
            let known = directory.tenants.get(tenant);
            let quota = known.and_then(|known| known.quotas.iter().find(|quota| *quota.meter == **meter));
            if quota.is_some_and(|quota| moved_enough(quota, *grown)) {
                due.insert(*tenant);
            }
            quota.is_some_and(|quota| quota.limit.is_some())
        });
        due
    }

    fn told(&mut self, tenants: &BTreeSet<TenantId>) {
        self.0.retain(|(tenant, _), _| !tenants.contains(tenant));
    }
}

/// Whether usage that has grown by `grown` since the directory read it stands otherwise against its quota, or
/// has moved by a hundredth of it.
fn moved_enough(quota: &Quota, grown: i128) -> bool {
    let Some(limit) = quota.limit else { return false };
    let now = quota.used.saturating_add(grown);
    evaluate(now, quota.limit) != evaluate(quota.used, quota.limit) || grown.saturating_abs() >= limit / WORTH
}

#[cfg(test)]
mod tests {
    use rowhouse_domain::resources::QuotaWindow;

    use super::*;

    #[test]
    fn a_new_state_or_a_hundredth_is_worth_a_notice() {
        let quota = |used, limit| Quota {
            meter: "stamps_created".into(),
            limit,
            window: QuotaWindow::Day,
            used,
            used_from_us: 0,
        };
        let table = [
            (0, Some(1000), 9, false),
            (0, Some(1000), 10, true),
            (800, Some(1000), 1, true),
            (801, Some(1000), 1, false),
            (999, Some(1000), 1, true),
            (5, None, 1_000_000, false),
            (1000, Some(1000), -1, true),
        ];
        for (used, limit, grown, expected) in table {
            assert_eq!(moved_enough(&quota(used, limit), grown), expected, "{used} of {limit:?} and {grown}");
        }
    }
}
