//! The part of verification that reads the leaves: their form and origin, ids, times, emitters' counters, and
//! what may be missing.

use std::collections::{HashMap, HashSet};

use super::{
    bundle::{Bundle, Trust},
    canonical::{self, Object, Reject, Value},
    finding::{Code, Finding},
    leaf::Leaf,
    verify_missing::Missing,
    verify_rows::Rows,
};

/// A stretch of an emitter's counters that the log itself speaks about, both ends included.
struct Explained {
    node: String,
    boot: i64,
    from: i64,
    to: i64,
}

impl Explained {
    fn read(details: &Object) -> Option<Self> {
        let node = details.text("n")?.to_owned();
        let (from, to) = (details.integer("from_c")?, details.integer("to_c")?);
        Some(Explained { node, boot: details.integer("b")?, from, to })
    }

    fn covers(&self, node: &str, boot: i64, from: i64, to: i64) -> bool {
        self.node == node && self.boot == boot && self.from <= from && to <= self.to
    }
}

/// A jump of an emitter's counter: from the last one seen to the one that came.
struct Jump {
    node: String,
    boot: i64,
    last: i64,
    next: i64,
    /// Leaves without bytes between the two: authorised drops may hold the missing counters.
    over_dropped: bool,
}

/// An event whose claimed time is far from its recorded one.
struct Odd {
    index: u64,
    node: String,
    boot: i64,
    counter: i64,
    code: Code,
}

/// Walks the leaves in order.
pub(super) struct EventWalk<'a> {
    origin: &'a str,
    /// The platform's log, whose leaves are head records beside events.
    names_heads: bool,
    rows: Rows<'a>,
    max_skew_us: i64,
    latest_us: i64,
    ids: HashSet<String>,
    recorded_at_us: Option<i64>,
    /// (node, boot) → last counter and the number of dropped leaves before it.
    emitters: HashMap<(String, i64), (i64, u64)>,
    jumps: Vec<Jump>,
    odd: Vec<Odd>,
    gaps: Vec<Explained>,
    resumed: Vec<Explained>,
    missing: Missing,
}

impl<'a> EventWalk<'a> {
    pub(super) fn new(bundle: &'a Bundle, trust: &Trust, latest_us: i64) -> Self {
        EventWalk {
            origin: &bundle.origin,
            names_heads: bundle.origin.ends_with("/platform"),
            rows: Rows::new(bundle),
            max_skew_us: trust.max_skew_us,
            latest_us,
            ids: HashSet::with_capacity(bundle.leaves.len()),
            recorded_at_us: None,
            emitters: HashMap::new(),
            jumps: Vec::new(),
            odd: Vec::new(),
            gaps: Vec::new(),
            resumed: Vec::new(),
            missing: Missing::new(trust.retention_floor_us),
        }
    }

    pub(super) fn visit(&mut self, index: u64, leaf: Option<&str>, findings: &mut Vec<Finding>) {
        let Some(bytes) = leaf else { return self.missing.dropped(index) };
        match Leaf::read(bytes.as_bytes()) {
            Ok(leaf) => self.event(index, leaf, findings),
            Err(_) if self.names_heads && is_head_record(bytes) => {}
            Err(reject) => findings.push(Finding::new(Code::LeafRejected(reject), index)),
        }
    }

    /// What only the whole log can tell. Returns how many leaves are missing by right.
    pub(super) fn finish(self, findings: &mut Vec<Finding>) -> u64 {
        self.rows.finish(findings);
        for jump in &self.jumps {
            let covered =
                self.gaps.iter().any(|gap| gap.covers(&jump.node, jump.boot, jump.last + 1, jump.next - 1));
            let code = if covered { Code::EmitterGapExplained } else { Code::EmitterGap };
            if covered || !jump.over_dropped {
                findings.push(Finding::new(code, format!("{}:{}->{}", jump.node, jump.last, jump.next)));
            }
        }
        for odd in &self.odd {
            if !self
                .resumed
                .iter()
                .any(|resumed| resumed.covers(&odd.node, odd.boot, odd.counter, odd.counter))
            {
                findings.push(Finding::new(odd.code, odd.index));
            }
        }
        self.missing.finish(findings)
    }

    fn event(&mut self, index: u64, leaf: Leaf, findings: &mut Vec<Finding>) {
        if leaf.place.log != self.origin {
            findings.push(Finding::new(Code::LeafOrigin, index));
        }
        self.times(index, &leaf, findings);
        self.counters(&leaf, findings);
        self.statements(index, &leaf);
        self.missing.kept(index, leaf.place.recorded_at_us);
        self.rows.compare(index, &leaf, findings);
        if !self.ids.insert(leaf.draft.id) {
            findings.push(Finding::new(Code::DuplicateId, index));
        }
    }

    fn times(&mut self, index: u64, leaf: &Leaf, findings: &mut Vec<Finding>) {
        let (occurred, recorded) = (leaf.draft.occurred_at_us, leaf.place.recorded_at_us);
        if self.recorded_at_us.is_some_and(|previous| recorded <= previous) {
            findings.push(Finding::new(Code::RecordedAtNotMonotonic, index));
        }
        self.recorded_at_us = Some(recorded);
        if recorded > self.latest_us.saturating_add(self.max_skew_us) {
            findings.push(Finding::new(Code::RecordedAtInFuture, index));
        }
        let lag = recorded.saturating_sub(occurred);
        if lag.saturating_abs() > self.max_skew_us {
            let code = if lag > 0 { Code::Backdated } else { Code::Postdated };
            let em = &leaf.place.emitter;
            self.odd.push(Odd { index, node: em.node.clone(), boot: em.boot, counter: em.counter, code });
        }
    }

    /// Counters of one emitter go 1, 2, 3 … in this log.
    fn counters(&mut self, leaf: &Leaf, findings: &mut Vec<Finding>) {
        let em = &leaf.place.emitter;
        let dropped = self.missing.count();
        let seen = self.emitters.entry((em.node.clone(), em.boot)).or_insert((0, 0));
        let (last, dropped_before) = *seen;
        if em.counter <= last {
            findings.push(Finding::new(Code::EmitterReplay, format!("{}:{last}->{}", em.node, em.counter)));
            return;
        }
        *seen = (em.counter, dropped);
        let lost = (em.counter - last - 1) as u64;
        if lost > 0 {
            let over_dropped = lost <= dropped - dropped_before;
            self.jumps.push(Jump {
                node: em.node.clone(),
                boot: em.boot,
                last,
                next: em.counter,
                over_dropped,
            });
        }
    }

    /// Leaves in which the log speaks about itself.
    fn statements(&mut self, index: u64, leaf: &Leaf) {
        let details = &leaf.draft.details;
        match leaf.draft.event.as_str() {
            "audit.retention.drop" => self.missing.authorised(index, details, leaf.place.recorded_at_us),
            "audit.pipeline.resume" => self.resumed.extend(Explained::read(details)),
            name if name.starts_with("audit.gap.") => self.gaps.extend(Explained::read(details)),
            _ => {}
        }
    }
}

/// Leaves of the platform's log that name other logs' heads have their own form.
fn is_head_record(bytes: &str) -> bool {
    matches!(head_record(bytes), Ok(Some(_)))
}

/// A head record: the log it names, its size and root. `None` for any other canonical object.
pub(super) fn head_record(bytes: &str) -> Result<Option<(String, u64, String)>, Reject> {
    let Value::Object(object) = canonical::decode(bytes.as_bytes())? else { return Ok(None) };
    if object.text("k") != Some("head") {
        return Ok(None);
    }
    let (log, size, root) = (object.text("log"), object.integer("size"), object.text("root"));
    let record = log.zip(size.and_then(|size| u64::try_from(size).ok())).zip(root);
    Ok(record.map(|((log, size), root)| (log.to_owned(), size, root.to_owned())))
}
