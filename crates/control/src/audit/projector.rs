//! From the journal into the logs: records that carry an audit mark.

use std::collections::BTreeSet;

use rowhouse_domain::audit::canonical::INTEGER_MAX;
use rowhouse_domain::audit::leaf::EventDraft;
use rowhouse_domain::id::{EventId, OPERATOR_TENANT, TenantId};
use rowhouse_journal::{Batch, Frame, Gap, GapCause, Kind};
use rowhouse_store::{Store, StoreError, Transaction};
use uuid::Uuid;

use super::draft::{gap_explained, of_record, rendering_failed};
use super::lanes::Lane;
use super::sequence::{Arrival, Origin, append};
use crate::Shared;
use crate::projection::{AUDIT, Projector, Source, Unprojectable};

/// Makes events of records. It sets nothing aside to try it later: what cannot be read is an event too, of the
/// operator's log.
pub struct AuditProjector {
    control: Shared,
}

/// What a frame says.
enum Read {
    /// The lane was opened, in this boot.
    Start(Option<i64>),
    /// So many records are lost; none for frames that say nothing to the logs.
    Lost(u64),
    Event {
        log: TenantId,
        counter: i64,
        draft: Box<EventDraft>,
    },
    Unreadable(Box<EventDraft>, Unprojectable),
}

impl Read {
    fn log(&self) -> Option<Uuid> {
        if let Read::Event { log, .. } = self { Some(log.0) } else { None }
    }
}

impl AuditProjector {
    /// A projector for [`crate::projection::run`].
    pub fn new(control: Shared) -> Self {
        AuditProjector { control }
    }

    /// What a frame means for the lane and its logs.
    fn read(&self, frame: &Frame<'_>) -> Read {
        match frame.kind {
            Kind::LaneStart => Read::Start(boot_of(frame)),
            Kind::Dropped => Read::Lost(frame.dropped().map_or(0, |dropped| dropped.count)),
            Kind::Request => self.request(frame).unwrap_or_else(|problem| {
                let problem = Unprojectable { sequence: frame.sequence, problem };
                Read::Unreadable(Box::new(self.unreadable(frame)), problem)
            }),
            _ => Read::Lost(0),
        }
    }

    fn request(&self, frame: &Frame<'_>) -> Result<Read, String> {
        let record = frame.record().map_err(|error| error.to_string())?;
        let Some(mark) = record.audit else { return Ok(Read::Lost(0)) };
        let counter = i64::try_from(mark.counter).ok().filter(|counter| *counter <= INTEGER_MAX);
        let counter = counter.ok_or("its counter is beyond what a leaf can hold")?;
        let log = record.tenant.map_or(OPERATOR_TENANT, TenantId::from_u128);
        let draft = of_record(self.id(record.started_at_us), &record, &mark, frame.payload);
        Ok(Read::Event { log, counter, draft: Box::new(draft) })
    }

    /// Stands for a record that cannot be read: nobody can say whose it was.
    fn unreadable(&self, frame: &Frame<'_>) -> EventDraft {
        let now_us = self.control.clock().now_us();
        rendering_failed(self.id(now_us).to_string(), now_us, "record", frame.payload)
    }

    /// Places what was read in the lane's history.
    fn arrive(
        &self,
        lane: &mut Lane,
        read: Read,
        arrivals: &mut Vec<Arrival>,
        problems: &mut Vec<Unprojectable>,
    ) {
        match read {
            Read::Start(boot) => lane.start(boot),
            Read::Lost(records) => lane.lose(records),
            Read::Unreadable(draft, problem) => {
                lane.lose(1);
                arrivals.push(Arrival { log: OPERATOR_TENANT, draft: *draft, origin: Origin::Database });
                problems.push(problem);
            }
            Read::Event { log, counter, draft } => {
                if let Some(lost) = lane.count(log, counter) {
                    let now_us = self.control.clock().now_us();
                    let draft = gap_explained(self.id(now_us), now_us, log, &lost);
                    arrivals.push(Arrival { log, draft, origin: Origin::Database });
                }
                let origin = Origin::Lane { node: lane.node(), boot: lane.boot(), counter };
                arrivals.push(Arrival { log, draft: *draft, origin });
            }
        }
    }

    fn id(&self, at_us: i64) -> EventId {
        EventId(self.control.entropy().uuid_v7(at_us))
    }
}

impl Projector for AuditProjector {
    fn name(&self) -> &'static str {
        AUDIT
    }

    async fn begin(&self, store: &Store) -> Result<Transaction, StoreError> {
        self.control.audit.standing().may_go_on()?;
        store.sequence().await
    }

    async fn project(
        &mut self,
        transaction: &Transaction,
        source: &Source,
        batch: &Batch,
    ) -> Result<Vec<Unprojectable>, StoreError> {
        let read: Vec<Read> = batch.frames().map(|frame| self.read(&frame)).collect();
        let logs: BTreeSet<Uuid> = read.iter().filter_map(Read::log).collect();
        let mut lane = Lane::open(transaction, source, &Vec::from_iter(logs)).await?;
        let (mut arrivals, mut problems) = (Vec::new(), Vec::new());
        lane.lose(batch.gap.as_ref().map_or(0, damaged));
        for read in read {
            self.arrive(&mut lane, read, &mut arrivals, &mut problems);
        }
        lane.close(transaction).await?;
        append(transaction, &self.control.audit, arrivals).await?;
        Ok(problems)
    }
}

/// Records lost to damage. Those of a segment that was taken away are not explained by it: whoever did that would
/// have covered them up.
fn damaged(gap: &Gap) -> u64 {
    match gap.cause {
        GapCause::Damaged => gap.missing.end.saturating_sub(gap.missing.start),
        GapCause::Removed => 0,
    }
}

/// The boot number that a lane's start carries: eight bytes, little-endian.
fn boot_of(frame: &Frame<'_>) -> Option<i64> {
    let bytes: [u8; 8] = frame.payload.try_into().ok()?;
    i64::try_from(u64::from_le_bytes(bytes)).ok().filter(|boot| *boot <= INTEGER_MAX)
}
