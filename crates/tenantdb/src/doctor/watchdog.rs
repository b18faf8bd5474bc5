//! What the server lets any session do and nothing can be revoked for: holding locks that stop others, and sitting in a
//! transaction. A tenant's session that does is ended.
//!
//! Statements on rows take no lock on a relation above ROW EXCLUSIVE, so whoever holds or wants one asked for it (LOCK
//! TABLE; the privilege DELETE allows every mode). Our sessions have limits for the rest, but a session may raise them.

use tokio_postgres::types::ToSql;

use crate::cell::{Cell, CellError, while_doing};
use crate::connect::Connected;

/// A transaction of a tenant that does nothing for longer is ended, in seconds; the library's own limit is 60.
pub const IDLE_S: i32 = 75;
/// A statement of a tenant that runs for longer is ended, in seconds; the library's own limit is 30.
pub const STATEMENT_S: i32 = 45;
/// A transaction of a tenant that goes on for longer, whatever it says meanwhile, is ended, in seconds: it keeps what was
/// erased in the files, of all tenants. Backups, exports and moves read as other logins.
pub const TRANSACTION_S: i32 = 120;

const END: &str = "
SELECT a.pid, a.usename::text, a.reason, pg_terminate_backend(a.pid)
  FROM (SELECT s.pid, s.usename,
               CASE WHEN EXISTS (SELECT FROM pg_locks l WHERE l.pid = s.pid AND l.locktype = 'relation' AND l.mode IN
                         ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
                      THEN 'holds or wants a strong lock'
                    WHEN s.state LIKE 'idle in transaction%' AND s.state_change < clock_timestamp() - $1::int * interval '1 second'
                      THEN 'idle in a transaction'
                    WHEN s.state = 'active' AND s.query_start < clock_timestamp() - $2::int * interval '1 second'
                      THEN 'a statement without end'
                    WHEN s.xact_start < clock_timestamp() - $3::int * interval '1 second'
                      THEN 'a transaction without end'
               END AS reason
          FROM pg_stat_activity s
         WHERE s.backend_type = 'client backend' AND (s.usename = 'rh_app' OR s.usename ~ '^t_[0-9a-f]{16}$')) a
 WHERE a.reason IS NOT NULL";

/// A session that was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its process.
    pub pid: i32,
    /// The tenants' login.
    pub login: String,
    /// Why.
    pub reason: String,
}

/// The watchdog of one cell, with its connection.
pub struct Watchdog {
    cell: Cell,
    connection: Option<Connected>,
    transaction_s: i32,
}

impl Watchdog {
    /// A watchdog that connects when it first looks.
    pub fn new(cell: Cell) -> Self {
        Watchdog { cell, connection: None, transaction_s: TRANSACTION_S }
    }

    /// The same with another bound of a whole transaction, in seconds.
    #[must_use]
    pub fn with_transactions_of(self, transaction_s: i32) -> Self {
        Watchdog { transaction_s, ..self }
    }

    /// The cell it looks at.
    pub fn cell(&self) -> &Cell {
        &self.cell
    }

    /// Ends the sessions that stop others. After a failure it connects anew at the next look.
    ///
    /// # Errors
    /// If the server is away.
    pub async fn look(&mut self) -> Result<Vec<Ended>, CellError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.cell.connect("postgres").await?,
        };
        let bounds: [&(dyn ToSql + Sync); 3] = [&IDLE_S, &STATEMENT_S, &self.transaction_s];
        let rows = connection.query(END, &bounds).await.map_err(while_doing("ending sessions"))?;
        self.connection = Some(connection);
        let ended =
            |row: &tokio_postgres::Row| Ended { pid: row.get(0), login: row.get(1), reason: row.get(2) };
        Ok(rows.iter().filter(|row| row.get(3)).map(ended).collect())
    }
}
