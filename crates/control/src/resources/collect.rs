//! Collectors: what measures how much exists. Storage on all four levels, rows of services' tables in the tenant's own
//! context, and levels that services push. Whatever fails for one tenant is told, tried again, and stops nobody else.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::directory::{Quota, Tenant};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::resources::QuotaRule;
use rowhouse_domain::tenancy::Isolation;
use rowhouse_store::{Notice, StoreError, Transaction};
use tokio::sync::watch;
use tokio::time::Instant;

use super::enforcement::known_meter;
use super::measurement::{self, Measurement, interval};
use super::reading::{self, Target};
use super::{assess, queries, quotas_of};
use crate::metering::{self, MeterNote, Sample};
use crate::{Control, Shared, tenancy};

/// The storage of a place.
pub const STORAGE: &str = "storage";
/// Rows of a service's table.
pub const TABLE: &str = "table";
/// People of a tenant. They are counted from the first one on; until then a service that has its own may push how many.
pub const MEMBERSHIPS: &str = "memberships";
/// What a service tells.
pub const PUSHED: &str = "pushed";
/// The meter of people.
const USERS_METER: &str = "users";
/// The meter of storage.
const STORAGE_METER: &str = "storage_gb";

/// What is due is looked for this often …
const LOOK: Duration = Duration::from_secs(1);
/// … and at most so often after something was committed.
const PACE: Duration = Duration::from_millis(200);
/// Most measurements of one round.
const ROUND_MAX: i64 = 100;
/// Measuring shared tables rests so many times as long as it took: 5 % of one connection a cell.
const REST: u32 = 19;
/// From this percentage on a level is told to gateways even when it is the same again.
const TOLD_PERCENT: i128 = 75;

/// What measures a meter of a tenant under a rule.
pub fn collector_of(meter: &str, rule: Option<&QuotaRule>, note: &MeterNote) -> &'static str {
    match rule.and_then(|rule| rule.collect.as_ref()) {
        Some(_) => TABLE,
        None if meter == STORAGE_METER => STORAGE,
        None if note.is_additive() => "records",
        None => PUSHED,
    }
}

/// Measures until `shutdown` says true.
pub async fn run(control: Shared, mut shutdown: watch::Receiver<bool>) {
    let mut committed = control.store.committed();
    let mut look = tokio::time::interval(LOOK);
    let mut pace = tokio::time::interval(PACE);
    for beat in [&mut look, &mut pace] {
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    let mut collectors = Collectors::default();
    let mut failing = false;
    loop {
        tokio::select! {
            _ = look.tick() => {}
            _ = committed.changed() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        tokio::select! {
            _ = pace.tick() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        committed.mark_unchanged();
        let round = collectors.round(&control, &shutdown).await;
        if let Err(error) = &round
            && !failing
        {
            tracing::warn!(%error, "levels cannot be measured now; trying again");
        }
        failing = round.is_err();
    }
}

#[derive(Default)]
struct Collectors {
    seen_version: u64,
    /// When the shared tables of a cell may be measured again.
    rested: HashMap<String, Instant>,
}

impl Collectors {
    async fn round(&mut self, control: &Control, shutdown: &watch::Receiver<bool>) -> Result<(), StoreError> {
        self.schedule(control).await?;
        let now = control.clock().now();
        let transaction = control.store.read(&Permit::for_system(None, "measuring")).await?;
        let due = measurement::due(&transaction, now, ROUND_MAX).await?;
        transaction.finish().await?;
        for one in due {
            if *shutdown.borrow() {
                break;
            }
            self.measure(control, &one).await?;
        }
        Ok(())
    }

    /// Enters what is to be measured of tenants whose entry is new.
    async fn schedule(&mut self, control: &Control) -> Result<(), StoreError> {
        let directory = control.directory.current();
        if directory.version == self.seen_version {
            return Ok(());
        }
        let news = directory.tenants.iter().filter(|(_, entry)| entry.version > self.seen_version);
        let wanted: Vec<_> = news.flat_map(|(_, entry)| measured(entry)).collect();
        if !wanted.is_empty() {
            let transaction = control.store.write(&Permit::for_system(None, "measuring")).await?;
            for part in wanted.chunks(1_000) {
                measurement::schedule(&transaction, part, control.clock().now()).await?;
            }
            transaction.commit_telemetry().await?;
        }
        self.seen_version = directory.version;
        Ok(())
    }

    async fn measure(&mut self, control: &Control, due: &Measurement) -> Result<(), StoreError> {
        let target = match reading::target(control, due).await? {
            Some(target) => target,
            None => return forget(control, due).await,
        };
        let shared = target.place().filter(|(_, place)| place.isolation == Isolation::Shared);
        let cell = shared.filter(|_| due.collector == STORAGE).map(|(cell, _)| cell.name.clone());
        if let Some(until) = cell.as_ref().and_then(|cell| self.rested.get(cell))
            && *until > Instant::now()
        {
            return Ok(());
        }
        let begun = Instant::now();
        let read = reading::read(&target).await;
        let took = begun.elapsed();
        if let Some(cell) = cell {
            self.rested.insert(cell, Instant::now() + took * REST);
        }
        control.resources.measured(&due.collector, took);
        match read {
            Ok(Some(level)) => taken(control, due, &target, level).await,
            Ok(None) => later(control, due, &target).await,
            Err(problem) => failed(control, due, &target, &problem).await,
        }
    }
}

/// What is measured of a tenant: nothing of one that leaves, which would be found by the search for what is left of it.
fn measured(entry: &Tenant) -> impl Iterator<Item = (TenantId, String, &'static str)> + '_ {
    let collector = |quota: &Quota| match &quota.rule.collect {
        Some(_) => Some(TABLE),
        None => (*quota.meter == *STORAGE_METER).then_some(STORAGE),
    };
    let of = move |quota: &Quota| collector(quota).map(|own| (entry.id, quota.meter.to_string(), own));
    entry.quotas.iter().filter(|_| !entry.status.is_over()).filter_map(of)
}

fn percent(level: Quantity, quota: Option<&Quota>) -> Option<i128> {
    let limit = quota?.limit.filter(|limit| *limit > 0)?;
    Some(level.units().saturating_mul(100) / limit)
}

fn next(due: &Measurement, target: &Target, level: Option<Quantity>, now: Timestamp) -> Timestamp {
    let is_shared = target.place().is_some_and(|(_, place)| place.isolation == Isolation::Shared);
    let percent = level.and_then(|level| percent(level, target.quota()));
    now.saturating_add(interval(&due.collector, is_shared, percent)).unwrap_or(now)
}

/// A level that was measured: kept, billed, told to whom it matters.
async fn taken(
    control: &Control,
    due: &Measurement,
    target: &Target,
    level: Quantity,
) -> Result<(), StoreError> {
    let now = control.clock().now();
    let transaction = control.store.write(&Permit::for_system(None, "measuring")).await?;
    let next = next(due, target, Some(level), now);
    let whose = (due.tenant, due.meter.as_str());
    if !measurement::renew(&transaction, whose, (level, now), (due.due_at, next)).await? {
        // It was taken out meanwhile, with its tenant perhaps.
        return transaction.rollback().await;
    }
    let is_same = due.level.is_some_and(|(before, _)| before == level) && due.failures == 0;
    let limit = target.quota().and_then(|quota| quota.limit);
    let is_near = limit == Some(0) || percent(level, target.quota()).is_some_and(|own| own >= TOLD_PERCENT);
    let notices = if is_same && !is_near { vec![] } else { vec![Notice::tenant(due.tenant)] };
    transaction.commit_telemetry_with(&notices).await?;
    let sample = Sample { tenant: due.tenant, meter: due.meter.clone(), level, at: now };
    if let Err(refusal) = metering::post_samples(control, &[sample]).await {
        tracing::warn!(tenant = %due.tenant, meter = due.meter, %refusal, "a sample is not billed");
    }
    if !notices.is_empty()
        && let Err(error) = assess(control, due.tenant, "level measured").await
    {
        tracing::warn!(tenant = %due.tenant, %error, "a tenant's quotas cannot be assessed now");
    }
    Ok(())
}

/// There is nothing to be measured yet: a tenant that is being made, or moved.
async fn later(control: &Control, due: &Measurement, target: &Target) -> Result<(), StoreError> {
    let at = next(due, target, None, control.clock().now());
    let transaction = control.store.write(&Permit::for_system(None, "measuring")).await?;
    transaction.execute(queries::POSTPONE, &[&due.tenant.0, &due.meter, &at]).await?;
    transaction.commit_telemetry().await
}

async fn failed(
    control: &Control,
    due: &Measurement,
    target: &Target,
    problem: &str,
) -> Result<(), StoreError> {
    // Tried again as if the level were as full as it was.
    let at = next(due, target, due.level.map(|(level, _)| level), control.clock().now());
    let transaction = control.store.write(&Permit::for_system(None, "measuring")).await?;
    let whose = (due.tenant, due.meter.as_str());
    let failures = measurement::failed(&transaction, whose, problem, at).await?;
    transaction.commit_telemetry().await?;
    let (tenant, meter) = (due.tenant, &due.meter);
    if failures == measurement::FAILURES_MAX {
        tracing::error!(%tenant, meter, problem, "a level is stale: nothing is imposed or lifted by it");
    } else {
        tracing::warn!(%tenant, meter, problem, failures, "a level could not be measured");
    }
    Ok(())
}

/// Nobody wants it any more.
async fn forget(control: &Control, due: &Measurement) -> Result<(), StoreError> {
    let transaction = control.store.write(&Permit::for_system(None, "measuring")).await?;
    measurement::forget(&transaction, due.tenant, &due.meter).await?;
    transaction.commit_telemetry().await
}

/// Takes a level that a service counted; whether it was news. The tenant is assessed before this returns.
///
/// # Errors
/// 404 for an unknown tenant or meter; 409 `resources.not_pushed`; 503 if it cannot be recorded.
pub async fn push(
    control: &Control,
    permit: &Permit,
    (tenant, meter): (TenantId, &str),
    (level, at): (Quantity, Timestamp),
) -> Result<bool, Refusal> {
    let transaction = control.store.write(permit).await?;
    let note = known_meter(&transaction, meter).await?;
    let collector = collector(&transaction, tenant, meter, &note).await?;
    if ![PUSHED, TABLE].contains(&collector) {
        return Err(Refusal::new(
            &kind::NOT_PUSHED,
            format!("The level of `{meter}` comes from `{collector}`; nobody pushes it."),
        ));
    }
    let due_at = (collector == TABLE).then(|| at.saturating_add(interval(TABLE, true, None)).unwrap_or(at));
    let taken = measurement::keep(&transaction, (tenant, meter), collector, (level, at), due_at).await?;
    if !taken {
        transaction.rollback().await?;
        return Ok(false);
    }
    transaction.commit_telemetry_with(&[Notice::tenant(tenant)]).await?;
    metering::post_samples(control, &[Sample { tenant, meter: meter.to_owned(), level, at }]).await?;
    assess(control, tenant, "level pushed").await?;
    Ok(true)
}

async fn collector(
    transaction: &Transaction,
    tenant: TenantId,
    meter: &str,
    note: &MeterNote,
) -> Result<&'static str, Refusal> {
    let row = tenancy::load_tenants(transaction, Some(tenant)).await?.pop();
    let row = row.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?;
    let quotas = quotas_of(transaction, &row, transaction.store().clock().now()).await?;
    let quota = quotas.iter().find(|quota| *quota.meter == *meter);
    let of_rule = collector_of(meter, quota.map(|quota| &*quota.rule), note);
    let known = measurement::collector(transaction, (tenant, meter)).await?;
    Ok(if of_rule == PUSHED && known.as_deref() == Some(MEMBERSHIPS) { MEMBERSHIPS } else { of_rule })
}

/// Has a tenant's people counted at once: they have changed in `transaction`.
///
/// # Errors
/// If the control database failed.
pub async fn people_changed(
    transaction: &Transaction,
    tenant: TenantId,
    now: Timestamp,
) -> Result<(), StoreError> {
    measurement::soon(transaction, (tenant, USERS_METER), MEMBERSHIPS, now).await
}

/// Has a tenant's levels measured now; which.
///
/// # Errors
/// 404 for an unknown tenant.
pub async fn ask(control: &Control, permit: &Permit, tenant: TenantId) -> Result<Vec<String>, Refusal> {
    let transaction = control.store.write(permit).await?;
    let now = control.clock().now();
    let wanted: Vec<_> =
        control.directory.current().tenants.get(&tenant).map_or_else(Vec::new, |own| measured(own).collect());
    measurement::schedule(&transaction, &wanted, now).await?;
    transaction.execute(queries::MAKE_DUE, &[&tenant.0, &now]).await?;
    transaction.commit_telemetry().await?;
    Ok(wanted.into_iter().map(|(_, meter, _)| meter).collect())
}
