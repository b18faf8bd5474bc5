//! All instances of this machine: one keeper for each, and what they have found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Topic};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{interval, timeout};

use super::keeper::Keeper;
use super::{Observed, Phase, queries};
use crate::Shared;

/// How often new instances are looked for when nothing says that there is one.
const BACKSTOP: Duration = Duration::from_secs(1);

/// What the keepers of this process have found.
#[derive(Debug, Clone, Default)]
pub struct Fleet(Arc<watch::Sender<BTreeMap<TenantId, Observed>>>);

/// An instance did not become as it was waited for.
#[derive(Debug, thiserror::Error)]
#[error("the instance is {}{}", .0.as_ref().map_or("not looked after here", |found| found.phase.as_str()), .0.as_ref().and_then(|found| found.problem.as_ref()).map_or(String::new(), |problem| format!(": {problem}")))]
pub struct WaitError(pub Option<Observed>);

impl Phase {
    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Failed => "failed",
            Phase::Gone => "gone",
        }
    }
}

impl Fleet {
    pub(super) fn tell(&self, tenant: TenantId, observed: Observed) {
        self.0.send_modify(|all| drop(all.insert(tenant, observed)));
    }

    /// What was last found of a tenant's instance.
    pub fn observed(&self, tenant: TenantId) -> Option<Observed> {
        self.0.borrow().get(&tenant).cloned()
    }

    /// Waits until the instance is as `wanted` says, at most `longest`.
    ///
    /// # Errors
    /// With what was found last.
    pub async fn wait_until(
        &self,
        tenant: TenantId,
        longest: Duration,
        wanted: impl Fn(&Observed) -> bool,
    ) -> Result<Observed, WaitError> {
        let mut all = self.0.subscribe();
        let found = all.wait_for(|all| all.get(&tenant).is_some_and(&wanted));
        match timeout(longest, found).await {
            Ok(Ok(all)) => Ok(all.get(&tenant).expect("it was found a moment ago").clone()),
            _ => Err(WaitError(self.observed(tenant))),
        }
    }
}

/// Keeps all instances until `shutdown`, then stops their processes. One process of Rowhouse runs this on a machine.
pub async fn run(control: Shared, mut shutdown: watch::Receiver<bool>) {
    let mut committed = control.store.touched(Topic::Instances);
    let mut backstop = interval(BACKSTOP);
    let mut keepers = JoinSet::new();
    let mut kept: BTreeMap<Id, TenantId> = BTreeMap::new();
    loop {
        while let Some(ended) = keepers.try_join_next_with_id() {
            let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
            kept.remove(&id);
        }
        match unkept(&control, &kept).await {
            Ok(new) => {
                for tenant in new {
                    let keeper = Keeper::new(control.clone(), tenant).keep(shutdown.clone());
                    kept.insert(keepers.spawn(keeper).id(), tenant);
                }
            }
            Err(error) => tracing::error!(%error, "instances cannot be listed"),
        }
        tokio::select! {
            _ = committed.changed() => {}
            _ = backstop.tick() => {}
            () = ends(&mut shutdown) => break,
        }
    }
    while keepers.join_next().await.is_some() {}
}

/// Returns when `shutdown` says so, or nobody is left who could.
pub(super) async fn ends(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|wanted| *wanted).await;
}

/// Instances that are to be, or to be taken away, and have no keeper.
async fn unkept(control: &Shared, kept: &BTreeMap<Id, TenantId>) -> Result<Vec<TenantId>, StoreError> {
    let kept: BTreeSet<TenantId> = kept.values().copied().collect();
    let transaction = control.store.read(&Permit::for_system(None, "instances")).await?;
    let rows = queries::list(&transaction, None, None, i64::MAX).await?;
    transaction.finish().await?;
    let is_new = |row: &queries::InstanceRow| {
        let over = !row.desired.present && row.observed.phase == Phase::Gone;
        !over && !kept.contains(&row.tenant)
    };
    Ok(rows.iter().filter(|row| is_new(row)).map(|row| row.tenant).collect())
}
