//! Jobs: work outside a request that is safe to do twice. At least once, with retries that end.

use rowhouse_domain::access::Permit;
use serde::Serialize;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::pool::{Store, StoreError};
use crate::transaction::Transaction;

/// Tries before a job is left for a person.
pub const ATTEMPTS_MAX: i32 = 8;
/// How long one try may take before another worker may take the job.
const LEASE: &str = "60 seconds";

/// A job that this worker holds.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Its id.
    pub id: Uuid,
    /// What to do.
    pub kind: String,
    /// With what.
    pub payload: serde_json::Value,
    /// This is the n-th try, from 1.
    pub attempt: i32,
}

/// Puts a job in, in the transaction of what causes it. `id` makes it once: a second one is ignored.
pub async fn enqueue(
    transaction: &Transaction,
    id: Uuid,
    kind: &'static str,
    payload: &(impl Serialize + Sync),
    run_at: jiff::Timestamp,
) -> Result<(), StoreError> {
    let payload = serde_json::to_value(payload).map_err(|_| StoreError::Stored { what: "a job" })?;
    transaction
        .execute(
            "INSERT INTO api.jobs (id, kind, payload, run_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (id) DO NOTHING",
            &[&id, &kind, &Json(payload), &run_at],
        )
        .await?;
    Ok(())
}

/// Takes the job that has been due longest, if one is.
pub async fn claim(store: &Store) -> Result<Option<Claimed>, StoreError> {
    let transaction = store.write(&Permit::for_system(None, "job worker")).await?;
    let now = store.clock().now();
    let row = transaction
        .query_opt(
            "UPDATE api.jobs SET attempts = attempts + 1, leased_until = $1 + ($2::text)::interval \
             WHERE id = (SELECT id FROM api.jobs \
                 WHERE done_at IS NULL AND run_at <= $1 AND attempts < $3 \
                   AND (leased_until IS NULL OR leased_until < $1) \
                 ORDER BY run_at LIMIT 1 FOR UPDATE SKIP LOCKED) \
             RETURNING id, kind, payload, attempts",
            &[&now, &LEASE, &ATTEMPTS_MAX],
        )
        .await?;
    transaction.commit_telemetry().await?;
    Ok(row.map(|row| Claimed { id: row.get(0), kind: row.get(1), payload: row.get(2), attempt: row.get(3) }))
}

/// Says how a try ended: done, or a problem after which it is tried again, later each time. A try that outlived its
/// lease and was followed by another says nothing: what counts is how the last one ends.
pub async fn settle(store: &Store, job: &Claimed, outcome: Result<(), String>) -> Result<(), StoreError> {
    let transaction = store.write(&Permit::for_system(None, "job worker")).await?;
    let now = store.clock().now();
    match outcome {
        Ok(()) => {
            transaction
                .execute(
                    "UPDATE api.jobs SET done_at = $2, leased_until = NULL WHERE id = $1 AND attempts = $3",
                    &[&job.id, &now, &job.attempt],
                )
                .await?;
        }
        Err(problem) => {
            let wait_s = 1i64 << job.attempt.min(12);
            let again = now + jiff::SignedDuration::from_secs(wait_s);
            transaction
                .execute(
                    "UPDATE api.jobs SET run_at = $2, leased_until = NULL, last_problem = $3 \
                     WHERE id = $1 AND attempts = $4",
                    &[&job.id, &again, &problem, &job.attempt],
                )
                .await?;
        }
    }
    transaction.commit_telemetry().await
}
