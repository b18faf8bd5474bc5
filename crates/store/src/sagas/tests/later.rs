//! Sagas with a point of no return, scheduled ones, cancelled ones, and those of an executor that was restarted.

use super::*;

const BECAUSE: Reason<'static> = Reason { words: "by hand", by: "user_x" };

/// `store` cannot be undone, and something comes after it.
fn final_kind() -> Kind<Context> {
    let mut kind = kind();
    kind.steps[1].undo = Action::NoReturn;
    kind
}

async fn transaction(bench: &Bench) -> Transaction {
    bench.store.write(&Permit::for_system(None, "test")).await.expect("a transaction")
}

async fn stuck_forward() -> Bench {
    let bench = Bench::new().await;
    bench.world.plant("deploy", false).await;
    bench.engine_of(final_kind()).run_one().await.expect("the database is there");
    assert_eq!(bench.state().await, "stuck", "nothing is undone behind the point of no return");
    assert_eq!(bench.world.effects().await, "people reserve");
    bench
}

#[tokio::test]
async fn behind_the_point_of_no_return_a_failure_waits_and_resumed_it_goes_on() {
    let bench = stuck_forward().await;
    bench.world.clear().await;
    let tx = transaction(&bench).await;
    assert_eq!(resume(&tx, bench.saga, None, BECAUSE).await.expect("stuck"), "deploy");
    tx.commit_telemetry().await.expect("commit");
    assert_eq!(bench.state().await, "running");
    bench.engine_of(final_kind()).run_one().await.expect("the database is there");
    bench.assert_done("resumed").await;
}

#[tokio::test]
async fn behind_the_point_of_no_return_a_skipped_step_is_taken_as_done() {
    let bench = stuck_forward().await;
    let tx = transaction(&bench).await;
    skip(&tx, bench.saga, Some("deploy"), BECAUSE).await.expect("stuck");
    tx.commit_telemetry().await.expect("commit");
    bench.engine_of(final_kind()).run_one().await.expect("the database is there");
    assert_eq!(bench.state().await, "done");
}

#[tokio::test]
async fn before_the_point_of_no_return_a_failure_unwinds() {
    let bench = Bench::new().await;
    bench.world.plant("reserve", false).await;
    bench.engine_of(final_kind()).run_one().await.expect("the database is there");
    bench.assert_nothing_left("it had not begun").await;
}

#[tokio::test]
async fn a_cancelled_saga_turns_back_before_its_next_step_and_not_behind_its_last() {
    let bench = Bench::new().await;
    bench.world.plant("store", true).await;
    bench.engine().run_one().await.expect("it rests after a failure that may pass");
    let tx = transaction(&bench).await;
    assert_eq!(cancel(&tx, bench.saga, BECAUSE).await.expect("it runs"), State::Running);
    tx.commit_telemetry().await.expect("commit");
    bench.engine().run_one().await.expect("the database is there");
    bench.assert_nothing_left("cancelled").await;
    let row = bench.world.outside.query_one("SELECT problem FROM lifecycle.sagas", &[]).await.expect("it");
    assert_eq!(row.get::<_, serde_json::Value>(0)["code"], "lifecycle.cancelled");
    let tx = transaction(&bench).await;
    let over = cancel(&tx, bench.saga, BECAUSE).await;
    assert!(matches!(over, Err(OrderError::TooLate(State::Undone))), "{over:?}");

    // Before it began: what was entered with it is given up by the undo of its first step all the same.
    let bench = Bench::new().await;
    bench
        .world
        .outside
        .execute("INSERT INTO effects VALUES ('reserve')", &[])
        .await
        .expect("entered with it");
    let tx = transaction(&bench).await;
    cancel(&tx, bench.saga, BECAUSE).await.expect("it runs");
    tx.commit_telemetry().await.expect("commit");
    bench.engine().run_one().await.expect("the database is there");
    bench.assert_nothing_left("cancelled before it began").await;

    for late in [kind(), final_kind()] {
        let bench = Bench::new().await;
        bench.world.plant("deploy", true).await;
        bench.engine_of(late).run_one().await.expect("it rests in its last step");
        let tx = transaction(&bench).await;
        cancel(&tx, bench.saga, BECAUSE).await.expect("it runs");
        tx.commit_telemetry().await.expect("commit");
        bench.world.clear().await;
        bench.seconds_pass(2);
        bench.engine_of(final_kind()).run_one().await.expect("the database is there");
        bench.assert_done("it was too late").await;
    }
}

#[tokio::test]
async fn a_scheduled_saga_stands_in_nobodys_way_and_begins_when_it_is_due() {
    let bench = Bench::new().await;
    let tenant = TenantId(Uuid::from_u128(7));
    let at = bench.store.clock().now() + jiff::SignedDuration::from_secs(60);
    let start = |number| Start {
        id: Uuid::from_u128(number),
        kind: "build",
        kind_version: 1,
        tenant: Some(tenant),
        params: json!({}),
        created_by: "system".to_owned(),
    };
    let tx = transaction(&bench).await;
    assert!(schedule(&tx, &start(90), at).await.expect("recorded"), "beside the one that runs");
    assert!(!schedule(&tx, &start(91), at).await.expect("answered"), "one of a kind");
    assert!(due(&tx, 10).await.expect("answered").is_empty());
    tx.commit_telemetry().await.expect("commit");
    bench.seconds_pass(61);
    let tx = transaction(&bench).await;
    let found = due(&tx, 10).await.expect("answered");
    assert_eq!(found.iter().map(|due| due.id.as_u128()).collect::<Vec<_>>(), [90]);
    assert!(!super::super::begin(&tx, found[0].id).await.expect("answered"), "another one runs");
    tx.commit_telemetry().await.expect("commit");
    bench.engine().run_one().await.expect("the first one ends");
    let tx = transaction(&bench).await;
    assert!(super::super::begin(&tx, found[0].id).await.expect("answered"));
    assert!(!super::super::begin(&tx, found[0].id).await.expect("answered"), "twice is once");
    tx.rollback().await.expect("rolled back");
    let tx = transaction(&bench).await;
    assert_eq!(cancel(&tx, found[0].id, BECAUSE).await.expect("it waits"), State::Scheduled);
    tx.commit_telemetry().await.expect("commit");
    assert_eq!(bench.world.state(found[0].id).await, "undone");
}

#[tokio::test]
async fn an_executor_that_is_started_again_takes_its_sagas_over_without_waiting_and_fences_the_old_one() {
    let bench = Bench::new().await;
    let old = bench.engine_of(hanging()).on_node("n1");
    let mut work = std::pin::pin!(old.run_one());
    tokio::select! {
        biased;
        _ = &mut work => unreachable!("it hangs"),
        () = begun(&bench) => {}
    }
    let elsewhere = bench.engine().on_node("n2");
    assert_eq!(elsewhere.take_over().await.expect("answered"), 0, "what another node does is its own");
    assert!(!elsewhere.run_one().await.expect("answered"), "the lease holds");
    let again = bench.engine().on_node("n1");
    assert_eq!(again.take_over().await.expect("answered"), 1);
    assert!(again.run_one().await.expect("answered"), "no second had to pass");
    bench.assert_done("taken over").await;
}

#[tokio::test]
async fn a_saga_whose_database_was_away_goes_on_at_once_when_it_is_back() {
    let bench = Bench::new().await;
    bench.world.plant("cut off", false).await;
    let engine = bench.engine_of(cutting());
    assert!(engine.run_one().await.is_err(), "the control database is away");
    assert!(engine.run_one().await.is_err(), "it still is");
    bench.world.let_in(true).await;
    assert!(!bench.engine().run_one().await.expect("answered"), "for others the lease holds");
    assert!(engine.run_one().await.expect("answered"), "no second had to pass");
    bench.assert_done("gone on with").await;
    assert!(!engine.run_one().await.expect("answered"), "once");
}

/// While `store` is made the control database goes away, the first time.
fn cutting() -> Kind<Context> {
    let mut kind = kind();
    kind.steps[1].action = Action::Outside(|run| {
        Box::pin(async move {
            if run.context.fault("cut off").await.is_err() {
                run.context.clear().await;
                run.context.let_in(false).await;
            }
            outside(run, "store").await
        })
    });
    kind
}

/// `people` never ends.
fn hanging() -> Kind<Context> {
    let mut kind = kind();
    kind.steps[2].action = Action::Outside(|_| Box::pin(std::future::pending()));
    kind
}

async fn begun(bench: &Bench) {
    while !bench.world.log(bench.saga).await.contains("people:started") {
        tokio::task::yield_now().await;
    }
}
