//! The statements about authorities.

use rowhouse_domain::id::{AuthorityId, RevocationId, TenantId};
use rowhouse_domain::identity::certificate::fingerprint;
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;

use super::{AuthorityRow, RevokedRow};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT authority_id, tenant_id, name, certificate, subject, not_before, not_after, created_by, created_at \
             FROM identity.certificate_authorities ",
            $rest
        )
    };
}

macro_rules! select_revoked {
    ($rest:literal) => {
        concat!(
            "SELECT revocation_id, tenant_id, sha256, authority_id, serial, reason, revoked_by, revoked_at \
             FROM identity.revoked_certificates ",
            $rest
        )
    };
}

fn parse(row: &Row) -> AuthorityRow {
    AuthorityRow {
        id: AuthorityId(row.get(0)),
        tenant: TenantId(row.get(1)),
        name: row.get(2),
        certificate: row.get(3),
        subject: row.get(4),
        not_before: row.get(5),
        not_after: row.get(6),
        created_by: row.get(7),
        created_at: row.get(8),
    }
}

fn parse_revoked(row: &Row) -> RevokedRow {
    let authority: Option<uuid::Uuid> = row.get(3);
    RevokedRow {
        id: RevocationId(row.get(0)),
        tenant: TenantId(row.get(1)),
        sha256: row.get(2),
        serial: authority.map(AuthorityId).zip(row.get(4)),
        reason: row.get(5),
        revoked_by: row.get(6),
        revoked_at: row.get(7),
    }
}

/// The authorities of one tenant, or of all.
///
/// # Errors
/// If the database fails.
pub async fn load_authorities(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<AuthorityRow>, StoreError> {
    let sql = select!("WHERE $1::uuid IS NULL OR tenant_id = $1 ORDER BY authority_id");
    let rows = transaction.query(sql, &[&tenant.map(|tenant| tenant.0)]).await?;
    Ok(rows.iter().map(parse).collect())
}

/// What one tenant, or any, has taken back.
///
/// # Errors
/// If the database fails.
pub async fn load_revoked(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<RevokedRow>, StoreError> {
    let sql = select_revoked!("WHERE $1::uuid IS NULL OR tenant_id = $1 ORDER BY revocation_id");
    let rows = transaction.query(sql, &[&tenant.map(|tenant| tenant.0)]).await?;
    Ok(rows.iter().map(parse_revoked).collect())
}

/// Whether this is an authority of the tenant.
///
/// # Errors
/// If the database fails.
pub async fn is_of(
    transaction: &Transaction,
    tenant: TenantId,
    authority: AuthorityId,
) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT FROM identity.certificate_authorities WHERE authority_id = $1 AND tenant_id = $2)";
    Ok(transaction.query_one(sql, &[&authority.0, &tenant.0]).await?.get(0))
}

pub(super) async fn list(
    transaction: &Transaction,
    after: AuthorityId,
    tenant: Option<TenantId>,
    limit: i64,
) -> Result<Vec<AuthorityRow>, StoreError> {
    let sql = select!(
        "WHERE authority_id > $1 AND ($2::uuid IS NULL OR tenant_id = $2) ORDER BY authority_id LIMIT $3"
    );
    let rows = transaction.query(sql, &[&after.0, &tenant.map(|tenant| tenant.0), &limit]).await?;
    Ok(rows.iter().map(parse).collect())
}

pub(super) async fn find(
    transaction: &Transaction,
    id: AuthorityId,
) -> Result<Option<AuthorityRow>, StoreError> {
    let row = transaction.query_opt(select!("WHERE authority_id = $1"), &[&id.0]).await?;
    Ok(row.as_ref().map(parse))
}

pub(super) async fn count(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    let sql = "SELECT count(*) FROM identity.certificate_authorities WHERE tenant_id = $1";
    Ok(transaction.query_one(sql, &[&tenant.0]).await?.get(0))
}

pub(super) async fn insert(transaction: &Transaction, row: &AuthorityRow) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO identity.certificate_authorities (authority_id, tenant_id, name, certificate, sha256, subject, \
               not_before, not_after, created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &[
                &row.id.0,
                &row.tenant.0,
                &row.name,
                &row.certificate,
                &&fingerprint(&row.certificate)[..],
                &row.subject,
                &row.not_before,
                &row.not_after,
                &row.created_by,
                &row.created_at,
            ],
        )
        .await
        .map(drop)
}

pub(super) async fn delete(transaction: &Transaction, id: AuthorityId) -> Result<(), StoreError> {
    let sql = "DELETE FROM identity.certificate_authorities WHERE authority_id = $1";
    transaction.execute(sql, &[&id.0]).await.map(drop)
}

pub(super) async fn list_revoked(
    transaction: &Transaction,
    after: RevocationId,
    tenant: Option<TenantId>,
    limit: i64,
) -> Result<Vec<RevokedRow>, StoreError> {
    let sql = select_revoked!(
        "WHERE revocation_id > $1 AND ($2::uuid IS NULL OR tenant_id = $2) ORDER BY revocation_id LIMIT $3"
    );
    let rows = transaction.query(sql, &[&after.0, &tenant.map(|tenant| tenant.0), &limit]).await?;
    Ok(rows.iter().map(parse_revoked).collect())
}

pub(super) async fn find_revoked(
    transaction: &Transaction,
    id: RevocationId,
) -> Result<Option<RevokedRow>, StoreError> {
    let row = transaction.query_opt(select_revoked!("WHERE revocation_id = $1"), &[&id.0]).await?;
    Ok(row.as_ref().map(parse_revoked))
}

pub(super) async fn count_revoked(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    let sql = "SELECT count(*) FROM identity.revoked_certificates WHERE tenant_id = $1";
    Ok(transaction.query_one(sql, &[&tenant.0]).await?.get(0))
}

pub(super) async fn insert_revoked(transaction: &Transaction, row: &RevokedRow) -> Result<(), StoreError> {
    let (authority, serial) = row.serial.as_ref().map(|(authority, serial)| (authority.0, serial)).unzip();
    transaction
        .execute(
            "INSERT INTO identity.revoked_certificates (revocation_id, tenant_id, sha256, authority_id, serial, reason, \
               revoked_by, revoked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            &[
                &row.id.0,
                &row.tenant.0,
                &row.sha256,
                &authority,
                &serial,
                &row.reason,
                &row.revoked_by,
                &row.revoked_at,
            ],
        )
        .await
        .map(drop)
}

pub(super) async fn delete_revoked(transaction: &Transaction, id: RevocationId) -> Result<(), StoreError> {
    let sql = "DELETE FROM identity.revoked_certificates WHERE revocation_id = $1";
    transaction.execute(sql, &[&id.0]).await.map(drop)
}
