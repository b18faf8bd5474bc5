//! Stamps in the tenant's database.

use rowhouse_tenantdb::types::Json;
use rowhouse_tenantdb::{DatabaseError, Row, TenantTransaction};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// A stamp as it is answered.
#[derive(Debug, Serialize)]
pub struct Stamp {
    /// UUIDv7.
    pub id: Uuid,
    /// BLAKE3 of the content, hexadecimal.
    pub hash: String,
    /// Length of the content.
    pub bytes: i64,
    /// What the caller says about it.
    pub metadata: Value,
    /// The principal that made it.
    pub created_by: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// What a new stamp is made of.
pub struct NewStamp<'a> {
    /// UUIDv7.
    pub id: Uuid,
    /// What is stamped; only its hash is kept.
    pub content: &'a [u8],
    /// What the caller says about it.
    pub metadata: &'a Value,
    /// The principal that makes it.
    pub created_by: &'a str,
    /// Now.
    pub at: jiff::Timestamp,
}

impl From<Row> for Stamp {
    fn from(row: Row) -> Self {
        let time = |at: jiff::Timestamp| at.to_string();
        Stamp {
            id: row.get("id"),
            hash: row.get::<_, &[u8]>("hash").iter().map(|byte| format!("{byte:02x}")).collect(),
            bytes: row.get("bytes"),
            metadata: row.get("metadata"),
            created_by: row.get("created_by"),
            created_at: time(row.get("created_at")),
            updated_at: time(row.get("updated_at")),
        }
    }
}

/// Hashes and keeps.
pub async fn create(tx: &mut TenantTransaction, new: NewStamp<'_>) -> Result<Stamp, DatabaseError> {
    let hash = blake3::hash(new.content);
    let row = tx
        .query_one(
            "INSERT INTO stamps (id, hash, bytes, metadata, created_by, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $6) \
             RETURNING id, hash, bytes, metadata, created_by, created_at, updated_at",
            &[
                &new.id,
                &hash.as_bytes().as_slice(),
                &(new.content.len() as i64),
                &Json(new.metadata),
                &new.created_by,
                &new.at,
            ],
        )
        .await?;
    Ok(row.into())
}

/// One page, newest first, of those before `before`.
pub async fn list(
    tx: &mut TenantTransaction,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Stamp>, DatabaseError> {
    let rows = tx
        .query(
            "SELECT id, hash, bytes, metadata, created_by, created_at, updated_at FROM stamps \
             WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2",
            &[&before, &limit],
        )
        .await?;
    Ok(rows.into_iter().map(Stamp::from).collect())
}

/// One stamp.
pub async fn read(tx: &mut TenantTransaction, id: Uuid) -> Result<Option<Stamp>, DatabaseError> {
    let row = tx
        .query_opt(
            "SELECT id, hash, bytes, metadata, created_by, created_at, updated_at FROM stamps WHERE id = $1",
            &[&id],
        )
        .await?;
    Ok(row.map(Stamp::from))
}

/// Other metadata; what was stamped never changes.
pub async fn update(
    tx: &mut TenantTransaction,
    id: Uuid,
    metadata: &Value,
    at: jiff::Timestamp,
) -> Result<Option<Stamp>, DatabaseError> {
    let row = tx
        .query_opt(
            "UPDATE stamps SET metadata = $2, updated_at = $3 WHERE id = $1 \
             RETURNING id, hash, bytes, metadata, created_by, created_at, updated_at",
            &[&id, &Json(metadata), &at],
        )
        .await?;
    Ok(row.map(Stamp::from))
}

/// Whether there was one.
pub async fn delete(tx: &mut TenantTransaction, id: Uuid) -> Result<bool, DatabaseError> {
    Ok(tx.execute("DELETE FROM stamps WHERE id = $1", &[&id]).await? == 1)
}
