//! The part of verification that compares stored columns with leaves, both ways.

use std::collections::HashMap;

use super::{
    bundle::Bundle,
    finding::{Code, Finding},
    leaf::Leaf,
    row::Row,
};

/// The stored rows of a bundle, by index. A bundle without rows claims none, and nothing is compared.
pub(super) struct Rows<'a> {
    by_index: Option<HashMap<u64, &'a Row>>,
    ghosts: Vec<u64>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(bundle: &'a Bundle) -> Self {
        let Some(rows) = &bundle.rows else { return Rows { by_index: None, ghosts: Vec::new() } };
        let mut by_index = HashMap::with_capacity(rows.len());
        let mut ghosts = Vec::new();
        for row in rows {
            if row.idx >= bundle.leaves.len() as u64 || by_index.insert(row.idx, row).is_some() {
                ghosts.push(row.idx);
            }
        }
        Rows { by_index: Some(by_index), ghosts }
    }

    /// An event must have its row, and the row must say what the leaf says. What is no event has been found
    /// already; a dropped leaf may keep its row until that goes too.
    pub(super) fn compare(&self, index: u64, leaf: &Leaf, findings: &mut Vec<Finding>) {
        let Some(rows) = &self.by_index else { return };
        let Some(row) = rows.get(&index) else {
            findings.push(Finding::new(Code::RowMissing, index));
            return;
        };
        for column in Row::of(index, leaf).differences(row) {
            findings.push(Finding::new(Code::Projection, format!("{index}.{column}")));
        }
    }

    /// Rows beyond the log, and second rows of one event.
    pub(super) fn finish(&self, findings: &mut Vec<Finding>) {
        findings.extend(self.ghosts.iter().map(|index| Finding::new(Code::RowWithoutLeaf, index)));
    }
}
