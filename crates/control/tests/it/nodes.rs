//! What a node is told over its stream, and what a shipment of its journal is; the door as a whole is tried with the binary.

use std::time::Duration;

use rowhouse_control::deploy::nodes::link::{Link, LinkError, Messages};
use rowhouse_control::deploy::nodes::wire::{Follow, Message, Shipment};
use rowhouse_control::deploy::nodes::{self, NodeKey, Told};
use rowhouse_domain::directory::Directory;
use rowhouse_journal::{Batch, Class, Kind};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use crate::house::House;
use crate::node_client::{asked, code, process, recorded, start_of};
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
            Message::Beat { .. } | Message::Drain { .. } => {}
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

/// What the node is told next of being drained.
async fn told_of_drain(messages: &mut Messages) -> Option<i64> {
    let told = async {
        loop {
            let (message, _) = messages.next().await.expect("whole").expect("it goes on");
            if let Message::Drain { drain } = message {
                return drain;
            }
        }
    };
    timeout(PATIENCE, told).await.expect("it is told")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_is_one_until_it_is_taken_back() {
    let open = Open::start().await;
    let (key, platform) = (NodeKey::new(&[2; 32]).expect("a key"), &open.house.platform);
    let link = open.enrolled("east", &key).await;
    let mut messages = link.follow(&start_of(1, 1)).await.expect("it is let in");
    assert_eq!(told_of_drain(&mut messages).await, None, "told first of all");
    let ask = async |what: &str| {
        let (status, node) =
            platform.call(&open.house.root, "POST", &format!("/v1/nodes/east/{what}"), None).await;
        assert_eq!(status, 200, "{node}");
        node["drain"].clone()
    };
    let state = async || {
        let (_, all) = platform.call(&open.house.root, "GET", "/v1/nodes", None).await;
        all["items"][0]["drain"]["state"].clone()
    };
    assert_eq!(ask("drain").await["state"], "asked");
    assert_eq!(told_of_drain(&mut messages).await, Some(1));
    assert_eq!(ask("drain").await["state"], "asked", "twice is once");
    // Another process of the node, and word of another drain, are not believed.
    assert_eq!(code(link.tell_drained(process(2), 1).await), "deploy.journal_replaced");
    assert_eq!(code(link.tell_drained(process(1), 2).await), "in");
    assert_eq!(state().await, "asked");
    for _ in 0..2 {
        assert_eq!(code(link.tell_drained(process(1), 1).await), "in");
        assert_eq!(state().await, "drained");
    }
    assert_eq!(ask("drain").await["state"], "drained", "asked again it stays what it is");
    for _ in 0..2 {
        assert_eq!(ask("resume").await, json!(null));
    }
    assert_eq!(told_of_drain(&mut messages).await, None);
    // Word of the first that was late says nothing of the second.
    assert_eq!(ask("drain").await["state"], "asked");
    assert_eq!(told_of_drain(&mut messages).await, Some(2));
    assert_eq!(code(link.tell_drained(process(1), 1).await), "in");
    assert_eq!(state().await, "asked");
    let mut anew = link.follow(&start_of(2, 9)).await.expect("it is let in");
    assert_eq!(told_of_drain(&mut anew).await, Some(2), "a new process is told first of all");
}

/// Waits for three more beats: its stream goes on.
async fn beats(messages: &mut Messages) {
    let three = async {
        let mut heard = 0;
        while heard < 3 {
            let (message, _) = messages.next().await.expect("whole").expect("it goes on");
            heard += u32::from(matches!(message, Message::Beat { .. }));
        }
    };
    timeout(PATIENCE, three).await.expect("it beats");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_one_nodes_key_takes_no_place_of_another() {
    let open = Open::start().await;
    let (east, west) = (NodeKey::new(&[2; 32]).expect("a key"), NodeKey::new(&[3; 32]).expect("a key"));
    let other = open.enrolled("west", &west).await;
    let mut others = other.follow(&start_of(1, 1)).await.expect("it is let in");
    let first = open.enrolled("east", &east).await;
    let mut firsts = first.follow(&start_of(1, 1)).await.expect("it is let in");
    // Many more than one node gets: its own oldest go.
    let mut many = Vec::new();
    for _ in 0..40 {
        many.push(open.link(&east).await);
        let own = many.last().expect("just made").positions().await;
        assert!(own.is_ok() || matches!(own, Err(LinkError::Away(_))), "its own newer ones end it at most");
    }
    let ended = async { while let Ok(Some(_)) = firsts.next().await {} };
    timeout(PATIENCE, ended).await.expect("its oldest is over");
    beats(&mut others).await;
    let last = open.link(&east).await;
    assert!(last.positions().await.is_ok(), "its newest is served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_from_many_addresses_leaves_enrolled_nodes_alone() {
    open_many_files();
    let open = Open::start().await;
    let (east, west) = (NodeKey::new(&[2; 32]).expect("a key"), NodeKey::new(&[3; 32]).expect("a key"));
    let link = open.enrolled("east", &east).await;
    let mut stream = link.follow(&start_of(1, 1)).await.expect("it is let in");
    // Greetings that do not end, of 700 addresses, and handshakes of strangers, more than all places together.
    let address: std::net::SocketAddr = open.address.parse().expect("an address");
    let mut flood = Vec::new();
    for number in 0..1_400_u16 {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        let from = [127, 9, ((number % 700) >> 8) as u8, (number % 700) as u8];
        socket.bind((from, 0).into()).expect("loopback has them all");
        let mut one = socket.connect(address).await.expect("it is accepted");
        // The head of a greeting, and nothing more.
        let _ = one.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00]).await;
        flood.push(one);
        if number % 20 == 0 {
            let mut secret = [200; 32];
            secret[..2].copy_from_slice(&number.to_le_bytes());
            let stranger = NodeKey::new(&secret).expect("a key");
            let _ = Link::connect(&open.address, &stranger, open.door).await;
        }
    }
    beats(&mut stream).await;
    // Who comes back, and who is new, gets in.
    let back = async {
        loop {
            if let Ok(link) = Link::connect(&open.address, &east, open.door).await
                && link.positions().await.is_ok()
            {
                return;
            }
        }
    };
    timeout(PATIENCE, back).await.expect("it comes back");
    open.enrolled("west", &west).await;
    drop(flood);
}

#[test]
fn a_shipment_is_read_as_it_was_written_and_nothing_else_is() {
    let (_folder, mut batch) = recorded((7, 5), "api_calls", START_US);
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
