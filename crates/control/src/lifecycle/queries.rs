//! Rows and SQL of operations: sagas and their steps, as they are read. Writing them is `rowhouse_store::sagas`.

use jiff::Timestamp;
use rowhouse_domain::id::{OperationId, TenantId};
use rowhouse_domain::lifecycle::envelope::Envelope;
use rowhouse_store::sagas::State;
use rowhouse_store::{StoreError, Transaction};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::decommission::Issued;
use super::explain::Thing;
use super::reconcile::{Finding, KeptFinding};

/// A saga.
#[derive(Debug, Clone)]
pub struct SagaRow {
    pub id: OperationId,
    pub kind: String,
    pub tenant: Option<TenantId>,
    pub state: State,
    pub problem: Option<Value>,
    pub result: Option<Value>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub run_at: Timestamp,
    pub executor: Option<Uuid>,
    pub lease_until: Option<Timestamp>,
    pub params: Value,
}

/// A line of a saga's log.
#[derive(Debug, Clone)]
pub struct StepRow {
    pub saga: Uuid,
    pub step: String,
    pub event: String,
    pub problem: Option<String>,
    pub at: Timestamp,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT saga_id, kind, tenant_id, state, problem, result, created_by, created_at, finished_at, \
               run_at, executor, lease_until, params \
             FROM lifecycle.sagas ",
            $rest
        )
    };
}

fn saga(row: &Row) -> Result<SagaRow, StoreError> {
    Ok(SagaRow {
        id: OperationId(row.get(0)),
        kind: row.get(1),
        tenant: row.get::<_, Option<Uuid>>(2).map(TenantId),
        state: State::parse(row.get(3)).ok_or(StoreError::Stored { what: "the state of a saga" })?,
        problem: row.get(4),
        result: row.get(5),
        created_by: row.get(6),
        created_at: row.get(7),
        finished_at: row.get(8),
        run_at: row.get(9),
        executor: row.get(10),
        lease_until: row.get(11),
        params: row.get(12),
    })
}

/// One saga that the transaction sees.
pub async fn get(transaction: &Transaction, id: OperationId) -> Result<Option<SagaRow>, StoreError> {
    let row = transaction.query_opt(select!("WHERE saga_id = $1"), &[&id.0]).await?;
    row.as_ref().map(saga).transpose()
}

/// Which sagas to list.
#[derive(Debug, Default, Clone)]
pub struct Filter {
    pub tenant: Option<TenantId>,
    pub states: Option<Vec<String>>,
    pub kinds: Option<Vec<String>>,
}

/// A page, newest first.
pub async fn list(
    transaction: &Transaction,
    filter: &Filter,
    before: Option<Uuid>,
    size: i64,
) -> Result<Vec<SagaRow>, StoreError> {
    let sql = select!(
        "WHERE ($1::uuid IS NULL OR tenant_id = $1) AND ($2::text[] IS NULL OR state = ANY ($2)) \
           AND ($3::text[] IS NULL OR kind = ANY ($3)) AND ($4::uuid IS NULL OR saga_id < $4) \
         ORDER BY saga_id DESC LIMIT $5"
    );
    let tenant = filter.tenant.map(|tenant| tenant.0);
    let rows = transaction.query(sql, &[&tenant, &filter.states, &filter.kinds, &before, &size]).await?;
    rows.iter().map(saga).collect()
}

/// The logs of sagas that were read before, in order. One look into the index for each: planned as one scan for all of them while
/// there were few, it would read all logs there are.
pub async fn steps(transaction: &Transaction, sagas: &[Uuid]) -> Result<Vec<StepRow>, StoreError> {
    let rows = transaction
        .query(
            "SELECT s.saga_id, s.step, s.event, s.problem, s.at FROM unnest($1::uuid[]) AS wanted (id) \
             CROSS JOIN LATERAL (SELECT saga_id, step, event, problem, at, sequence FROM lifecycle.saga_steps \
               WHERE saga_id = wanted.id OFFSET 0) s \
             ORDER BY s.sequence",
            &[&sagas],
        )
        .await?;
    let step = |row: &Row| StepRow {
        saga: row.get(0),
        step: row.get(1),
        event: row.get(2),
        problem: row.get(3),
        at: row.get(4),
    };
    Ok(rows.iter().map(step).collect())
}

/// What a saga made outside the control database and is not known to be gone.
pub async fn inventory_of_saga(transaction: &Transaction, id: OperationId) -> Result<Vec<Thing>, StoreError> {
    let rows = transaction
        .query(
            "SELECT kind, external_id, state FROM lifecycle.inventory \
             WHERE saga_id = $1 AND state <> 'gone' ORDER BY kind, external_id",
            &[&id.0],
        )
        .await?;
    Ok(rows.iter().map(|row| Thing { kind: row.get(0), id: row.get(1), state: row.get(2) }).collect())
}

/// Says that none of a tenant's own processes and their ports are there any more, whichever saga made them.
pub async fn processes_are_gone(transaction: &Transaction, tenant: TenantId) -> Result<(), StoreError> {
    let now = transaction.store().clock().now();
    transaction
        .execute(
            "UPDATE lifecycle.inventory SET state = 'gone', at = $2 \
             WHERE tenant_id = $1 AND kind IN ('process', 'port') AND state <> 'gone'",
            &[&tenant.0, &now],
        )
        .await?;
    Ok(())
}

/// Removes the rows of a tenant that is leaving from all tables but the `kept` ones: table, number of rows.
pub async fn erase_rows(
    transaction: &Transaction,
    tenant: TenantId,
    kept: &[&str],
) -> Result<Vec<(String, i64)>, StoreError> {
    let sql = "SELECT relation, erased FROM lifecycle.erase_rows($1, $2) ORDER BY 1";
    let rows = transaction.query(sql, &[&tenant.0, &kept]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Rows of a tenant in all tables but the `kept` ones, those without any too.
pub async fn rows_left(
    transaction: &Transaction,
    tenant: TenantId,
    kept: &[&str],
) -> Result<Vec<(String, i64)>, StoreError> {
    let sql = "SELECT relation, remaining FROM lifecycle.rows_left($1, $2) ORDER BY 1";
    let rows = transaction.query(sql, &[&tenant.0, &kept]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Keeps a certificate.
pub async fn keep_certificate(
    transaction: &Transaction,
    tenant: TenantId,
    number: i32,
    envelope: &Envelope,
) -> Result<(), StoreError> {
    let now = transaction.store().clock().now();
    let sql = "INSERT INTO lifecycle.certificates (tenant_id, number, envelope, at) VALUES ($1, $2, $3, $4)";
    transaction.execute(sql, &[&tenant.0, &number, &Json(envelope), &now]).await.map(drop)
}

/// The last certificate of a tenant.
pub async fn newest_certificate(
    transaction: &Transaction,
    tenant: TenantId,
) -> Result<Option<Issued>, StoreError> {
    let sql = "SELECT number, envelope, at FROM lifecycle.certificates WHERE tenant_id = $1 ORDER BY number DESC LIMIT 1";
    let row = transaction.query_opt(sql, &[&tenant.0]).await?;
    Ok(row.map(|row| Issued {
        number: row.get(0),
        envelope: row.get::<_, Json<Envelope>>(1).0,
        at: row.get(2),
    }))
}

/// A thing of the inventory that is not known to be gone.
#[derive(Debug, Clone)]
pub struct InventoryRow {
    pub tenant: TenantId,
    pub kind: String,
    pub id: String,
    pub state: String,
    /// Whether the saga that made it is over.
    pub saga_is_over: bool,
    /// Whether an operation of its tenant is under way.
    pub is_busy: bool,
    /// Where it is, if that is known.
    pub cell: Option<String>,
}

/// The whole inventory.
pub async fn inventory(transaction: &Transaction) -> Result<Vec<InventoryRow>, StoreError> {
    let rows = transaction
        .query(
            "SELECT i.tenant_id, i.kind, i.external_id, i.state, s.state IN ('done', 'undone', 'abandoned'), \
               EXISTS (SELECT FROM lifecycle.sagas b WHERE b.tenant_id = i.tenant_id \
                 AND b.state IN ('running', 'unwinding', 'stuck')) \
             FROM lifecycle.inventory i JOIN lifecycle.sagas s ON s.saga_id = i.saga_id \
             WHERE i.state <> 'gone' ORDER BY i.tenant_id, i.kind, i.external_id",
            &[],
        )
        .await?;
    let thing = |row: &Row| InventoryRow {
        tenant: TenantId(row.get(0)),
        kind: row.get(1),
        id: row.get(2),
        state: row.get(3),
        saga_is_over: row.get(4),
        is_busy: row.get(5),
        cell: None,
    };
    Ok(rows.iter().map(thing).collect())
}

/// Keeps what a comparison has found, and drops what it has not found any more. How much of it is new.
pub async fn keep_findings(
    transaction: &Transaction,
    findings: &[Finding],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut news = 0;
    for finding in findings {
        let tenant = finding.tenant.as_ref().and_then(|id| id.parse::<TenantId>().ok()).map(|id| id.0);
        let row = transaction
            .query_one(
                "INSERT INTO lifecycle.findings (problem, kind, external_id, cell, tenant_id, detail, first_seen_at, last_seen_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $7) \
                 ON CONFLICT (problem, kind, external_id, cell) DO UPDATE SET last_seen_at = excluded.last_seen_at \
                 RETURNING first_seen_at = $7",
                &[&finding.problem, &finding.kind, &finding.id, &finding.cell, &tenant, &finding.detail, &now],
            )
            .await?;
        news += u64::from(row.get::<_, bool>(0));
    }
    transaction.execute("DELETE FROM lifecycle.findings WHERE last_seen_at < $1", &[&now]).await?;
    Ok(news)
}

/// What the last comparison has found.
pub async fn kept_findings(transaction: &Transaction) -> Result<Vec<KeptFinding>, StoreError> {
    let rows = transaction
        .query(
            "SELECT problem, kind, external_id, cell, tenant_id, detail, first_seen_at, last_seen_at \
             FROM lifecycle.findings ORDER BY problem, kind, external_id",
            &[],
        )
        .await?;
    let kept = |row: &Row| KeptFinding {
        finding: Finding {
            problem: row.get(0),
            kind: row.get(1),
            id: row.get(2),
            cell: row.get(3),
            tenant: row.get::<_, Option<Uuid>>(4).map(|id| TenantId(id).to_string()),
            detail: row.get(5),
        },
        first_seen_at: row.get(6),
        last_seen_at: row.get(7),
    };
    Ok(rows.iter().map(kept).collect())
}

/// Since when a check of a tenant's health says `state`; from now on if it said something else.
pub async fn health_since(
    transaction: &Transaction,
    tenant: TenantId,
    name: &str,
    state: &str,
) -> Result<Timestamp, StoreError> {
    let now = transaction.store().clock().now();
    let row = transaction
        .query_one(
            "INSERT INTO lifecycle.health (tenant_id, name, state, since) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant_id, name) DO UPDATE SET state = excluded.state, \
               since = CASE WHEN health.state = excluded.state THEN health.since ELSE excluded.since END \
             RETURNING since",
            &[&tenant.0, &name, &state, &now],
        )
        .await?;
    Ok(row.get(0))
}

/// Stuck sagas that nobody was told of yet.
pub async fn untold_stuck(transaction: &Transaction) -> Result<Vec<SagaRow>, StoreError> {
    let sql = select!("WHERE state = 'stuck' AND stuck_told_at IS NULL ORDER BY saga_id LIMIT 100");
    transaction.query(sql, &[]).await?.iter().map(saga).collect()
}

/// People were told.
pub async fn stuck_was_told(transaction: &Transaction, id: OperationId) -> Result<(), StoreError> {
    let now = transaction.store().clock().now();
    let sql = "UPDATE lifecycle.sagas SET stuck_told_at = $2 WHERE saga_id = $1";
    transaction.execute(sql, &[&id.0, &now]).await.map(drop)
}

/// Scheduled erasures that begin before `before`.
pub async fn leaving_before(
    transaction: &Transaction,
    before: Timestamp,
) -> Result<Vec<SagaRow>, StoreError> {
    let sql = select!("WHERE state = 'scheduled' AND kind = 'decommission' AND run_at < $1 ORDER BY saga_id");
    transaction.query(sql, &[&before]).await?.iter().map(saga).collect()
}

/// Keeps who is to get a certificate.
pub async fn keep_leaver(
    transaction: &Transaction,
    tenant: TenantId,
    sealed: &[u8],
) -> Result<(), StoreError> {
    let sql = "INSERT INTO lifecycle.leavers (tenant_id, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    transaction.execute(sql, &[&tenant.0, &sealed]).await.map(drop)
}

/// Who is to get a certificate; nobody knows it afterwards.
pub async fn take_leaver(transaction: &Transaction, tenant: TenantId) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "DELETE FROM lifecycle.leavers WHERE tenant_id = $1 RETURNING sealed";
    Ok(transaction.query_opt(sql, &[&tenant.0]).await?.map(|row| row.get(0)))
}
