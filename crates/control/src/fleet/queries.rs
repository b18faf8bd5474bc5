//! Rows of rollouts and their targets.

use jiff::Timestamp;
use rowhouse_domain::id::{RolloutId, TenantId};
use rowhouse_store::{StoreError, Topic, Transaction};
use tokio_postgres::Row;

/// A rollout as it is recorded.
#[derive(Debug, Clone)]
pub(super) struct RolloutRow {
    pub id: RolloutId,
    pub service: String,
    pub version: i32,
    pub waves: Vec<String>,
    pub on_failure: String,
    pub state: String,
    pub wave: i32,
    pub reason: Option<String>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT rollout_id, service, version, waves, on_failure, state, wave, reason, created_at, finished_at \
             FROM tenancy.rollouts ",
            $rest
        )
    };
}

fn rollout(row: &Row) -> RolloutRow {
    RolloutRow {
        id: RolloutId(row.get(0)),
        service: row.get(1),
        version: row.get(2),
        waves: row.get(3),
        on_failure: row.get(4),
        state: row.get(5),
        wave: row.get(6),
        reason: row.get(7),
        created_at: row.get(8),
        finished_at: row.get(9),
    }
}

pub(super) async fn get(transaction: &Transaction, id: RolloutId) -> Result<Option<RolloutRow>, StoreError> {
    Ok(transaction.query_opt(select!("WHERE rollout_id = $1"), &[&id.0]).await?.as_ref().map(rollout))
}

pub(super) async fn lock(transaction: &Transaction, id: RolloutId) -> Result<Option<RolloutRow>, StoreError> {
    let row = transaction.query_opt(select!("WHERE rollout_id = $1 FOR UPDATE"), &[&id.0]).await?;
    Ok(row.as_ref().map(rollout))
}

pub(super) async fn running(transaction: &Transaction) -> Result<Vec<RolloutRow>, StoreError> {
    let rows = transaction.query(select!("WHERE state = 'running' ORDER BY created_at"), &[]).await?;
    Ok(rows.iter().map(rollout).collect())
}

pub(super) async fn list(
    transaction: &Transaction,
    before: Option<RolloutId>,
    limit: i64,
) -> Result<Vec<RolloutRow>, StoreError> {
    let sql = select!("WHERE $1::uuid IS NULL OR rollout_id < $1 ORDER BY rollout_id DESC LIMIT $2");
    let rows = transaction.query(sql, &[&before.map(|id| id.0), &limit]).await?;
    Ok(rows.iter().map(rollout).collect())
}

/// A schema that is behind a version.
#[derive(Debug, Clone)]
pub(super) struct Behind {
    pub cell: String,
    pub database: String,
    pub schema: String,
    pub tenant: Option<TenantId>,
    pub version: i32,
    pub canary: bool,
}

/// Schemas of `service` below `version`, the oldest tenants first.
pub(super) async fn behind(
    transaction: &Transaction,
    service: &str,
    version: i32,
) -> Result<Vec<Behind>, StoreError> {
    let rows = transaction
        .query(
            "SELECT i.cell, i.database, i.schema, i.tenant_id, i.version, \
                    coalesce(t.metadata ->> 'canary' = 'true', false) \
             FROM tenancy.installations i LEFT JOIN tenancy.tenants t ON t.tenant_id = i.tenant_id \
             WHERE i.service = $1 AND i.version < $2 ORDER BY i.tenant_id NULLS FIRST, i.cell",
            &[&service, &version],
        )
        .await?;
    let behind = |row: &Row| Behind {
        cell: row.get(0),
        database: row.get(1),
        schema: row.get(2),
        tenant: row.get::<_, Option<uuid::Uuid>>(3).map(TenantId),
        version: row.get(4),
        canary: row.get(5),
    };
    Ok(rows.iter().map(behind).collect())
}

/// Answers whether it is the only running one of its service.
pub(super) async fn insert(
    transaction: &Transaction,
    row: &RolloutRow,
    by: &str,
) -> Result<bool, StoreError> {
    let inserted = transaction
        .execute(
            "INSERT INTO tenancy.rollouts (rollout_id, service, version, waves, on_failure, state, created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, 'running', $6, $7) ON CONFLICT (service) WHERE state = 'running' DO NOTHING",
            &[&row.id.0, &row.service, &row.version, &row.waves, &row.on_failure, &by, &row.created_at],
        )
        .await?;
    transaction.touch(Topic::Rollouts);
    Ok(inserted == 1)
}

pub(super) async fn insert_target(
    transaction: &Transaction,
    id: RolloutId,
    of: &Behind,
    (wave, now): (i32, Timestamp),
) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO tenancy.rollout_targets (rollout_id, cell, database, schema, tenant_id, wave, run_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &[&id.0, &of.cell, &of.database, &of.schema, &of.tenant.map(|tenant| tenant.0), &wave, &now],
        )
        .await?;
    Ok(())
}

/// A schema that is this worker's for now.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub cell: String,
    pub database: String,
    pub schema: String,
    pub tenant: Option<TenantId>,
    pub attempts: i32,
}

/// Cells in which something of the wave is due.
pub(super) async fn cells_due(
    transaction: &Transaction,
    of: &RolloutRow,
    now: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT DISTINCT cell FROM tenancy.rollout_targets \
         WHERE rollout_id = $1 AND wave = $2 AND state IN ('waiting', 'running') AND run_at <= $3 ORDER BY cell";
    Ok(transaction.query(sql, &[&of.id.0, &of.wave, &now]).await?.iter().map(|row| row.get(0)).collect())
}

/// Takes the next schema of a cell that is due, until `lease`: one that waits, or that somebody has left behind.
pub(super) async fn claim(
    transaction: &Transaction,
    of: &RolloutRow,
    (cell, node): (&str, &str),
    (now, lease): (Timestamp, Timestamp),
) -> Result<Option<Target>, StoreError> {
    let row = transaction
        .query_opt(
            "UPDATE tenancy.rollout_targets SET state = 'running', attempts = attempts + 1, run_at = $6, node = $4, at = $5 \
             WHERE (rollout_id, cell, database, schema) = ( \
               SELECT t.rollout_id, t.cell, t.database, t.schema FROM tenancy.rollout_targets t \
               JOIN tenancy.rollouts r ON r.rollout_id = t.rollout_id AND r.state = 'running' \
               WHERE t.rollout_id = $1 AND t.wave = $2 AND t.cell = $3 AND t.state IN ('waiting', 'running') AND t.run_at <= $5 \
               ORDER BY t.run_at, t.schema LIMIT 1 FOR UPDATE OF t SKIP LOCKED) \
             RETURNING cell, database, schema, tenant_id, attempts",
            &[&of.id.0, &of.wave, &cell, &node, &now, &lease],
        )
        .await?;
    Ok(row.map(|row| Target {
        cell: row.get(0),
        database: row.get(1),
        schema: row.get(2),
        tenant: row.get::<_, Option<uuid::Uuid>>(3).map(TenantId),
        attempts: row.get(4),
    }))
}

/// How a try of a schema ended, and when the next is if it is to be tried again.
pub(super) async fn settle(
    transaction: &Transaction,
    id: RolloutId,
    target: &Target,
    (state, problem): (&str, Option<&str>),
    (now, run_at): (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    transaction
        .execute(
            "UPDATE tenancy.rollout_targets SET state = $5, problem = $6, run_at = $7, at = $8, node = NULL \
             WHERE rollout_id = $1 AND cell = $2 AND database = $3 AND schema = $4 AND state = 'running' AND attempts = $9",
            &[
                &id.0,
                &target.cell,
                &target.database,
                &target.schema,
                &state,
                &problem,
                &run_at,
                &now,
                &target.attempts,
            ],
        )
        .await?;
    Ok(())
}

/// What a process of this name had taken is free again: there is only one, and it has just begun.
pub(super) async fn free_own(
    transaction: &Transaction,
    node: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE tenancy.rollout_targets SET run_at = $2 WHERE node = $1 AND state = 'running'";
    transaction.execute(sql, &[&node, &now]).await.map(drop)
}

/// Targets of one wave by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub waiting: i64,
    pub running: i64,
    pub done: i64,
    pub failed: i64,
    pub skipped: i64,
}

impl Counts {
    pub fn open(self) -> i64 {
        self.waiting + self.running
    }

    pub fn all(self) -> i64 {
        self.open() + self.done + self.failed + self.skipped
    }
}

/// By number of the wave; waves without targets are not there.
pub(super) async fn counts(
    transaction: &Transaction,
    id: RolloutId,
) -> Result<Vec<(i32, Counts)>, StoreError> {
    let sql = "SELECT wave, count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'running'), \
           count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state = 'failed'), \
           count(*) FILTER (WHERE state = 'skipped') \
         FROM tenancy.rollout_targets WHERE rollout_id = $1 GROUP BY wave ORDER BY wave";
    let rows = transaction.query(sql, &[&id.0]).await?;
    let counted = |row: &Row| {
        let [waiting, running, done, failed, skipped] = [1, 2, 3, 4, 5].map(|at| row.get(at));
        (row.get(0), Counts { waiting, running, done, failed, skipped })
    };
    Ok(rows.iter().map(counted).collect())
}

/// Failed targets, with their problems, at most `limit`.
pub(super) async fn failed(
    transaction: &Transaction,
    id: RolloutId,
    limit: i64,
) -> Result<Vec<(Target, String)>, StoreError> {
    let sql = "SELECT cell, database, schema, tenant_id, attempts, coalesce(problem, '') FROM tenancy.rollout_targets \
         WHERE rollout_id = $1 AND state = 'failed' ORDER BY wave, cell, schema LIMIT $2";
    let rows = transaction.query(sql, &[&id.0, &limit]).await?;
    let failed = |row: &Row| {
        let tenant = row.get::<_, Option<uuid::Uuid>>(3).map(TenantId);
        let target = Target {
            cell: row.get(0),
            database: row.get(1),
            schema: row.get(2),
            tenant,
            attempts: row.get(4),
        };
        (target, row.get(5))
    };
    Ok(rows.iter().map(failed).collect())
}

/// Sets state, wave and reason of a rollout.
pub(super) async fn set(
    transaction: &Transaction,
    id: RolloutId,
    (state, wave, reason): (&str, i32, Option<&str>),
    finished_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let sql = "UPDATE tenancy.rollouts SET state = $2, wave = $3, reason = $4, finished_at = $5 WHERE rollout_id = $1";
    transaction.touch(Topic::Rollouts);
    transaction.execute(sql, &[&id.0, &state, &wave, &reason, &finished_at]).await.map(drop)
}

/// From now on failures do not stop it.
pub(super) async fn go_on_after_failures(transaction: &Transaction, id: RolloutId) -> Result<(), StoreError> {
    let sql = "UPDATE tenancy.rollouts SET on_failure = 'continue' WHERE rollout_id = $1";
    transaction.touch(Topic::Rollouts);
    transaction.execute(sql, &[&id.0]).await.map(drop)
}

/// Failed targets wait again, with all their attempts; the first wave that has one.
pub(super) async fn retry_failed(
    transaction: &Transaction,
    id: RolloutId,
    now: Timestamp,
) -> Result<Option<i32>, StoreError> {
    let sql = "WITH again AS (UPDATE tenancy.rollout_targets SET state = 'waiting', attempts = 0, run_at = $2, problem = NULL \
           WHERE rollout_id = $1 AND state = 'failed' RETURNING wave) SELECT min(wave) FROM again";
    transaction.touch(Topic::Rollouts);
    Ok(transaction.query_one(sql, &[&id.0, &now]).await?.get(0))
}

/// Whether another rollout of the service runs.
pub(super) async fn another_runs(
    transaction: &Transaction,
    service: &str,
    id: RolloutId,
) -> Result<bool, StoreError> {
    let sql = "SELECT FROM tenancy.rollouts WHERE service = $1 AND state = 'running' AND rollout_id <> $2";
    Ok(transaction.query_opt(sql, &[&service, &id.0]).await?.is_some())
}
