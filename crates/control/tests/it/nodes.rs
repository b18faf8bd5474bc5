//! What a node is told over its stream, and what a shipment of its journal is; the door as a whole is tried with the binary.

use std::time::Duration;

use rowhouse_control::deploy::nodes::link::{Link, LinkError};
use rowhouse_control::deploy::nodes::wire::{
    BATCH_BYTES, BATCH_FRAMES, Enrolment, FORMAT, Follow, Message, Shipment, TokenText, hex,
};
use rowhouse_control::deploy::nodes::{self, NodeKey, Told};
use rowhouse_domain::context::ContextSigner;
use rowhouse_domain::directory::Directory;
use rowhouse_journal::{Batch, Class, Journal, Kind, Options, RequestRecord, UsagePairs};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use crate::house::House;
use crate::platform::{PATIENCE, START_US};

/// A control plane with a door.
struct Open {
    house: House,
    address: String,
    door: [u8; 32],
    _stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Open {
    async fn start() -> Open {
        let house = House::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let key = NodeKey::new(&[1; 32]).expect("a key");
        let door = key.public();
        let (stop, wanted) = watch::channel(false);
        let told = Told { peppers: vec![(1, [9; 32])] };
        let task = tokio::spawn(nodes::run(house.platform.control.clone(), listener, key, told, wanted));
        Open { house, address, door, _stop: stop, task }
    }

    async fn token(&self, name: &str) -> String {
        let opened = async {
            while self.house.platform.control.nodes.door().is_none() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, opened).await.expect("the door opens");
        let made = self.house.created(&self.house.root, "/v1/nodes", json!({ "name": name })).await;
        made["token"].as_str().expect("a text").to_owned()
    }

    async fn link(&self, key: &NodeKey) -> Link {
        Link::connect(&self.address, key, self.door).await.expect("the door is open")
    }

    /// A node with this key, enrolled.
    async fn enrolled(&self, name: &str, key: &NodeKey) -> Link {
        let token = self.token(name).await;
        let link = self.link(key).await;
        link.enrol(&asked(name, &token)).await.expect("the token is good");
        // A stranger's connection does not last.
        self.link(key).await
    }
}

fn asked(name: &str, token: &str) -> Enrolment {
    let secret = hex(&TokenText::parse(token).expect("a token").secret);
    let context_key = hex(ContextSigner::new("n", &[4; 32]).verifier().as_bytes());
    Enrolment { name: name.to_owned(), secret, context_key }
}

fn process(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn start_of(boot: u64, number: u128) -> Follow {
    let (life, version) = (None, None);
    Follow { format: FORMAT, boot, process: process(number), release: "1".to_owned(), life, version }
}

fn code<T>(answer: Result<T, LinkError>) -> String {
    match answer {
        Ok(_) => "in".to_owned(),
        Err(error) => error.code().to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_is_told_what_changed_and_a_revoked_one_that_it_is() {
    let open = Open::start().await;
    open.house.tenant("acme", "basic").await;
    let key = NodeKey::new(&[2; 32]).expect("a key");
    let link = open.enrolled("east", &key).await;
    let mut messages = link.follow(&start_of(1, 1)).await.expect("it is let in");
    let (mut here, mut life) = (Directory::empty(), None);
    let mut next = async |here: &mut Directory, life: &mut Option<Uuid>| loop {
        let told = timeout(PATIENCE, messages.next()).await.expect("it beats");
        match told.expect("whole").expect("it goes on").0 {
            Message::Welcome(welcome) => *life = Some(welcome.life),
            Message::Change(change) => here.apply(*change).expect("it follows"),
            Message::Beat { version } if version == here.version => return false,
            Message::Beat { .. } => {}
            Message::Revoked => return true,
        }
    };
    assert!(!next(&mut here, &mut life).await);
    assert_eq!(here.version, open.house.platform.control.directory.version());
    assert!(here.tenant_by_code("acme").is_some());
    let member = open.house.member("acme", "viewer").await;
    while here.version < open.house.platform.control.directory.version() {
        next(&mut here, &mut life).await;
    }
    let own = |key: &rowhouse_domain::directory::Key| key.id.to_string() == member.id;
    let keys: Vec<_> = here.keys.iter().filter(|(_, key)| own(key)).collect();
    assert_eq!(keys.len(), 1);
    // What was compiled there decides as what was compiled here.
    let control = open.house.platform.control.directory.current();
    let shown = |directory: &Directory| {
        let tenant = directory.tenant_by_code("acme").expect("it is there");
        let mut all: Vec<_> = tenant
            .access
            .principals()
            .map(|own| format!("{own} {:?}", tenant.access.effective(&own, None, START_US)))
            .collect();
        all.sort();
        (all, format!("{:?} {:?} {:?}", tenant.limits, tenant.quotas, tenant.features))
    };
    assert_eq!(shown(&here), shown(&control));
    assert!(!shown(&here).0.is_empty());

    // Another connection that goes on from there is told the difference; of another life, everything.
    for (life, is_whole) in [(life, false), (Some(Uuid::nil()), true)] {
        let asked = Follow { life, version: Some(here.version), ..start_of(1, 1) };
        let mut again = link.follow(&asked).await.expect("it is let in");
        open.house.account("acme", &format!("machine-{is_whole}")).await;
        let change = loop {
            let told = timeout(PATIENCE, again.next()).await.expect("it beats").expect("whole");
            if let Message::Change(change) = told.expect("it goes on").0 {
                break change;
            }
        };
        assert_eq!(change.is_whole(), is_whole);
    }

    let mut last = link.follow(&start_of(1, 1)).await.expect("it is let in");
    let (status, answer) = open.house.platform.call(&open.house.root, "DELETE", "/v1/nodes/east", None).await;
    assert_eq!(status, 204, "{answer}");
    let told = async {
        while let Some((message, _)) = last.next().await.expect("whole") {
            if matches!(message, Message::Revoked) {
                return true;
            }
        }
        false
    };
    assert!(timeout(PATIENCE, told).await.expect("at once"), "it is told");
    assert_eq!(code(link.positions().await), "deploy.node_revoked");
    assert_eq!(code(link.follow(&start_of(2, 9)).await), "deploy.node_revoked");
    assert_eq!(code(link.ship(process(1), "g0", &Shipment::default()).await), "deploy.node_revoked");
}

/// Lets this process open more than a shell's usual 1,024 files.
fn open_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = now.maximum.map_or(8_192, |most| most.min(8_192));
    if now.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..now }).expect("up to the hard limit");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_at_the_door_keeps_no_node_out() {
    open_many_files();
    let open = Open::start().await;
    let (east, west) = (NodeKey::new(&[2; 32]).expect("a key"), NodeKey::new(&[3; 32]).expect("a key"));
    let follows = async |link: Link, number| {
        let mut messages = link.follow(&start_of(number, number.into())).await.expect("it is let in");
        let told = timeout(PATIENCE, messages.next()).await.expect("it is told");
        assert!(matches!(told.expect("whole").expect("something").0, Message::Welcome(_)));
    };
    follows(open.enrolled("east", &east).await, 1).await;
    // More than all places there are.
    let mut silent = Vec::new();
    for _ in 0..1_100 {
        silent.push(tokio::net::TcpStream::connect(&open.address).await.expect("it is accepted"));
    }
    follows(open.link(&east).await, 2).await;
    follows(open.enrolled("west", &west).await, 3).await;
    drop(silent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_with_keys_of_their_own_keep_no_node_from_enrolling() {
    let open = Open::start().await;
    let mut strangers = Vec::new();
    for number in 0..70_u8 {
        let mut secret = [100; 32];
        secret[0] = number;
        strangers.push(open.link(&NodeKey::new(&secret).expect("a key")).await);
    }
    let (key, asked) = (NodeKey::new(&[2; 32]).expect("a key"), asked("east", &open.token("east").await));
    // Strangers that are still being looked up may come in after it: as every node does, it tries again.
    let enrolled = async {
        while open.link(&key).await.enrol(&asked).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, enrolled).await.expect("it is let in");
    drop(strangers);
}

#[test]
fn a_shipment_is_read_as_it_was_written_and_nothing_else_is() {
    let (_folder, mut batch) = recorded(7, 5);
    batch.gap = None;
    let shipment = Shipment { from: 0, batch, end: 99, complete_to_us: Some(-5) };
    let bytes = shipment.encode();
    let read = Shipment::decode(&bytes).expect("it was written so");
    let frames = |own: &Shipment| own.batch.frames().map(|frame| format!("{frame:?}")).collect::<Vec<_>>();
    assert_eq!((read.from, read.end, read.complete_to_us), (0, 99, Some(-5)));
    assert_eq!(frames(&read), frames(&shipment));
    for length in 0..bytes.len() {
        let torn = Shipment::decode(&bytes[..length]);
        assert!(torn.is_err(), "torn at {length} of {}", bytes.len());
    }
    let mut swapped = Batch::default();
    swapped.append(5, Class::R, Kind::LaneStop, &[]).expect("the first");
    assert!(swapped.append(5, Class::R, Kind::LaneStop, &[]).is_err(), "twice");
    swapped.append(7, Class::R, Kind::LaneStop, &[]).expect("later");
    swapped.next_sequence = 8;
    assert!(swapped.check(5).is_err(), "6 is missing");
}

/// What a gateway of its own has recorded: the start of a lane and so many calls.
fn recorded(tenant: u128, calls: u64) -> (Folder, Batch) {
    let folder = Folder(std::env::temp_dir().join(format!("rowhouse-far-{}-{tenant:x}", std::process::id())));
    let options = Options { segment_bytes: 1 << 20, keep: Duration::ZERO, ..Options::new("east") };
    let (journal, _) = Journal::open(&folder.0, options).expect("a journal");
    let mut lane = journal.lane("gateway-0").expect("a lane");
    for number in 0..calls {
        let mut usage = UsagePairs::default();
        usage.push("api_calls", 1_000_000_000_000).expect("room");
        let at_us = START_US + number as i64;
        let record = RequestRecord {
            request_id: u128::from(number) + 1,
            started_at_us: at_us,
            tenant: Some(tenant),
            endpoint: "GET /v1/notes",
            status: 200,
            usage,
            ..RequestRecord::default()
        };
        lane.append_record(Class::R, &record).expect("room");
    }
    journal.synchronise();
    let mut tail = journal.reader().tail("gateway-0", 0);
    let batch = tail.next_batch(BATCH_FRAMES, BATCH_BYTES).expect("it is readable");
    drop(lane);
    (folder, batch)
}

struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
