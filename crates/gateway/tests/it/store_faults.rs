//! A store of limits that fails in every way under load: what is let in stays within what is stated (`docs/internals/gateway.md`), nobody
//! waits for it but those who find out, no key stays for ever, and gateways do not fall upon it when it is back.

use std::io::Read;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rowhouse_domain::limits::{Algorithm, LimitMode};
use rowhouse_gateway::StoreConfig;

use crate::redis_server::RedisServer;
use crate::stage::Stage;
use crate::together::{
    Address, DAY_MS, Ended, UNHURRIED, connected, gateway, hammer, limit, metrics, status, until,
};

/// Units of a month, so that no window ends under a test.
const QUOTA: usize = 400;
const GATEWAYS: usize = 2;
/// Clients of each gateway.
const CLIENTS: usize = 2;

/// Something that happens to a store under load.
struct Fault {
    name: &'static str,
    /// For how long a request waits for it.
    deadline: Duration,
    happens: fn(&mut RedisServer, &dyn Fn(usize)),
    /// Quotas that are let in at most.
    quotas: usize,
}

const SHORT: Duration = Duration::from_millis(20);

const FAULTS: [Fault; 6] = [
    // Nothing happens: not one unit more.
    Fault { name: "nothing", deadline: UNHURRIED, happens: |_, more| more(400), quotas: 1 },
    Fault {
        name: "the library is gone",
        deadline: UNHURRIED,
        happens: |server, more| {
            for _ in 0..5 {
                let _: String = server.ask(&["FUNCTION", "FLUSH"]);
                more(50);
            }
        },
        quotas: 1,
    },
    // What was counted is forgotten once.
    Fault {
        name: "everything is gone",
        deadline: UNHURRIED,
        happens: |server, more| {
            let _: String = server.ask(&["FLUSHALL"]);
            more(400);
        },
        quotas: 2,
    },
    // Calls on the way may have been charged, and are let in by what was known.
    Fault {
        name: "connections are cut",
        deadline: UNHURRIED,
        happens: |server, more| {
            for _ in 0..5 {
                let _: i64 = server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
                more(50);
            }
        },
        quotas: 2,
    },
    Fault {
        name: "it stands still",
        deadline: SHORT,
        happens: |server, more| {
            server.pause();
            more(400);
            server.go_on();
        },
        quotas: 2,
    },
    // As standing still, and all is forgotten.
    Fault {
        name: "it is killed and another begins",
        deadline: SHORT,
        happens: |server, more| {
            server.kill();
            more(400);
            server.start_again();
        },
        quotas: 3,
    },
];

/// Two gateways with a limit of this mode, under load from several clients while `fault` happens; how many were let in.
fn story(mode: LimitMode, fault: &Fault) -> (RedisServer, Vec<Stage>, usize) {
    let mut server = RedisServer::start();
    let plan = |plan: &mut crate::directory::Plan| {
        limit(plan, QUOTA as i64, mode);
        plan.shape(0, Algorithm::FixedWindow, QUOTA as i64, 31 * DAY_MS);
    };
    let stages: Vec<Stage> = (0..GATEWAYS).map(|_| gateway(&server, fault.deadline, plan)).collect();
    let (over, admitted, answered) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let more = |count: usize| {
        let from = answered.load(Ordering::SeqCst);
        until(|| answered.load(Ordering::SeqCst) >= from + count);
    };
    std::thread::scope(|scope| {
        let end = Ended(&over);
        for stage in stages.iter().flat_map(|stage| std::iter::repeat_n(stage, CLIENTS)) {
            let (ask, mut wire) = (stage.ask("PUT", "/v1/stamps/7"), stage.wire());
            let (over, admitted, answered) = (&over, &admitted, &answered);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let seen = wire.ask(&ask).status;
                    assert!(matches!(seen, 200 | 429), "{}: {seen}", fault.name);
                    admitted.fetch_add(usize::from(seen == 200), Ordering::SeqCst);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        more(100);
        (fault.happens)(&mut server, &more);
        more(200);
        drop(end);
    });
    stages.iter().for_each(connected);
    // What leases had left comes back within the second and is used up; then nothing is let in any more.
    let mut all = admitted.into_inner();
    until(|| {
        let seen: Vec<u16> = stages.iter().map(status).collect();
        all += seen.iter().filter(|status| **status == 200).count();
        seen.iter().all(|status| *status == 429) && all >= QUOTA
    });
    (server, stages, all)
}

#[test]
fn whatever_happens_to_the_store_no_more_is_let_in_than_is_stated() {
    for mode in [LimitMode::Strict, LimitMode::Leased] {
        for fault in &FAULTS {
            let (server, stages, admitted) = story(mode, fault);
            let place = format!("{mode:?}, {}", fault.name);
            assert!((QUOTA..=fault.quotas * QUOTA).contains(&admitted), "{place}: {admitted} were let in");
            assert_eq!(server.keys_for_ever(), Vec::<String>::new(), "{place}");
            let counters: Vec<String> = server.ask(&["KEYS", "*:shared:*"]);
            assert_eq!(counters.len(), 1, "{place}: {counters:?}");
            drop(stages);
        }
    }
}

#[test]
fn only_those_who_find_out_wait_for_a_store_that_stands_still() {
    let server = RedisServer::start();
    let stage = gateway(&server, SHORT, |plan| limit(plan, 1_000_000, LimitMode::Strict));
    let before = metrics(&stage).store_failures;
    server.pause();
    let (clients, asks) = (8, 50);
    assert_eq!(hammer(std::slice::from_ref(&stage), clients, asks), clients * asks, "all were answered");
    // Five in a row, and those that were on the way when the fifth came back in vain.
    let waited = metrics(&stage).store_failures - before;
    assert!((5..5 + clients as u64).contains(&waited), "{waited} of {} waited", clients * asks);
    server.go_on();
}

#[test]
fn a_store_that_is_lost_is_gone_on_from_where_it_was_known_to_stand() {
    for mode in [LimitMode::Strict, LimitMode::Leased] {
        let mut server = RedisServer::start();
        let stage = gateway(&server, UNHURRIED, |plan| {
            limit(plan, 1_000, mode);
            plan.shape(0, Algorithm::FixedWindow, 1_000, 31 * DAY_MS);
        });
        let before = hammer(std::slice::from_ref(&stage), 1, 800);
        assert_eq!(before, 800);
        server.kill();
        let alone = hammer(std::slice::from_ref(&stage), 1, 800);
        assert!(before + alone <= 1_000, "{mode:?}: {before}, and {alone} alone");
        assert!(mode == LimitMode::Leased || alone == 200, "{mode:?}: {alone}");
    }
}

/// Takes connections and says nothing; how many there are and were at once at most, and what was sent.
#[derive(Default)]
struct Mute {
    open: AtomicUsize,
    most: AtomicUsize,
    heard: Mutex<Vec<u8>>,
}

impl Mute {
    fn start() -> (Arc<Self>, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mute = Arc::new(Mute::default());
        let told = mute.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let open = told.open.fetch_add(1, Ordering::SeqCst) + 1;
                told.most.fetch_max(open, Ordering::SeqCst);
                let told = told.clone();
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = stream.read(&mut buffer) {
                        told.heard.lock().unwrap().extend_from_slice(&buffer[..count]);
                    }
                    told.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        (mute, port)
    }
}

#[test]
fn a_store_that_takes_connections_and_says_nothing_is_tried_by_one_and_not_fallen_upon_when_it_is_back() {
    let (mute, port) = Mute::start();
    let address = Address::to(port);
    let url = format!("redis://127.0.0.1:{}", address.port);
    let stage = Stage::configured(
        |config| (config.cores, config.limit_store) = (1, Some(StoreConfig::new(&url, UNHURRIED))),
        |plan| {
            limit(plan, 10_000, LimitMode::Strict);
            plan.shape(0, Algorithm::FixedWindow, 10_000, 31 * DAY_MS);
        },
    );
    until(|| mute.most.load(Ordering::SeqCst) > 0);
    assert_eq!(hammer(std::slice::from_ref(&stage), 8, 50), 400, "nobody waits for it");
    assert_eq!(metrics(&stage).store_calls, 0, "nobody calls");
    // One at a time, whatever comes; of the one before, this test may learn late that it was closed.
    assert!(mute.most.load(Ordering::SeqCst) <= 2, "{} at once", mute.most.load(Ordering::SeqCst));
    let heard = String::from_utf8_lossy(&mute.heard.lock().unwrap()).into_owned();
    assert!(!heard.contains("FCALL"), "{heard}");

    let server = RedisServer::start();
    address.target.store(server.port(), Ordering::SeqCst);
    // What was let in meanwhile is charged, in one call for each counter and before anybody asks.
    until(|| server.ask::<Vec<String>>(&["KEYS", "*:shared:*"]).len() == 1);
    // Its own connection, and this test's.
    until(|| server.ask::<String>(&["INFO", "clients"]).contains("connected_clients:2\r\n"));
    assert_eq!(metrics(&stage).store_calls, 0, "no request called: one by one, what was owed was");
    connected(&stage);
    let left = stage.ask("PUT", "/v1/stamps/7").send();
    assert_eq!(left.header("x-ratelimit-remaining"), Some("9599"), "400, and this one");
    assert_eq!(server.keys_for_ever(), Vec::<String>::new());
}
