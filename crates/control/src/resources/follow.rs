//! Follows usage, levels, overrides, tiers and time, and assesses whoever's standing they may have changed. Most
//! figures change nothing: whether one does is decided in memory, from the directory, by the same pure step that the
//! assessment makes with the figures of the database.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use rowhouse_domain::access::Permit;
use rowhouse_domain::directory::{Directory, Quota, Tenant};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::resources::{Observation, Standing, step};
use rowhouse_store::{Notice, StoreError};
use tokio::sync::watch;
use uuid::Uuid;

use super::assess::{AssessError, Assessed, assess};
use super::measurement::FAILURES_MAX;
use super::standing::{self, Standings, is_dull};
use super::{enforcement, queries};
use crate::catalog::LoadError;
use crate::metering::Growth;
use crate::{Control, Shared};

/// Between two rounds.
const PACE: Duration = Duration::from_millis(250);
/// Time is looked at, and the rest unasked, this often.
const LOOK: Duration = Duration::from_secs(1);
/// Usage that grew by this part of its quota is worth a notice at once …
const WORTH: i128 = 100;
/// … and any usage is after this time: a gateway that forgets an idle counter loses nothing.
const UNTOLD_US: i64 = 10 * 60_000_000;
/// Most tenants that are told of in one round for the latter.
const UNTOLD_MAX: usize = 200;
/// Who could not be assessed is looked at again after this time.
const AGAIN_US: i64 = 10_000_000;
/// Places are compared with what is imposed this often.
const SETTLE_US: i64 = 60_000_000;

/// Follows until `shutdown` says true.
pub async fn run(control: Shared, mut shutdown: watch::Receiver<bool>) {
    let mut bell = control.usage_changes.bell();
    let mut committed = control.store.committed();
    let mut look = tokio::time::interval(LOOK);
    let mut pace = tokio::time::interval(PACE);
    for beat in [&mut look, &mut pace] {
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    let mut follower = Follower::default();
    let mut failing = false;
    loop {
        tokio::select! {
            _ = bell.changed() => {}
            _ = committed.changed() => {}
            _ = look.tick() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        tokio::select! {
            _ = pace.tick() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        bell.mark_unchanged();
        committed.mark_unchanged();
        let round = follower.round(&control).await;
        match &round {
            Err(error) if !failing => tracing::warn!(%error, "quotas cannot be assessed now; trying again"),
            Ok(()) if failing => tracing::info!("quotas are assessed again"),
            _ => {}
        }
        failing = round.is_err();
    }
}

/// What is known between two rounds.
#[derive(Default)]
struct Follower {
    /// Whether what is stored was loaded.
    loaded: bool,
    standings: HashMap<TenantId, Standings>,
    /// When to look at whom again, whatever comes.
    deadlines: BTreeSet<(i64, TenantId)>,
    /// The same by tenant.
    deadline_of: HashMap<TenantId, i64>,
    /// Who must be assessed, and why; kept until it succeeds.
    due: BTreeMap<TenantId, &'static str>,
    pending: Pending,
    seen_version: u64,
    settled_us: i64,
}

impl Follower {
    async fn round(&mut self, control: &Control) -> Result<(), StoreError> {
        let now_us = control.clock().now_us();
        self.pending.add(control.usage_changes.take(), now_us);
        if !self.loaded {
            self.load(control).await?;
        }
        let directory = control.directory.current();
        self.look_at_entries(&directory, now_us);
        let moved = self.pending.due(&directory, now_us);
        for tenant in &moved {
            if let Some(entry) = directory.tenants.get(tenant)
                && self.may_change(entry, now_us)
            {
                self.due.entry(*tenant).or_insert("usage counted");
            }
        }
        let over = self.deadlines.range(..=(now_us, TenantId(Uuid::max()))).map(|(_, tenant)| *tenant);
        for tenant in over.collect::<Vec<_>>() {
            self.due.entry(tenant).or_insert("time passed");
        }
        self.look_for_ends(control).await?;
        let mut told = self.assess_all(control).await?;
        told.retain(|tenant| moved.contains(tenant));
        let rest: Vec<Notice> = moved.difference(&told).map(|tenant| Notice::tenant(*tenant)).collect();
        if !rest.is_empty() {
            let permit = Permit::for_system(None, "usage against quotas");
            control.store.write(&permit).await?.commit_telemetry_with(&rest).await?;
        }
        self.pending.told(&moved);
        self.settle(control, now_us).await
    }

    /// What was set by hand, here or by another process, and is over.
    async fn look_for_ends(&mut self, control: &Control) -> Result<(), StoreError> {
        let transaction = control.store.read(&Permit::for_system(None, "quotas")).await?;
        let rows = transaction.query(queries::OVER, &[&control.clock().now()]).await?;
        transaction.finish().await?;
        self.due.extend(rows.iter().map(|row| (TenantId(row.get(0)), "time passed")));
        Ok(())
    }

    /// Everybody of whom something is remembered is assessed at the start.
    async fn load(&mut self, control: &Control) -> Result<(), StoreError> {
        let transaction = control.store.read(&Permit::for_system(None, "quotas")).await?;
        self.standings = standing::load(&transaction, None).await?;
        let rows = transaction.query(queries::REMEMBERED, &[]).await?;
        transaction.finish().await?;
        self.due.extend(rows.iter().map(|row| (TenantId(row.get(0)), "started")));
        self.loaded = true;
        Ok(())
    }

    /// Tenants whose entry is new: a figure, a limit, a rule or a tier may be another one.
    fn look_at_entries(&mut self, directory: &Directory, now_us: i64) {
        if directory.version == self.seen_version {
            return;
        }
        let news = directory.tenants.iter().filter(|(_, entry)| entry.version > self.seen_version);
        let due: Vec<TenantId> =
            news.filter(|(_, entry)| self.may_change(entry, now_us)).map(|(tenant, _)| *tenant).collect();
        for tenant in due {
            self.due.entry(tenant).or_insert("figures or limits changed");
        }
        self.seen_version = directory.version;
    }

    /// Whether the step that an assessment would make changes anything, as far as is known here.
    fn may_change(&self, entry: &Tenant, now_us: i64) -> bool {
        let own = self.standings.get(&entry.id);
        let is_gone = |meter: &String| !entry.quotas.iter().any(|quota| *quota.meter == **meter);
        if own.is_some_and(|own| own.keys().any(is_gone)) {
            return true;
        }
        entry.quotas.iter().any(|quota| {
            let standing = own.and_then(|own| own.get(&*quota.meter));
            if quota.limit.is_none() && standing.is_none() {
                return false;
            }
            let window_us = quota.bounds_us(now_us);
            let fresh = Standing { window_from_us: window_us.0, ..Standing::default() };
            let before = standing.copied().unwrap_or(fresh);
            let known = quota.known(window_us.0);
            let reported = self.pending.of(entry.id, &quota.meter);
            let usage = reported.map_or(known, |grown| moved_to(quota, known, grown));
            let (limit, rule) = (quota.limit, &*quota.rule);
            let after = step(&before, &Observation { now_us, window_us, usage, limit, rule, stale: false });
            after.standing != before && !(is_dull(&after.standing) && is_dull(&before))
        })
    }

    /// Assesses who is due; who was told of by that.
    async fn assess_all(&mut self, control: &Control) -> Result<BTreeSet<TenantId>, StoreError> {
        let mut told = BTreeSet::new();
        while let Some((tenant, because)) = self.due.first_key_value().map(|(own, why)| (*own, *why)) {
            match assess(control, tenant, because).await {
                Ok(assessed) => {
                    if assessed.changed {
                        told.insert(tenant);
                    }
                    self.learn(tenant, assessed);
                }
                Err(AssessError::Load(LoadError::Store(error))) => return Err(error),
                Err(error) => {
                    tracing::error!(%tenant, %error, "a tenant's quotas cannot be assessed");
                    self.look_again(tenant, Some(control.clock().now_us() + AGAIN_US));
                }
            }
            self.due.remove(&tenant);
        }
        Ok(told)
    }

    fn learn(&mut self, tenant: TenantId, assessed: Assessed) {
        let Assessed { standings, look_again_us, .. } = assessed;
        match standings.is_empty() {
            true => drop(self.standings.remove(&tenant)),
            false => drop(self.standings.insert(tenant, standings)),
        }
        self.look_again(tenant, look_again_us);
    }

    fn look_again(&mut self, tenant: TenantId, at_us: Option<i64>) {
        let before = match at_us {
            Some(at_us) => self.deadline_of.insert(tenant, at_us),
            None => self.deadline_of.remove(&tenant),
        };
        if let Some(before_us) = before {
            self.deadlines.remove(&(before_us, tenant));
        }
        self.deadlines.extend(at_us.map(|at_us| (at_us, tenant)));
    }

    /// What a move or a restore of a place has forgotten is told to it again.
    async fn settle(&mut self, control: &Control, now_us: i64) -> Result<(), StoreError> {
        if now_us - self.settled_us < SETTLE_US {
            return Ok(());
        }
        let transaction = control.store.write(&Permit::for_system(None, "full storage")).await?;
        enforcement::settle_all_growth(&transaction, control.clock().now()).await?;
        let stale = transaction.query_one(queries::STALE_COUNT, &[&FAILURES_MAX]).await?;
        control.resources.found_stale(u64::try_from(stale.get::<_, i64>(0)).unwrap_or(0));
        transaction.commit_telemetry().await?;
        self.settled_us = now_us;
        Ok(())
    }
}

/// Growth that no notice has told yet, and since when.
#[derive(Default)]
struct Pending(HashMap<TenantId, HashMap<String, (i128, i64)>>);

impl Pending {
    fn add(&mut self, growth: Growth, now_us: i64) {
        for ((tenant, meter), units) in growth {
            let (sum, _) = self.0.entry(tenant).or_default().entry(meter).or_insert((0, now_us));
            *sum = sum.saturating_add(units);
        }
    }

    fn of(&self, tenant: TenantId, meter: &str) -> Option<i128> {
        self.0.get(&tenant)?.get(meter).map(|(units, _)| *units)
    }

    /// Tenants for whom some quota's usage has moved enough, or moved at all long ago. What no quota counts is
    /// forgotten.
    fn due(&mut self, directory: &Directory, now_us: i64) -> BTreeSet<TenantId> {
        let (mut due, mut untold) = (BTreeSet::new(), 0);
        self.0.retain(|tenant, own| {
            let entry = directory.tenants.get(tenant);
            let quota = |meter: &str| entry?.quotas.iter().find(|quota| *quota.meter == *meter);
            own.retain(|meter, _| quota(meter).is_some_and(|quota| quota.limit.is_some()));
            let moved = |(meter, (grown, _)): (&String, &(i128, i64))| {
                quota(meter).is_some_and(|quota| moved_enough(quota, *grown))
            };
            let is_old = |(_, since_us): &(i128, i64)| now_us - since_us >= UNTOLD_US;
            if own.iter().any(moved) {
                due.insert(*tenant);
            } else if untold < UNTOLD_MAX && own.values().any(is_old) {
                untold += 1;
                due.insert(*tenant);
            }
            !own.is_empty()
        });
        due
    }

    fn told(&mut self, tenants: &BTreeSet<TenantId>) {
        tenants.iter().for_each(|tenant| drop(self.0.remove(tenant)));
    }
}

/// Whether usage that has grown by `grown` since the directory read it stands otherwise against its quota, or
/// has moved by a hundredth of it.
fn moved_enough(quota: &Quota, grown: i128) -> bool {
    let Some(limit) = quota.limit else { return false };
    let now = moved_to(quota, quota.used, grown);
    quota.rule.state(now, quota.limit) != quota.rule.state(quota.used, quota.limit)
        || grown.saturating_abs() >= limit / WORTH
}

/// Usage after `grown` was reported. A level is replaced, not added to.
fn moved_to(quota: &Quota, used: i128, grown: i128) -> i128 {
    if quota.window().is_standing() { grown } else { used.saturating_add(grown) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_state_or_a_hundredth_is_worth_a_notice() {
        let quota = |used, limit| Quota { used, ..Quota::of_meter("stamps_created", limit) };
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
