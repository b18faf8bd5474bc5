//! The part of verification that compares stored columns with leaves, both ways.

use std::collections::HashMap;

use super::{
    bundle::Bundle,
    finding::{Code, Finding},
    leaf::Leaf,
    row::Row,
};

pub(super) fn compare(bundle: &Bundle, findings: &mut Vec<Finding>) {
    let Some(rows) = &bundle.rows else { return };
    let mut by_index: HashMap<u64, &Row> = HashMap::with_capacity(rows.len());
    for row in rows {
        let ghost = row.idx >= bundle.leaves.len() as u64 || by_index.insert(row.idx, row).is_some();
        if ghost {
            findings.push(Finding::new(Code::RowWithoutLeaf, row.idx));
        }
    }
    for (index, leaf) in (0u64..).zip(&bundle.leaves) {
        // What is no event has been found already; a dropped leaf may keep its row until that goes too.
        let Some(leaf) = leaf.as_ref().and_then(|leaf| Leaf::read(leaf.as_bytes()).ok()) else { continue };
        match by_index.get(&index) {
            None => findings.push(Finding::new(Code::RowMissing, index)),
            Some(row) => differences(index, &leaf, row, findings),
        }
    }
}

fn differences(index: u64, leaf: &Leaf, row: &Row, findings: &mut Vec<Finding>) {
    for column in Row::of(index, leaf).differences(row) {
        findings.push(Finding::new(Code::Projection, format!("{index}.{column}")));
    }
}
