//! A gateway between a client and a service, with a clock that the test moves.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rowhouse_domain::clock::{Clock, Hand};
use rowhouse_domain::context::{ContextKey, ContextSigner};
use rowhouse_domain::directory::{Directory, DirectoryWatch};
use rowhouse_domain::entropy::Entropy;
use rowhouse_domain::keys::{Pepper, Peppers};
use rowhouse_gateway::{Collaborators, Gateway, GatewayConfig, GatewayHandle};
use rowhouse_journal::{Class, Journal, Kind, Options, RequestRecord};

use crate::client::{Ask, Wire};
use crate::directory::{ACME, BOLT, KeyPlan, Plan};
use crate::upstream::Upstream;

/// 2026-11-21T12:00:00Z.
pub const NOON_US: i64 = 1_795_262_400_000_000;
pub const DAY_US: i64 = 86_400_000_000;

/// Everything that a test plays with.
pub struct Stage {
    pub gateway: Option<GatewayHandle>,
    pub address: SocketAddr,
    pub upstream: Upstream,
    pub watch: DirectoryWatch,
    pub hand: Hand,
    pub context_key: ContextKey,
    /// Acme's key, of an owner who may do everything.
    pub acme: String,
    /// Bolt's.
    pub bolt: String,
    pub plan: Plan,
    journal: Option<Journal>,
    folder: PathBuf,
}

/// A record as it was read back.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub class: Class,
    payload: Vec<u8>,
}

impl Recorded {
    pub fn record(&self) -> RequestRecord<'_> {
        RequestRecord::decode(&self.payload).unwrap()
    }
}

/// Repeatable, and different for every byte drawn.
fn entropy() -> Entropy {
    let state = std::sync::Mutex::new(0x9e37_79b9_7f4a_7c15_u64);
    Entropy::new(move |out| {
        let mut state = state.lock().unwrap();
        for byte in out {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            *byte = (*state >> 32) as u8;
        }
    })
}

impl Stage {
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// Starts with a plan that `change` has changed.
    pub fn with(change: impl FnOnce(&mut Plan)) -> Self {
        Self::configured(|_| {}, change)
    }

    pub fn configured(configure: impl FnOnce(&mut GatewayConfig), change: impl FnOnce(&mut Plan)) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("rowhouse-gateway-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let options = Options { segment_bytes: 1 << 20, ..Options::new("node-a") };
        let (journal, _) = Journal::open(&folder, options).unwrap();

        let upstream = Upstream::start("shared");
        let pepper = Pepper::new(1, &[7; 32]);
        let mut plan = Plan::new(&upstream.address.to_string(), pepper.clone(), entropy());
        let (acme, bolt) = (plan.key(KeyPlan::of(ACME)), plan.key(KeyPlan::of(BOLT)));
        change(&mut plan);

        let (clock, hand) = Clock::by_hand(NOON_US);
        let signer = ContextSigner::new("k1", &[3; 32]);
        let context_key = signer.verifier();
        let watch = DirectoryWatch::new(plan.build());
        let mut config = GatewayConfig::new("127.0.0.1:0".parse().unwrap());
        config.cores = 2;
        config.limit_slots = 4096;
        config.docs_url = "https://docs.example.test".to_owned();
        configure(&mut config);
        let collaborators = Collaborators {
            directory: watch.clone(),
            peppers: Peppers::new(vec![pepper]),
            signer,
            clock,
            entropy: entropy(),
        };
        let gateway = Gateway::start(config, collaborators, &journal).unwrap();
        Stage {
            address: gateway.address(),
            gateway: Some(gateway),
            upstream,
            watch,
            hand,
            context_key,
            acme,
            bolt,
            plan,
            journal: Some(journal),
            folder,
        }
    }

    /// A request to `acme.example.test` with acme's key.
    pub fn ask(&self, method: &str, target: &str) -> Ask {
        self.bare(method, target).host("acme.example.test").key(&self.acme)
    }

    /// A request with nothing in it yet.
    pub fn bare(&self, method: &str, target: &str) -> Ask {
        Ask::new(self.address, method, target)
    }

    pub fn wire(&self) -> Wire {
        Wire::open(self.address)
    }

    /// Puts a changed plan in force.
    pub fn publish(&mut self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.plan);
        self.plan.version += 1;
        let directory: Directory = self.plan.build();
        self.watch.publish(directory);
    }

    /// All records so far, in the order of their lanes; waits until there are at least `least`.
    pub fn records(&self, least: usize) -> Vec<Recorded> {
        let journal = self.journal.as_ref().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let records = read(journal);
            if records.len() >= least {
                return records;
            }
            assert!(Instant::now() < until, "only {} of {least} records came: {records:#?}", records.len());
            std::thread::yield_now();
        }
    }

    /// Waits until no client has a connection any more.
    pub fn until_all_have_gone(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.gateway.as_ref().unwrap().metrics().connections_open > 0 {
            assert!(Instant::now() < until, "clients are still there");
            std::thread::yield_now();
        }
    }

    /// The only record.
    pub fn record(&self) -> Recorded {
        let mut records = self.records(1);
        assert_eq!(records.len(), 1, "{records:#?}");
        records.pop().unwrap()
    }
}

fn read(journal: &Journal) -> Vec<Recorded> {
    let reader = journal.reader();
    let mut all = Vec::new();
    for lane in reader.lanes().unwrap() {
        let mut tail = reader.tail_published(&lane, 0);
        loop {
            let batch = tail.next_batch(1000, 1 << 20).unwrap();
            if batch.is_empty() {
                break;
            }
            let requests = batch.frames().filter(|frame| frame.kind == Kind::Request);
            all.extend(
                requests.map(|frame| Recorded { class: frame.class, payload: frame.payload.to_vec() }),
            );
        }
    }
    all
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.gateway.take());
        drop(self.journal.take());
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
