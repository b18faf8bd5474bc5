//! What this process knows of nodes: the versions that it published last, who follows them, and what arrives.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rowhouse_domain::access::Permit;
use rowhouse_domain::context::ContextKey;
use rowhouse_domain::directory::Directory;
use rowhouse_store::StoreError;
use tokio::sync::watch;
use uuid::Uuid;

use super::queries;
use super::raw_keys::PublicKey;
use crate::Control;

/// Versions that a node may go on from; from an older one it is told everything anew.
const VERSIONS: usize = 32;

/// What nodes share in this process.
pub struct Nodes {
    published: watch::Sender<u64>,
    wanted: watch::Sender<u64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Which life of the control plane this is; `None` until the door is open.
    life: Option<Uuid>,
    /// The key that nodes meet here.
    door: Option<PublicKey>,
    versions: VecDeque<Arc<Directory>>,
    following: HashMap<String, Following>,
    next: u64,
    /// What nodes sign contexts with, as it was read last.
    context_keys: Vec<ContextKey>,
}

/// A node that follows the directory now.
#[derive(Debug, Clone)]
pub struct Following {
    /// Which stream; a node has one, and a newer one ends it.
    pub stream: u64,
    /// The version that it was told last.
    pub version: u64,
    /// From where it came.
    pub address: String,
    /// By lane: where the lane ends at the node.
    pub lanes: BTreeMap<String, u64>,
}

impl Default for Nodes {
    fn default() -> Self {
        Nodes { published: watch::Sender::new(0), wanted: watch::Sender::new(0), state: Mutex::default() }
    }
}

impl Nodes {
    /// A version was published.
    pub fn published(&self, directory: Arc<Directory>) {
        let mut state = self.state();
        if state.versions.back().is_none_or(|last| last.version != directory.version) {
            state.versions.push_back(directory);
        }
        while state.versions.len() > VERSIONS {
            state.versions.pop_front();
        }
        drop(state);
        self.published.send_modify(|count| *count += 1);
    }

    /// Something else is wanted of a node: streams look whether it is theirs.
    pub fn wanted_changed(&self) {
        self.wanted.send_modify(|count| *count += 1);
    }

    pub(super) fn open(&self, life: Uuid, door: PublicKey) {
        let mut state = self.state();
        (state.life, state.door) = (Some(life), Some(door));
    }

    /// The key that nodes meet here; `None` if there is no door.
    pub fn door(&self) -> Option<PublicKey> {
        self.state().door
    }

    pub(super) fn life(&self) -> Option<Uuid> {
        self.state().life
    }

    pub(super) fn publications(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    pub(super) fn wanted(&self) -> watch::Receiver<u64> {
        self.wanted.subscribe()
    }

    /// The version of this number, if it is one of the last.
    pub(super) fn version(&self, number: u64) -> Option<Arc<Directory>> {
        self.state().versions.iter().find(|own| own.version == number).cloned()
    }

    /// A node begins to follow; the number of its stream.
    pub(super) fn begin(&self, name: &str, address: String) -> u64 {
        let mut state = self.state();
        state.next += 1;
        let stream = state.next;
        let lanes = state.following.remove(name).map(|before| before.lanes).unwrap_or_default();
        state.following.insert(name.to_owned(), Following { stream, version: 0, address, lanes });
        stream
    }

    /// Whether this is still the node's stream; notes what it was told.
    pub(super) fn told(&self, name: &str, stream: u64, version: u64) -> bool {
        let mut state = self.state();
        match state.following.get_mut(name) {
            Some(own) if own.stream == stream => {
                own.version = version;
                true
            }
            _ => false,
        }
    }

    pub(super) fn end(&self, name: &str, stream: u64) {
        let mut state = self.state();
        if state.following.get(name).is_some_and(|own| own.stream == stream) {
            state.following.remove(name);
        }
    }

    pub(super) fn lane_ends(&self, name: &str, lane: &str, end: u64) {
        if let Some(own) = self.state().following.get_mut(name) {
            own.lanes.insert(lane.to_owned(), end);
        }
    }

    /// Who follows, by name.
    pub fn following(&self) -> HashMap<String, Following> {
        self.state().following.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys that nodes sign contexts with now; while the database is away, as they were read last.
pub async fn context_keys_now(control: &Control) -> Vec<ContextKey> {
    let read = async {
        let permit = Permit::for_system(None, "keys of nodes");
        let transaction = control.store.read(&permit).await?;
        let keys = queries::context_keys(&transaction).await?;
        transaction.finish().await?;
        Ok::<_, StoreError>(keys)
    };
    match read.await {
        Ok(keys) => {
            control.nodes.state().context_keys.clone_from(&keys);
            keys
        }
        Err(error) => {
            tracing::warn!(%error, "the keys of nodes cannot be read now");
            control.nodes.state().context_keys.clone()
        }
    }
}
