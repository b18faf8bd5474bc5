//! Leaves without bytes. They are fine only where an `audit.retention.drop` leaf covers them, two people
//! approved, and the newest dropped event was old enough. That newest leaf keeps its bytes, so that its time is
//! proven for ever.

use std::collections::BTreeSet;

use super::{
    canonical::{Object, Value},
    finding::{Code, Finding},
};

/// One authorisation: the range `lo` (included) to `hi` (excluded).
struct Drop {
    index: u64,
    lo: u64,
    hi: u64,
    approvers: usize,
    recorded_at_us: i64,
}

pub(super) struct Missing {
    floor_us: i64,
    dropped: Vec<u64>,
    kept: Vec<(u64, i64)>,
    drops: Vec<Drop>,
}

impl Missing {
    pub(super) fn new(floor_us: i64) -> Self {
        Missing { floor_us, dropped: Vec::new(), kept: Vec::new(), drops: Vec::new() }
    }

    pub(super) fn dropped(&mut self, index: u64) {
        self.dropped.push(index);
    }

    /// Dropped leaves so far.
    pub(super) fn count(&self) -> u64 {
        self.dropped.len() as u64
    }

    pub(super) fn kept(&mut self, index: u64, recorded_at_us: i64) {
        self.kept.push((index, recorded_at_us));
    }

    pub(super) fn authorised(&mut self, index: u64, details: &Object, recorded_at_us: i64) {
        let bound = |key| details.integer(key).and_then(|number| u64::try_from(number).ok());
        let (Some(lo), Some(hi)) = (bound("lo"), bound("hi")) else { return };
        let names = details.list("approvers").unwrap_or_default().iter();
        let distinct: BTreeSet<&str> = names
            .filter_map(|name| if let Value::Text(name) = name { Some(name.as_str()) } else { None })
            .collect();
        self.drops.push(Drop { index, lo, hi, approvers: distinct.len(), recorded_at_us });
    }

    /// Judges every missing leaf; returns how many are missing by right.
    pub(super) fn finish(self, findings: &mut Vec<Finding>) -> u64 {
        let mut by_right = 0;
        for index in &self.dropped {
            let mut covering =
                self.drops.iter().filter(|drop| (drop.lo..drop.hi).contains(index) && *index < drop.index);
            match covering.next() {
                Some(_) => by_right += 1,
                None => findings.push(Finding::new(Code::MissingUnauthorised, index)),
            }
        }
        self.drops.iter().filter(|drop| self.concerns(drop)).for_each(|drop| self.judge(drop, findings));
        by_right
    }

    fn concerns(&self, drop: &Drop) -> bool {
        self.dropped.iter().any(|index| (drop.lo..drop.hi).contains(index))
    }

    fn judge(&self, drop: &Drop, findings: &mut Vec<Finding>) {
        if drop.approvers < 2 {
            findings.push(Finding::new(Code::RetentionNotDualApproved, drop.index));
        }
        let newest = self.dropped.iter().filter(|index| (drop.lo..drop.hi).contains(index)).max();
        // The first kept leaf after the newest dropped one bounds its age: recorded times rise.
        let witness = newest.and_then(|newest| self.kept.iter().find(|(index, _)| index > newest));
        let age_us = witness.map(|(_, recorded)| drop.recorded_at_us.saturating_sub(*recorded));
        if age_us.is_none_or(|age| age < self.floor_us) {
            findings.push(Finding::new(Code::RetentionEarly, drop.index));
        }
    }
}
