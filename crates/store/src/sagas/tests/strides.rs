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
