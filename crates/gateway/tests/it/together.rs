//! Limits that several gateways count together in a real Redis: exact when asked, never more by leases, and what happens
//! when it stands still, is killed, or forgets everything.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rowhouse_domain::limits::{Algorithm, LimitMode, LimitScope, OnStoreFailure};
use rowhouse_domain::routes::UpstreamTls;
use rowhouse_gateway::{MetricsSnapshot, StoreConfig};

use crate::directory::Plan;
use crate::redis_server::RedisServer;
use crate::stage::Stage;
use crate::tls::Folder;
use crate::upstream_tls::Authority;

/// A day of a bucket's quota: nothing comes back while a test runs.
pub const DAY_MS: i64 = 86_400_000;

/// A gateway of one core over this Redis, connected.
pub fn gateway(server: &RedisServer, deadline: Duration, change: impl FnOnce(&mut Plan)) -> Stage {
    let url = server.url();
    let stage = Stage::configured(
        |config| {
            config.cores = 1;
            config.limit_store = Some(StoreConfig::new(&url, deadline));
        },
        change,
    );
    connected(&stage);
    stage
}

/// A call that is counted waits for the store only when there is a connection.
pub fn connected(stage: &Stage) {
    until(|| {
        let before = metrics(stage);
        // Nothing is charged for a path that leads nowhere unless a limit is for all paths: `probe` is.
        stage.ask("GET", "/nowhere").send();
        let after = metrics(stage);
        after.store_calls > before.store_calls && after.store_failures == before.store_failures
    });
}

pub fn metrics(stage: &Stage) -> MetricsSnapshot {
    stage.gateway.as_ref().unwrap().metrics()
}

#[track_caller]
pub fn until(mut happens: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !happens() {
        assert!(Instant::now() < until, "it does not happen");
        std::thread::yield_now();
    }
}

/// A limit of `quota` a day in this mode, and one that says whether the store is asked.
pub fn limit(plan: &mut Plan, quota: i64, mode: LimitMode) {
    plan.limit("shared", LimitScope::Tenant, quota, quota);
    plan.shape(0, Algorithm::TokenBucket, quota, DAY_MS);
    plan.limits[0].mode = Some(mode);
    plan.limits[0].services = vec!["stamping".to_owned()];
    plan.limit("probe", LimitScope::Tenant, 1_000_000, 1_000_000);
    plan.limits[1].mode = Some(LimitMode::Strict);
    plan.limits[1].visible = false;
    plan.limits[1].matches.methods = vec!["GET".to_owned()];
}

pub const UNHURRIED: Duration = Duration::from_secs(5);

pub fn status(stage: &Stage) -> u16 {
    stage.ask("PUT", "/v1/stamps/7").send().status
}

/// How many of `asks` from several connections of each gateway were let in.
pub fn hammer(stages: &[Stage], threads: usize, asks: usize) -> usize {
    std::thread::scope(|scope| {
        let clients: Vec<_> = stages
            .iter()
            .flat_map(|stage| std::iter::repeat_n(stage, threads))
            .map(|stage| {
                let (ask, mut wire) = (stage.ask("PUT", "/v1/stamps/7"), stage.wire());
                scope.spawn(move || (0..asks).filter(|_| wire.ask(&ask).status == 200).count())
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    })
}

#[test]
fn three_gateways_that_ask_admit_exactly_the_quota() {
    let server = RedisServer::start();
    let stages: Vec<Stage> =
        (0..3).map(|_| gateway(&server, UNHURRIED, |plan| limit(plan, 100, LimitMode::Strict))).collect();
    assert_eq!(hammer(&stages, 3, 30), 100);
    let refused = stages[0].ask("PUT", "/v1/stamps/7").send();
    assert_eq!(refused.refusal(), (429, "limits.exceeded".to_owned()));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"shared\";q=100;w=86400"));
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
    assert_eq!(server.keys_for_ever(), Vec::<String>::new());
    let keys: Vec<String> = server.ask(&["KEYS", "*"]);
    assert!(keys.iter().any(|key| key.starts_with("rh:{b") && key.contains("}:shared:bu:")), "{keys:?}");
}

#[test]
fn leases_admit_no_unit_more_and_give_back_what_nobody_used() {
    let server = RedisServer::start();
    let change = |plan: &mut Plan| {
        limit(plan, 3_000, LimitMode::Leased);
        plan.shape(0, Algorithm::FixedWindow, 3_000, 31 * DAY_MS);
    };
    let stages: Vec<Stage> = (0..2).map(|_| gateway(&server, UNHURRIED, change)).collect();
    let admitted = hammer(&stages, 4, 450);
    assert!(admitted <= 3_000, "{admitted} were let in");
    let calls: u64 = stages.iter().map(|stage| metrics(stage).store_calls).sum();
    let asked: usize = 2 * 4 * 450;
    assert!((calls as usize) < asked / 2, "{calls} calls for {asked} requests");
    // What a lease had left is given back within a second or so, and every unit of the quota is used in the end.
    let mut all = admitted;
    until(|| {
        all += usize::from(status(&stages[0]) == 200);
        all == 3_000
    });
    assert_eq!(hammer(&stages, 2, 50), 0, "and not one more");
    assert_eq!(server.keys_for_ever(), Vec::<String>::new());
}

#[test]
fn with_one_exhausted_in_memory_or_in_the_store_the_other_is_not_charged() {
    let server = RedisServer::start();
    let stage = gateway(&server, UNHURRIED, |plan| {
        limit(plan, 5, LimitMode::Strict);
        plan.limit("own", LimitScope::User, 3, 3);
        plan.shape(2, Algorithm::TokenBucket, 3, DAY_MS);
        plan.limits[2].mode = Some(LimitMode::Local);
        plan.limits[2].matches.methods = vec!["PUT".to_owned()];
    });
    let statuses: Vec<u16> = (0..6).map(|_| status(&stage)).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429, 429]);
    // Had the refused ones been charged in the store, nothing would be left there.
    let mut stage = stage;
    stage.publish(|plan| plan.shape(2, Algorithm::TokenBucket, 1_000, DAY_MS));
    let statuses: Vec<u16> = (0..4).map(|_| status(&stage)).collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
    // And had these been charged in memory, 993 would be left there.
    stage.publish(|plan| plan.shape(0, Algorithm::TokenBucket, 10_000, DAY_MS));
    let answer = stage.ask("PUT", "/v1/stamps/7").send();
    let policy = answer.header("ratelimit").unwrap();
    assert_eq!((answer.status, policy), (200, "\"own\";r=994;t=519"), "five let in and this one");
}

#[test]
fn a_store_that_stands_still_is_left_alone_and_told_afterwards() {
    let server = RedisServer::start();
    let deadline = Duration::from_millis(20);
    let stage = gateway(&server, deadline, |plan| limit(plan, 10, LimitMode::Strict));
    let left = |stage: &Stage| {
        let answer = stage.ask("PUT", "/v1/stamps/7").send();
        (answer.status, answer.header("x-ratelimit-remaining").unwrap().to_owned())
    };
    assert_eq!([left(&stage), left(&stage)], [(200, "9".to_owned()), (200, "8".to_owned())]);

    server.pause();
    let began = Instant::now();
    let alone: Vec<u16> = (0..50).map(|_| status(&stage)).collect();
    let took = began.elapsed();
    assert_eq!(alone.iter().filter(|status| **status == 200).count(), 8, "from what was known last");
    assert!(took < UNHURRIED, "fifty requests took {took:?}");
    let failures = metrics(&stage).store_failures;
    assert!((5..50).contains(&failures), "{failures} of 50 requests waited");

    server.go_on();
    // Calls that came too late may have been charged as well: never more than ten are let in.
    until(|| {
        let before = metrics(&stage);
        stage.ask("GET", "/nowhere").send();
        let after = metrics(&stage);
        after.store_calls > before.store_calls && after.store_failures == before.store_failures
    });
    assert_eq!(status(&stage), 429);
    until(|| server.ask::<Vec<String>>(&["KEYS", "*shared*"]).len() == 1);
    assert_eq!(server.keys_for_ever(), Vec::<String>::new());
}

#[test]
fn each_limit_says_what_happens_without_a_store() {
    for (policy, expected) in [(OnStoreFailure::Open, 200), (OnStoreFailure::Closed, 503)] {
        let mut server = RedisServer::start();
        let stage = gateway(&server, UNHURRIED, |plan| {
            limit(plan, 3, LimitMode::Strict);
            plan.limits[0].on_store_failure = policy;
        });
        assert_eq!(status(&stage), 200);
        server.kill();
        for _ in 0..8 {
            let answer = stage.ask("PUT", "/v1/stamps/7").send();
            assert_eq!((answer.status, answer.header("ratelimit")), (expected, None), "{policy:?}");
            if expected == 503 {
                assert_eq!(answer.refusal(), (503, "limits.unavailable".to_owned()));
                assert_eq!(answer.header("retry-after"), Some("1"));
                let reduced = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";
                assert_eq!(answer.json()["type"], reduced);
            }
        }
        // A new one, which knows neither the library nor a counter.
        server.start_again();
        until(|| stage.ask("PUT", "/v1/stamps/7").send().header("ratelimit").is_some());
    }
}

#[test]
fn a_store_that_forgets_everything_is_told_again() {
    let server = RedisServer::start();
    let stage = gateway(&server, UNHURRIED, |plan| limit(plan, 2, LimitMode::Strict));
    assert_eq!([status(&stage), status(&stage), status(&stage)], [200, 200, 429]);
    let _: String = server.ask(&["FUNCTION", "FLUSH"]);
    assert_eq!(status(&stage), 429, "the library is loaded again, and the counters are still there");
    let _: String = server.ask(&["FLUSHALL"]);
    assert_eq!([status(&stage), status(&stage), status(&stage)], [200, 200, 429]);
}

#[test]
fn what_is_counted_over_all_tenants_waits_for_nobody() {
    let server = RedisServer::start();
    let mut stage = gateway(&server, UNHURRIED, |plan| {
        limit(plan, 1, LimitMode::Leased);
        plan.limits.remove(0);
    });
    stage.publish(|plan| {
        plan.limit("everybody", LimitScope::Endpoint, 300, 300);
        plan.shape(1, Algorithm::TokenBucket, 300, DAY_MS);
    });
    let calls = metrics(&stage).store_calls;
    let admitted = hammer(std::slice::from_ref(&stage), 4, 200);
    // What this gateway let in before its first lease is owed, and so may be let in twice.
    assert!((300..=600).contains(&admitted), "{admitted} were let in");
    assert!(metrics(&stage).store_calls - calls < 400);
    until(|| server.ask::<Vec<String>>(&["KEYS", "rh:{c*}:everybody:*"]).len() == 1);
}

/// Passes bytes on to whichever server it is told of, as the address of a Redis that fails over does. Connections that are open stay
/// where they lead.
pub struct Address {
    pub port: u16,
    pub target: Arc<AtomicU16>,
}

impl Address {
    pub fn of(server: &RedisServer) -> Self {
        Address::to(server.port())
    }

    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Arc::new(AtomicU16::new(port));
        let port = listener.local_addr().unwrap().port();
        let leads = target.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", leads.load(Ordering::SeqCst))) else {
                    continue;
                };
                for (mut from, mut to) in [(near.try_clone(), far.try_clone()), (Ok(far), Ok(near))]
                    .map(|(from, to)| (from.unwrap(), to.unwrap()))
                {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Address { port, target }
    }
}

#[test]
fn a_store_that_became_anothers_replica_is_left_for_the_one_that_is_first_now() {
    let (first, second) = (RedisServer::start(), RedisServer::start());
    let address = Address::of(&first);
    let url = format!("redis://127.0.0.1:{}", address.port);
    let stage = Stage::configured(
        |config| (config.cores, config.limit_store) = (1, Some(StoreConfig::new(&url, UNHURRIED))),
        |plan| limit(plan, 10, LimitMode::Strict),
    );
    connected(&stage);
    assert_eq!([status(&stage), status(&stage)], [200, 200]);
    // The second is promoted, the first follows it: the connection stays open, and whatever is written to it is refused.
    address.target.store(second.port(), Ordering::SeqCst);
    let _: String = first.ask(&["REPLICAOF", "127.0.0.1", &second.port().to_string()]);
    let mut admitted = 2;
    until(|| {
        admitted += usize::from(status(&stage) == 200);
        second.ask::<Vec<String>>(&["KEYS", "*:shared:*"]).len() == 1
    });
    // What had not come over is lost with it: a quota once more at most, and what was let in meanwhile is told to the new one.
    until(|| {
        let seen = status(&stage);
        admitted += usize::from(seen == 200);
        seen == 429
    });
    assert!((10..=20).contains(&admitted), "{admitted} were let in");
    assert_eq!(second.keys_for_ever(), Vec::<String>::new());
}

#[test]
fn under_load_nobody_waits_for_a_store_that_stops_dies_and_comes_back_empty() {
    let mut server = RedisServer::start();
    let stages: Vec<Stage> = (0..2)
        .map(|_| gateway(&server, Duration::from_millis(20), |plan| limit(plan, 200, LimitMode::Strict)))
        .collect();
    let over = AtomicBool::new(false);
    let (admitted, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let more = |count: usize| {
        let from = answered.load(Ordering::SeqCst);
        until(|| answered.load(Ordering::SeqCst) >= from + count);
    };
    std::thread::scope(|scope| {
        for stage in stages.iter().flat_map(|stage| [stage, stage]) {
            let (ask, mut wire) = (stage.ask("PUT", "/v1/stamps/7"), stage.wire());
            let (over, admitted, answered) = (&over, &admitted, &answered);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let seen = wire.ask(&ask).status;
                    assert!(matches!(seen, 200 | 429), "{seen}");
                    admitted.fetch_add(usize::from(seen == 200), Ordering::SeqCst);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let end = Ended(&over);
        more(200);
        // Whoever waited for it would be answered only after it goes on.
        server.pause();
        more(400);
        server.go_on();
        more(200);
        server.kill();
        more(400);
        server.start_again();
        more(200);
        drop(end);
    });
    // 200 in the first store and 200 in the empty one; alone, each gateway uses at most what it knew to be left for it, which is charged
    // to the store afterwards, and may be counted once more.
    let admitted = admitted.load(Ordering::SeqCst);
    assert!((200..=800).contains(&admitted), "{admitted} were let in");
    stages.iter().for_each(connected);
    until(|| stages.iter().all(|stage| status(stage) == 429));
    assert_eq!(server.keys_for_ever(), Vec::<String>::new());
}

/// Lets the clients end, too, when the test does.
pub struct Ended<'a>(pub &'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_store_is_spoken_to_in_tls_by_who_is_believed_and_shows_a_certificate() {
    let authority = Authority::new();
    let folder = Folder::new("redis");
    let put = |name: &str, of: &str| {
        let (certificate, key) = authority.sign(of);
        std::fs::write(folder.file(&format!("{name}.crt")), certificate.pem()).unwrap();
        std::fs::write(folder.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    };
    put("server", "localhost");
    put("gateway", "gateway.internal");
    std::fs::write(folder.file("ca.crt"), authority.pem()).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = RedisServer::secure(port, &folder.file(""));
    let start = |authorities: String, client: Option<&str>| {
        let tls =
            UpstreamTls { authorities: Some(authorities), client: client.map(str::to_owned), name: None };
        let store = StoreConfig { tls, ..StoreConfig::new(&format!("rediss://localhost:{port}"), UNHURRIED) };
        Stage::configured(
            |config| {
                (config.cores, config.limit_store) = (1, Some(store));
                config.upstream_certificates = folder.file("");
            },
            |plan| {
                limit(plan, 3, LimitMode::Strict);
                plan.limits[0].on_store_failure = OnStoreFailure::Closed;
            },
        )
    };
    let stage = start(authority.pem(), Some("gateway"));
    connected(&stage);
    assert_eq!([status(&stage), status(&stage), status(&stage), status(&stage)], [200, 200, 200, 429]);
    // Whom nobody vouches for gets nothing, nor does who shows nothing.
    for stage in [start(Authority::new().pem(), Some("gateway")), start(authority.pem(), None)] {
        for _ in 0..5 {
            assert_eq!(status(&stage), 503);
        }
        assert_eq!(metrics(&stage).store_calls, 0, "there is no connection to call over");
    }
    drop(server);
}
