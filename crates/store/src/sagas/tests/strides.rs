//! Steps that share a commit: what is on record afterwards, what a failure among them leaves, and executors that end in them.

use std::task::Poll;

use super::crash::killed_after;
use super::*;

/// Two steps inside in a row: reserve, people (inside), store, deploy (outside).
fn in_a_row() -> Kind<Context> {
    let mut kind = kind();
    kind.steps.swap(1, 2);
    kind
}

#[tokio::test]
async fn the_log_is_the_same_as_if_each_step_had_gone_alone() {
    let bench = Bench::new().await;
    assert!(bench.engine_of(in_a_row()).run_one().await.expect("the database is there"));
    assert_eq!(bench.state().await, "done");
    let expected = "reserve:started reserve:succeeded people:started people:succeeded \
                    store:started store:succeeded deploy:started deploy:succeeded";
    assert_eq!(bench.world.log(bench.saga).await, expected);
    // The first stride with its records, `started` of deploy, the end: fewer commits than records.
    let commits = "SELECT count(DISTINCT xmin::text)::text FROM lifecycle.saga_steps";
    assert_eq!(bench.world.texts(commits).await, ["3"]);
}

/// As `kind`, whose `store` is looked at first: an effect of that name says that nothing is left to do, a fault of it fails the look.
fn looking() -> Kind<Context> {
    let mut kind = kind();
    kind.steps[1].action = Action::WithinUnless {
        look: |run, transaction| {
            Box::pin(async move {
                run.context.fault("look").await?;
                let there = "SELECT FROM public.effects WHERE step = 'store'";
                let there = transaction.query_opt(there, &[]).await?.is_some();
                Ok(there.then(|| Done::with(&json!({ "name": "there already" }))))
            })
        },
        act: |run| Box::pin(outside(run, "store")),
    };
    kind
}

#[tokio::test]
async fn what_a_look_finds_done_is_not_done_outside_and_shares_the_commit() {
    let bench = Bench::new().await;
    bench.world.outside.execute("INSERT INTO effects VALUES ('store')", &[]).await.expect("there");
    assert!(bench.engine_of(looking()).run_one().await.expect("the database is there"));
    assert_eq!(bench.state().await, "done");
    assert_eq!(bench.world.things().await, "deploy", "nothing was made");
    let expected = "reserve:started reserve:succeeded store:started store:succeeded \
                    people:started people:succeeded deploy:started deploy:succeeded";
    assert_eq!(bench.world.log(bench.saga).await, expected);
    let output =
        "SELECT output->>'name' FROM lifecycle.saga_steps WHERE step = 'store' AND event = 'succeeded'";
    assert_eq!(bench.world.texts(output).await, ["there already"]);
    let commits = "SELECT count(DISTINCT xmin::text)::text FROM lifecycle.saga_steps";
    assert_eq!(bench.world.texts(commits).await, ["2"], "all before deploy in one");
}

#[tokio::test]
async fn what_a_look_does_not_find_is_done_outside() {
    let bench = Bench::new().await;
    bench.engine_of(looking()).run_one().await.expect("the database is there");
    bench.assert_done("looked for in vain").await;
}

#[tokio::test]
async fn a_look_that_fails_leaves_the_step_to_be_done() {
    let bench = Bench::new().await;
    bench.world.plant("look", true).await;
    bench.engine_of(looking()).run_one().await.expect("the database is there");
    bench.assert_done("the look failed").await;
    let touched = bench.world.texts("SELECT touched::text FROM things WHERE name = 'store'").await;
    assert_eq!(touched, ["1"]);
}

#[tokio::test]
async fn a_failure_in_a_stride_is_that_of_its_step_alone() {
    let bench = Bench::new().await;
    bench.world.plant("people", true).await;
    bench.engine_of(in_a_row()).run_one().await.expect("the database is there");
    assert_eq!(bench.world.effects().await, "reserve", "what came before it is done, and once");
    let log = bench.world.log(bench.saga).await;
    assert_eq!(log, "reserve:started reserve:succeeded people:started people:failed");
    bench.world.clear().await;
    bench.seconds_pass(1);
    bench.engine_of(in_a_row()).run_one().await.expect("the database is there");
    bench.assert_done("after a failure that passed").await;
}

#[tokio::test]
async fn a_failure_after_a_step_outside_keeps_what_that_step_did() {
    let bench = Bench::new().await;
    bench.world.plant("people", true).await;
    bench.engine().run_one().await.expect("the database is there");
    let log = bench.world.log(bench.saga).await;
    let expected =
        "reserve:started reserve:succeeded store:started store:succeeded people:started people:failed";
    assert_eq!(log, expected);
    bench.world.clear().await;
    bench.seconds_pass(1);
    bench.engine().run_one().await.expect("the database is there");
    bench.assert_done("after a failure that passed").await;
    let touched = bench.world.texts("SELECT touched::text FROM things WHERE name = 'store'").await;
    assert_eq!(touched, ["1"], "the step outside was not done again");
}

/// `people` never ends, and nothing of its stride is ever on record: it is found out all the same.
#[tokio::test]
async fn a_step_inside_in_which_executors_always_end_is_given_up() {
    let bench = Bench::new().await;
    let mut ended = 0;
    while bench.state().await == "running" {
        ended += 1;
        assert!(ended < 30, "it was never given up");
        let mut kind = in_a_row();
        kind.steps[1].action = Action::Inside(|_, _| {
            Box::pin(std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                Poll::<StepResult>::Pending
            }))
        });
        killed_after(2_000, bench.engine_of(kind).run_one()).await;
        bench.seconds_pass(LEASE_S + 1);
    }
    while bench.state().await == "unwinding" {
        bench.engine_of(in_a_row()).run_one().await.expect("the database is there");
        bench.seconds_pass(LEASE_S + 1);
    }
    bench.assert_nothing_left("given up").await;
}
