//! Executors that are killed while they provision; others go on.

use std::pin::pin;
use std::task::Poll;

use rowhouse_store::sagas::LEASE_S;

use super::*;

/// Drives `future` until it has waited `waits` times, then drops it: what `kill -9` leaves of an executor.
pub async fn killed_after<T>(waits: usize, future: impl Future<Output = T>) -> Option<T> {
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

/// Exactly one of everything for each tenant that is active.
const DOUBLES: &str = "SELECT string_agg(code, ' ') FROM tenancy.tenants t WHERE tenant_id <> '00000000-0000-0000-0000-000000000001' \
    AND (1, 1, 1, 1, 1) <> ( \
      (SELECT count(*) FROM tenancy.places p WHERE p.tenant_id = t.tenant_id AND p.state = 'settled'), \
      (SELECT count(*) FROM keys.service_accounts a WHERE a.tenant_id = t.tenant_id), \
      (SELECT count(*) FROM access.grants g WHERE g.tenant_id = t.tenant_id), \
      (SELECT count(*) FROM billing.subscriptions s WHERE s.tenant_id = t.tenant_id), \
      (SELECT count(*) FROM audit.outbox o WHERE o.tenant_id = t.tenant_id AND o.draft->>'event' = 'lifecycle.tenant_activated'))";

/// Kills an executor at every `stride`-th place where it waits.
async fn killed_everywhere(tier: &str, isolation: &str, stride: usize) {
    let stage = Stage::start().await;
    for kill in 0.. {
        let code = format!("acme{kill}");
        let id = stage.ask_for(&code, tier, isolation).await;
        let engine = lifecycle::engine(stage.control());
        let ended = killed_after(kill * stride, engine.run_one()).await;
        stage.platform.hand.advance_us((LEASE_S + 1) * 1_000_000);
        let operation = stage.execute(&lifecycle::engine(stage.control()), &id).await;
        assert_eq!(operation["state"], "done", "killed at wait {}: {operation:#}", kill * stride);
        if ended.is_some() {
            assert!(kill > 5, "only {kill} places were tried");
            break;
        }
    }
    assert_eq!(stage.platform.ask(DOUBLES).await, "NULL", "each happened once");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_provisioning_on_shared_another_finishes_it_once() {
    killed_everywhere("basic", "shared", 9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_provisioning_on_schema_another_finishes_it_once() {
    killed_everywhere("basic", "schema", 9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_provisioning_on_database_another_finishes_it_once() {
    killed_everywhere("enterprise", "database", 13).await;
}
