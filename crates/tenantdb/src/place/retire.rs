//! Dropping a place: what a saga undoes, and what decommissioning ends with. Nothing of the tenant remains in the cell.

use rowhouse_domain::tenancy::Isolation;
use tokio_postgres::{Client, Transaction};

use super::{Place, PlaceError};
use crate::cell::{Cell, CellError, LOCK_CLUSTER, LOCK_PREPARED, Movers, while_doing};
use crate::name::quote;

/// Drops `place` and all of the tenant's rows in it. Twice is once; a place that never was is dropped too.
///
/// # Errors
/// If the names do not fit the level, or the server is away.
pub async fn drop(cell: &Cell, place: &Place) -> Result<(), PlaceError> {
    place.check()?;
    match place.isolation {
        Isolation::Shared => drop_rows(cell, place).await,
        Isolation::Schema => {
            drop_schemas(cell, place).await?;
            drop_roles(cell, place).await
        }
        Isolation::Database | Isolation::Instance => {
            drop_database(cell, place).await?;
            drop_roles(cell, place).await
        }
    }
}

async fn exists(cell: &Cell, database: &str) -> Result<bool, CellError> {
    let server = cell.connect("postgres").await?;
    let found = server
        .query_opt("SELECT FROM pg_database WHERE datname = $1", &[&database])
        .await
        .map_err(while_doing("looking for a database"))?;
    server.close().await;
    Ok(found.is_some())
}

/// Committed by itself and first: whoever begins from now on is refused with RH002.
async fn close_place(admin: &Client, place: &Place) -> Result<(), CellError> {
    admin
        .execute("DELETE FROM rh.place WHERE tenant = $1", &[&place.tenant.0])
        .await
        .map_err(while_doing("closing a place"))?;
    Ok(())
}

/// Writers that began before hold the shared half of this lock until they end.
async fn wait_for_writers(transaction: &Transaction<'_>, place: &Place) -> Result<(), CellError> {
    transaction
        .execute("SELECT pg_advisory_xact_lock(hashtextextended($1::uuid::text, 7240))", &[&place.tenant.0])
        .await
        .map_err(while_doing("waiting for a tenant's writers"))?;
    Ok(())
}

async fn drop_rows(cell: &Cell, place: &Place) -> Result<(), PlaceError> {
    if !exists(cell, &place.database).await? {
        return Ok(());
    }
    let mut admin = cell.connect(&place.database).await?;
    close_place(&admin, place).await?;
    let transaction = admin.transaction().await.map_err(while_doing("beginning to drop rows"))?;
    wait_for_writers(&transaction, place).await?;
    delete_rows(cell, &transaction, place).await?;
    transaction.commit().await.map_err(while_doing("dropping a tenant's rows"))?;
    admin.close().await;
    Ok(())
}

/// All rows of the tenant go, on both sides of each foreign key: the order does not matter, so its triggers rest. Not as the
/// administrator, because a table's author may have functions called when its rows are touched.
async fn delete_rows(cell: &Cell, admin: &Transaction<'_>, place: &Place) -> Result<(), PlaceError> {
    let tables = admin
        .query(
            "SELECT schema, format('%I.%I', schema, name) FROM rh.relation WHERE kind = 'tenant' ORDER BY 2",
            &[],
        )
        .await
        .map_err(while_doing("listing tenant tables"))?;
    let schemas: Vec<String> = tables.iter().map(|row| row.get(0)).collect();
    let begin = "BEGIN; SET LOCAL session_replication_role = replica";
    let movers = Movers::open(cell, admin.client(), (&place.database, &schemas), begin).await?;
    for row in &tables {
        let (schema, table): (String, String) = (row.get(0), row.get(1));
        movers
            .of(&schema)?
            .execute(&format!("DELETE FROM {table} WHERE tenant_id = $1"), &[&place.tenant.0])
            .await
            .map_err(while_doing("dropping a tenant's rows"))?;
    }
    movers.each("dropping a tenant's rows", "COMMIT").await?;
    movers.close().await;
    Ok(())
}

async fn drop_schemas(cell: &Cell, place: &Place) -> Result<(), PlaceError> {
    if !exists(cell, &place.database).await? {
        return Ok(());
    }
    let mut admin = cell.connect(&place.database).await?;
    close_place(&admin, place).await?;
    admin
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND datname = $2",
            &[&place.login, &place.database],
        )
        .await
        .map_err(while_doing("ending a tenant's sessions"))?;
    let transaction = admin.transaction().await.map_err(while_doing("beginning to drop schemas"))?;
    transaction
        .batch_execute(LOCK_PREPARED)
        .await
        .map_err(while_doing("waiting for a database to be prepared"))?;
    wait_for_writers(&transaction, place).await?;
    // A cut-short installation leaves a schema without a record; its name begins with the login all the same.
    let schemas = transaction
        .query(
            "SELECT n.nspname::text FROM pg_namespace n
              WHERE n.nspname = $1 OR starts_with(n.nspname::text, $1 || '_')
                 OR EXISTS (SELECT FROM rh.installed i WHERE i.schema = n.nspname AND i.login = $1)",
            &[&place.login],
        )
        .await
        .map_err(while_doing("listing a tenant's schemas"))?;
    for row in &schemas {
        let schema = quote(row.get(0))?;
        transaction
            .batch_execute(&format!("DROP SCHEMA {schema} CASCADE"))
            .await
            .map_err(while_doing("dropping a tenant's schema"))?;
    }
    transaction
        .execute("DELETE FROM rh.installed WHERE login = $1", &[&place.login])
        .await
        .map_err(while_doing("forgetting a tenant's schemas"))?;
    transaction.commit().await.map_err(while_doing("dropping a tenant's schemas"))?;
    admin.close().await;
    Ok(())
}

async fn drop_database(cell: &Cell, place: &Place) -> Result<(), PlaceError> {
    let server = cell.connect("postgres").await?;
    server
        .batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote(&place.database)?))
        .await
        .map_err(while_doing("dropping a tenant's database"))?;
    super::orphans::remove_databases(&server).await?;
    server.close().await;
    Ok(())
}

async fn drop_roles(cell: &Cell, place: &Place) -> Result<(), PlaceError> {
    let mut server = cell.connect("postgres").await?;
    let transaction = server.transaction().await.map_err(while_doing("beginning to drop a login"))?;
    transaction.batch_execute(LOCK_CLUSTER).await.map_err(while_doing("locking the roles"))?;
    let admitted = transaction
        .query_opt(
            "SELECT FROM pg_database d, pg_roles r WHERE d.datname = $1 AND r.rolname = $2",
            &[&place.database, &place.login],
        )
        .await
        .map_err(while_doing("looking for a login"))?;
    let login = quote(&place.login)?;
    let mut sql = String::new();
    if admitted.is_some() {
        sql.push_str(&format!("REVOKE CONNECT ON DATABASE {} FROM {login};", quote(&place.database)?));
    }
    sql.push_str(&format!("DROP ROLE IF EXISTS {login}"));
    for (_, group) in place.groups() {
        sql.push_str(&format!(", {}", quote(&group)?));
    }
    transaction.batch_execute(&sql).await.map_err(while_doing("dropping a tenant's login"))?;
    transaction.commit().await.map_err(while_doing("dropping a tenant's login"))?;
    server.close().await;
    Ok(())
}
