//! Failing at each step, and doing each step twice.

use super::*;

#[tokio::test]
async fn a_failure_at_each_step_unwinds_to_nothing() {
    for (index, step) in STEPS.into_iter().enumerate() {
        let bench = Bench::new().await;
        bench.world.plant(step, false).await;
        bench.engine().run_one().await.expect("the database is there");
        bench.assert_nothing_left(step).await;
        let log = bench.world.log(bench.saga).await;
        for begun in &STEPS[..=index] {
            assert!(log.contains(&format!("{begun}:undone")), "{begun} of {log}");
        }
        for never in &STEPS[index + 1..] {
            assert!(!log.contains(never), "{never} of {log}");
        }
    }
}

#[tokio::test]
async fn a_failure_that_passes_is_tried_again_at_its_times() {
    let bench = Bench::new().await;
    bench.world.plant("store", true).await;
    let engine = bench.engine();
    for wait_s in [1, 5, 25] {
        assert!(engine.run_one().await.expect("the database is there"));
        bench.seconds_pass(wait_s - 1);
        assert!(!engine.run_one().await.expect("the database is there"), "not before {wait_s} s");
        bench.seconds_pass(1);
    }
    bench.world.clear().await;
    assert!(engine.run_one().await.expect("the database is there"));
    bench.assert_done("at the fourth try").await;
}

#[tokio::test]
async fn a_step_that_fails_until_its_deadline_is_undone() {
    let bench = Bench::new().await;
    bench.world.plant("people", true).await;
    let engine = bench.engine();
    while bench.state().await == "running" {
        engine.run_one().await.expect("the database is there");
        bench.seconds_pass(1);
    }
    bench.assert_nothing_left("after its deadline").await;
    // At 0, 1, 6 and 31 s; the next would be at 91 s, past the deadline of 60 s.
    let tries = bench.world.log(bench.saga).await.matches("people:failed").count();
    assert_eq!(tries, 4);
}

/// The same steps, each followed by itself: every action outside is done twice, and undone twice.
fn doubled() -> Kind<Context> {
    let twice = |name| Step {
        name,
        deadline: Duration::from_secs(60),
        action: Action::Nothing,
        undo: Action::Nothing,
    };
    let mut kind = kind();
    for (index, name) in [(2, "store again"), (5, "deploy again")] {
        let Step { action, undo, .. } = kind.steps[index - 1];
        kind.steps.insert(index, Step { action, undo, ..twice(name) });
    }
    kind
}

#[tokio::test]
async fn every_action_outside_may_be_repeated_both_ways() {
    let bench = Bench::new().await;
    bench.engine_of(doubled()).run_one().await.expect("the database is there");
    bench.assert_done("twice").await;
    let touched = bench.world.texts("SELECT touched::text FROM things").await;
    assert_eq!(touched, ["2", "2"], "they really were done twice");

    let bench = Bench::new().await;
    let mut kind = doubled();
    kind.steps.push(Step {
        name: "fail",
        deadline: Duration::from_secs(60),
        action: Action::Outside(|_| Box::pin(async { Err(StepError::never("test.planted", "at the end")) })),
        undo: Action::Nothing,
    });
    bench.engine_of(kind).run_one().await.expect("the database is there");
    bench.assert_nothing_left("undone twice").await;
}
