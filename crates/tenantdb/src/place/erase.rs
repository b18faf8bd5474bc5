//! Proving that nothing of a tenant is left in a cell. Before the erasure a marker is written among the tenant's data and
//! found in the server's files, so that the search is known to see; afterwards the tables that held the tenant's rows are
//! written anew, because a deleted row's bytes stay in its page until they are overwritten; then tables, catalogs and files
//! are searched.
//!
//! What is not searched is the write-ahead log: it is overwritten as it goes round.

use std::path::{Path, PathBuf};

use rowhouse_domain::tenancy::Isolation;
use tokio_postgres::Client;

use super::search::{self, FilesSearched};
use super::{Place, PlaceError, orphans};
use crate::cell::{Cell, CellError, Movers, while_doing};
use crate::name::quote;

/// Tables up to this size are written anew after an erasure; larger ones are vacuumed, and their freed space is overwritten
/// as it is used again.
const REWRITE_MAX: i64 = 256 << 20;
/// How long a table that is to be written anew is waited for; its readers and writers wait as long.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '3s'";

/// What a tenant had in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Held {
    /// Tables with rows of the tenant, qualified and quoted, and how many.
    pub tables: Vec<(String, i64)>,
    /// Whether the marker was found in the server's files.
    pub marker_seen: bool,
}

/// What a search after the erasure came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Searched {
    /// Tables that were read whole.
    pub tables: u64,
    /// Files that were read whole.
    pub files: u64,
    /// In those files.
    pub bytes: u64,
    /// Every trace, in words.
    pub found: Vec<String>,
}

/// Counts what `place` holds, and writes `marker` among it. Twice is once.
///
/// # Errors
/// If the names do not fit the level, or the server is away.
pub async fn mark(cell: &Cell, place: &Place, marker: &str) -> Result<Held, PlaceError> {
    place.check()?;
    if !exists(cell, &place.database).await? {
        return Ok(Held::default());
    }
    let admin = cell.connect(&place.database).await?;
    let tables = held(cell, &admin, place).await?;
    let table = marker_table(&admin, place).await?;
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {table} (tenant uuid NOT NULL, marker text NOT NULL, PRIMARY KEY (tenant, marker));
         REVOKE ALL ON {table} FROM PUBLIC"
    );
    admin.batch_execute(&sql).await.map_err(while_doing("making the marker's table"))?;
    admin
        .execute(
            &format!("INSERT INTO {table} VALUES ($1, $2) ON CONFLICT DO NOTHING"),
            &[&place.tenant.0, &marker],
        )
        .await
        .map_err(while_doing("writing a marker"))?;
    admin.batch_execute("CHECKPOINT").await.map_err(while_doing("writing a marker to its file"))?;
    let row = admin
        .query_one(
            "SELECT current_setting('data_directory') || '/' || pg_relation_filepath($1::text::regclass)",
            &[&table],
        )
        .await
        .map_err(while_doing("looking for the marker's file"))?;
    let file = PathBuf::from(row.get::<_, String>(0));
    admin.close().await;
    let marker_seen =
        search::files(file, marker.to_owned()).await.is_some_and(|searched| !searched.found.is_empty());
    Ok(Held { tables, marker_seen })
}

/// Writes anew what held rows of a tenant that was dropped. `held` is what [`mark`] has told.
///
/// # Errors
/// If the server is away, or a table stays locked: try again.
pub async fn scrub(cell: &Cell, place: &Place, held: &Held) -> Result<(), PlaceError> {
    place.check()?;
    if !exists(cell, &place.database).await? {
        let server = cell.connect("postgres").await?;
        server.batch_execute("CHECKPOINT").await.map_err(while_doing("removing files"))?;
        server.close().await;
        return Ok(());
    }
    let admin = cell.connect(&place.database).await?;
    admin.batch_execute(LOCK_TIMEOUT).await.map_err(while_doing("bounding a wait"))?;
    // Before the tables: while an older transaction may still see the marker, it stays in the file and is found. Once it is gone from
    // there, that transaction is over, and what is written anew after it holds no rows of the tenant either.
    if is_table(&admin, "rh.marker").await? {
        let sql = "DELETE FROM rh.marker WHERE tenant = $1";
        admin.execute(sql, &[&place.tenant.0]).await.map_err(while_doing("removing a marker"))?;
        rewrite(&admin, "rh.marker").await?;
    }
    if place.isolation == Isolation::Shared {
        for (table, _) in &held.tables {
            rewrite(&admin, table).await?;
        }
    }
    // What the planner had noted of the rows is data, too.
    for table in ["rh.place", "rh.installed", "pg_catalog.pg_statistic"] {
        rewrite(&admin, table).await?;
    }
    admin.batch_execute("CHECKPOINT").await.map_err(while_doing("removing files"))?;
    // What a crash has left of tables that were being written held the same rows.
    orphans::remove(&admin).await?;
    admin.close().await;
    Ok(())
}

/// Looks for the tenant's id, its names and `marker` in tables, catalogs and files of the cell.
///
/// # Errors
/// If the server is away.
pub async fn search(cell: &Cell, place: &Place, marker: &str) -> Result<Searched, PlaceError> {
    place.check()?;
    let mut searched = Searched::default();
    let server = cell.connect("postgres").await?;
    let own = place.isolation != Isolation::Shared;
    if own {
        let sql = "SELECT 'role ' || rolname FROM pg_roles WHERE rolname = $1 OR starts_with(rolname::text, $1 || '_')
             UNION ALL SELECT 'database ' || datname FROM pg_database WHERE datname = $1";
        let rows =
            server.query(sql, &[&place.login]).await.map_err(while_doing("looking for a tenant's names"))?;
        searched.found.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    let row = server.query_one("SELECT current_setting('data_directory')", &[]).await;
    let directory: String = row.map_err(while_doing("asking for the data directory"))?.get(0);
    server.close().await;
    if exists(cell, &place.database).await? {
        search_database(cell, place, marker, &mut searched).await?;
    }
    let base = Path::new(&directory).join("base");
    if let Some(FilesSearched { files, bytes, found }) = search::files(base, marker.to_owned()).await {
        (searched.files, searched.bytes) = (files, bytes);
        searched.found.extend(found.into_iter().map(|file| format!("file {file}")));
    }
    Ok(searched)
}

async fn search_database(
    cell: &Cell,
    place: &Place,
    marker: &str,
    searched: &mut Searched,
) -> Result<(), PlaceError> {
    let admin = cell.connect(&place.database).await?;
    // A crash while another tenant was erased may have left a copy since this one's tables were written anew.
    orphans::remove(&admin).await?;
    let own = if place.isolation == Isolation::Shared { "" } else { place.login.as_str() };
    let rows = admin
        .query(
            "SELECT 'schema ' || nspname FROM pg_namespace
              WHERE $1 <> '' AND (nspname = $1 OR starts_with(nspname::text, $1 || '_'))",
            &[&own],
        )
        .await
        .map_err(while_doing("looking for a tenant's schemas"))?;
    searched.found.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    // Other tenants' schemas are theirs; on `shared` everything is everybody's.
    let tables = admin
        .query(
            "SELECT format('%I.%I', n.nspname, c.relname), n.nspname::text, pg_get_userbyid(c.relowner) ~ '^rh_s_' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind IN ('r', 'm') AND n.nspname <> 'information_schema' AND NOT starts_with(n.nspname::text, 'pg_')
                AND ($1 = '' OR n.nspname = 'rh') ORDER BY 1",
            &[&own],
        )
        .await
        .map_err(while_doing("listing tables"))?;
    let id = place.tenant.0.to_string();
    let services = tables.iter().filter(|table| table.get(2));
    let schemas: Vec<String> = services.map(|table| table.get(1)).collect();
    let movers = Movers::open(cell, &admin, (&place.database, &schemas), "").await?;
    for table in &tables {
        let (table, schema, is_services): (String, String, bool) = (table.get(0), table.get(1), table.get(2));
        // `x::text` would call a cast that the table's author may have made.
        let sql = format!(
            "SELECT count(*) FROM (SELECT format('%s', x) AS words FROM {table} x) rows
              WHERE strpos(words, $1) > 0 OR strpos(words, $2) > 0 OR ($3 <> '' AND strpos(words, $3) > 0)"
        );
        let reader = if is_services { movers.of(&schema)? } else { &*admin };
        let row =
            reader.query_one(&sql, &[&id, &marker, &own]).await.map_err(while_doing("searching a table"))?;
        searched.tables += 1;
        match row.get::<_, i64>(0) {
            0 => {}
            rows => searched.found.push(format!("{rows} rows of {table}")),
        }
    }
    movers.close().await;
    admin.close().await;
    Ok(())
}

async fn held(cell: &Cell, admin: &Client, place: &Place) -> Result<Vec<(String, i64)>, CellError> {
    let shared = place.isolation == Isolation::Shared;
    let tables = admin
        .query(
            "SELECT format('%I.%I', r.schema, r.name), r.schema FROM rh.relation r JOIN rh.installed i ON i.schema = r.schema
              WHERE CASE WHEN $2 THEN r.kind = 'tenant' ELSE i.login = $1 END ORDER BY 1",
            &[&place.login, &shared],
        )
        .await
        .map_err(while_doing("listing a tenant's tables"))?;
    let schemas: Vec<String> = tables.iter().map(|row| row.get(1)).collect();
    let movers = Movers::open(cell, admin, (&place.database, &schemas), "").await?;
    let mut held = Vec::new();
    for row in &tables {
        let (table, schema): (String, String) = (row.get(0), row.get(1));
        // Partitions are counted, and written anew, each by itself.
        let which = if shared { "WHERE x.tenant_id = $1" } else { "WHERE $1::uuid IS NOT NULL" };
        let sql = format!(
            "SELECT x.tableoid::regclass::text, count(*) FROM {table} x {which} GROUP BY 1 ORDER BY 1"
        );
        let rows = movers.of(&schema)?.query(&sql, &[&place.tenant.0]).await;
        let rows = rows.map_err(while_doing("counting a tenant's rows"))?;
        held.extend(rows.iter().map(|row| (row.get::<_, String>(0), row.get::<_, i64>(1))));
    }
    movers.close().await;
    Ok(held)
}

/// In the tenant's own schema where it has one, so that the marker goes the way of its tables.
async fn marker_table(admin: &Client, place: &Place) -> Result<String, PlaceError> {
    let row = admin
        .query_opt(
            "SELECT i.schema FROM rh.installed i JOIN pg_namespace n ON n.nspname = i.schema
              WHERE i.login = $1 AND i.tenant IS NOT NULL ORDER BY 1 LIMIT 1",
            &[&place.login],
        )
        .await
        .map_err(while_doing("looking for a tenant's schema"))?;
    Ok(match row.filter(|_| place.isolation != Isolation::Shared) {
        Some(row) => format!("{}.rh_marker", quote(row.get(0))?),
        None => "rh.marker".to_owned(),
    })
}

/// Without the bytes of what was deleted. `table` comes from the server, quoted.
async fn rewrite(admin: &Client, table: &str) -> Result<(), CellError> {
    if !is_table(admin, table).await? {
        return Ok(());
    }
    let row = admin.query_one("SELECT pg_total_relation_size($1::text::regclass)", &[&table]).await;
    let size: i64 = row.map_err(while_doing("asking for a table's size"))?.get(0);
    let full = if size <= REWRITE_MAX { "FULL, " } else { "" };
    admin
        .batch_execute(&format!("VACUUM ({full}ANALYZE) {table}"))
        .await
        .map_err(while_doing("writing a table anew"))
}

async fn is_table(admin: &Client, table: &str) -> Result<bool, CellError> {
    let row = admin.query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&table]).await;
    Ok(row.map_err(while_doing("looking for a table"))?.get(0))
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
