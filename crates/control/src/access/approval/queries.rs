//! Rows of approvals.

use jiff::Timestamp;
use rowhouse_domain::id::{ApprovalId, TenantId, UserId};
use rowhouse_store::{StoreError, Transaction};
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

/// An approval as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ApprovalRow {
    pub id: ApprovalId,
    /// In which tenant it would happen.
    pub tenant: TenantId,
    pub operation: String,
    /// As it was sent.
    pub request: Value,
    /// What it would have done when it was asked for.
    pub would: Value,
    pub reason: String,
    pub requester: UserId,
    /// The tenant whose person asks: this one, or the operator's.
    pub requester_home: TenantId,
    pub requested_at: Timestamp,
    pub expires_at: Timestamp,
    /// `pending`, `done`, `failed`, `refused`, `withdrawn` or `expired`.
    pub state: String,
    pub decided_by: Option<UserId>,
    pub decided_at: Option<Timestamp>,
    pub decision_reason: Option<String>,
    pub result: Option<Value>,
}

fn approval(row: &Row) -> ApprovalRow {
    ApprovalRow {
        id: ApprovalId(row.get(0)),
        tenant: TenantId(row.get(1)),
        operation: row.get(2),
        request: row.get(3),
        would: row.get(4),
        reason: row.get(5),
        requester: UserId(row.get(6)),
        requester_home: TenantId(row.get(7)),
        requested_at: row.get(8),
        expires_at: row.get(9),
        state: row.get(10),
        decided_by: row.get::<_, Option<Uuid>>(11).map(UserId),
        decided_at: row.get(12),
        decision_reason: row.get(13),
        result: row.get(14),
    }
}

pub(super) async fn insert(tx: &Transaction, row: &ApprovalRow) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO access.approvals (approval_id, tenant_id, operation, request, would, reason, requester, \
         requester_home, requested_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &[
            &row.id.0,
            &row.tenant.0,
            &row.operation,
            &row.request,
            &row.would,
            &row.reason,
            &row.requester.0,
            &row.requester_home.0,
            &row.requested_at,
            &row.expires_at,
        ],
    )
    .await
    .map(drop)
}

/// Which approvals a list is about.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub tenant: Option<Uuid>,
    pub state: Option<String>,
    /// Only those that this person asked for.
    pub requester: Option<Uuid>,
    pub before: Option<Uuid>,
}

/// At most `limit`, the newest first.
pub(super) async fn list(
    tx: &Transaction,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<ApprovalRow>, StoreError> {
    let rows = tx
        .query(
            "SELECT approval_id, tenant_id, operation, request, would, reason, requester, requester_home, \
             requested_at, expires_at, state, decided_by, decided_at, decision_reason, result \
             FROM access.approvals \
             WHERE ($1::uuid IS NULL OR tenant_id = $1) \
               AND ($2::text IS NULL OR state = $2) \
               AND ($3::uuid IS NULL OR requester = $3) \
               AND ($4::uuid IS NULL OR approval_id < $4) \
             ORDER BY approval_id DESC LIMIT $5",
            &[&filter.tenant, &filter.state, &filter.requester, &filter.before, &limit],
        )
        .await?;
    Ok(rows.iter().map(approval).collect())
}

/// One, as it is.
pub(super) async fn one(tx: &Transaction, id: ApprovalId) -> Result<Option<ApprovalRow>, StoreError> {
    let row = tx
        .query_opt(
            "SELECT approval_id, tenant_id, operation, request, would, reason, requester, requester_home, \
             requested_at, expires_at, state, decided_by, decided_at, decision_reason, result \
             FROM access.approvals WHERE approval_id = $1",
            &[&id.0],
        )
        .await?;
    Ok(row.as_ref().map(approval))
}

/// One, which nobody else decides until the end of the transaction.
pub(super) async fn take(tx: &Transaction, id: ApprovalId) -> Result<Option<ApprovalRow>, StoreError> {
    let row = tx
        .query_opt(
            "SELECT approval_id, tenant_id, operation, request, would, reason, requester, requester_home, \
             requested_at, expires_at, state, decided_by, decided_at, decision_reason, result \
             FROM access.approvals WHERE approval_id = $1 FOR UPDATE",
            &[&id.0],
        )
        .await?;
    Ok(row.as_ref().map(approval))
}

/// How many a person waits for in a tenant.
pub(super) async fn pending(tx: &Transaction, tenant: TenantId, who: UserId) -> Result<i64, StoreError> {
    let row = tx
        .query_one(
            "SELECT count(*) FROM access.approvals \
             WHERE tenant_id = $1 AND requester = $2 AND state = 'pending'",
            &[&tenant.0, &who.0],
        )
        .await?;
    Ok(row.get(0))
}

/// Writes how it was decided.
pub(super) async fn decide(tx: &Transaction, row: &ApprovalRow) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE access.approvals \
         SET state = $2, decided_by = $3, decided_at = $4, decision_reason = $5, result = $6 \
         WHERE approval_id = $1",
        &[
            &row.id.0,
            &row.state,
            &row.decided_by.map(|user| user.0),
            &row.decided_at,
            &row.decision_reason,
            &row.result,
        ],
    )
    .await
    .map(drop)
}

/// Ends at most `limit` that nobody has decided in time; they.
pub(super) async fn expire(
    tx: &Transaction,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<ApprovalRow>, StoreError> {
    let rows = tx
        .query(
            "UPDATE access.approvals SET state = 'expired', decided_at = $1 WHERE approval_id IN \
               (SELECT approval_id FROM access.approvals WHERE state = 'pending' AND expires_at <= $1 \
                ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) \
             RETURNING approval_id, tenant_id, operation, request, would, reason, requester, requester_home, \
             requested_at, expires_at, state, decided_by, decided_at, decision_reason, result",
            &[&now, &limit],
        )
        .await?;
    Ok(rows.iter().map(approval).collect())
}

/// Whether a tenant wants two people for grants of what is sensitive.
pub(super) async fn is_by_two(tx: &Transaction, tenant: TenantId) -> Result<bool, StoreError> {
    let sql = "SELECT approve_sensitive_grants FROM access.settings WHERE tenant_id = $1";
    let row = tx.query_opt(sql, &[&tenant.0]).await?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Sets it.
pub(super) async fn set_by_two(
    tx: &Transaction,
    tenant: TenantId,
    (wanted, now): (bool, Timestamp),
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO access.settings (tenant_id, approve_sensitive_grants, updated_at) VALUES ($1, $2, $3) \
         ON CONFLICT ON CONSTRAINT settings_pkey DO UPDATE SET approve_sensitive_grants = $2, updated_at = $3",
        &[&tenant.0, &wanted, &now],
    )
    .await
    .map(drop)
}
