//! Releases of a service: who gets which. And copies that say themselves whether they are well.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rowhouse_domain::routes::{
    Balancing, HealthCheck, ReleaseDefinition, Split, SplitHeader, StickyBy, Traffic,
};

use crate::directory::{ACME, KeyPlan, Plan};
use crate::stage::Stage;
use crate::upstream::Upstream;

fn split(release: &str) -> Split {
    Split {
        release: release.to_owned(),
        tenants: vec![],
        header: None,
        weight: None,
        sticky_by: StickyBy::Tenant,
    }
}

/// The plan's service has release 1, and 2 that runs at `second`.
fn two_releases(plan: &mut Plan, second: &str, splits: Vec<Split>) {
    let service = &mut plan.services[0];
    service.release = Some("1".to_owned());
    service.releases = vec![ReleaseDefinition { name: "2".to_owned(), upstreams: vec![second.to_owned()] }];
    plan.traffic = vec![Some(Traffic { default_release: None, splits })];
}

fn asked(stage: &Stage, tenant: &str) -> String {
    let key = if tenant == "acme" { &stage.acme } else { &stage.bolt };
    let answer =
        stage.bare("GET", "/v1/stamps").host(&format!("{tenant}.example.test")).key(key).send().json();
    answer["upstream"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn tenants_headers_and_shares_get_their_release_and_the_record_says_which() {
    let second = Upstream::start("second");
    let address = second.address.to_string();
    let pinned = vec![Split { tenants: vec!["acme".to_owned()], ..split("2") }];
    let mut stage = Stage::with(|plan| two_releases(plan, &address, pinned));
    assert_eq!((asked(&stage, "acme"), asked(&stage, "bolt")), ("second".into(), "shared".into()));
    let releases: Vec<String> =
        stage.records(2).iter().map(|recorded| recorded.record().release.to_owned()).collect();
    assert_eq!(BTreeSet::from_iter(releases), BTreeSet::from(["1".to_owned(), "2".to_owned()]));

    let header = SplitHeader { name: "x-release".to_owned(), value: "next".to_owned() };
    stage.publish(|plan| two_releases(plan, &address, vec![Split { header: Some(header), ..split("2") }]));
    let sends = |values: &[&str]| {
        let ask = stage.ask("GET", "/v1/stamps");
        let ask = values.iter().fold(ask, |ask, value| ask.header("x-release", value));
        ask.send().json()["upstream"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(sends(&["next"]), "second");
    assert_eq!(sends(&["nex"]), "shared");
    assert_eq!(sends(&["next", "next"]), "shared", "sent twice it means nothing");

    let all = vec![Split { weight: Some(100), ..split("2") }];
    stage.publish(|plan| two_releases(plan, &address, all));
    assert_eq!((asked(&stage, "acme"), asked(&stage, "bolt")), ("second".into(), "second".into()));
    stage.publish(|plan| two_releases(plan, &address, vec![]));
    assert_eq!((asked(&stage, "acme"), asked(&stage, "bolt")), ("shared".into(), "shared".into()));
}

#[test]
fn a_share_by_user_keeps_each_user_where_it_is() {
    let second = Upstream::start("second");
    let address = second.address.to_string();
    let mut keys = Vec::new();
    let half = vec![Split { weight: Some(50), sticky_by: StickyBy::User, ..split("2") }];
    let stage = Stage::with(|plan| {
        two_releases(plan, &address, half);
        // Owner 1 may do everything, so that all keys have one user; its own copies of it may read.
        for owner in [1, 2] {
            keys.push(plan.key(KeyPlan { owner, permits: &["stamp:read"], ..KeyPlan::of(ACME) }));
        }
    });
    for key in &keys {
        let ask = || {
            let answer = stage.bare("GET", "/v1/stamps").host("acme.example.test").key(key).send().json();
            answer["upstream"].as_str().unwrap_or_default().to_owned()
        };
        let first = ask();
        assert!(["shared", "second"].contains(&first.as_str()), "{first}");
        assert!((0..8).all(|_| ask() == first), "it stays");
    }
}

#[test]
fn a_tenants_own_copies_run_no_release() {
    let (second, own) = (Upstream::start("second"), Upstream::start("own"));
    let stage = Stage::with(|plan| {
        let all = vec![Split { weight: Some(100), ..split("2") }];
        two_releases(plan, &second.address.to_string(), all);
        plan.tenant_mut(ACME).upstreams = vec![(0, vec![own.address.to_string().as_str().into()])];
    });
    assert_eq!(asked(&stage, "acme"), "own");
    assert_eq!(stage.record().record().release, "");
}

#[test]
fn a_release_that_fails_is_left_alone_and_the_other_is_not() {
    let stage = Stage::configured(
        |config| config.cores = 1,
        |plan| {
            let pinned = vec![Split { tenants: vec!["acme".to_owned()], ..split("2") }];
            two_releases(plan, "127.0.0.1:1", pinned);
        },
    );
    for _ in 0..20 {
        assert_eq!(stage.ask("POST", "/v1/stamps").send().status, 503);
    }
    assert_eq!(stage.ask("POST", "/v1/stamps").send().refusal().1, "routes.circuit_open");
    assert_eq!(asked(&stage, "bolt"), "shared");
}

#[test]
fn copies_come_as_often_as_they_weigh() {
    let second = Upstream::start("second");
    let stage = Stage::configured(
        |config| config.cores = 1,
        |plan| {
            let service = &mut plan.services[0];
            service.balancing = Balancing::Weighted;
            service.weights = [(service.upstreams[0].clone(), 3)].into();
            service.upstreams.push(second.address.to_string());
        },
    );
    let second = (0..8).filter(|_| asked(&stage, "acme") == "second").count();
    assert_eq!(second, 2);
}

/// A copy that is well or not, as the test says; `asked` counts questions.
struct Patient {
    address: String,
    well: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
}

fn patient() -> Patient {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (well, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let (own, count) = (well.clone(), asked.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let (own, count) = (own.clone(), count.clone());
            std::thread::spawn(move || {
                let (mut seen, mut byte) = (Vec::new(), [0]);
                while std::io::Read::read_exact(&mut stream, &mut byte).is_ok() {
                    seen.push(byte[0]);
                    if !seen.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    let is_question = seen.starts_with(b"GET /well HTTP/1.1");
                    seen.clear();
                    count.fetch_add(u32::from(is_question), Ordering::SeqCst);
                    let status = match is_question && !own.load(Ordering::SeqCst) {
                        true => "500 Unwell",
                        false => "200 OK",
                    };
                    let body = "{\"upstream\":\"patient\"}";
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
                }
            });
        }
    });
    Patient { address, well, asked }
}

/// Asks four times again and again until `wanted` of them go to the patient.
fn until(stage: &Stage, wanted: usize) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let found = (0..4).filter(|_| asked(stage, "acme") == "patient").count();
        if found == wanted {
            return;
        }
        assert!(Instant::now() < end, "{found} of 4 and not {wanted}");
    }
}

#[test]
fn a_copy_that_says_it_is_unwell_is_left_out_until_it_is_well() {
    let patient = patient();
    let check = HealthCheck {
        path: "/well".to_owned(),
        interval_ms: 100,
        timeout_ms: 1_000,
        unhealthy_after: 2,
        healthy_after: 2,
        ..HealthCheck::default()
    };
    let mut stage = Stage::configured(
        |config| config.cores = 1,
        |plan| {
            plan.services[0].upstreams.push(patient.address.clone());
            plan.services[0].health = Some(check);
        },
    );
    until(&stage, 2);
    patient.well.store(false, Ordering::SeqCst);
    until(&stage, 0);
    patient.well.store(true, Ordering::SeqCst);
    until(&stage, 2);
    // Nobody asks any more, and what was known is forgotten.
    patient.well.store(false, Ordering::SeqCst);
    until(&stage, 0);
    stage.publish(|plan| plan.services[0].health = None);
    until(&stage, 2);
    assert!(patient.asked.load(Ordering::SeqCst) >= 6);
}

#[test]
fn copies_that_are_all_unwell_are_asked_all_the_same() {
    let stage = Stage::configured(
        |config| config.cores = 1,
        |plan| {
            // The service answers this path with 404.
            let path = "/nowhere-at-all".to_owned();
            plan.services[0].health = Some(HealthCheck { path, interval_ms: 100, ..HealthCheck::default() });
        },
    );
    for _ in 0..20 {
        assert_eq!(asked(&stage, "acme"), "shared");
    }
}
