//! A lane whose journal is at another node, which sends its frames here. Each projection takes them as it takes those of the
//! journal beside it: effect and position in one transaction, so that what is sent twice counts once.

use rowhouse_journal::Batch;

use super::lane::LaneWork;
use super::{ALL, Projector, Source};
use crate::audit::AuditProjector;
use crate::keys::UseProjector;
use crate::metering::UsageProjector;
use crate::{Control, Shared};

/// One lane of another node, with what every projection makes of it.
pub struct ShippedLane {
    source: Source,
    usage: (LaneWork, UsageProjector),
    audit: (LaneWork, AuditProjector),
    uses: (LaneWork, UseProjector),
}

/// The database takes nothing now.
#[derive(Debug, thiserror::Error)]
#[error("the records cannot be projected now: {0}")]
pub struct Unready(String);

impl ShippedLane {
    /// The lane of `source`.
    pub fn new(control: &Shared, source: Source) -> Self {
        let work = || LaneWork::new(&source.node, &source.lane);
        ShippedLane {
            usage: (work(), UsageProjector::new(control)),
            audit: (work(), AuditProjector::new(control.clone())),
            uses: (work(), UseProjector::default()),
            source,
        }
    }

    /// Takes a batch that follows `from`, or begins before it was all taken. The position that all projections have reached.
    ///
    /// # Errors
    /// If the database takes nothing now. Some projections may have taken the batch; the same one will do later.
    pub async fn take(
        &mut self,
        control: &Control,
        (from, batch, end): (u64, &Batch, u64),
    ) -> Result<u64, Unready> {
        let at = [
            step(control, &self.source, &mut self.usage, (from, batch, end)).await?,
            step(control, &self.source, &mut self.audit, (from, batch, end)).await?,
            step(control, &self.source, &mut self.uses, (from, batch, end)).await?,
        ];
        const { assert!(ALL.len() == 3, "every projection takes what is shipped") };
        Ok(at.into_iter().min().unwrap_or(0))
    }
}

async fn step<P: Projector>(
    control: &Control,
    source: &Source,
    (work, projector): &mut (LaneWork, P),
    (from, batch, end): (u64, &Batch, u64),
) -> Result<u64, Unready> {
    let position = work.take(control, projector, (from, batch)).await.map_err(Unready)?;
    control.projections.shipped(projector.name(), source, position, end);
    Ok(position)
}
