//! From the journal into the logs: records that carry an audit mark.

use rowhouse_domain::id::{EventId, OPERATOR_TENANT, TenantId};
use rowhouse_journal::{Batch, Frame, Kind};
use rowhouse_store::{Store, StoreError, Transaction};

use super::draft::of_record;
use super::queries;
use super::sequence::{Arrival, Origin, append};
use crate::Shared;
use crate::projection::{AUDIT, Projector, Source, Unprojectable};

/// Makes events of records. It sets nothing aside to try it later: what cannot be rendered is an event too.
pub struct AuditProjector {
    control: Shared,
}

impl AuditProjector {
    /// A projector for [`crate::projection::run`].
    pub fn new(control: Shared) -> Self {
        AuditProjector { control }
    }

    fn arrival(&self, source: &Source, boot: i64, frame: &Frame<'_>) -> Result<Option<Arrival>, Unprojectable> {
        let problem = |error: &dyn std::fmt::Display| Unprojectable {
            sequence: frame.sequence,
            problem: error.to_string(),
        };
        let record = frame.record().map_err(|error| problem(&error))?;
        let Some(mark) = record.audit else { return Ok(None) };
        let id = EventId(self.control.entropy().uuid_v7(record.started_at_us));
        Ok(Some(Arrival {
            log: record.tenant.map_or(OPERATOR_TENANT, TenantId::from_u128),
            draft: of_record(id, &record, &mark),
            origin: Origin::Lane {
                node: format!("{}/{}", source.node, source.lane),
                boot,
                counter: i64::try_from(mark.counter).map_err(|error| problem(&error))?,
            },
        }))
    }
}

impl Projector for AuditProjector {
    fn name(&self) -> &'static str {
        AUDIT
    }

    async fn begin(&self, store: &Store) -> Result<Transaction, StoreError> {
        store.sequence().await
    }

    async fn project(
        &mut self,
        transaction: &Transaction,
        source: &Source,
        batch: &Batch,
    ) -> Result<Vec<Unprojectable>, StoreError> {
        let known = transaction.query_opt(queries::LANE, &[&source.node, &source.lane]).await?;
        let mut boot: i64 = known.map_or(0, |row| row.get(0));
        let before = boot;
        let (mut arrivals, mut problems) = (Vec::new(), Vec::new());
        for frame in batch.frames() {
            match frame.kind {
                Kind::LaneStart => boot = boot_of(&frame).unwrap_or(boot + 1),
                Kind::Request => match self.arrival(source, boot, &frame) {
                    Ok(arrival) => arrivals.extend(arrival),
                    Err(problem) => problems.push(problem),
                },
                _ => {}
            }
        }
        if boot != before {
            transaction.execute(queries::START_LANE, &[&source.node, &source.lane, &boot]).await?;
        }
        append(transaction, &self.control.audit, arrivals).await?;
        Ok(problems)
    }
}

/// The boot number that a lane's start carries.
fn boot_of(frame: &Frame<'_>) -> Option<i64> {
    let bytes: [u8; 8] = frame.payload.get(..8)?.try_into().ok()?;
    i64::try_from(u64::from_le_bytes(bytes)).ok()
}
