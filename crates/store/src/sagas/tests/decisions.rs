//! Sagas that are stuck, and what a person does about them.

use super::*;

const BECAUSE: Reason<'static> = Reason { words: "the schema was dropped by hand", by: "user_x" };

/// Stuck in the undo of `store`.
async fn stuck() -> Bench {
    let bench = Bench::new().await;
    bench.world.plant("people", false).await;
    bench.world.plant("undo store", false).await;
    bench.engine().run_one().await.expect("the database is there");
    assert_eq!(bench.state().await, "stuck");
    assert!(!bench.engine().run_one().await.expect("the database is there"), "it waits for a person");
    bench
}

async fn transaction(bench: &Bench) -> Transaction {
    bench.store.write(&Permit::for_system(None, "test")).await.expect("a transaction")
}

#[tokio::test]
async fn a_stuck_saga_says_why_it_turned_back_and_why_it_stands_still() {
    let bench = stuck().await;
    let row =
        bench.world.outside.query_one("SELECT problem FROM lifecycle.sagas", &[]).await.expect("the saga");
    let problem: serde_json::Value = row.get(0);
    assert_eq!((&problem["step"], &problem["code"]), (&json!("people"), &json!("test.planted")));
    assert_eq!(problem["stuck"]["step"], "store");
}

#[tokio::test]
async fn resumed_it_tries_again_and_ends() {
    let bench = stuck().await;
    bench.world.clear().await;
    let tx = transaction(&bench).await;
    assert_eq!(resume(&tx, bench.saga, Some("store"), BECAUSE).await.expect("stuck"), "store");
    tx.commit_telemetry().await.expect("commit");
    bench.engine().run_one().await.expect("the database is there");
    bench.assert_nothing_left("resumed").await;
}

#[tokio::test]
async fn skipped_it_goes_on_with_the_step_before() {
    let bench = stuck().await;
    let tx = transaction(&bench).await;
    skip(&tx, bench.saga, None, BECAUSE).await.expect("stuck");
    tx.commit_telemetry().await.expect("commit");
    bench.engine().run_one().await.expect("the database is there");
    assert_eq!(bench.state().await, "undone");
    assert_eq!(bench.world.effects().await, "", "reserve was undone");
    let log = bench.world.log(bench.saga).await;
    assert!(log.ends_with("store:skipped reserve:undo_started reserve:undone"), "{log}");
}

#[tokio::test]
async fn abandoned_it_ends_and_the_inventory_says_what_is_left() {
    let bench = stuck().await;
    let tx = transaction(&bench).await;
    abandon(&tx, bench.saga, None, BECAUSE).await.expect("stuck");
    tx.commit_telemetry().await.expect("commit");
    assert!(!bench.engine().run_one().await.expect("the database is there"));
    assert_eq!(bench.state().await, "abandoned");
    assert_eq!(bench.world.inventory().await, "schema:store:observed");
    begin(&bench.store, TenantId(Uuid::from_u128(7))).await.expect("the tenant is not busy any more");
}

#[tokio::test]
async fn only_what_is_stuck_takes_orders_and_only_at_its_step() {
    let bench = stuck().await;
    let tx = transaction(&bench).await;
    let elsewhere = resume(&tx, bench.saga, Some("deploy"), BECAUSE).await;
    assert!(matches!(elsewhere, Err(OrderError::OtherStep(step)) if step == "store"));
    let unknown = skip(&tx, Uuid::nil(), None, BECAUSE).await;
    assert!(matches!(unknown, Err(OrderError::Unknown)));
    abandon(&tx, bench.saga, None, BECAUSE).await.expect("stuck");
    let over = resume(&tx, bench.saga, None, BECAUSE).await;
    assert!(matches!(over, Err(OrderError::NotStuck(State::Abandoned))));
}
