//! The projection of the journal into usage.

use std::collections::HashMap;

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_journal::{Batch, Frame, Kind};
use rowhouse_store::{Store, StoreError, Transaction};

use super::changes::Growth;
use super::collect::{LeftOut, UsageRows, collect_record};
use super::meter::{self, MeterNote};
use super::queries;
use crate::Shared;
use crate::projection::{Projector, Source, Unprojectable};

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

    /// Whether `tenant` exists. The directory knows everyone who was ever served by this process.
    fn knows(&self, tenant: TenantId) -> bool {
        self.control.directory.current().tenants.get(&tenant).is_some()
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
        let mut problems = Vec::new();
        for frame in batch.frames() {
            let left_out = match frame.kind {
                Kind::Request => self.collect_request(&mut rows, frame, &meters),
                _ => Ok(()),
            };
            if let Err(problem) = left_out {
                problems.push(Unprojectable { sequence: frame.sequence, problem });
            }
        }
        self.growth = rows.growth();
        add_usage(transaction, source, &rows).await?;
        Ok(problems)
    }

    fn committed(&mut self) {
        if !self.growth.is_empty() {
            self.control.usage_changes.note(self.growth.drain());
        }
    }
}

impl UsageProjector {
    fn collect_request(
        &self,
        rows: &mut UsageRows,
        frame: Frame<'_>,
        meters: &HashMap<String, MeterNote>,
    ) -> Result<(), String> {
        let record = frame.record().map_err(|error| error.to_string())?;
        if record.usage.is_empty() {
            return Ok(());
        }
        let left_out = match record.tenant.map(TenantId::from_u128) {
            Some(tenant) if !self.knows(tenant) => vec![LeftOut::UnknownTenant(tenant)],
            _ => collect_record(rows, &record, frame.sequence, meters),
        };
        if left_out.is_empty() {
            return Ok(());
        }
        Err(left_out.iter().map(LeftOut::to_string).collect::<Vec<_>>().join("; "))
    }
}

async fn known_meters(transaction: &Transaction) -> Result<HashMap<String, MeterNote>, StoreError> {
    let meters = meter::list(transaction).await?;
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
