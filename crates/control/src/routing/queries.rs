//! Rows of services' traffic.

use jiff::Timestamp;
use rowhouse_domain::routes::Traffic;
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use super::splits::Stored;

fn stored(row: &Row) -> Stored {
    Stored {
        traffic: row.get::<_, Json<Traffic>>(1).0,
        before: row.get::<_, Json<Traffic>>(2).0,
        version: row.get(3),
        set_by: row.get(4),
        set_at: row.get(5),
    }
}

/// The traffic of all services that have some of their own, by name.
pub(super) async fn all(transaction: &Transaction) -> Result<Vec<(String, Traffic)>, StoreError> {
    let rows = transaction.query("SELECT service, traffic FROM routes.splits", &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get::<_, Json<Traffic>>(1).0)).collect())
}

/// A service's traffic, if it was ever set.
pub(super) async fn get(transaction: &Transaction, service: &str) -> Result<Option<Stored>, StoreError> {
    let sql =
        "SELECT service, traffic, before, version, set_by, set_at FROM routes.splits WHERE service = $1";
    Ok(transaction.query_opt(sql, &[&service]).await?.as_ref().map(stored))
}

/// Makes other changes of a service's traffic wait until this transaction ends, even before there is a row.
pub(super) async fn lock(transaction: &Transaction, service: &str) -> Result<(), StoreError> {
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended('routes.splits ' || $1, 0))";
    transaction.execute(sql, &[&service]).await.map(drop)
}

/// Stores a service's traffic and keeps what was before it.
pub(super) async fn put(
    transaction: &Transaction,
    service: &str,
    (traffic, before): (&Traffic, &Traffic),
    (set_by, set_at): (&str, Timestamp),
) -> Result<Stored, StoreError> {
    let row = transaction
        .query_one(
            "INSERT INTO routes.splits AS own (service, traffic, before, set_by, set_at) \
             VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (service) DO UPDATE SET traffic = excluded.traffic, before = excluded.before, \
               set_by = excluded.set_by, set_at = excluded.set_at, version = own.version + 1 \
             RETURNING service, traffic, before, version, set_by, set_at",
            &[&service, &Json(traffic), &Json(before), &set_by, &set_at],
        )
        .await?;
    Ok(stored(&row))
}
