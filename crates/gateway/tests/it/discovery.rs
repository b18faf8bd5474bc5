//! Copies that DNS names: found, followed as they come and go, and kept when the resolver says nothing.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::stage::Stage;
use crate::upstream::Upstream;

/// By name and kind.
type Records = Arc<Mutex<HashMap<(String, RecordType), Vec<RData>>>>;

/// A resolver that says what it is told to, for a second each time.
struct Resolver {
    address: SocketAddr,
    records: Records,
    silent: Arc<AtomicBool>,
    /// Questions that came.
    asked: Arc<AtomicU32>,
}

impl Resolver {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let records = Records::default();
        let silent = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicU32::new(0));
        let (own, quiet, count) = (records.clone(), silent.clone(), asked.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let asked = Message::from_vec(&buffer[..length]).unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                if quiet.load(Ordering::SeqCst) {
                    continue;
                }
                let query = asked.queries[0].clone();
                let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
                answer.add_query(query.clone());
                let name = query.name().to_ascii();
                match own.lock().unwrap().get(&(name, query.query_type())) {
                    None => answer.metadata.response_code = ResponseCode::NXDomain,
                    Some(all) => {
                        for data in all {
                            answer.add_answer(Record::from_rdata(query.name().clone(), 1, data.clone()));
                        }
                    }
                }
                let _ = socket.send_to(&answer.to_vec().unwrap(), from);
            }
        });
        Resolver { address, records, silent, asked }
    }

    fn say(&self, name: &str, kind: RecordType, records: Vec<RData>) {
        self.records.lock().unwrap().insert((name.to_owned(), kind), records);
    }
}

fn stage(resolver: &Resolver, addresses: &[&str]) -> Stage {
    let (at, addresses) = (resolver.address, addresses.iter().map(|own| (*own).to_owned()).collect());
    Stage::configured(
        |config| (config.cores, config.resolvers) = (1, vec![at]),
        |plan| plan.services[0].upstreams = addresses,
    )
}

/// Asks until this copy answers.
#[track_caller]
fn until_answered_by(stage: &Stage, name: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = stage.ask("GET", "/v1/stamps").send();
        if answer.status == 200 && answer.json()["upstream"] == name {
            return;
        }
        assert!(Instant::now() < deadline, "{}", answer.text());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn copies_are_found_by_srv_and_followed_and_kept_when_nobody_says_anything() {
    let resolver = Resolver::start();
    let (one, two) = (Upstream::start("one"), Upstream::start("two"));
    let srv = |priority, upstream: &Upstream| {
        let target = Name::from_ascii("copy.internal.").unwrap();
        RData::SRV(SRV::new(priority, 1, upstream.address.port(), target))
    };
    resolver.say("copy.internal.", RecordType::A, vec![RData::A(A(Ipv4Addr::LOCALHOST))]);
    let name = "_http._tcp.stamping.internal.";
    resolver.say(name, RecordType::SRV, vec![srv(10, &one), srv(20, &two)]);
    let stage = stage(&resolver, &["srv:_http._tcp.stamping.internal"]);
    until_answered_by(&stage, "one");
    assert_eq!(two.count(), 0, "the one of higher priority is for when the first is gone");
    // What it says later counts later, without a new version of the directory.
    resolver.say(name, RecordType::SRV, vec![srv(10, &two)]);
    until_answered_by(&stage, "two");
    let before = one.count();
    for _ in 0..6 {
        assert_eq!(stage.ask("GET", "/v1/stamps").send().json()["upstream"], "two");
    }
    assert_eq!(one.count(), before);
    // Nobody is named, then nobody answers: who was known stays.
    for silent in [false, true] {
        resolver.say(name, RecordType::SRV, Vec::new());
        resolver.silent.store(silent, Ordering::SeqCst);
        // The third question from now is asked when the first was answered so, or was not.
        let (from, deadline) =
            (resolver.asked.load(Ordering::SeqCst), Instant::now() + Duration::from_secs(60));
        while resolver.asked.load(Ordering::SeqCst) < from + 3 {
            assert!(Instant::now() < deadline, "it is not asked any more");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        assert_eq!(stage.ask("GET", "/v1/stamps").send().json()["upstream"], "two", "silent: {silent}");
    }
}

#[test]
fn each_address_of_a_name_is_a_copy_beside_those_that_are_listed() {
    let resolver = Resolver::start();
    let (one, two) = (Upstream::start("one"), Upstream::start("two"));
    let name = format!("dns:stamping.internal:{}", one.address.port());
    let listed = two.address.to_string();
    let stage = stage(&resolver, &[&name, &listed]);
    assert_eq!(stage.ask("GET", "/v1/stamps").send().json()["upstream"], "two", "nobody knows more yet");
    resolver.say("stamping.internal.", RecordType::A, vec![RData::A(A(Ipv4Addr::LOCALHOST))]);
    until_answered_by(&stage, "one");
    let both: Vec<String> =
        (0..4).map(|_| stage.ask("GET", "/v1/stamps").send().json()["upstream"].to_string()).collect();
    assert!(both[0] != both[1] && both[0] == both[2] && both[1] == both[3], "{both:?}");
}
