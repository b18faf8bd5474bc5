//! The days of usage: one row for each tenant, meter and civil day of the tenant. A projection of samples, of the limits
//! that were seen, and of metered usage: thrown away and made again, it is the same to the byte.
//!
//! A counter's `current_usage` is what was used on that day, and its peak the same; a level's is what existed at the end
//! of the day, and its peak the highest of the day, what was carried into it included.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::civil;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_store::{StoreError, Transaction};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use uuid::Uuid;

use super::agreed::Rules;
use super::{measurement, queries};
use crate::metering::{self, MeterNote, Span};
use crate::{Control, Shared, billing, catalog, tenancy};

/// A day stays open for so long after its end.
const GRACE: SignedDuration = SignedDuration::from_hours(1);
/// Between two rounds, at least …
const PACE: Duration = Duration::from_secs(60);
/// … and so many times as long as the last one took.
const REST: u32 = 20;
/// Days that the pace is taken from.
const PACE_DAYS: i64 = 7;
/// Days that are made anew at most in one round.
const DAYS_MAX: usize = 400;
/// Changes of state are kept for so long, and samples for so long.
const TRANSITIONS_KEPT: SignedDuration = SignedDuration::from_hours(24 * 400);
const SAMPLES_KEPT: SignedDuration = SignedDuration::from_hours(24 * 775);

/// Keeps the days true until `shutdown` says true.
pub async fn run(control: Shared, mut shutdown: watch::Receiver<bool>) {
    let mut wait = PACE;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        let begun = tokio::time::Instant::now();
        let made = refresh(&control, None).await;
        if let Err(error) = made.and(sweep(&control).await) {
            tracing::warn!(%error, "the days of usage cannot be written now; trying again");
        }
        wait = PACE.max(begun.elapsed() * REST);
    }
}

async fn sweep(control: &Control) -> Result<(), StoreError> {
    let now = control.clock().now();
    let before = |kept| now.saturating_sub(kept).unwrap_or(now);
    let transaction = control.store.write(&Permit::for_system(None, "old figures")).await?;
    transaction.execute(queries::SWEEP_TRANSITIONS, &[&before(TRANSITIONS_KEPT)]).await?;
    transaction.execute(queries::SWEEP_SAMPLES, &[&before(SAMPLES_KEPT)]).await?;
    transaction.commit_telemetry().await
}

/// Makes all open days of all tenants, or of one, as they are now.
///
/// # Errors
/// If the database fails; days that were made before stay.
pub async fn refresh(control: &Control, tenant: Option<TenantId>) -> Result<(), StoreError> {
    let permit = Permit::for_system(tenant, "days of usage");
    let transaction = control.store.read(&permit).await?;
    let zones = Zones::load(&transaction, tenant).await?;
    let first: Option<String> = transaction.query_one(queries::FIRST_OPEN, &[]).await?.get(0);
    transaction.finish().await?;
    see_limits(control, &permit, tenant).await?;
    let first = first.and_then(|date| date.parse().ok());
    make(control, &permit, tenant, &zones, first).await
}

/// Remembers limits that are new: a day's row says what was allowed on that day.
async fn see_limits(control: &Control, permit: &Permit, tenant: Option<TenantId>) -> Result<(), StoreError> {
    let transaction = control.store.write(permit).await?;
    let rows = transaction.query(queries::LAST_LIMITS, &[&tenant.map(|tenant| tenant.0)]).await?;
    let mut known: HashMap<(TenantId, String), Option<i128>> = HashMap::with_capacity(rows.len());
    for row in &rows {
        let limit = row.get::<_, Option<&str>>(2).map(measurement::quantity).transpose()?;
        known.insert((TenantId(row.get(0)), row.get(1)), limit.map(Quantity::units));
    }
    let (mut rules, mut tiers) = (Rules::default(), HashMap::new());
    let (mut tenants, mut meters, mut limits) = (vec![], vec![], vec![]);
    let tenants_known = tenancy::load_tenants(&transaction, tenant).await?;
    for row in tenants_known.into_iter().filter(|row| !row.status.is_over()) {
        if !tiers.contains_key(&row.tier) {
            let tier = catalog::load_tier(&transaction, &row.tier).await;
            let tier = tier.map_err(|_| StoreError::Stored { what: "a tier" })?;
            tiers.insert(row.tier.clone(), tier);
        }
        for (meter, agreed) in rules.agreed(tiers[&row.tier].as_ref(), &row.quota_overrides) {
            let whose = (row.id, meter);
            if known.get(&whose) != Some(&agreed.limit) {
                tenants.push(row.id.0);
                limits.push(agreed.limit.map(|limit| super::assess::quantity(limit).to_string()));
                meters.push(whose.1);
            }
        }
    }
    if !tenants.is_empty() {
        let now = control.clock().now();
        transaction.execute(queries::KEEP_LIMITS, &[&tenants, &meters, &now, &limits]).await?;
    }
    transaction.commit_telemetry().await
}

/// Throws a tenant's days away and makes them again, from the day `first` on.
///
/// # Errors
/// If the database fails; then some days may be missing, and a second call makes them.
pub async fn rebuild(control: &Control, tenant: TenantId, first: Date) -> Result<(), StoreError> {
    let permit = Permit::for_system(Some(tenant), "days of usage");
    let transaction = control.store.write(&permit).await?;
    transaction.execute(queries::DROP_DAYS, &[&tenant.0]).await?;
    let zones = Zones::load(&transaction, Some(tenant)).await?;
    transaction.commit_telemetry().await?;
    make(control, &permit, Some(tenant), &zones, Some(first)).await
}

async fn make(
    control: &Control,
    permit: &Permit,
    tenant: Option<TenantId>,
    zones: &Zones,
    first: Option<Date>,
) -> Result<(), StoreError> {
    let now = control.clock().now();
    for zone in zones.all() {
        let today = civil::date(zone, now);
        let mut date = first.unwrap_or(today).min(today);
        for _ in 0..DAYS_MAX {
            let transaction = control.store.write(permit).await?;
            day(&transaction, tenant, zones, (zone, date), now).await?;
            transaction.commit_telemetry().await?;
            match date.tomorrow() {
                Ok(next) if next <= today => date = next,
                _ => break,
            }
        }
    }
    Ok(())
}

static UTC: TimeZone = TimeZone::UTC;

/// Whose clock days follow, and who has no days any more. What an erased tenant used stays among the evidence of its
/// bills; made again from that, its days would be rows of somebody who was erased.
struct Zones {
    own: HashMap<TenantId, TimeZone>,
    over: HashSet<TenantId>,
}

impl Zones {
    async fn load(transaction: &Transaction, tenant: Option<TenantId>) -> Result<Self, StoreError> {
        let all = billing::calendars(transaction, tenant).await?;
        let own = all.into_iter().map(|(tenant, calendar)| (tenant, calendar.zone().clone()));
        let own = own.filter(|(_, zone)| *zone != TimeZone::UTC).collect();
        let tenants = tenancy::load_tenants(transaction, tenant).await?.into_iter();
        Ok(Zones { own, over: tenants.filter(|row| row.status.is_over()).map(|row| row.id).collect() })
    }

    fn of(&self, tenant: TenantId) -> &TimeZone {
        self.own.get(&tenant).unwrap_or(&UTC)
    }

    fn all(&self) -> Vec<&TimeZone> {
        let mut all = vec![&UTC];
        for zone in self.own.values() {
            if !all.contains(&zone) {
                all.push(zone);
            }
        }
        all
    }
}

/// A figure of a day: what was used or is there, the highest, and when the last of it came.
type Figure = (Quantity, Quantity, Timestamp);

async fn day(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    zones: &Zones,
    (zone, date): (&TimeZone, Date),
    now: Timestamp,
) -> Result<(), StoreError> {
    let beyond = StoreError::Stored { what: "a day beyond the calendar" };
    let next = date.tomorrow().ok().and_then(|next| civil::day_start(zone, next));
    let Some((from, to)) = civil::day_start(zone, date).zip(next) else { return Err(beyond) };
    let meters = metering::list_meters(transaction).await?;
    let mut figures: BTreeMap<(TenantId, String), Figure> = BTreeMap::new();
    for (tenant, meter, sum, last) in metering::totals_within(transaction, tenant, Span { from, to }).await? {
        let Some(note) = meters.iter().find(|note| note.name == meter && note.is_additive()) else {
            continue;
        };
        let shown = Quantity::rounded(&note.shown(&sum.to_ratio()));
        let used = shown.ok_or(StoreError::Stored { what: "usage beyond 10^20" })?;
        figures.insert((tenant, meter), (used, used, last));
    }
    let scope = tenant.map(|tenant| tenant.0);
    for row in transaction.query(queries::DAY_LEVELS, &[&from, &to, &scope]).await? {
        let quantity = |place| measurement::quantity(row.get(place));
        figures.insert((TenantId(row.get(0)), row.get(1)), (quantity(2)?, quantity(3)?, row.get(4)));
    }
    figures.retain(|(tenant, _), _| zones.of(*tenant) == zone && !zones.over.contains(tenant));
    if figures.is_empty() {
        return Ok(());
    }
    let rows = transaction.query(queries::DAY_LIMITS, &[&to, &scope]).await?;
    let limits: HashMap<(TenantId, String), Option<String>> =
        rows.iter().map(|row| ((TenantId(row.get(0)), row.get(1)), row.get(2))).collect();
    let closed = now >= to.saturating_add(GRACE).unwrap_or(to);
    keep(transaction, (date, from, closed), &meters, figures, &limits).await
}

async fn keep(
    transaction: &Transaction,
    (date, from, closed): (Date, Timestamp, bool),
    meters: &[MeterNote],
    figures: BTreeMap<(TenantId, String), Figure>,
    limits: &HashMap<(TenantId, String), Option<String>>,
) -> Result<(), StoreError> {
    let (mut ids, mut tenants, mut names, mut current) = (vec![], vec![], vec![], vec![]);
    let (mut peaks, mut units, mut quotas, mut lasts) = (vec![], vec![], vec![], vec![]);
    for ((tenant, meter), (value, peak, last)) in figures {
        let note = meters.iter().find(|note| note.name == meter);
        ids.push(id_of(tenant, &meter, date));
        tenants.push(tenant.0);
        current.push(value.to_string());
        peaks.push(peak.to_string());
        units.push(note.map_or(String::new(), |note| note.draft.unit.clone()));
        lasts.push(last);
        let whose = (tenant, meter);
        quotas.push(limits.get(&whose).cloned().flatten());
        names.push(whose.1);
    }
    transaction
        .execute(
            queries::KEEP_DAYS,
            &[&ids, &tenants, &names, &current, &peaks, &quotas, &date, &from, &closed, &units, &lasts],
        )
        .await?;
    Ok(())
}

/// The same for the same day, whoever makes the row and when (UUIDv8, RFC 9562 §5.8).
fn id_of(tenant: TenantId, meter: &str, date: Date) -> Uuid {
    let text = format!("{}/{meter}/{date}", tenant.0);
    let digest = Sha256::digest(text.as_bytes());
    let (head, _) = digest.split_first_chunk::<16>().expect("a digest has 32 bytes");
    uuid::Builder::from_custom_bytes(*head).into_uuid()
}

/// By how much usage grew on each of the last closed days, newest first.
pub(super) async fn growth(
    transaction: &Transaction,
    tenant: TenantId,
    meter: &str,
    is_level: bool,
) -> Result<Vec<i128>, StoreError> {
    let days = PACE_DAYS + i64::from(is_level);
    let rows = transaction.query(queries::LAST_DAYS, &[&tenant.0, &meter, &days]).await?;
    let values: Vec<i128> = rows
        .iter()
        .map(|row| measurement::quantity(row.get(0)).map(Quantity::units))
        .collect::<Result<_, _>>()?;
    Ok(match is_level {
        true => values.windows(2).map(|pair| pair[0].saturating_sub(pair[1])).collect(),
        false => values,
    })
}
