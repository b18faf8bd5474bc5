//! The reading half: everything that a tenant has in a place, as it was at one instant.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use rowhouse_domain::id::TenantId;
use tokio_postgres::Client;

use super::{CopyError, SESSION, ServiceShape, Sum, Table, failed, sum};
use crate::cell::{Cell, Movers};
use crate::place::Place;
use crate::tables::{PROBE_TABLE, TableKind};

/// How often the tables are looked at anew when they change between being listed and being held.
const TRIES: usize = 5;
/// Longest wait for somebody who changes a table.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '10s'";

const READING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

const SHAPES: &str = "SELECT i.service, i.schema, coalesce((SELECT max(v.number) FROM rh.version v WHERE v.schema = i.schema), 0), \
       r.name, r.kind, \
       (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a \
          JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = i.schema AND c.relname = r.name AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') \
  FROM rh.installed i LEFT JOIN rh.relation r ON r.schema = i.schema AND r.name <> $2 \
 WHERE i.login = $1 ORDER BY i.service, i.schema, r.name";

/// An open snapshot. It holds the tables against changes of their shape until it is closed or dropped; rows may change.
pub struct Snapshot {
    movers: Movers,
    tenant: TenantId,
    shapes: Vec<ServiceShape>,
}

impl Snapshot {
    /// Opens one of everything that the tenant of `place` has there.
    ///
    /// # Errors
    /// If the server is away, or a migration holds a table for longer than ten seconds.
    pub async fn open(cell: &Cell, place: &Place) -> Result<Self, CopyError> {
        let admin = cell.connect(&place.database).await?;
        let mut expected = shapes(&admin, &place.login).await?;
        for _ in 0..TRIES {
            let movers = hold(cell, &admin, &place.database, &expected).await?;
            // The first look of this transaction makes the snapshot of all: nothing can change shape from here on.
            admin.batch_execute(READING).await.map_err(failed("making a snapshot", None))?;
            let row = admin.query_one("SELECT pg_export_snapshot()", &[]).await;
            let snapshot: String = row.map_err(failed("making a snapshot", None))?.get(0);
            let found = shapes(&admin, &place.login).await?;
            if found == expected {
                // The server has made this name of hexadecimal digits and hyphens.
                movers.each("sharing a snapshot", &format!("SET TRANSACTION SNAPSHOT '{snapshot}'")).await?;
                admin.close().await;
                return Ok(Snapshot { movers, tenant: place.tenant, shapes: found });
            }
            admin.batch_execute("ROLLBACK").await.map_err(failed("letting go of the tables", None))?;
            movers.close().await;
            expected = found;
        }
        Err(CopyError::Changing)
    }

    /// What is there, in the order of services.
    pub fn services(&self) -> &[ServiceShape] {
        &self.shapes
    }

    /// All tenant tables.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.shapes.iter().flat_map(|shape| &shape.tables)
    }

    /// The tenant's rows of a table in the text format of COPY, in pieces as the server sends them.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn rows(
        &self,
        table: &Table,
    ) -> Result<impl Stream<Item = Result<Bytes, CopyError>> + Send + Unpin + use<>, CopyError> {
        let select = format!("SELECT {} FROM {}", table.column_list()?, table.qualified()?);
        self.stream(table, &select).await
    }

    /// The same as one JSON object a line (the backslashes of COPY are still doubled: [`super::RowSplitter`]).
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn json(
        &self,
        table: &Table,
    ) -> Result<impl Stream<Item = Result<Bytes, CopyError>> + Send + Unpin + use<>, CopyError> {
        let select = format!("SELECT to_json(rh_row) FROM {} AS rh_row", table.qualified()?);
        self.stream(table, &select).await
    }

    async fn stream(
        &self,
        table: &Table,
        select: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, CopyError>> + Send + Unpin + use<>, CopyError> {
        // COPY takes no parameters; a UUID of our own type is hexadecimal digits and hyphens.
        let sql = format!("COPY ({select} WHERE tenant_id = '{}') TO STDOUT", self.tenant.0);
        let doing = "reading a table";
        let stream =
            self.movers.of(&table.schema)?.copy_out(&sql).await.map_err(failed(doing, Some(table)))?;
        let table = table.clone();
        Ok(Box::pin(stream.map(move |piece| piece.map_err(failed(doing, Some(&table))))))
    }

    /// What the tenant's rows of `table` sum up to.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn sum(&self, table: &Table) -> Result<Sum, CopyError> {
        sum(self.movers.of(&table.schema)?, table, self.tenant).await
    }

    /// Lets go of the tables.
    pub async fn close(self) {
        self.movers.close().await;
    }
}

/// Each service's tables are held in a transaction of its mover. `LOCK` makes no snapshot, so what comes after it sees what the
/// waiting was for.
async fn hold(
    cell: &Cell,
    admin: &Client,
    database: &str,
    shapes: &[ServiceShape],
) -> Result<Movers, CopyError> {
    let tables = || shapes.iter().flat_map(|shape| &shape.tables);
    let schemas: Vec<String> = tables().map(|table| table.schema.clone()).collect();
    let begin = format!("{READING}; {SESSION}; {LOCK_TIMEOUT}");
    let movers = Movers::open(cell, admin, (database, &schemas), &begin).await?;
    for table in tables() {
        let sql = format!("LOCK TABLE {} IN ACCESS SHARE MODE", table.qualified()?);
        let held = movers.of(&table.schema)?.batch_execute(&sql).await;
        held.map_err(failed("holding the tables", Some(table)))?;
    }
    Ok(movers)
}

async fn shapes(client: &Client, login: &str) -> Result<Vec<ServiceShape>, CopyError> {
    let rows = client
        .query(SHAPES, &[&login, &PROBE_TABLE])
        .await
        .map_err(failed("listing what is installed", None))?;
    let mut shapes: Vec<ServiceShape> = Vec::new();
    for row in &rows {
        let (service, schema): (String, String) = (row.get(0), row.get(1));
        if shapes.last().is_none_or(|last| last.schema != schema) {
            let version = row.get(2);
            shapes.push(ServiceShape {
                service: service.clone(),
                schema: schema.clone(),
                version,
                kinds: BTreeMap::new(),
                tables: Vec::new(),
            });
        }
        let Some(name) = row.get::<_, Option<String>>(3) else { continue };
        let kind = kind(row.get(4))?;
        let shape = shapes.last_mut().expect("one was just put there");
        shape.kinds.insert(name.clone(), kind);
        if kind == TableKind::Tenant {
            let columns = row.get::<_, Option<Vec<String>>>(5).unwrap_or_default();
            shape.tables.push(Table { service, schema, name, columns });
        }
    }
    Ok(shapes)
}

fn kind(word: &str) -> Result<TableKind, CopyError> {
    [TableKind::Tenant, TableKind::Reference, TableKind::Internal]
        .into_iter()
        .find(|kind| kind.as_str() == word)
        .ok_or(CopyError::Stored("the kind of a table"))
}
