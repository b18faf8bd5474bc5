//! The projection of the journal into usage.

use std::collections::{HashMap, HashSet};

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_journal::{Batch, Frame, Kind};
use rowhouse_store::{Store, StoreError, Transaction};
use uuid::Uuid;

use super::collect::{LeftOut, UsageRows, collect_record};
use super::queries;
use crate::Shared;
use crate::projection::{Projector, Source, Unprojectable};

/// Its name in `journal.positions`.
pub const PROJECTION: &str = "metering";

/// Makes usage of records and reported events.
pub struct UsageProjector {
    control: Shared,
    /// What the running transaction changed.
    changed: HashSet<(TenantId, String)>,
}

impl UsageProjector {
    /// A projector for [`crate::projection::run`].
    pub fn new(control: Shared) -> Self {
        UsageProjector { control, changed: HashSet::new() }
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
        self.changed.clear();
        let versions = meter_versions(transaction).await?;
        let mut rows = UsageRows::default();
        let mut problems = Vec::new();
        for frame in batch.frames() {
            let left_out = match frame.kind {
                Kind::Request => self.collect_request(&mut rows, frame, &versions),
                _ => Ok(()),
            };
            if let Err(problem) = left_out {
                problems.push(Unprojectable { sequence: frame.sequence, problem });
            }
        }
        self.changed = add_usage(transaction, source, rows).await?;
        Ok(problems)
    }

    fn committed(&mut self) {
        if !self.changed.is_empty() {
            self.control.usage_changes.note(self.changed.drain());
        }
    }
}

impl UsageProjector {
    fn collect_request(
        &self,
        rows: &mut UsageRows,
        frame: Frame<'_>,
        versions: &HashMap<String, i64>,
    ) -> Result<(), String> {
        let record = frame.record().map_err(|error| error.to_string())?;
        if record.usage.is_empty() {
            return Ok(());
        }
        let left_out = match record.tenant.map(TenantId::from_u128) {
            Some(tenant) if !self.knows(tenant) => vec![LeftOut::UnknownTenant(tenant)],
            _ => collect_record(rows, &record, frame.sequence, versions),
        };
        if left_out.is_empty() {
            return Ok(());
        }
        Err(left_out.iter().map(LeftOut::to_string).collect::<Vec<_>>().join("; "))
    }
}

async fn meter_versions(transaction: &Transaction) -> Result<HashMap<String, i64>, StoreError> {
    let rows = transaction.query(queries::METER_VERSIONS, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Writes the rows and their windows; whose usage that changed.
async fn add_usage(
    transaction: &Transaction,
    source: &Source,
    rows: UsageRows,
) -> Result<HashSet<(TenantId, String)>, StoreError> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let changed = transaction
        .query(
            queries::ADD_USAGE,
            &[
                &rows.tenants,
                &rows.meters,
                &rows.versions,
                &rows.instants,
                &rows.quantities,
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
    Ok(changed.iter().map(|row| (TenantId(row.get::<_, Uuid>(0)), row.get(1))).collect())
}
