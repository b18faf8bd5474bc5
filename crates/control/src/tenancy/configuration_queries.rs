//! Rows and SQL of configuration items.

use jiff::Timestamp;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::tenancy::features::Audience;
use rowhouse_store::{StoreError, Transaction};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use super::configuration::Name;

/// A configuration item as it is stored. It has no `Debug`: values are not for logs.
#[derive(Clone)]
pub struct Item {
    pub category: String,
    pub key: String,
    pub stored: Stored,
    /// Length of the value as JSON.
    pub bytes: i32,
    pub description: String,
    pub audience: Audience,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub updated_by: String,
}

/// A value, in clear or sealed.
#[derive(Clone)]
pub enum Stored {
    Plain(Value),
    Sealed { sealed: Vec<u8>, fingerprint: String },
}

impl Item {
    pub fn is_sensitive(&self) -> bool {
        matches!(self.stored, Stored::Sealed { .. })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT category, key, value, sealed, fingerprint, bytes, description, audience, version, created_at, \
             updated_at, updated_by FROM tenancy.configuration WHERE tenant_id = $1 ",
            $rest
        )
    };
}

const AUDIENCES: [(Audience, &str); 4] = [
    (Audience::Services, "services"),
    (Audience::Gateway, "gateway"),
    (Audience::Portal, "portal"),
    (Audience::None, "none"),
];

fn item(row: &Row) -> Result<Item, StoreError> {
    let form = StoreError::Stored { what: "a configuration item" };
    let stored = match (row.get::<_, Option<Json<Value>>>(2), row.get(3), row.get(4)) {
        (Some(Json(value)), None, None) => Stored::Plain(value),
        (None, Some(sealed), Some(fingerprint)) => Stored::Sealed { sealed, fingerprint },
        _ => return Err(form),
    };
    let audience = AUDIENCES.iter().find(|(_, word)| *word == row.get::<_, &str>(7)).ok_or(form)?.0;
    Ok(Item {
        category: row.get(0),
        key: row.get(1),
        stored,
        bytes: row.get(5),
        description: row.get(6),
        audience,
        version: row.get(8),
        created_at: row.get(9),
        updated_at: row.get(10),
        updated_by: row.get(11),
    })
}

/// A tenant's items in the order of their names, of one category if it is named.
pub async fn list(
    transaction: &Transaction,
    tenant: TenantId,
    category: Option<&str>,
) -> Result<Vec<Item>, StoreError> {
    let sql = select!("AND ($2::text IS NULL OR category = $2) ORDER BY category, key");
    transaction.query(sql, &[&tenant.0, &category]).await?.iter().map(item).collect()
}

/// One item.
pub async fn get(transaction: &Transaction, name: Name<'_>) -> Result<Option<Item>, StoreError> {
    let sql = select!("AND category = $2 AND key = $3");
    let row = transaction.query_opt(sql, &[&name.tenant.0, &name.category, &name.key]).await?;
    row.as_ref().map(item).transpose()
}

/// The last version of an item that was deleted; 0 if it never was.
pub async fn last_version(transaction: &Transaction, name: Name<'_>) -> Result<i64, StoreError> {
    let sql =
        "SELECT version FROM tenancy.configuration_ended WHERE tenant_id = $1 AND category = $2 AND key = $3";
    let row = transaction.query_opt(sql, &[&name.tenant.0, &name.category, &name.key]).await?;
    Ok(row.map_or(0, |row| row.get(0)))
}

/// How many items a tenant has, and how long their values are together.
pub async fn sum(transaction: &Transaction, tenant: TenantId) -> Result<(i64, i64), StoreError> {
    let sql =
        "SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM tenancy.configuration WHERE tenant_id = $1";
    let row = transaction.query_one(sql, &[&tenant.0]).await?;
    Ok((row.get(0), row.get(1)))
}

/// Stores an item in the place of the one with its name.
pub async fn put(transaction: &Transaction, tenant: TenantId, item: &Item) -> Result<(), StoreError> {
    let (value, sealed, fingerprint) = match &item.stored {
        Stored::Plain(value) => (Some(Json(value)), None, None),
        Stored::Sealed { sealed, fingerprint } => (None, Some(sealed), Some(fingerprint)),
    };
    let audience = AUDIENCES.iter().find(|(audience, _)| *audience == item.audience).map(|(_, word)| *word);
    transaction
        .execute(
            "INSERT INTO tenancy.configuration (tenant_id, category, key, value, sealed, fingerprint, bytes, description, \
               audience, version, created_at, updated_at, updated_by) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
             ON CONFLICT (tenant_id, category, key) DO UPDATE SET value = excluded.value, sealed = excluded.sealed, \
               fingerprint = excluded.fingerprint, bytes = excluded.bytes, description = excluded.description, \
               audience = excluded.audience, version = excluded.version, updated_at = excluded.updated_at, \
               updated_by = excluded.updated_by",
            &[
                &tenant.0,
                &item.category,
                &item.key,
                &value,
                &sealed,
                &fingerprint,
                &item.bytes,
                &item.description,
                &audience,
                &item.version,
                &item.created_at,
                &item.updated_at,
                &item.updated_by,
            ],
        )
        .await?;
    Ok(())
}

/// Removes an item and remembers its version.
pub async fn delete(transaction: &Transaction, name: Name<'_>, version: i64) -> Result<(), StoreError> {
    let sql = "DELETE FROM tenancy.configuration WHERE tenant_id = $1 AND category = $2 AND key = $3";
    transaction.execute(sql, &[&name.tenant.0, &name.category, &name.key]).await?;
    transaction
        .execute(
            "INSERT INTO tenancy.configuration_ended (tenant_id, category, key, version) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant_id, category, key) DO UPDATE SET version = excluded.version",
            &[&name.tenant.0, &name.category, &name.key, &version],
        )
        .await?;
    Ok(())
}
