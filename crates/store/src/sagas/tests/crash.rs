//! Executors that end at every point where they wait, and two executors at once.

use std::pin::pin;
use std::task::Poll;

use super::*;

/// Drives `future` until it has waited `waits` times, then drops it: what `kill -9` leaves of an executor. Its result if it
/// ended before.
pub(super) async fn killed_after<T>(waits: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = waits;
    std::future::poll_fn(move |context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Another executor takes over when the lease has run out, and brings the saga to its end.
async fn taken_over(bench: &Bench, kind: fn() -> Kind<Context>) {
    bench.seconds_pass(LEASE_S + 1);
    let engine = bench.engine_of(kind());
    // The server may still be rolling back what the killed executor held: until then the row is locked and is passed over.
    while matches!(bench.state().await.as_str(), "running" | "unwinding") {
        engine.run_one().await.expect("the database is there");
    }
}

async fn kill_everywhere(fault: Option<&str>) -> usize {
    let bench = Bench::new().await;
    if let Some(fault) = fault {
        bench.world.plant(fault, false).await;
    }
    for waits in 0.. {
        let ended = killed_after(waits, bench.engine().run_one()).await;
        taken_over(&bench, kind).await;
        match fault {
            None => bench.assert_done(&format!("killed at wait {waits}")).await,
            Some(_) => bench.assert_nothing_left(&format!("killed at wait {waits}")).await,
        }
        if ended.is_some() {
            return waits;
        }
        return_to_start(&bench).await;
    }
    unreachable!("a saga ends")
}

#[tokio::test]
async fn killed_at_any_wait_it_is_finished_by_another_exactly_once() {
    let waits = kill_everywhere(None).await;
    assert!(waits > 50, "only {waits} places were tried");
}

#[tokio::test]
async fn killed_at_any_wait_while_unwinding_nothing_is_left() {
    let waits = kill_everywhere(Some("deploy")).await;
    assert!(waits > 80, "only {waits} places were tried");
}

#[tokio::test]
async fn a_stale_executor_changes_nothing_and_stops() {
    let bench = Bench::new().await;
    let slow = bench.engine();
    for waits in (0..60).step_by(3) {
        let mut slow = pin!(slow.run_one());
        // It stands still in the middle, its lease runs out, another finishes the saga; then it wakes up again.
        if killed_after(waits, slow.as_mut()).await.is_some() {
            break;
        }
        // A transaction that it has open holds the saga's row; let it come to where the row is free.
        bench.seconds_pass(LEASE_S + 1);
        let other = bench.engine();
        let both = async {
            tokio::join!(slow, async {
                while bench.state().await == "running" {
                    other.run_one().await.expect("the database is there");
                }
            })
        };
        let (slow, ()) = both.await;
        slow.expect("losing a saga is no error");
        bench.assert_done(&format!("overtaken at wait {waits}")).await;
        return_to_start(&bench).await;
    }
}

/// The same saga anew, so that one database serves the whole loop.
async fn return_to_start(bench: &Bench) {
    let sql = "DELETE FROM lifecycle.saga_steps; DELETE FROM lifecycle.inventory; DELETE FROM effects; DELETE FROM things; \
         DELETE FROM audit.outbox; UPDATE lifecycle.sagas SET state = 'running', lease_until = NULL, result = NULL, \
         problem = NULL, generation = 0";
    bench.world.outside.batch_execute(sql).await.expect("a clean bench");
}

#[tokio::test]
async fn an_executor_that_always_ends_in_a_step_gives_the_step_up() {
    let bench = Bench::new().await;
    let mut ended = 0;
    while bench.state().await == "running" {
        ended += 1;
        assert!(ended < 30, "it was never given up");
        let engine = bench.engine_of(hanging());
        let mut work = pin!(engine.run_one());
        tokio::select! {
            biased;
            _ = &mut work => {}
            () = hangs(&bench, ended) => {}
        }
        bench.seconds_pass(LEASE_S + 1);
    }
    taken_over(&bench, hanging).await;
    bench.assert_nothing_left("given up").await;
}

/// `people` never ends.
fn hanging() -> Kind<Context> {
    let mut kind = kind();
    kind.steps[2].action = Action::Outside(|_| Box::pin(std::future::pending()));
    kind
}

/// Until the hanging step was begun for the n-th time.
async fn hangs(bench: &Bench, times: usize) {
    while bench.world.log(bench.saga).await.matches("people:started").count() < times {
        tokio::task::yield_now().await;
    }
}
