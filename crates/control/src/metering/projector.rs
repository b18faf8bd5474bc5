//! The projection of the journal into usage.

use std::collections::HashMap;

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_journal::{Batch, Frame, Kind};
use rowhouse_store::{Store, StoreError, Transaction};

use super::changes::Growth;
use super::claims::{self, Arrival};
use super::collect::{LeftOut, Levels, UsageRows, collect_record};
use super::meter::{self, MeterNote};
use super::queries;
use super::reported::Reported;
use crate::Shared;
use crate::projection::{Projector, Source, Unprojectable};
use crate::tenancy;

/// Its name in `journal.positions`.
pub const PROJECTION: &str = "metering";

/// Makes usage of records and reported events.
pub struct UsageProjector {
    control: Shared,
    /// What the running transaction adds.
    growth: Growth,
}

impl UsageProjector {
    /// A projector for [`crate::projection::run`].
    pub fn new(control: &Shared) -> Self {
        UsageProjector { control: control.clone(), growth: Growth::new() }
    }

    /// Whether `tenant` exists. The directory is only the shorter way: it may still be empty after a start.
    async fn knows(&self, transaction: &Transaction, tenant: TenantId) -> Result<bool, StoreError> {
        if self.control.directory.current().tenants.get(&tenant).is_some() {
            return Ok(true);
        }
        Ok(!tenancy::load_tenants(transaction, Some(tenant)).await?.is_empty())
    }
}

impl Projector for UsageProjector {
    fn name(&self) -> &'static str {
        PROJECTION
    }

    async fn begin(&self, store: &Store) -> Result<Transaction, StoreError> {
        store.write(&Permit::for_system(None, "projection of usage")).await
    }

    async fn project(
        &mut self,
        transaction: &Transaction,
        source: &Source,
        batch: &Batch,
    ) -> Result<Vec<Unprojectable>, StoreError> {
        self.growth.clear();
        let meters = known_meters(transaction).await?;
        let mut rows = UsageRows::default();
        let (mut arrivals, mut problems) = (Vec::new(), Vec::new());
        for frame in batch.frames() {
            let problem = match frame.kind {
                Kind::Request => self.collect_request(transaction, &mut rows, frame, &meters).await?,
                Kind::Usage => collect_event(&mut arrivals, frame),
                Kind::Dropped => Some(dropped(frame)),
                _ => None,
            };
            problems.extend(problem.map(|problem| Unprojectable { sequence: frame.sequence, problem }));
        }
        claims::settle(transaction, source, &arrivals, &mut rows).await?;
        self.growth = rows.growth();
        add_usage(transaction, source, &rows).await?;
        let is_level = |meter: &str| meters.get(meter).is_some_and(MeterNote::is_level);
        raise_levels(transaction, &rows.levels(is_level)).await?;
        Ok(problems)
    }

    fn committed(&mut self) {
        if !self.growth.is_empty() {
            self.control.usage_changes.note(self.growth.drain());
        }
    }
}

impl UsageProjector {
    /// Adds a request's usage to `rows`; what cannot be counted is answered in words.
    async fn collect_request(
        &self,
        transaction: &Transaction,
        rows: &mut UsageRows,
        frame: Frame<'_>,
        meters: &HashMap<String, MeterNote>,
    ) -> Result<Option<String>, StoreError> {
        let record = match frame.record() {
            Ok(record) if record.usage.is_empty() => return Ok(None),
            Ok(record) => record,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let left_out = match record.tenant.map(TenantId::from_u128) {
            Some(tenant) if !self.knows(transaction, tenant).await? => vec![LeftOut::UnknownTenant(tenant)],
            _ => collect_record(rows, &record, frame.sequence, meters),
        };
        let words: Vec<String> = left_out.iter().map(LeftOut::to_string).collect();
        Ok((!words.is_empty()).then(|| words.join("; ")))
    }
}

/// Adds a reported event to `arrivals`. Whose it is and what it adds was settled at the door.
fn collect_event(arrivals: &mut Vec<Arrival>, frame: Frame<'_>) -> Option<String> {
    match Reported::decode(frame.payload) {
        Ok(event) => {
            arrivals.push(Arrival { sequence: frame.sequence, event });
            None
        }
        Err(error) => Some(error.to_string()),
    }
}

/// Records that could not be written: their usage is lost, and must be seen to be.
fn dropped(frame: Frame<'_>) -> String {
    match frame.dropped() {
        Some(lost) => format!("{} records could not be written: {}", lost.count, lost.reason.as_str()),
        None => "a count of lost records that cannot be read".to_owned(),
    }
}

async fn known_meters(transaction: &Transaction) -> Result<HashMap<String, MeterNote>, StoreError> {
    let meters = meter::list_for_counting(transaction).await?;
    Ok(meters.into_iter().map(|meter| (meter.name.clone(), meter)).collect())
}

/// Writes the rows and their windows.
async fn add_usage(transaction: &Transaction, source: &Source, rows: &UsageRows) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    transaction
        .execute(
            queries::ADD_USAGE,
            &[
                &rows.tenants,
                &rows.meters,
                &rows.versions,
                &rows.instants,
                &rows.quantity_texts(),
                &rows.sequences,
                &rows.request_ids,
                &rows.endpoints,
                &rows.principals,
                &rows.statuses,
                &rows.sources,
                &rows.event_ids,
                &source.node,
                &source.lane,
            ],
        )
        .await?;
    Ok(())
}

async fn raise_levels(transaction: &Transaction, levels: &Levels) -> Result<(), StoreError> {
    if !levels.tenants.is_empty() {
        transaction
            .execute(
                queries::RAISE_LEVELS,
                &[&levels.tenants, &levels.meters, &levels.instants, &levels.ids, &levels.quantities],
            )
            .await?;
    }
    Ok(())
}
