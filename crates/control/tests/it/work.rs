//! Jobs: done once, tried again after a failure, and never more often than the bound.

use rowhouse_control::api::work;
use rowhouse_domain::access::Permit;
use rowhouse_store::jobs::{self, ATTEMPTS_MAX};
use serde_json::json;
use uuid::Uuid;

use crate::platform::Platform;

#[tokio::test]
async fn a_sweep_removes_what_is_over_once_an_hour() {
    let platform = Platform::start().await;
    let add = "INSERT INTO api.idempotency (principal, tenant, method, path, key, body_sha256, created_at) \
               VALUES ('p', '', 'POST', '/x', 'old', '', '2026-11-20 09:59:59Z'), ('p', '', 'POST', '/x', 'new', '', '2026-11-20 10:00:01Z')";
    platform.execute(add).await;
    platform
        .execute("INSERT INTO api.notices (topic, at) VALUES ('a', '2026-11-01Z'), ('b', '2026-11-02Z')")
        .await;
    assert!(work::turn(&platform.control).await.expect("a turn"), "the sweep of this hour");
    assert!(!work::turn(&platform.control).await.expect("a turn"), "one sweep an hour");
    assert_eq!(platform.ask("SELECT string_agg(key, ' ') FROM api.idempotency").await, "new");
    assert_eq!(
        platform.ask("SELECT string_agg(topic, ' ') FROM api.notices").await,
        "b",
        "the newest notice stays"
    );
    platform.hand.advance_us(3_600_000_000);
    assert!(work::turn(&platform.control).await.expect("a turn"), "and one in the next");
}

#[tokio::test]
async fn a_job_that_fails_is_tried_again_later_each_time_and_not_for_ever() {
    let platform = Platform::start().await;
    let store = &platform.control.store;
    let (id, now) = (Uuid::from_u128(7), store.clock().now());
    for _ in 0..2 {
        let tx = store.write(&Permit::for_system(None, "test")).await.expect("a transaction");
        jobs::enqueue(&tx, id, "test.unknown", &json!({"n": 1}), now).await.expect("enqueued, once");
        tx.commit_telemetry().await.expect("committed");
    }
    let mut attempts = 0;
    for _ in 0..20 {
        while let Some(job) = jobs::claim(store).await.expect("a claim") {
            attempts += 1;
            assert_eq!((job.id, job.attempt, &job.payload["n"]), (id, attempts, &json!(1)));
            assert!(jobs::claim(store).await.expect("a claim").is_none(), "nobody else gets it meanwhile");
            jobs::settle(store, &job, Err("no luck".to_owned())).await.expect("settled");
        }
        platform.hand.advance_us(3_600_000_000);
    }
    assert_eq!(attempts, ATTEMPTS_MAX);
    assert_eq!(platform.ask("SELECT last_problem FROM api.jobs").await, "no luck");
}

#[tokio::test]
async fn a_try_that_outlived_its_lease_has_no_say_any_more() {
    let platform = Platform::start().await;
    let store = &platform.control.store;
    let tx = store.write(&Permit::for_system(None, "test")).await.expect("a transaction");
    jobs::enqueue(&tx, Uuid::from_u128(7), "test.unknown", &json!({}), store.clock().now())
        .await
        .expect("a job");
    tx.commit_telemetry().await.expect("committed");
    let slow = jobs::claim(store).await.expect("a claim").expect("the job");
    platform.hand.advance_us(61_000_000);
    let second = jobs::claim(store).await.expect("a claim").expect("its lease has run out");
    jobs::settle(store, &slow, Err("too late".to_owned())).await.expect("settled");
    platform.hand.advance_us(10_000_000);
    assert!(jobs::claim(store).await.expect("a claim").is_none(), "the second try still holds it");
    jobs::settle(store, &second, Ok(())).await.expect("settled");
    assert_eq!(
        platform.ask("SELECT (done_at IS NOT NULL)::text || coalesce(last_problem, '') FROM api.jobs").await,
        "true"
    );
}
