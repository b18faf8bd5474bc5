//! What of tenants is found in a cell, for the comparison with what is on record.

use super::{Cell, CellError, SHARED_DATABASE, while_doing};

/// Everything in a cell that bears a tenant's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Databases of tenants' own.
    pub databases: Vec<String>,
    /// Logins of tenants' own.
    pub logins: Vec<String>,
    /// Logins whose schemas, or whose place among schemas, are there.
    pub schemas: Vec<String>,
    /// Tenants with a place among the shared tables, as their ids.
    pub shared: Vec<uuid::Uuid>,
}

const NAMED: &str = "^t_[0-9a-f]{16}$";

/// Looks for all of it.
///
/// # Errors
/// If the server is away.
pub async fn found(cell: &Cell) -> Result<Found, CellError> {
    let mut found = found_of_server(cell).await?;
    let looking = || while_doing("listing what tenants have");
    let server = cell.connect("postgres").await?;
    let databases = "SELECT datname::text FROM pg_database WHERE starts_with(datname::text, 'rh_schemas_')";
    let of_schemas: Vec<String> =
        server.query(databases, &[]).await.map_err(looking())?.iter().map(|row| row.get(0)).collect();
    server.close().await;
    for database in of_schemas {
        let admin = cell.connect(&database).await?;
        let schemas =
            "SELECT nspname::text FROM pg_namespace WHERE nspname ~ $1 UNION SELECT login FROM rh.place";
        for row in admin.query(schemas, &[&NAMED]).await.map_err(looking())? {
            found.schemas.push(row.get(0));
        }
        admin.close().await;
    }
    let admin = cell.connect(SHARED_DATABASE).await?;
    for row in admin.query("SELECT tenant FROM rh.place", &[]).await.map_err(looking())? {
        found.shared.push(row.get(0));
    }
    admin.close().await;
    Ok(found)
}

/// Looks for what belongs to a server as a whole, databases and logins: all there is on one of a tenant's own.
///
/// # Errors
/// If the server is away.
pub async fn found_of_server(cell: &Cell) -> Result<Found, CellError> {
    let mut found = Found::default();
    let looking = || while_doing("listing what tenants have");
    let server = cell.connect("postgres").await?;
    let databases = "SELECT datname::text FROM pg_database WHERE datname ~ $1";
    for row in server.query(databases, &[&NAMED]).await.map_err(looking())? {
        found.databases.push(row.get(0));
    }
    let logins = "SELECT rolname::text FROM pg_roles WHERE rolname ~ $1";
    for row in server.query(logins, &[&NAMED]).await.map_err(looking())? {
        found.logins.push(row.get(0));
    }
    server.close().await;
    Ok(found)
}

/// What `place` may do, as its database says; `None` if it is not there.
///
/// # Errors
/// If the server is away.
pub async fn rights_of(cell: &Cell, place: &crate::Place) -> Result<Option<String>, CellError> {
    let admin = cell.connect(&place.database).await?;
    let row = admin
        .query_opt(
            "SELECT rights FROM rh.place WHERE tenant = $1 AND login = $2",
            &[&place.tenant.0, &place.login],
        )
        .await
        .map_err(while_doing("reading a place"))?;
    admin.close().await;
    Ok(row.map(|row| row.get(0)))
}
