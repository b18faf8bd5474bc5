//! What is known of a journal's lane between two batches: its boot, how many of its records are known to be lost,
//! and the last counter each log got from it. A jump of a counter is explained in the log only as far as the journal
//! itself says that records are lost; any other stays for the verifier to find.

use std::collections::HashMap;

use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Transaction};
use uuid::Uuid;

use super::late::Stretch;
use super::queries;
use crate::projection::Source;

/// A lane while a batch of it is read.
pub struct Lane {
    source: Source,
    boot: i64,
    /// Records of this boot that are lost and that no log has spoken of yet.
    lost: i64,
    counters: HashMap<TenantId, i64>,
    is_new: bool,
}

impl Lane {
    /// Reads what is known of a lane, and its counters in `logs`. The caller has locked the lane's position.
    pub async fn open(tx: &Transaction, source: &Source, logs: &[Uuid]) -> Result<Lane, StoreError> {
        let Source { node, lane } = source;
        let row = tx.query_opt(queries::LANE, &[node, lane]).await?;
        let (boot, lost) = row.map_or((0, 0), |row| (row.get(0), row.get(1)));
        let rows = tx.query(queries::EMITTERS, &[node, lane, &logs]).await?;
        let counters = rows.iter().map(|row| (TenantId(row.get(0)), row.get(1))).collect();
        Ok(Lane { source: source.clone(), boot, lost, counters, is_new: false })
    }

    /// The emitter's name in leaves.
    pub fn node(&self) -> String {
        format!("{}/{}", self.source.node, self.source.lane)
    }

    /// The boot in which the lane is being read.
    pub fn boot(&self) -> i64 {
        self.boot
    }

    /// The lane was opened anew: counters begin again.
    pub fn start(&mut self, boot: Option<i64>) {
        self.boot = boot.unwrap_or(self.boot + 1);
        self.lost = 0;
        self.counters.clear();
        self.is_new = true;
    }

    /// The journal says that records are lost.
    pub fn lose(&mut self, records: u64) {
        self.lost = self.lost.saturating_add(i64::try_from(records).unwrap_or(i64::MAX));
    }

    /// Notes the next counter of a log. Gives what it leaves out, if that is known to be lost. A counter that goes
    /// back after a loss says that the mark of a new boot was lost too.
    pub fn count(&mut self, log: TenantId, counter: i64) -> Option<Stretch> {
        let lost = self.lost;
        if lost > 0 && self.counters.get(&log).is_some_and(|last| counter <= *last) {
            self.start(None);
            self.lost = lost;
        }
        let last = self.counters.insert(log, counter).unwrap_or(0);
        let missing = counter.saturating_sub(last).saturating_sub(1);
        if missing <= 0 || missing > self.lost {
            return None;
        }
        self.lost -= missing;
        Some(Stretch { node: self.node(), boot: self.boot, from: last + 1, to: counter - 1 })
    }

    /// Writes what is known now.
    pub async fn close(self, tx: &Transaction) -> Result<(), StoreError> {
        let Source { node, lane } = &self.source;
        if self.is_new {
            tx.execute(queries::FORGET_EMITTERS, &[node, lane]).await?;
        }
        tx.execute(queries::KEEP_LANE, &[node, lane, &self.boot, &self.lost]).await?;
        let (logs, counters): (Vec<Uuid>, Vec<i64>) =
            self.counters.iter().map(|(log, counter)| (log.0, *counter)).unzip();
        tx.execute(queries::KEEP_EMITTERS, &[node, lane, &logs, &counters]).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TenantId = TenantId(Uuid::from_u128(1));
    const B: TenantId = TenantId(Uuid::from_u128(2));

    fn lane() -> Lane {
        let source = Source { node: "n1".to_owned(), lane: "g0".to_owned() };
        Lane { source, boot: 4, lost: 0, counters: HashMap::new(), is_new: false }
    }

    #[test]
    fn only_as_much_is_explained_as_was_lost() {
        let mut lane = lane();
        let count = |lane: &mut Lane, log, counter| lane.count(log, counter).map(|gap| (gap.from, gap.to));
        assert_eq!(count(&mut lane, A, 1), None);
        assert_eq!(count(&mut lane, A, 3), None, "nobody says that anything is lost");
        lane.lose(3);
        assert_eq!(count(&mut lane, A, 4), None);
        assert_eq!(count(&mut lane, A, 7), Some((5, 6)));
        assert_eq!(count(&mut lane, B, 3), None, "two are missing and one is lost");
        assert_eq!(count(&mut lane, B, 5), Some((4, 4)));
        assert_eq!(count(&mut lane, A, 9), None);
    }

    #[test]
    fn a_boot_begins_counters_anew_even_if_its_mark_is_lost() {
        let mut lane = lane();
        lane.count(A, 5);
        assert!(lane.count(A, 5).is_none());
        assert_eq!(lane.boot(), 4, "a repetition without a loss is left for the verifier to find");
        lane.lose(9);
        assert_eq!(lane.count(A, 3).map(|gap| (gap.boot, gap.from, gap.to)), Some((5, 1, 2)));
        lane.start(Some(8));
        assert_eq!((lane.boot(), lane.count(A, 2)), (8, None));
    }
}
