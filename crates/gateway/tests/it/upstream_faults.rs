//! Copies of services that die, say nothing, or break off in the middle, under concurrent load: what each caller is told, that no answer
//! reaches another's request, how often requests are repeated, and that circuits open and close.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use rowhouse_journal::Outcome;

use crate::client::{Answer, Wire};
use crate::directory::Plan;
use crate::faulty::Faulty;
use crate::stage::Stage;
use crate::together::until;

/// A gateway of one core before these copies, which are given up soon.
fn before(copies: &[&Faulty], change: impl FnOnce(&mut Plan)) -> Stage {
    let addresses: Vec<String> = copies.iter().map(|copy| copy.address.clone()).collect();
    Stage::configured(
        |config| config.cores = 1,
        |plan| {
            plan.services[0].upstreams = addresses;
            plan.services[0].first_byte_timeout_ms = 1_000;
            change(plan);
        },
    )
}

/// What a caller is told: a refusal's status and code, or the status and whether the answer was whole and its own.
fn told(stage: &Stage, wire: &mut Wire, method: &str, what: &str, marker: &str) -> String {
    let head = format!(
        "{method} /v1/work/{what}/{marker} HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n\r\n",
        stage.acme
    );
    wire.write(head);
    match wire.try_answer() {
        None => {
            *wire = stage.wire();
            "broke off".to_owned()
        }
        Some(answer) if answer.status == 200 && answer.text() == marker => "well".to_owned(),
        Some(answer) => refused(&answer),
    }
}

fn refused(answer: &Answer) -> String {
    let (status, code) = answer.refusal();
    format!("{status} {code}")
}

/// What is told of each fault; a request that may have been done is not repeated.
const TOLD: [(&str, &str); 12] = [
    ("well", "well"),
    ("chunked", "well"),
    ("more", "well"),
    ("silent", "504 routes.upstream_timeout"),
    ("half-head", "504 routes.upstream_timeout"),
    ("half-head-end", "502 routes.upstream_failed"),
    ("end", "502 routes.upstream_failed"),
    ("reset", "502 routes.upstream_failed"),
    ("half-body", "broke off"),
    ("half-body-end", "broke off"),
    ("half-chunk-end", "broke off"),
    ("reset-body", "broke off"),
];

#[test]
fn each_caller_is_told_what_happened_and_gets_nobody_elses_answer() {
    let faulty = Faulty::start();
    // Long enough for a machine that is busy; only half bodies take it.
    let stage = before(&[&faulty], |plan| plan.route_mut("work").timeout_ms = Some(3_000));
    let callers = 6;
    std::thread::scope(|scope| {
        for caller in 0..callers {
            let stage = &stage;
            scope.spawn(move || {
                let mut wire = stage.wire();
                for turn in 0..TOLD.len() {
                    // Three that go well, then one of all that there are, so that no circuit opens.
                    for (place, what) in ["well", "chunked", "well"].into_iter().enumerate() {
                        let marker = format!("{caller}-{turn}-{place}");
                        assert_eq!(told(stage, &mut wire, "POST", what, &marker), "well", "{marker}");
                    }
                    let (what, expected) = TOLD[(turn + caller) % TOLD.len()];
                    let marker = format!("{caller}-{turn}-{what}");
                    assert_eq!(told(stage, &mut wire, "POST", what, &marker), expected, "{marker}");
                }
            });
        }
    });
    let asked = callers * TOLD.len() * 4;
    assert_eq!(faulty.count(), asked, "each was sent once");
    let mut outcomes = BTreeMap::new();
    for recorded in stage.records(asked) {
        let record = recorded.record();
        *outcomes.entry((record.outcome == Outcome::Served, record.status)).or_insert(0) += 1;
    }
    let expected = [((false, 200), 4), ((false, 502), 3), ((false, 504), 2), ((true, 200), 39)];
    assert_eq!(outcomes, expected.map(|(kind, count)| (kind, count * callers)).into());
}

/// Who knows no chunks takes the end of the connection for the end of the answer: where it broke off, that end is another one.
#[test]
fn a_caller_of_an_older_version_sees_that_an_answer_broke_off() {
    let faulty = Faulty::start();
    let stage = before(&[&faulty], |_| {});
    for (what, is_reset) in [("chunked", false), ("half-chunk-end", true), ("chunked", false)] {
        let mut wire = stage.wire();
        wire.write(format!(
            "GET /v1/work/{what}/marker HTTP/1.0\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n\r\n",
            stage.acme
        ));
        let (answer, reset) = wire.rest_and_reset();
        assert_eq!(reset, is_reset, "{what}: {}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn a_tenth_of_the_requests_and_ten_are_repeated_at_most() {
    let copies = [Faulty::start(), Faulty::start()];
    let stage = before(&[&copies[0], &copies[1]], |_| {});
    let (callers, asks) = (4, 100);
    let failed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for caller in 0..callers {
            let (stage, failed) = (&stage, &failed);
            scope.spawn(move || {
                let mut wire = stage.wire();
                for ask in 0..asks {
                    let path = format!("/v1/work/every-third-busy/{caller}-{ask}");
                    let answer = wire.ask(&stage.ask("GET", &path));
                    failed.fetch_add(usize::from(answer.status == 503), Ordering::SeqCst);
                }
            });
        }
    });
    let (asked, sent) = (callers * asks, copies[0].count() + copies[1].count());
    let repeated = sent - asked;
    assert!((1..=10 + asked / 10).contains(&repeated), "{repeated} of {asked} were repeated");
    let busy = sent / 3;
    assert!(failed.into_inner() + repeated >= busy - 2, "what was not repeated is told: {busy} were refused");
}

#[test]
fn no_request_that_can_be_repeated_fails_when_a_copy_is_killed() {
    let copies = [Faulty::start(), Faulty::start()];
    let stage = before(&[&copies[0], &copies[1]], |plan| plan.services[0].first_byte_timeout_ms = 10_000);
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for caller in 0..4 {
            let (stage, done) = (&stage, &done);
            scope.spawn(move || {
                let mut wire = stage.wire();
                for ask in 0..100 {
                    let marker = format!("{caller}-{ask}");
                    assert_eq!(told(stage, &mut wire, "GET", "well", &marker), "well", "{marker}");
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        until(|| done.load(Ordering::SeqCst) >= 100);
        copies[0].kill();
    });
    assert!(copies[1].count() > 200, "the other one took over");
}

#[test]
fn a_circuit_opens_under_load_lets_three_try_and_closes() {
    for what in ["reset", "half-body-end"] {
        let faulty = Faulty::start();
        let stage = before(&[&faulty], |plan| plan.services[0].first_byte_timeout_ms = 10_000);
        let callers = 8;
        let load = |what: &'static str, asks: usize| -> Vec<String> {
            std::thread::scope(|scope| {
                let clients: Vec<_> = (0..callers)
                    .map(|_| {
                        let stage = &stage;
                        scope.spawn(move || {
                            let mut wire = stage.wire();
                            (0..asks).map(|_| told(stage, &mut wire, "POST", what, "m")).collect::<Vec<_>>()
                        })
                    })
                    .collect();
                clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
            })
        };
        const OPEN: &str = "503 routes.circuit_open";
        let seen = load(what, 20);
        let sent = seen.iter().filter(|seen| *seen != OPEN).count();
        assert_eq!(faulty.count(), sent, "{what}: what is refused is not sent");
        // Twenty say that it fails, and those on the way then are heard out.
        assert!((20..20 + callers).contains(&sent), "{what}: {sent} were sent");
        assert!(load("well", 2).iter().all(|seen| seen == OPEN), "{what}: it is left alone");

        stage.hand.advance_us(5_000_000);
        faulty.holds.store(true, Ordering::SeqCst);
        let tried = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..callers)
                .map(|_| {
                    let stage = &stage;
                    scope.spawn(move || told(stage, &mut stage.wire(), "POST", "well", "m"))
                })
                .collect();
            until(|| clients.iter().filter(|client| client.is_finished()).count() == callers - 3);
            faulty.holds.store(false, Ordering::SeqCst);
            clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(tried.iter().filter(|seen| *seen == "well").count(), 3, "{what}: {tried:?}");
        assert_eq!(tried.iter().filter(|seen| *seen == OPEN).count(), callers - 3, "{what}");
        assert!(load("well", 5).iter().all(|seen| seen == "well"), "{what}: it is closed");
    }
}

#[test]
fn a_copy_that_breaks_off_again_and_again_is_left_out() {
    let (bad, good) = (Faulty::start(), Faulty::start());
    let stage = before(&[&bad, &good], |_| {});
    // The second one's answers are whole, so that only the first is at fault.
    let ask = |what: &str| told(&stage, &mut stage.wire(), "POST", what, "m");
    for _ in 0..5 {
        assert_eq!(ask("half-body-end"), "broke off");
        assert_eq!(ask("well"), "well");
    }
    let (to_bad, to_good) = (bad.count(), good.count());
    assert_eq!((to_bad, to_good), (5, 5), "in turn");
    assert!((0..6).all(|_| ask("well") == "well"));
    assert_eq!((bad.count(), good.count()), (5, 11), "it is not asked");
}

#[test]
fn an_http2_connection_that_answers_nothing_any_more_is_left_for_another() {
    let faulty = Mute2::start();
    let stage = Stage::configured(
        |config| config.cores = 1,
        |plan| {
            plan.services[0].upstreams = vec![faulty.address.clone()];
            plan.services[0].protocol = "http2".to_owned();
            plan.services[0].first_byte_timeout_ms = 100;
        },
    );
    for _ in 0..3 {
        let refused = stage.ask("POST", "/v1/stamps").send();
        assert_eq!(refused.refusal(), (504, "routes.upstream_timeout".to_owned()));
    }
    assert_eq!(faulty.connections.load(Ordering::SeqCst), 3, "each later one went over another");
}

/// Takes connections, reads, and says nothing.
struct Mute2 {
    address: String,
    connections: std::sync::Arc<AtomicUsize>,
}

impl Mute2 {
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = std::sync::Arc::new(AtomicUsize::new(0));
        let told = connections.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                told.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
            }
        });
        Mute2 { address, connections }
    }
}
