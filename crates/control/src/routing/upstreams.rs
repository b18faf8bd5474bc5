//! What gateways see of upstreams, put together: of the one in this process as it tells once a second, of those on their own as they told
//! last. Kept in memory alone: it is how things stand now, not what was.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rowhouse_domain::routes::{Seen, SeenBoard};

/// What a node told is shown for so long; it tells every few seconds.
const SHOWN_US: i64 = 30_000_000;
/// Nodes that are remembered at once.
const NODES_MAX: usize = 1_024;

/// What is seen where.
#[derive(Default)]
pub struct Upstreams {
    own: SeenBoard,
    nodes: Mutex<BTreeMap<String, (i64, Vec<Seen>)>>,
}

impl Upstreams {
    /// Where the gateway of this process tells.
    pub fn board(&self) -> SeenBoard {
        self.own.clone()
    }

    /// A node tells.
    pub fn told(&self, node: &str, now_us: i64, seen: Vec<Seen>) {
        let mut nodes = self.nodes();
        nodes.retain(|_, (at_us, _)| now_us - *at_us < SHOWN_US);
        if nodes.len() < NODES_MAX || nodes.contains_key(node) {
            nodes.insert(node.to_owned(), (now_us, seen));
        }
    }

    /// By the name of the gateway; `own` is that of this process.
    pub fn all(&self, own: &str, now_us: i64) -> Vec<(String, Vec<Seen>)> {
        let nodes = self.nodes();
        let fresh = nodes.iter().filter(|(_, (at_us, _))| now_us - *at_us < SHOWN_US);
        let here = std::iter::once((own.to_owned(), self.own.all()));
        here.chain(fresh.map(|(name, (_, seen))| (name.clone(), seen.clone()))).collect()
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<String, (i64, Vec<Seen>)>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
