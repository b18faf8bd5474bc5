//! A cell: one PostgreSQL cluster that holds tenants. Preparing it makes the roles, closes what PUBLIC has, and puts
//! the verifier of the signed context (schema `rh`) into each of its tenants' databases. All of it is repeatable:
//! running it again repairs, and never takes anything from a tenant.

mod found;
pub(crate) mod movers;
pub mod stock;
pub(crate) mod template;

pub use found::{Found, found, found_of_server, rights_of};
use serde::{Deserialize, Serialize};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::DatabaseKey;
use crate::connect::{Address, ConnectError, Connected};
use crate::name::{NameError, quote};
use crate::spare::Spare;
use movers::MOVERS;
pub(crate) use movers::Movers;
use template::Template;

/// The shared tables of a cell lie in this database.
pub const SHARED_DATABASE: &str = "rh_shared";
/// The first database of tenants with a schema of their own.
pub const SCHEMAS_DATABASE: &str = "rh_schemas_1";
/// The one login of all tenants on the level `shared`.
pub const SHARED_LOGIN: &str = "rh_app";

/// Most space that one session's sorts and joins take on disk; only superusers can raise it.
const TEMP_FILES: &str = "4GB";

const ROLES: &str = include_str!("roles.sql");
const GUARD: &str = include_str!("guard.sql");
const MIGRATING: &str = include_str!("migrating.sql");
const REVOKES: &str = include_str!("revokes.sql");

/// First half of the advisory locks under which this crate changes a cluster; the second says what is changed.
pub(crate) const LOCK_CLASS: i32 = 7240;
/// Taken in a transaction in database `postgres` by whoever changes roles or rows of `pg_database`: those are seen by
/// all databases, while an advisory lock is seen in its own only.
pub(crate) const LOCK_CLUSTER: &str = "SELECT pg_advisory_xact_lock(7240, 1)";

/// Taken first by whoever makes or drops schemas in a database, together with others who do: who prepares the database
/// waits for them and they for it. Without it each of the two could hold a table or a function that the other wants.
pub(crate) const LOCK_PREPARED: &str = "SELECT pg_advisory_xact_lock_shared(7240, 2)";

/// A PostgreSQL cluster with its administrator's role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Name, as in places.
    pub name: String,
    /// Directory of the Unix socket, or a loopback address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// A superuser.
    pub admin_role: String,
    /// What is committed here need not wait for the disk ([`Cell::committing_later`]).
    #[serde(skip)]
    pub commits_later: bool,
}

/// Why a cell or a database could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum CellError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A name that cannot stand in SQL.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The server refused a statement.
    #[error("{doing}")]
    Server {
        /// What was being done.
        doing: &'static str,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A schema that no mover may touch.
    #[error("schema `{schema}` is no service's, or its service's tables were never installed here")]
    NoMover {
        /// Its name.
        schema: String,
    },
    /// Files that no table owns may still become somebody's.
    #[error(
        "{files} files belong to no table, and whoever made them may be at work; look again when that has ended"
    )]
    Unowned {
        /// How many.
        files: usize,
    },
}

pub(crate) fn while_doing(doing: &'static str) -> impl FnOnce(tokio_postgres::Error) -> CellError {
    move |source| CellError::Server { doing, source }
}

impl Cell {
    /// The same cell, whose commits do not wait for the disk if `commits_later`. Only for who will commit once more in the same server,
    /// waiting for the disk, before anything depends on what was done here: a server's log is written in order, so that what
    /// is on disk of it has all that came before.
    pub fn committing_later(self, commits_later: bool) -> Self {
        Cell { commits_later, ..self }
    }

    pub(crate) async fn connect(&self, database: &str) -> Result<Connected, ConnectError> {
        self.connect_as(&self.admin_role, database).await
    }

    pub(crate) async fn connect_as(&self, user: &str, database: &str) -> Result<Connected, ConnectError> {
        Connected::open(self.address(user, database)).await
    }

    /// One that waits, if there is one; to be given back.
    pub(crate) async fn borrow(&self, database: &str) -> Result<Spare, ConnectError> {
        self.borrow_as(&self.admin_role, database).await
    }

    pub(crate) async fn borrow_as(&self, user: &str, database: &str) -> Result<Spare, ConnectError> {
        Spare::borrow(self.address(user, database)).await
    }

    fn address<'a>(&'a self, user: &'a str, database: &'a str) -> Address<'a> {
        Address { host: &self.host, port: self.port, user, database, commits_later: self.commits_later }
    }
}

/// Makes the roles of `cell` and takes CONNECT and TEMP from PUBLIC on all of its databases.
///
/// # Errors
/// If the server is away or the administrator may not.
pub async fn prepare(cell: &Cell) -> Result<(), CellError> {
    let admin = cell.connect("postgres").await?;
    admin
        .batch_execute(&format!("BEGIN; {LOCK_CLUSTER};\n{ROLES}\nCOMMIT"))
        .await
        .map_err(while_doing("making the roles of a cell"))?;
    admin.close().await;
    Ok(())
}

/// Makes `database` if it is not there, and makes it fit for tenants: schema `rh` with `key`, revocations, event
/// trigger. A `key` with a new kid is added beside the old ones, so that keys can be rotated with overlap.
///
/// # Errors
/// If the server is away, the administrator may not, or `database` is not a plain name.
pub async fn prepare_database(cell: &Cell, database: &str, key: &DatabaseKey) -> Result<(), CellError> {
    create_database(cell, database, Origin::Nothing).await?;
    let mut admin = cell.borrow(database).await?;
    let transaction = admin.transaction().await.map_err(while_doing("beginning to prepare a database"))?;
    make_fit(&transaction, Some(key)).await?;
    transaction.commit().await.map_err(while_doing("preparing a database"))?;
    admin.give_back().await;
    open_database(cell, database, None).await
}

/// Makes the database that `transaction` works in fit for tenants; a template has no key.
pub(crate) async fn make_fit(
    transaction: &Transaction<'_>,
    key: Option<&DatabaseKey>,
) -> Result<(), CellError> {
    let lock = format!("SELECT pg_advisory_xact_lock({LOCK_CLASS}, 2)");
    for (doing, sql) in [
        ("locking a database", lock.as_str()),
        ("closing the catalog", REVOKES),
        ("making schema rh", GUARD),
        ("bounding migrations", MIGRATING),
    ] {
        transaction.batch_execute(sql).await.map_err(while_doing(doing))?;
    }
    match key {
        Some(key) => put_key(transaction, key).await,
        None => Ok(()),
    }
}

/// Enters a key that contexts are verified with.
pub(crate) async fn put_key(transaction: &Transaction<'_>, key: &DatabaseKey) -> Result<(), CellError> {
    let (inner, outer) = key.padded_blocks();
    transaction
        .execute(
            "INSERT INTO rh.key (kid, ipad, opad) VALUES ($1, $2, $3)
             ON CONFLICT (kid) DO UPDATE SET ipad = excluded.ipad, opad = excluded.opad",
            &[&key.kid(), &inner.as_slice(), &outer.as_slice()],
        )
        .await
        .map_err(while_doing("storing a context key"))?;
    Ok(())
}

/// Takes the key `kid` out of `database`: its tokens are refused from then on. Twice is once.
///
/// # Errors
/// If the server is away or the administrator may not.
pub async fn retire_key(cell: &Cell, database: &str, kid: &str) -> Result<(), CellError> {
    let admin = cell.connect(database).await?;
    admin
        .execute("DELETE FROM rh.key WHERE kid = $1", &[&kid])
        .await
        .map_err(while_doing("retiring a context key"))?;
    admin.close().await;
    Ok(())
}

/// Whether `database` exists and holds `key` already, bytes and all.
pub(crate) async fn is_prepared(cell: &Cell, database: &str, key: &DatabaseKey) -> Result<bool, CellError> {
    let server = cell.borrow("postgres").await?;
    let exists = server
        .query_opt("SELECT FROM pg_database WHERE datname = $1 AND datconnlimit <> 0", &[&database])
        .await
        .map_err(while_doing("looking for a database"))?
        .is_some();
    server.give_back().await;
    if !exists {
        return Ok(false);
    }
    let admin = cell.borrow(database).await?;
    let found = holds_key(&admin, key).await?;
    admin.give_back().await;
    Ok(found)
}

/// Whether the database that `admin` is connected to is open and holds `key`, bytes and all.
pub(crate) async fn holds_key(admin: &Connected, key: &DatabaseKey) -> Result<bool, CellError> {
    let doing = "looking for a context key";
    let sql = "SELECT to_regclass('rh.key') IS NOT NULL
                 AND EXISTS (SELECT FROM pg_database WHERE datname = current_database() AND datconnlimit <> 0)";
    if !admin.query_typed_one(sql, &[]).await.map_err(while_doing(doing))?.get::<_, bool>(0) {
        return Ok(false);
    }
    let (inner, _) = key.padded_blocks();
    let found = admin
        .query_typed(
            "SELECT FROM rh.key WHERE kid = $1 AND ipad = $2",
            &[(&key.kid(), Type::TEXT), (&inner.as_slice(), Type::BYTEA)],
        )
        .await
        .map_err(while_doing(doing))?;
    Ok(!found.is_empty())
}

/// What a new database is copied from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// What the server brings.
    Nothing,
    /// The [`template`]; worth it where more than one is made.
    Template,
}

/// What there is after [`create_database`].
#[derive(Debug)]
pub(crate) enum Made {
    /// It was there already.
    Nothing,
    /// A new one that is not fit for tenants.
    Empty,
    /// A new one that is fit for tenants if it is like its template.
    Copy(Template),
}

/// `CREATE DATABASE` cannot be in a transaction, and a new database is open to PUBLIC: so it is born with a
/// connection limit of 0, which binds all but superusers, and keeps it until it is prepared.
pub(crate) async fn create_database(cell: &Cell, database: &str, origin: Origin) -> Result<Made, CellError> {
    let quoted = quote(database)?;
    let server = cell.borrow("postgres").await?;
    let doing = "making a database";
    // For the session, because there is no transaction to take it in; it ends with the connection, or below.
    server
        .batch_execute(&format!("SELECT pg_advisory_lock({LOCK_CLASS}, 3)"))
        .await
        .map_err(while_doing(doing))?;
    let exists = server
        .query_opt("SELECT FROM pg_database WHERE datname = $1", &[&database])
        .await
        .map_err(while_doing(doing))?;
    let made = match (exists, origin) {
        (Some(_), _) => Made::Nothing,
        (None, Origin::Nothing) => Made::Empty,
        (None, Origin::Template) => Made::Copy(template::ready(cell, &server).await?),
    };
    let source = match &made {
        Made::Nothing => None,
        Made::Empty => Some("template0"),
        Made::Copy(template) if stock::take(&server, template, database).await? => None,
        Made::Copy(template) => Some(template.name.as_str()),
    };
    if let Some(source) = source {
        // A try that was killed has left its folder, under a number that nobody knows.
        crate::place::orphans::remove_databases(&server).await?;
        let sql = format!(
            "CREATE DATABASE {quoted} CONNECTION LIMIT 0 ENCODING 'UTF8' TEMPLATE {}",
            quote(source)?
        );
        server.batch_execute(&sql).await.map_err(while_doing(doing))?;
    }
    server
        .batch_execute(&format!("SELECT pg_advisory_unlock({LOCK_CLASS}, 3)"))
        .await
        .map_err(while_doing(doing))?;
    server.give_back().await;
    Ok(made)
}

/// Lets in those who may connect (the shared login, or `login`), once all that keeps them apart is there.
pub(crate) async fn open_database(cell: &Cell, database: &str, login: Option<&str>) -> Result<(), CellError> {
    let quoted = quote(database)?;
    let server = cell.borrow("postgres").await?;
    let mut sql =
        format!("BEGIN; {LOCK_CLUSTER}; REVOKE CONNECT, TEMPORARY ON DATABASE {quoted} FROM PUBLIC;");
    let login = if database == SHARED_DATABASE { Some(SHARED_LOGIN) } else { login };
    sql.push_str(&format!("GRANT CONNECT ON DATABASE {quoted} TO {MOVERS};"));
    if let Some(login) = login {
        sql.push_str(&format!("GRANT CONNECT ON DATABASE {quoted} TO {};", quote(login)?));
    }
    sql.push_str(&format!(
        "ALTER DATABASE {quoted} SET temp_file_limit = '{TEMP_FILES}';
         ALTER DATABASE {quoted} CONNECTION LIMIT -1; COMMIT"
    ));
    server.batch_execute(&sql).await.map_err(while_doing("opening a database"))?;
    server.give_back().await;
    Ok(())
}
