//! One transaction of one tenant. It can run queries and changes of rows, and end; nothing else is reachable from it.

use rowhouse_domain::id::TenantId;
use tokio_postgres::types::{Kind, ToSql};
use tokio_postgres::{Row, SimpleQueryMessage, Statement};

use crate::name::quote;
use crate::pool::{Backend, Slot};
use crate::statement::Guard;
use crate::token::{DatabaseKey, LIFETIME_S, TokenClaims};
use crate::{DatabaseError, Rights};

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `READ ONLY`; its token gives no other right either.
    Read,
    /// Reads and changes, as far as the tenant's rights go.
    Write,
}

/// What it takes to begin, besides a connection.
pub(crate) struct Entry<'a> {
    pub tenant: TenantId,
    pub epoch: u64,
    /// Letters of the place's rights.
    pub rights: &'static str,
    pub key: &'a DatabaseKey,
    pub access: Access,
    /// What its statements are judged by.
    pub guard: Guard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    /// A statement is under way; seen only if its future was dropped.
    Busy,
    /// A statement failed: the server takes nothing but the end.
    Failed,
}

/// A transaction that sees one tenant's rows. Dropping it without [`commit`](Self::commit) or
/// [`rollback`](Self::rollback) rolls it back in the background; if a statement was under way (its future was dropped),
/// that is cancelled and the connection closed.
pub struct TenantTransaction {
    /// Taken when the transaction ends.
    slot: Option<Slot>,
    tenant: TenantId,
    state: State,
    /// The session itself is in doubt (a prepared statement vanished): not for anybody else.
    tainted: bool,
    /// Nothing was taken from the tenant: what is denied is denied to all.
    full_rights: bool,
    guard: Guard,
}

impl std::fmt::Debug for TenantTransaction {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "TenantTransaction({}, {:?})", self.tenant, self.state)
    }
}

impl TenantTransaction {
    /// `RESET ALL; CLOSE ALL` if the backend served another tenant before, then `BEGIN` and `rh.enter`: one round trip.
    pub(crate) async fn begin(mut slot: Slot, entry: &Entry<'_>) -> Result<Self, DatabaseError> {
        let backend = slot.backend();
        let begin = beginning(backend, entry);
        let tenant = entry.tenant.0;
        let full_rights = entry.rights == Rights::Full.letters();
        let other_before = backend.last_tenant.replace(tenant).is_some_and(|last| last != tenant);
        let answer = if other_before {
            let client = backend.client();
            // Sent in this order without waiting in between; the reset must not be in the transaction, whose
            // rollback would bring the settings back.
            let (reset, answer) =
                tokio::join!(client.batch_execute("RESET ALL; CLOSE ALL"), client.simple_query(&begin));
            reset.and(answer)
        } else {
            backend.client().simple_query(&begin).await
        };
        match answer.map_err(DatabaseError::from) {
            Ok(messages) => {
                if let Some(server_s) = server_time(&messages) {
                    backend.learn_time(server_s);
                }
                Ok(TenantTransaction {
                    slot: Some(slot),
                    tenant: entry.tenant,
                    state: State::Ready,
                    tainted: false,
                    full_rights,
                    guard: entry.guard.clone(),
                })
            }
            Err(refused @ (DatabaseError::Moved | DatabaseError::NotPermitted)) => {
                if slot.backend().client().batch_execute("ROLLBACK").await.is_ok() {
                    slot.give_back();
                }
                Err(refused)
            }
            Err(other) => Err(other),
        }
    }

    /// Whose rows this transaction sees.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// All rows of `sql`, whose parameters are `$1`, `$2` ….
    ///
    /// # Errors
    /// [`DatabaseError`]; all but `StatementRefused` leave nothing but rolling back.
    pub async fn query(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DatabaseError> {
        self.guarded(async |backend, guard| {
            let statement = backend.prepare(sql, guard).await?;
            Ok(backend.client().query(&statement, parameters).await?)
        })
        .await
    }

    /// The one row of `sql`.
    ///
    /// # Errors
    /// As [`query`](Self::query), and `RowCount` if there is none or more than one.
    pub async fn query_one(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, DatabaseError> {
        self.query_opt(sql, parameters).await?.ok_or(DatabaseError::RowCount(0))
    }

    /// The row of `sql`, if there is one.
    ///
    /// # Errors
    /// As [`query`](Self::query), and `RowCount` if there is more than one.
    pub async fn query_opt(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, DatabaseError> {
        let mut rows = self.query(sql, parameters).await?;
        match rows.len() {
            0 | 1 => Ok(rows.pop()),
            more => Err(DatabaseError::RowCount(more)),
        }
    }

    /// Runs `sql` and answers how many rows it touched.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn execute(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, DatabaseError> {
        self.guarded(async |backend, guard| {
            let statement = backend.prepare(sql, guard).await?;
            Ok(backend.client().execute(&statement, parameters).await?)
        })
        .await
    }

    /// Inserts many rows in one statement: for each column its name and an array of values (a `Vec` or slice, all of
    /// one length). `INSERT … SELECT FROM unnest`, because COPY FROM is refused under row-level security.
    ///
    /// # Errors
    /// As [`query`](Self::query); `Name` if a name is not plain. Columns of an array type are not taken.
    pub async fn bulk_insert(
        &mut self,
        table: &'static str,
        columns: &[(&'static str, &(dyn ToSql + Sync))],
    ) -> Result<u64, DatabaseError> {
        let names = columns.iter().map(|(name, _)| quote(name)).collect::<Result<Vec<_>, _>>()?.join(", ");
        let table = quote(table)?;
        let values: Vec<_> = columns.iter().map(|(_, values)| *values).collect();
        self.guarded(async |backend, _| {
            let shape = backend.prepare_own(&format!("SELECT {names} FROM {table}")).await?;
            let arrays = arrays(&shape)?;
            let sql = format!("INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays})");
            let insert = backend.prepare_own(&sql).await?;
            Ok(backend.client().execute(&insert, &values).await?)
        })
        .await
    }

    /// Makes the changes permanent and returns the connection.
    ///
    /// # Errors
    /// `Aborted` if a statement failed or was abandoned before; `Constraint` if a deferred one is violated;
    /// `CommitUnknown` if the connection was lost before the answer.
    pub async fn commit(mut self) -> Result<(), DatabaseError> {
        match self.state {
            State::Ready => {}
            State::Failed => {
                self.rollback().await?;
                return Err(DatabaseError::Aborted);
            }
            State::Busy => return Err(DatabaseError::Aborted),
        }
        match self.finish("COMMIT").await {
            Err(error) if error.as_db_error().is_none() => Err(DatabaseError::CommitUnknown(error)),
            other => Ok(other?),
        }
    }

    /// Undoes the changes and returns the connection. One that was abandoned in the middle of a statement is closed.
    ///
    /// # Errors
    /// If the connection is lost; the changes are undone then too.
    pub async fn rollback(mut self) -> Result<(), DatabaseError> {
        match self.state {
            State::Busy => Ok(()),
            State::Ready | State::Failed => Ok(self.finish("ROLLBACK").await?),
        }
    }

    /// Ends the transaction; only an answer of the server makes the connection fit for others.
    async fn finish(&mut self, how: &'static str) -> Result<(), tokio_postgres::Error> {
        self.state = State::Busy;
        let answer = self.backend().client().batch_execute(how).await;
        let answered = answer.is_ok() || answer.as_ref().is_err_and(|error| error.as_db_error().is_some());
        if answered && !self.tainted {
            self.slot.take().expect("it ends once").give_back();
        }
        answer
    }

    fn backend(&mut self) -> &mut Backend {
        self.slot.as_mut().expect("only the end takes the slot").backend()
    }

    async fn guarded<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Backend, &Guard) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        if self.state != State::Ready {
            return Err(DatabaseError::Aborted);
        }
        self.state = State::Busy;
        let guard = self.guard.clone();
        let result = work(self.backend(), &guard).await.map_err(|error| match error {
            // From level `schema` up, a right that was taken shows as a missing privilege.
            DatabaseError::Denied(_) if !self.full_rights => DatabaseError::NotPermitted,
            other => other,
        });
        self.state = match &result {
            Ok(_) | Err(DatabaseError::StatementRefused(_)) => State::Ready,
            Err(error) => {
                self.tainted |= error.sqlstate().is_some_and(|code| TAINTING.contains(&code));
                State::Failed
            }
        };
        result
    }
}

impl Drop for TenantTransaction {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take()
            && self.state != State::Busy
            && !self.tainted
        {
            slot.give_back_after_rollback();
        }
    }
}

/// A prepared statement is gone, has a namesake, or no longer fits: the session's state is not what we think it is.
const TAINTING: [&str; 3] = ["26000", "42P05", "0A000"];

fn beginning(backend: &Backend, entry: &Entry<'_>) -> String {
    let (mode, rights, writes) = match entry.access {
        Access::Read => (" READ ONLY", &entry.rights[..entry.rights.len().min(1)], "false"),
        Access::Write => ("", entry.rights, "true"),
    };
    let token = entry.key.mint(&TokenClaims {
        tenant: entry.tenant.0,
        epoch: entry.epoch,
        rights,
        backend_pid: backend.pid(),
        not_after_s: backend.server_now_s() + LIFETIME_S,
    });
    format!("BEGIN ISOLATION LEVEL READ COMMITTED{mode}; SELECT rh.enter('{token}', {writes})")
}

fn server_time(messages: &[SimpleQueryMessage]) -> Option<f64> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    })
}

/// `$1::"uuid"[], $2::"text"[] …`, after the types of the table's columns.
fn arrays(shape: &Statement) -> Result<String, DatabaseError> {
    let mut casts = Vec::new();
    for (column, number) in shape.columns().iter().zip(1..) {
        let of = column.type_();
        if matches!(of.kind(), Kind::Array(_)) {
            return Err(DatabaseError::StatementRefused(format!("unnest of array column {}", column.name())));
        }
        casts.push(format!("${number}::{}.{}[]", quote(of.schema())?, quote(of.name())?));
    }
    Ok(casts.join(", "))
}
