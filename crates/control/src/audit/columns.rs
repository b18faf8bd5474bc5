//! New rows of events and of the tree over them, a column at a time, as one statement takes them.

use rowhouse_domain::audit::row::Row;
use rowhouse_domain::audit::tree::Hash;
use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Transaction};

use super::queries;

/// Rows to be inserted.
#[derive(Default)]
pub struct Columns {
    idx: Vec<i64>,
    rx: Vec<i64>,
    ts: Vec<i64>,
    id: Vec<String>,
    ev: Vec<String>,
    ty: Vec<&'static str>,
    out: Vec<String>,
    actor: Vec<String>,
    tgt: Vec<String>,
    leaf: Vec<String>,
    leaf_hash: Vec<Vec<u8>>,
}

impl Columns {
    /// Adds one row.
    pub fn push(&mut self, row: Row, ty: &'static str, leaf: String, leaf_hash: Hash) {
        self.idx.push(i64::try_from(row.idx).expect("a log has fewer than 2^63 leaves"));
        self.rx.push(row.rx);
        self.ts.push(row.ts);
        self.id.push(row.id);
        self.ev.push(row.ev);
        self.ty.push(ty);
        self.out.push(row.out);
        self.actor.push(row.actor);
        self.tgt.push(array_literal(&row.tgt));
        self.leaf.push(leaf);
        self.leaf_hash.push(leaf_hash.0.to_vec());
    }

    /// Inserts all rows into `log`.
    pub async fn insert(&self, tx: &Transaction, log: TenantId) -> Result<(), StoreError> {
        let Columns { idx, rx, ts, id, ev, ty, out, actor, tgt, leaf, leaf_hash } = self;
        tx.execute(queries::ADD_EVENTS, &[&log.0, idx, rx, ts, id, ev, ty, out, actor, tgt, leaf, leaf_hash])
            .await?;
        Ok(())
    }
}

/// A text array as PostgreSQL reads it: arrays of arrays must be of one length, so each goes as text. Every element
/// is quoted, with `"` and `\` escaped.
fn array_literal(elements: &[String]) -> String {
    let mut literal = "{".to_owned();
    for (index, element) in elements.iter().enumerate() {
        literal.push_str(if index == 0 { "\"" } else { ",\"" });
        for character in element.chars() {
            if matches!(character, '"' | '\\') {
                literal.push('\\');
            }
            literal.push(character);
        }
        literal.push('"');
    }
    literal.push('}');
    literal
}

/// Height of the subtrees of one level above those of the level below, as in tiles: 2^8 = 256.
pub const LEVEL_HEIGHT: u32 = 8;

/// Roots of complete subtrees to be inserted.
#[derive(Default)]
pub struct Subtrees {
    level: Vec<i16>,
    number: Vec<i64>,
    root: Vec<Vec<u8>>,
}

impl Subtrees {
    /// Notes the subtree of `height` that ends at `size`, if its height is one of a level.
    pub fn push(&mut self, size: u64, height: u32, root: Hash) {
        if height.is_multiple_of(LEVEL_HEIGHT) {
            self.level.push(i16::try_from(height / LEVEL_HEIGHT).expect("a height is below 64"));
            self.number.push(i64::try_from((size >> height) - 1).expect("a log has fewer than 2^63 leaves"));
            self.root.push(root.0.to_vec());
        }
    }

    /// Inserts all of them for `log`.
    pub async fn insert(&self, tx: &Transaction, log: TenantId) -> Result<(), StoreError> {
        if !self.root.is_empty() {
            tx.execute(queries::ADD_SUBTREES, &[&log.0, &self.level, &self.number, &self.root]).await?;
        }
        Ok(())
    }
}
