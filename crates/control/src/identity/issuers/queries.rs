//! The statements about issuers.

use jiff::Timestamp;
use rowhouse_domain::id::{IssuerId, OPERATOR_TENANT, TenantId};
use rowhouse_domain::identity::issuer::SigningAlgorithm;
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;

use super::IssuerRow;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT issuer_id, tenant_id, name, issuer, jwks_uri, audiences, algorithms, subject_claim, key_set, fetched_at, \
             tried_at, last_problem, created_by, created_at FROM identity.issuers ",
            $rest
        )
    };
}

fn parse(row: &Row) -> IssuerRow {
    let algorithms: Vec<String> = row.get(6);
    IssuerRow {
        id: IssuerId(row.get(0)),
        tenant: TenantId(row.get(1)),
        name: row.get(2),
        issuer: row.get(3),
        jwks_uri: row.get(4),
        audiences: row.get(5),
        algorithms: algorithms.iter().filter_map(|own| SigningAlgorithm::parse(own)).collect(),
        subject_claim: row.get(7),
        key_set: row.get(8),
        fetched_at: row.get(9),
        tried_at: row.get(10),
        last_problem: row.get(11),
        created_by: row.get(12),
        created_at: row.get(13),
    }
}

/// Issuers that `tenant` may believe, its own before the operator's; without a tenant, all.
///
/// # Errors
/// If the database fails.
pub async fn load_issuers(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<IssuerRow>, StoreError> {
    let sql = select!(
        "WHERE $1::uuid IS NULL OR tenant_id = $1 OR tenant_id = $2 ORDER BY tenant_id = $2, issuer_id"
    );
    let tenant = tenant.map(|tenant| tenant.0);
    let rows = transaction.query(sql, &[&tenant, &OPERATOR_TENANT.0]).await?;
    Ok(rows.iter().map(parse).collect())
}

/// The issuer of this name that `tenant` may trust: its own, else the operator's. The transaction must see both.
///
/// # Errors
/// If the database fails.
pub async fn visible(
    transaction: &Transaction,
    tenant: TenantId,
    issuer: &str,
) -> Result<Option<IssuerRow>, StoreError> {
    let sql =
        select!("WHERE issuer = $1 AND (tenant_id = $2 OR tenant_id = $3) ORDER BY tenant_id = $3 LIMIT 1");
    let row = transaction.query_opt(sql, &[&issuer, &tenant.0, &OPERATOR_TENANT.0]).await?;
    Ok(row.as_ref().map(parse))
}

pub(super) async fn list(
    transaction: &Transaction,
    after: IssuerId,
    tenant: Option<TenantId>,
    limit: i64,
) -> Result<Vec<IssuerRow>, StoreError> {
    let sql =
        select!("WHERE issuer_id > $1 AND ($2::uuid IS NULL OR tenant_id = $2) ORDER BY issuer_id LIMIT $3");
    let rows = transaction.query(sql, &[&after.0, &tenant.map(|tenant| tenant.0), &limit]).await?;
    Ok(rows.iter().map(parse).collect())
}

pub(super) async fn find(transaction: &Transaction, id: IssuerId) -> Result<Option<IssuerRow>, StoreError> {
    let row = transaction.query_opt(select!("WHERE issuer_id = $1"), &[&id.0]).await?;
    Ok(row.as_ref().map(parse))
}

pub(super) async fn lock(transaction: &Transaction, id: IssuerId) -> Result<Option<IssuerRow>, StoreError> {
    let row = transaction.query_opt(select!("WHERE issuer_id = $1 FOR UPDATE"), &[&id.0]).await?;
    Ok(row.as_ref().map(parse))
}

pub(super) async fn insert(transaction: &Transaction, row: &IssuerRow) -> Result<(), StoreError> {
    let algorithms: Vec<&str> = row.algorithms.iter().map(|own| own.as_str()).collect();
    transaction
        .execute(
            "INSERT INTO identity.issuers (issuer_id, tenant_id, name, issuer, jwks_uri, audiences, algorithms, \
               subject_claim, key_set, fetched_at, tried_at, created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            &[
                &row.id.0,
                &row.tenant.0,
                &row.name,
                &row.issuer,
                &row.jwks_uri,
                &row.audiences,
                &algorithms,
                &row.subject_claim,
                &row.key_set,
                &row.fetched_at,
                &row.tried_at,
                &row.created_by,
                &row.created_at,
            ],
        )
        .await
        .map(drop)
}

pub(super) async fn count(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    let sql = "SELECT count(*) FROM identity.issuers WHERE tenant_id = $1";
    Ok(transaction.query_one(sql, &[&tenant.0]).await?.get(0))
}

pub(super) async fn delete(transaction: &Transaction, id: IssuerId) -> Result<(), StoreError> {
    transaction.execute("DELETE FROM identity.issuers WHERE issuer_id = $1", &[&id.0]).await.map(drop)
}

/// Takes the next try for itself, if nobody has tried since `before`: so an issuer is asked by one process at a time.
pub(super) async fn claim(
    transaction: &Transaction,
    id: IssuerId,
    (before, now): (Timestamp, Timestamp),
) -> Result<bool, StoreError> {
    let sql = "UPDATE identity.issuers SET tried_at = $3 WHERE issuer_id = $1 AND tried_at <= $2";
    Ok(transaction.execute(sql, &[&id.0, &before, &now]).await? == 1)
}

/// Issuers that were not asked since `before`.
pub(super) async fn due(transaction: &Transaction, before: Timestamp) -> Result<Vec<IssuerId>, StoreError> {
    let sql = "SELECT issuer_id FROM identity.issuers WHERE tried_at <= $1 ORDER BY tried_at LIMIT 100";
    let rows = transaction.query(sql, &[&before]).await?;
    Ok(rows.iter().map(|row| IssuerId(row.get(0))).collect())
}

/// Notes what came of asking.
pub(super) async fn fetched(transaction: &Transaction, row: &IssuerRow) -> Result<(), StoreError> {
    transaction
        .execute(
            "UPDATE identity.issuers SET key_set = $2, fetched_at = $3, last_problem = $4 WHERE issuer_id = $1",
            &[&row.id.0, &row.key_set, &row.fetched_at, &row.last_problem],
        )
        .await
        .map(drop)
}
