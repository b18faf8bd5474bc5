//! The tables of definitions: one for each kind, all of one shape, each in the schema of the feature whose word the
//! kind belongs to. The catalogue alone writes them; features read through [`super::load`].

use jiff::Timestamp;
use rowhouse_store::{StoreError, Transaction};
use serde_json::Value;
use tokio_postgres::types::Json;

use super::Kind;

/// A stored definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// As it was stored.
    pub definition: Value,
    /// Raised with each change.
    pub version: i64,
    /// The catalogue that declared it last.
    pub owner: Option<String>,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// The statements for one table.
struct Statements {
    list: &'static str,
    insert: &'static str,
    update: &'static str,
    delete: &'static str,
}

macro_rules! statements {
    ($table:literal) => {
        &Statements {
            list: concat!(
                "SELECT name, definition, version, catalog, updated_at FROM ",
                $table,
                " WHERE $1::text IS NULL OR name = $1 ORDER BY name"
            ),
            insert: concat!(
                "INSERT INTO ",
                $table,
                " (name, definition, catalog, updated_at) VALUES ($1, $2, $3, $4)"
            ),
            update: concat!(
                "UPDATE ",
                $table,
                " SET definition = $2, catalog = $3, updated_at = $4, version = version + 1 WHERE name = $1"
            ),
            delete: concat!("DELETE FROM ", $table, " WHERE name = $1"),
        }
    };
}

fn statements(kind: Kind) -> &'static Statements {
    match kind {
        Kind::Service => statements!("routes.services"),
        Kind::Route => statements!("routes.routes"),
        Kind::ResourceType => statements!("access.resource_types"),
        Kind::Role => statements!("access.roles"),
        Kind::Flag => statements!("tenancy.flags"),
        Kind::Tier => statements!("tenancy.tiers"),
        Kind::Limit => statements!("limits.limits"),
        Kind::Meter => statements!("metering.meters"),
        Kind::Plan => statements!("billing.plans"),
    }
}

/// Makes other applications of a catalogue wait until this transaction ends.
pub async fn lock(transaction: &Transaction) -> Result<(), StoreError> {
    transaction.execute("SELECT pg_advisory_xact_lock(7242)", &[]).await.map(drop)
}

/// All definitions of a kind, or the one with that name, in the order of names.
pub async fn list(transaction: &Transaction, kind: Kind, name: Option<&str>) -> Result<Vec<Row>, StoreError> {
    let rows = transaction.query(statements(kind).list, &[&name]).await?;
    let row = |row: tokio_postgres::Row| Row {
        kind,
        name: row.get(0),
        definition: row.get::<_, Json<Value>>(1).0,
        version: row.get(2),
        owner: row.get(3),
        updated_at: row.get(4),
    };
    Ok(rows.into_iter().map(row).collect())
}

/// Stores a new definition.
pub async fn insert(
    transaction: &Transaction,
    (kind, name): (Kind, &str),
    definition: &Value,
    owner: &str,
) -> Result<(), StoreError> {
    let now = transaction.store().clock().now();
    transaction.execute(statements(kind).insert, &[&name, &Json(definition), &owner, &now]).await.map(drop)
}

/// Replaces a definition and raises its version.
pub async fn update(
    transaction: &Transaction,
    (kind, name): (Kind, &str),
    definition: &Value,
    owner: &str,
) -> Result<(), StoreError> {
    let now = transaction.store().clock().now();
    transaction.execute(statements(kind).update, &[&name, &Json(definition), &owner, &now]).await.map(drop)
}

/// Removes a definition.
pub async fn delete(transaction: &Transaction, (kind, name): (Kind, &str)) -> Result<(), StoreError> {
    transaction.execute(statements(kind).delete, &[&name]).await.map(drop)
}
