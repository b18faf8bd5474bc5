//! Copies of one tenant's rows: read from one consistent snapshot, streamed, loaded elsewhere, proven equal.
//!
//! Backups, restores, exports and moves are made of these two halves. [`Snapshot`] reads the tenant's rows of every
//! service at one instant, in `REPEATABLE READ` transactions that hold the tables against changes of their shape; [`Loading`]
//! writes rows into a place, with triggers and foreign keys at rest. Rows travel in the text format
//! of COPY, in pieces, so that no table is too large. [`Sum`] is what both sides must agree on.
//!
//! Only tables of kind `tenant` travel: reference tables are made by migrations, internal ones are nobody's.

mod loading;
mod rows;
mod snapshot;

pub use loading::{Loading, TableSink, shapes};
pub use rows::RowSplitter;
use serde::{Deserialize, Serialize};
pub use snapshot::Snapshot;

use crate::cell::CellError;
use crate::connect::ConnectError;
use crate::name::{NameError, quote};

/// One tenant table of a service, and the columns whose values are stored (generated ones are not).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The service.
    pub service: String,
    /// The schema that it lies in.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// In the order of the table.
    pub columns: Vec<String>,
}

impl Table {
    /// The same table in another schema.
    pub fn within(&self, schema: &str) -> Table {
        Table { schema: schema.to_owned(), ..self.clone() }
    }

    fn qualified(&self) -> Result<String, NameError> {
        Ok(format!("{}.{}", quote(&self.schema)?, quote(&self.name)?))
    }

    fn column_list(&self) -> Result<String, NameError> {
        let quoted: Result<Vec<String>, NameError> =
            self.columns.iter().map(|column| quote(column)).collect();
        Ok(quoted?.join(", "))
    }
}

/// What one service has in a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceShape {
    /// The service.
    pub service: String,
    /// Its schema.
    pub schema: String,
    /// The last migration that was run there; 0 if none.
    pub version: i32,
    /// Names and kinds of all its tables.
    pub kinds: std::collections::BTreeMap<String, crate::tables::TableKind>,
    /// Its tenant tables, in the order of their names.
    pub tables: Vec<Table>,
}

/// Number of a tenant's rows in a table, and the sum of a 60-bit hash of each. The order of rows does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// How many.
    pub rows: i64,
    /// Decimal.
    pub hash: String,
}

/// Why rows could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No session that may touch the tables.
    #[error(transparent)]
    Cell(#[from] CellError),
    /// A name that cannot stand in SQL.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The server refused a statement.
    #[error("{doing}{}", .table.as_ref().map_or(String::new(), |table| format!(" ({table})")))]
    Server {
        /// What was being done.
        doing: &'static str,
        /// With which table.
        table: Option<String>,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// Where the rows come from failed.
    #[error("the rows could not be read: {0}")]
    Source(String),
    /// The tables were changed again and again while they were to be held.
    #[error("the tables' shape is being changed; try again when that is over")]
    Changing,
    /// Something stored is of a kind that this code does not know.
    #[error("the record of the place cannot be read: {0}")]
    Stored(&'static str),
}

pub(crate) fn failed(
    doing: &'static str,
    table: Option<&Table>,
) -> impl FnOnce(tokio_postgres::Error) -> CopyError + use<> {
    let table = table.map(|table| format!("{}.{}", table.service, table.name));
    move |source| CopyError::Server { doing, table, source }
}

/// Makes texts of values the same on every server: they are hashed, and read back years later.
const SESSION: &str = "SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL timezone = 'UTC'; \
     SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL search_path = pg_catalog, pg_temp; \
     SET LOCAL row_security = off; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";

async fn sum(
    client: &tokio_postgres::Client,
    table: &Table,
    tenant: rowhouse_domain::id::TenantId,
) -> Result<Sum, CopyError> {
    let sql = format!(
        "SELECT count(*), coalesce(sum(('x' || substr(md5(ROW({})::text), 1, 15))::bit(60)::bigint), 0)::text \
         FROM {} WHERE tenant_id = $1",
        table.column_list()?,
        table.qualified()?
    );
    let row =
        client.query_one(&sql, &[&tenant.0]).await.map_err(failed("summing up a table", Some(table)))?;
    Ok(Sum { rows: row.get(0), hash: row.get(1) })
}
