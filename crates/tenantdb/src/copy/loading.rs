//! The writing half: rows into a place, in one transaction of each service's mover, seen by nobody until they are committed. A place
//! that is loaded is open to nobody yet: what a crash has committed of it is cleared by the next load.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{SinkExt, Stream, StreamExt};
use rowhouse_domain::id::TenantId;
use tokio_postgres::CopyInSink;

use super::{CopyError, SESSION, ServiceShape, Sum, Table, failed, sum};
use crate::cell::{Cell, Movers};
use crate::name::quote;
use crate::place::Place;

/// Rows that a counter leaves free after the greatest that was copied.
const GAP: i64 = 1_000;

/// An open load. Dropped without [`commit`](Loading::commit), it leaves nothing.
pub struct Loading {
    movers: Movers,
    tenant: TenantId,
}

impl Loading {
    /// Begins to load into `place`. Triggers and foreign keys rest: the rows come from one consistent snapshot, in which
    /// they held.
    ///
    /// # Errors
    /// If the server is away.
    pub async fn begin(cell: &Cell, place: &Place) -> Result<Self, CopyError> {
        let admin = cell.connect(&place.database).await?;
        let rows = admin.query("SELECT schema FROM rh.installed WHERE login = $1", &[&place.login]).await;
        let rows = rows.map_err(failed("listing what is installed", None))?;
        let schemas: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let begin = format!(
            "BEGIN; {SESSION}; SET LOCAL session_replication_role = replica; SET LOCAL lock_timeout = '10s'"
        );
        let movers = Movers::open(cell, &admin, (&place.database, &schemas), &begin).await?;
        admin.close().await;
        Ok(Loading { movers, tenant: place.tenant })
    }

    /// Removes the tenant's rows of `table`: what a load that was cut short may have committed before.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn clear(&self, table: &Table) -> Result<(), CopyError> {
        let sql = format!("DELETE FROM {} WHERE tenant_id = $1", table.qualified()?);
        let cleared = self.movers.of(&table.schema)?.execute(&sql, &[&self.tenant.0]).await;
        cleared.map(drop).map_err(failed("clearing a table", Some(table)))
    }

    /// Opens `table` to rows in the text format of COPY. Another tenant's row is refused by the end, from level `schema` up.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn open(&self, table: &Table) -> Result<TableSink, CopyError> {
        let sql = format!("COPY {} ({}) FROM STDIN", table.qualified()?, table.column_list()?);
        let client = self.movers.of(&table.schema)?;
        let sink = client.copy_in::<_, Bytes>(&sql).await.map_err(failed(WRITING, Some(table)))?;
        Ok(TableSink { sink: Box::pin(sink), table: table.clone() })
    }

    /// Writes rows in the text format of COPY; how many they were.
    ///
    /// # Errors
    /// If the server refuses a row, or `rows` fails; nothing can be loaded after that.
    pub async fn load<E: std::fmt::Display>(
        &self,
        table: &Table,
        mut rows: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<u64, CopyError> {
        let mut sink = self.open(table).await?;
        while let Some(piece) = rows.next().await {
            sink.write(piece.map_err(|error| CopyError::Source(error.to_string()))?).await?;
        }
        sink.finish().await
    }

    /// What the tenant's rows of `table` sum up to now.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn sum(&self, table: &Table) -> Result<Sum, CopyError> {
        sum(self.movers.of(&table.schema)?, table, self.tenant).await
    }

    /// Sets counters of `table` beyond what was copied, with a gap of 1,000. They are not undone with the transaction,
    /// and never go back.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn advance_counters(&self, table: &Table) -> Result<(), CopyError> {
        let doing = "advancing counters";
        let qualified = table.qualified()?;
        let client = self.movers.of(&table.schema)?;
        for column in &table.columns {
            let row = client
                .query_one("SELECT pg_get_serial_sequence($1, $2)", &[&qualified, column])
                .await
                .map_err(failed(doing, Some(table)))?;
            let Some(sequence) = row.get::<_, Option<String>>(0) else { continue };
            // The server has quoted this name itself.
            let sql = format!(
                "SELECT setval($1::text::regclass, greatest((SELECT last_value FROM {sequence}), \
                   (SELECT max({}) FROM {qualified} WHERE tenant_id = $2)::bigint + {GAP})) \
                 WHERE EXISTS (SELECT FROM {qualified} WHERE tenant_id = $2)",
                quote(column)?
            );
            let set = client.query(&sql, &[&sequence, &self.tenant.0]).await;
            set.map_err(failed(doing, Some(table)))?;
        }
        Ok(())
    }

    /// Makes the rows permanent.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn commit(self) -> Result<(), CopyError> {
        self.movers.each("committing a load", "COMMIT").await?;
        self.movers.close().await;
        Ok(())
    }
}

const WRITING: &str = "writing a table";

/// A table that takes rows.
pub struct TableSink {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    table: Table,
}

impl TableSink {
    /// Adds text; it may end within a row.
    ///
    /// # Errors
    /// If the server has refused what came before.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), CopyError> {
        self.sink.feed(bytes).await.map_err(failed(WRITING, Some(&self.table)))
    }

    /// Ends the rows; how many they were.
    ///
    /// # Errors
    /// If the server refuses one.
    pub async fn finish(mut self) -> Result<u64, CopyError> {
        self.sink.as_mut().finish().await.map_err(failed(WRITING, Some(&self.table)))
    }
}

/// What `place` has installed; for who must know where to load into.
///
/// # Errors
/// If the server is away.
pub async fn shapes(cell: &Cell, place: &Place) -> Result<Vec<ServiceShape>, CopyError> {
    let snapshot = super::Snapshot::open(cell, place).await?;
    let shapes = snapshot.services().to_vec();
    snapshot.close().await;
    Ok(shapes)
}
