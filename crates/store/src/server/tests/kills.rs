//! `kill -9` of main process, guard and postmaster, in every order: no acknowledged row is lost, never two postmasters, no orphan.

use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Victim {
    Main,
    Guard,
    Postmaster,
}

use Victim::{Guard, Main, Postmaster};

/// Every order of one, two and three.
const ORDERS: [&[Victim]; 15] = [
    &[Main],
    &[Guard],
    &[Postmaster],
    &[Main, Guard],
    &[Guard, Main],
    &[Main, Postmaster],
    &[Postmaster, Main],
    &[Guard, Postmaster],
    &[Postmaster, Guard],
    &[Main, Guard, Postmaster],
    &[Main, Postmaster, Guard],
    &[Guard, Main, Postmaster],
    &[Guard, Postmaster, Main],
    &[Postmaster, Main, Guard],
    &[Postmaster, Guard, Main],
];

#[tokio::test]
async fn killed_in_any_order_it_serves_again_with_every_acknowledged_row() {
    let scratch = Scratch::new("kills");
    let config = scratch.config();
    let mut main = MainProcess::serve(&scratch);
    query(&config, "CREATE TABLE acknowledged (number int)").await.expect("a table");
    let mut slowest = Duration::ZERO;
    for (number, order) in ORDERS.into_iter().enumerate() {
        query(&config, &format!("INSERT INTO acknowledged VALUES ({number})")).await.expect("acknowledged");
        let (guard, postmaster) =
            (scratch.guard().expect("a guard"), scratch.postmaster().expect("a postmaster"));
        for victim in order {
            match victim {
                Main => main.kill(),
                Guard => kill(guard),
                Postmaster => kill(postmaster),
            }
        }
        let begun = Instant::now();
        if order.contains(&Main) {
            main = MainProcess::serve(&scratch);
        } else {
            let restarted = || async { (scratch.postmaster()? != postmaster).then_some(()) };
            eventually(restarted).await.unwrap_or_else(|| panic!("{order:?}: no new postmaster"));
        }
        let rows = answer(&config, "SELECT count(*) FROM acknowledged").await;
        slowest = slowest.max(begun.elapsed());
        assert_eq!(rows, (number + 1).to_string(), "{order:?}");
        assert_eq!(scratch.postmasters().len(), 1, "{order:?}");
    }
    println!("slowest to serve again: {slowest:?}");
    main.kill();
    let gone = || async { scratch.processes().is_empty().then_some(()) };
    eventually(gone).await.expect("a server that nobody is left to watch stops");
}

#[tokio::test]
async fn a_server_whose_main_process_and_guard_are_killed_stops_by_itself() {
    let scratch = Scratch::new("orphan");
    let mut main = MainProcess::serve(&scratch);
    kill(scratch.guard().expect("a guard"));
    main.kill();
    let gone = || async { scratch.processes().is_empty().then_some(()) };
    eventually(gone).await.expect("the kernel tells the postmaster");
    assert_eq!(scratch.postmaster(), None, "a shutdown in order");
}

#[tokio::test]
async fn a_backend_too_busy_to_notice_does_not_hold_up_the_restart() {
    let scratch = Scratch::new("busy");
    let _main = MainProcess::serve(&scratch);
    let config = scratch.config();
    let postmaster = scratch.postmaster().expect("a postmaster");
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    let busy = async { client.simple_query("SELECT count(*) FROM generate_series(1, 1e15)").await };
    let meanwhile = async {
        let seen = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%1e15%' AND pid <> pg_backend_pid()";
        eventually(|| async { (query(&config, seen).await.ok()? == "1").then_some(()) })
            .await
            .expect("it runs");
        kill(postmaster);
        let begun = Instant::now();
        let restarted = || async { (scratch.postmaster()? != postmaster).then_some(()) };
        eventually(restarted).await.expect("a new postmaster");
        assert_eq!(answer(&config, "SELECT 1").await, "1");
        println!("served again after {:?}", begun.elapsed());
    };
    let ((), ended, _) = tokio::join!(meanwhile, busy, connection);
    assert!(ended.is_err(), "the query was cut off");
}

#[tokio::test]
async fn signals_to_the_whole_group_do_not_reach_the_guard() {
    let scratch = Scratch::new("signals");
    let _main = MainProcess::serve(&scratch);
    let (guard, postmaster) = (scratch.guard().expect("a guard"), scratch.postmaster());
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        kill_process(Pid::from_raw(guard).expect("a number"), signal).expect("it lives");
    }
    assert_eq!(query(&scratch.config(), "SELECT 1").await.expect("an answer"), "1");
    assert_eq!((scratch.guard(), scratch.postmaster()), (Some(guard), postmaster));
    assert!(!Seen::at(guard).expect("it lives").is_dead());
}
