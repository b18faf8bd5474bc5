//! What a gateway tells of the copies that it asks.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rowhouse_domain::routes::{CircuitState, HealthCheck, Seen, SeenBoard, Trouble};

use crate::stage::Stage;

/// Each core tells once a second.
#[track_caller]
fn until(board: &SeenBoard, is_so: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let all = board.all();
        if is_so(&all) {
            return all;
        }
        assert!(Instant::now() < deadline, "{all:#?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// An address where nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_copy_that_is_left_out_is_told_with_the_reason() {
    let (board, absent) = (SeenBoard::default(), nobody());
    let (told, other) = (board.clone(), absent.clone());
    let stage = Stage::configured(
        |config| (config.cores, config.board) = (1, told),
        |plan| plan.services[0].upstreams.push(other),
    );
    let well = stage.upstream.address.to_string();
    let all = until(&board, |all| all.len() == 2);
    assert!(all.iter().all(|own| (&*own.service, own.cores) == ("stamping", [1, 0, 0])), "{all:?}");
    for _ in 0..12 {
        assert_eq!(stage.ask("GET", "/v1/stamps").send().status, 200);
    }
    let all = until(&board, |all| all.iter().any(|own| own.ejected_until_us.is_some()));
    let of = |address: &str| all.iter().find(|own| *own.address == *address).unwrap();
    let out = of(&absent);
    assert_eq!((out.failures, out.ejections, out.cores), (5, 1, [1, 0, 1]));
    assert_eq!(out.last_trouble, Some((crate::stage::NOON_US, Trouble::NotConnected)));
    assert_eq!(out.ejected_until_us, Some(crate::stage::NOON_US + 10_000_000));
    assert_eq!((of(&well).ejected_until_us, of(&well).last_trouble, of(&well).in_flight), (None, None, 0));
    // It comes back by itself, and is told so.
    stage.hand.advance_us(10_000_000);
    until(&board, |all| all.iter().all(|own| own.ejected_until_us.is_none()));
}

#[test]
fn an_open_circuit_an_unwell_copy_and_one_that_is_named_no_more_are_told() {
    let (board, absent) = (SeenBoard::default(), nobody());
    let (told, other) = (board.clone(), absent.clone());
    let mut stage = Stage::configured(
        |config| (config.cores, config.board) = (2, told),
        |plan| {
            plan.services[0].upstreams = vec![other];
            let asks = HealthCheck { interval_ms: 100, unhealthy_after: 1, ..HealthCheck::default() };
            plan.services[0].health = Some(asks);
        },
    );
    let all = until(&board, |all| all.iter().any(|own| own.unwell.is_some()));
    assert_eq!((&*all[0].address, all[0].unwell), (&*absent, Some(Trouble::NotConnected)));
    for _ in 0..60 {
        assert_eq!(stage.ask("POST", "/v1/stamps").send().status, 503);
    }
    let all = until(&board, |all| all.iter().any(|own| own.circuit == CircuitState::Open));
    assert!(all[0].cores[1] >= 1 && all[0].cores[0] == 2, "{all:?}");

    // A request that is under way while its copy is taken out of the service.
    let well = vec![stage.upstream.address.to_string()];
    stage.publish(|plan| (plan.services[0].upstreams, plan.services[0].health) = (well.clone(), None));
    stage.hand.advance_us(5_000_000);
    let (waits, gate) = (stage.ask("GET", "/v1/work/wait"), stage.upstream.gate.clone());
    let client = std::thread::spawn(move || waits.send().status);
    until(&board, |all| all.iter().any(|own| *own.address == *well[0] && own.in_flight == 1));
    stage.publish(|plan| plan.services[0].upstreams = vec![nobody()]);
    let all = until(&board, |all| all.iter().any(|own| own.service.is_empty()));
    let left = all.iter().find(|own| own.service.is_empty()).unwrap();
    assert_eq!((&*left.address, left.in_flight), (&*well[0], 1));
    gate.notify_one();
    assert_eq!(client.join().unwrap(), 200);
    until(&board, |all| !all.iter().any(|own| own.service.is_empty()));
}
