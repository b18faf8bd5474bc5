//! How much a tenant keeps in its place, and how many rows of a table are its own.
//!
//! From level `schema` up sizes are the server's own figures of relations, indexes included. On the shared level a
//! tenant's share of a table is the sum of the sizes of its rows, found by the index that begins with the tenant.

use rowhouse_domain::tenancy::Isolation;

use super::{Place, PlaceError};
use crate::DatabaseKey;
use crate::cell::{Cell, CellError, Movers, while_doing};
use crate::connect::Connected;
use crate::name::quote;
use crate::token::TokenClaims;

/// No reading takes longer.
const TIMEOUT: &str =
    "SET statement_timeout = '60s'; SET lock_timeout = '2s'; SET default_transaction_read_only = on";

/// All relations of some schemas.
const OF_SCHEMAS: &str = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = ANY ($1) AND c.relkind IN ('r', 'm', 'S')";

/// All relations of a database but the server's own.
const OF_DATABASE: &str = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname <> ALL (ARRAY['pg_catalog', 'information_schema', 'rh']) AND n.nspname NOT LIKE 'pg\\_%' \
       AND c.relkind IN ('r', 'm', 'S')";

/// All files of a server: its databases and its write-ahead log.
const OF_SERVER: &str = "SELECT (SELECT coalesce(sum(pg_database_size(oid)), 0) FROM pg_database)::bigint \
     + (SELECT coalesce(sum(size), 0) FROM pg_ls_waldir())::bigint";

/// Connections to one database, for measuring: rows of services' tables are not read as the administrator.
pub struct Gauge {
    admin: Connected,
    movers: Option<Movers>,
}

impl Gauge {
    /// Connects to the database in which `place` lies.
    ///
    /// # Errors
    /// If the server is away.
    pub async fn open(cell: &Cell, place: &Place) -> Result<Gauge, PlaceError> {
        place.check()?;
        let admin = cell.connect(&place.database).await?;
        admin.batch_execute(TIMEOUT).await.map_err(while_doing("preparing to measure"))?;
        let movers = match place.isolation {
            Isolation::Shared => {
                let rows = admin.query("SELECT schema FROM rh.installed", &[]).await;
                let rows = rows.map_err(while_doing("listing what is installed"))?;
                let schemas: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
                Some(Movers::open(cell, &admin, (&place.database, &schemas), TIMEOUT).await?)
            }
            _ => None,
        };
        Ok(Gauge { admin, movers })
    }

    /// Bytes that the tenant of `place` keeps. `schemas` are its own; on the shared level `tables` are those of all
    /// services that hold rows of tenants (schema and name).
    ///
    /// # Errors
    /// If the server refuses, or a reading takes longer than a minute.
    pub async fn bytes(
        &self,
        place: &Place,
        schemas: &[String],
        tables: &[(String, String)],
    ) -> Result<u64, PlaceError> {
        let reading = while_doing("measuring");
        let row = match place.isolation {
            Isolation::Shared => return self.rows(place, tables).await,
            Isolation::Schema => self.admin.query_one(OF_SCHEMAS, &[&schemas]).await.map_err(reading)?,
            Isolation::Database => self.admin.query_one(OF_DATABASE, &[]).await.map_err(reading)?,
            Isolation::Instance => self.admin.query_one(OF_SERVER, &[]).await.map_err(reading)?,
        };
        Ok(unsigned(row.get(0)))
    }

    async fn rows(&self, place: &Place, tables: &[(String, String)]) -> Result<u64, PlaceError> {
        let mut sum = 0_u64;
        for (schema, table) in tables {
            let no_mover = || CellError::NoMover { schema: schema.clone() };
            let reader = self.movers.as_ref().ok_or_else(no_mover)?.of(schema)?;
            let sql = format!(
                "SELECT coalesce(sum(pg_column_size(own.*)), 0)::bigint FROM {}.{} AS own WHERE tenant_id = $1",
                quote(schema)?,
                quote(table)?
            );
            let row = reader.query_one(&sql, &[&place.tenant.0]).await;
            sum = sum.saturating_add(unsigned(row.map_err(while_doing("measuring rows"))?.get(0)));
        }
        Ok(sum)
    }

    /// Ends the connections.
    pub async fn close(self) {
        if let Some(movers) = self.movers {
            movers.close().await;
        }
        self.admin.close().await;
    }
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// Rows of a table that are to be counted.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    /// The schema in which the tenant finds it.
    pub schema: &'a str,
    /// The table.
    pub table: &'a str,
    /// Which rows, as a condition; all if absent. Checked by `domain::resources::Collector`.
    pub condition: Option<&'a str>,
}

/// How many rows of a table are the tenant's own: counted as the tenant's login, in its context, read-only. So a
/// condition can see nothing that the tenant could not.
///
/// # Errors
/// If the server is away or refuses, or counting takes longer than five seconds.
pub async fn count(
    cell: &Cell,
    place: &Place,
    key: &DatabaseKey,
    counted: Counted<'_>,
) -> Result<u64, PlaceError> {
    place.check()?;
    let client = cell.connect_as(&place.login, &place.database).await?;
    let asked = "SELECT pg_backend_pid(), extract(epoch FROM clock_timestamp())::bigint";
    let row = client.query_one(asked, &[]).await.map_err(while_doing("asking a server for its time"))?;
    let token = key.mint(&TokenClaims {
        tenant: place.tenant.0,
        epoch: place.epoch,
        rights: "r",
        backend_pid: row.get(0),
        not_after_s: row.get::<_, i64>(1) + 60,
    });
    let begin = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '2s'; \
         SET LOCAL search_path = {}, pg_catalog; SELECT rh.enter('{token}', false)",
        quote(counted.schema)?
    );
    client.batch_execute(&begin).await.map_err(while_doing("entering a place to count"))?;
    let table = format!("{}.{}", quote(counted.schema)?, quote(counted.table)?);
    let condition = counted.condition.unwrap_or("true");
    // One statement by the extended protocol; what follows a bracket too many is not taken.
    let sql = format!("SELECT count(*) FROM {table} WHERE ({condition})");
    let row = client.query_one(&sql, &[]).await.map_err(while_doing("counting rows"))?;
    client.batch_execute("ROLLBACK").await.map_err(while_doing("ending a count"))?;
    client.close().await;
    Ok(unsigned(row.get(0)))
}
