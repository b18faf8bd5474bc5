//! A log for tests: forty events of two emitters with two checkpoints, and the hands of an attacker.

use super::{
    bundle::{Bundle, PlatformHead, PlatformPart, Trust, TrustFile},
    canonical::Object,
    leaf::{Emitter, EventDraft, Leaf, Party, PartyKind, Placement, Target},
    note::{Checkpoint, SignerKey},
    row::Row,
    tree::{Hash, Head, inclusion_proof, leaf_hash, root},
};

pub const ORIGIN: &str = "audit.example.com/t/tenant_01";
pub const DAY_US: i64 = 86_400_000_000;
const START_US: i64 = 1_700_000_000_000_000;

/// A log under construction, and the keys of its operator.
#[derive(Clone)]
pub struct History {
    pub leaves: Vec<Leaf>,
    pub now_us: i64,
    key: SignerKey,
    platform_key: SignerKey,
}

impl History {
    /// Forty events: odd ones by `node-b`, even ones by `node-a`, a second apart.
    pub fn of_forty() -> Self {
        let key = SignerKey::from_seed(ORIGIN, &[1; 32]).unwrap();
        let platform_key = SignerKey::from_seed("audit.example.com/platform", &[2; 32]).unwrap();
        let mut history = History { leaves: Vec::new(), now_us: START_US, key, platform_key };
        (0..40).for_each(|_| history.add("tenancy.tenant_changed", Object::new()));
        history
    }

    /// The next event, as the sequencer would place it.
    pub fn add(&mut self, event: &str, details: Object) {
        let index = self.leaves.len();
        self.now_us += 1_000_000;
        let actor = Party { kind: PartyKind::User, subject: format!("sub_{}", index % 7) };
        let target = Target { kind: "tenant".into(), id: "tenant_01".into() };
        let mut draft = EventDraft::listed(
            format!("event_{index:04}"),
            event,
            "update",
            self.now_us - 500,
            actor,
            target,
        )
        .unwrap();
        draft.details = details;
        let node = if index.is_multiple_of(2) { "node-a" } else { "node-b" };
        let last = self
            .leaves
            .iter()
            .filter(|leaf| leaf.place.emitter.node == node)
            .map(|leaf| leaf.place.emitter.counter)
            .max();
        let emitter = Emitter { node: node.into(), boot: 1, counter: last.unwrap_or(0) + 1 };
        let place = Placement { log: ORIGIN.into(), emitter, recorded_at_us: self.now_us };
        self.leaves.push(Leaf { place, draft });
    }

    pub fn bytes(&self) -> Vec<String> {
        self.leaves.iter().map(|leaf| leaf.render().unwrap()).collect()
    }

    /// What an honest export holds, with checkpoints at these sizes.
    pub fn bundle(&self, sizes: &[u64]) -> Bundle {
        let leaves = self.bytes();
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(leaf.as_bytes())).collect();
        Bundle {
            origin: ORIGIN.into(),
            now: self.now_us,
            leaf_hashes: hashes.iter().map(|hash| hash.to_hex()).collect(),
            rows: Some((0..).zip(&self.leaves).map(|(idx, leaf)| Row::of(idx, leaf)).collect()),
            checkpoints: sizes.iter().map(|size| self.sign(&hashes, *size)).collect(),
            leaves: leaves.into_iter().map(Some).collect(),
            log_vkeys: Vec::new(),
            platform: None,
        }
    }

    /// A checkpoint over the first `size` hashes, signed with the log's key.
    pub fn sign(&self, hashes: &[Hash], size: u64) -> String {
        self.sign_head(ORIGIN, Head { size, root: root(&hashes[..size as usize]) })
    }

    pub fn sign_head(&self, origin: &str, head: Head) -> String {
        Checkpoint { origin: origin.into(), head }.sign(&[&self.key]).unwrap()
    }

    /// The platform's log: other logs' heads, and ours at `head`.
    pub fn platform(&self, head: Head) -> PlatformPart {
        let record = |log: &str, head: &Head| {
            format!(
                r#"{{"epoch":1,"k":"head","live_logs":3,"log":"{log}","root":"{}","size":{},"v":1}}"#,
                head.root, head.size
            )
        };
        let other = Head { size: 1, root: leaf_hash(b"other") };
        let leaves = [
            record("audit.example.com/t/a", &other),
            record(ORIGIN, &head),
            record("audit.example.com/t/b", &other),
        ];
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(leaf.as_bytes())).collect();
        let whole = Head { size: 3, root: root(&hashes) };
        let checkpoint = Checkpoint { origin: "audit.example.com/platform".into(), head: whole };
        PlatformPart {
            heads: vec![PlatformHead {
                index: 1,
                leaf: leaves[1].clone(),
                inclusion: inclusion_proof(1, &hashes).unwrap(),
            }],
            checkpoint: checkpoint.sign(&[&self.platform_key]).unwrap(),
        }
    }

    pub fn key(&self) -> String {
        self.key.verifier().to_string()
    }

    /// Own key, and a pin at `pinned` leaves if given.
    pub fn trust(&self, pinned: Option<u64>) -> Trust {
        let hashes: Vec<Hash> = self.bytes().iter().map(|leaf| leaf_hash(leaf.as_bytes())).collect();
        let file = TrustFile {
            log_vkeys: vec![self.key()],
            platform_vkeys: vec![self.platform_key.verifier().to_string()],
            pinned: pinned.map(|size| self.sign(&hashes, size)),
            ..TrustFile::default()
        };
        Trust::read(&file).unwrap()
    }
}

/// Recomputes the hashes a bundle claims, as an attacker with the database does.
pub fn rehash(bundle: &mut Bundle) {
    bundle.leaf_hashes =
        bundle.leaves.iter().flatten().map(|leaf| leaf_hash(leaf.as_bytes()).to_hex()).collect();
}

/// The hashes a bundle claims.
pub fn hashes(bundle: &Bundle) -> Vec<Hash> {
    bundle.leaf_hashes.iter().map(|text| Hash::from_hex(text).unwrap()).collect()
}
