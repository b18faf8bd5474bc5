//! Installing a service's tables in one schema: newer migrations, generator, gate and version in one transaction.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use rowhouse_domain::id::TenantId;
use rowhouse_domain::tenancy::Isolation;
use sha2::{Digest, Sha256};
use tokio_postgres::Transaction;

use super::generate::{GENERATOR_VERSION, generate, refuse_sequences};
use super::manifest::hexadecimal;
use super::owner::{Text, ensure, nothing_pending, owner_of, run_as};
use super::{Manifest, PROBE_TABLE, ServiceTables, TableKind, partition};
use crate::cell::{Cell, LOCK_CLASS, LOCK_PREPARED, SHARED_DATABASE, SHARED_LOGIN};
use crate::connect::ConnectError;
use crate::doctor::{self, Finding};
use crate::name::{NameError, quote};

/// Where [`try_anew`] installs, and what is never committed.
const TRIED_SCHEMA: &str = "rh_tried";
/// Most fingerprints that are remembered.
const PASSED_MAX: usize = 1_000;
/// Fingerprints of tables of tenants' own that the gate has let pass in this process, by level.
static PASSED: LazyLock<Mutex<HashSet<(Isolation, String)>>> = LazyLock::new(Mutex::default);

/// Where to install.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Database.
    pub database: &'a str,
    /// Schema; made if it is not there.
    pub schema: &'a str,
    /// Level.
    pub isolation: Isolation,
    /// The login that will use it: `rh_app` on `shared`, the tenant's own above.
    pub login: &'a str,
    /// The one tenant of the schema; none on `shared`.
    pub tenant: Option<TenantId>,
}

/// What an installation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Number of the last migration that is now in the schema.
    pub version: i32,
    /// Numbers that were run just now, in order.
    pub applied: Vec<i32>,
}

/// Why nothing was installed. The transaction was rolled back.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A name that cannot stand in SQL.
    #[error(transparent)]
    Name(#[from] NameError),
    /// `shared` with a tenant, or a level above without one.
    #[error("level `{0}` and the tenant do not fit: shared tables have none, all others have one")]
    Level(&'static str),
    /// The schema belongs to another service or tenant.
    #[error("schema `{0}` is installed for another service or tenant")]
    Taken(String),
    /// An installed migration has another text now.
    #[error("migration {number} of {service} was changed after it had been installed")]
    Changed {
        /// The service.
        service: String,
        /// The migration.
        number: i32,
    },
    /// The schema is ahead of what was given.
    #[error("the schema is at version {installed}, newer than {given}")]
    Ahead {
        /// In the schema.
        installed: i32,
        /// The last that was given.
        given: i32,
    },
    /// A migration failed.
    #[error("migration {number} ({name}) failed")]
    Migration {
        /// Its number.
        number: i32,
        /// Its name.
        name: String,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A migration ended the transaction that it ran in.
    #[error("migration {number} ends the transaction it runs in")]
    EndedTransaction {
        /// Its number.
        number: i32,
    },
    /// A table that the manifest does not name.
    #[error("table `{0}` is not in the manifest")]
    Undeclared(String),
    /// A table of the manifest that no migration makes.
    #[error("the manifest names table `{0}`, but no migration makes it")]
    Missing(String),
    /// A tenant table without the column that says whose the row is.
    #[error("tenant table `{0}` has no column tenant_id of type uuid")]
    NoTenantId(String),
    /// A migration that puts rows into a tenant table of a place where no tenant has any.
    #[error(
        "a migration puts rows into tenant table `{0}`, where a new tenant begins with none; insert them when a tenant comes first, or declare the table `reference`"
    )]
    RowsOfNobody(String),
    /// A default that no tenant could compute: rows would be refused one by one in production.
    #[error(
        "column `{column}` of tenant table `{table}` takes its default from a sequence, which tenants may not use; make it GENERATED ALWAYS AS IDENTITY, or a UUID"
    )]
    SequenceDefault {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A table with rows was to be partitioned.
    #[error("table `{0}` is not partitioned and has been installed before; partition it in a migration")]
    TooLateToPartition(String),
    /// The doctor found something in the tables.
    #[error("the tables do not keep tenants apart: {}", .0.iter().map(|f| format!("{} {}", f.code, f.object)).collect::<Vec<_>>().join("; "))]
    Findings(Vec<Finding>),
    /// The server refused a statement of ours.
    #[error("{doing}")]
    Server {
        /// What was being done.
        doing: &'static str,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
}

impl InstallError {
    /// Whether the same may work a little later: a lock was not free in time, or the server was away.
    pub fn is_passing(&self) -> bool {
        let code = match self {
            InstallError::Connect(_) => return true,
            InstallError::Migration { source, .. } | InstallError::Server { source, .. } => source.code(),
            _ => return false,
        };
        // lock_not_available, deadlock_detected, serialization_failure, shutdown and connection errors (appendix A)
        code.is_none_or(|code| {
            matches!(code.code(), "55P03" | "40P01" | "40001" | "53300")
                || code.code().starts_with("57P")
                || code.code().starts_with("08")
        })
    }
}

pub(super) fn server(doing: &'static str) -> impl FnOnce(tokio_postgres::Error) -> InstallError {
    move |source| InstallError::Server { doing, source }
}

/// Brings a schema to the last version of `tables`. Twice is once; only newer numbers are run. Roles of `target.login`
/// must be there (`cell::prepare`, `place::create`).
///
/// # Errors
/// See [`InstallError`]; nothing of a failed installation remains.
pub async fn install(
    cell: &Cell,
    target: &Target<'_>,
    tables: &ServiceTables,
) -> Result<Installed, InstallError> {
    bring(cell, target, tables, false).await
}

/// [`install`], and generates policies, checks and grants anew even if nothing is newer: the cure for what was changed
/// by hand.
///
/// # Errors
/// As [`install`].
pub async fn repair(
    cell: &Cell,
    target: &Target<'_>,
    tables: &ServiceTables,
) -> Result<Installed, InstallError> {
    bring(cell, target, tables, true).await
}

/// What an installation would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TryOut {
    /// Numbers that would be run.
    pub applied: Vec<i32>,
    /// Locks on relations of the schema that exclude writers or readers: name and mode, held to the end.
    pub locks: Vec<(String, String)>,
    /// How long it took, which is how long they would be held at most, in milliseconds.
    pub held_ms: u64,
}

/// Installs everything in an empty schema of a shared database, as it will be for tenants to come, and rolls it back. What only works
/// where rows are, or leaves rows behind, is found here and not when the next tenant is made.
///
/// # Errors
/// As [`install`].
pub async fn try_anew(cell: &Cell, tables: &ServiceTables) -> Result<(), InstallError> {
    let target = Target {
        database: SHARED_DATABASE,
        schema: TRIED_SCHEMA,
        isolation: Isolation::Shared,
        login: SHARED_LOGIN,
        tenant: None,
    };
    try_out(cell, &target, tables).await.map(drop)
}

/// Runs an installation and rolls it back.
///
/// # Errors
/// As [`install`].
pub async fn try_out(
    cell: &Cell,
    target: &Target<'_>,
    tables: &ServiceTables,
) -> Result<TryOut, InstallError> {
    let mut admin = cell.connect(target.database).await?;
    ensure(cell, &*admin, &tables.service).await?;
    let transaction = admin.transaction().await.map_err(server("beginning to try an installation out"))?;
    let begun = std::time::Instant::now();
    let installed = install_in(&transaction, target, tables, false).await?;
    let held_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let rows = transaction
        .query(
            "SELECT DISTINCT c.relname::text, l.mode
               FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE l.pid = pg_backend_pid() AND n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
                AND EXISTS (SELECT FROM rh.relation r WHERE r.schema = n.nspname AND r.name = c.relname)
              ORDER BY 1, 2",
            &[&target.schema],
        )
        .await
        .map_err(server("looking at the locks of an installation"))?;
    let locks = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    transaction.rollback().await.map_err(server("rolling an installation back"))?;
    admin.close().await;
    Ok(TryOut { applied: installed.applied, locks, held_ms })
}

async fn bring(
    cell: &Cell,
    target: &Target<'_>,
    tables: &ServiceTables,
    anew: bool,
) -> Result<Installed, InstallError> {
    if (target.isolation == Isolation::Shared) != target.tenant.is_none() {
        return Err(InstallError::Level(target.isolation.as_str()));
    }
    let mut admin = cell.borrow(target.database).await?;
    ensure(cell, &**admin, &tables.service).await?;
    let transaction = admin.transaction().await.map_err(server("beginning an installation"))?;
    let installed = install_in(&transaction, target, tables, anew).await?;
    transaction.commit().await.map_err(server("committing an installation"))?;
    admin.give_back().await;
    Ok(installed)
}

async fn install_in(
    transaction: &Transaction<'_>,
    target: &Target<'_>,
    tables: &ServiceTables,
    anew: bool,
) -> Result<Installed, InstallError> {
    let owner = owner_of(&tables.service);
    claim_schema(transaction, target, &tables.service, &owner).await?;
    let before = versions(transaction, target.schema).await?;
    check_history(&before, tables)?;
    let reached = before.iter().map(|(number, _)| *number).max().unwrap_or(0);
    let mut applied = Vec::new();
    if reached > 0 && tables.version() > reached {
        let_the_owner_see(transaction, target).await?;
    }
    for migration in tables.migrations.iter().filter(|migration| migration.number > reached) {
        add_extensions(transaction, &migration.sql).await?;
        run(transaction, target, &owner, migration).await?;
        note(transaction, target.schema, migration.number, &migration.name, &migration.checksum()).await?;
        applied.push(migration.number);
    }
    let generated = generator_checksum(tables);
    let current = before.iter().any(|(number, checksum)| *number == 0 && *checksum == generated);
    if anew || !applied.is_empty() || !current {
        refuse_sequences(transaction, target.schema, &tables.manifest).await?;
        if reached == 0 {
            refuse_rows_of_nobody(transaction, target.schema, &tables.manifest).await?;
        }
        partition::partition(transaction, target, &owner, &tables.manifest).await?;
        generate(transaction, target, &owner, &tables.manifest).await?;
        nothing_pending(transaction, target, &owner).await?;
        note(transaction, target.schema, 0, "generated", &generated).await?;
        pass_gate(transaction, target).await?;
    }
    Ok(Installed { version: tables.version(), applied })
}

/// The doctor's gate; and what the schema is now, on record in the same transaction as the version. Where the gate has let tables
/// with this fingerprint pass on this level, they are as good as then, as for the doctor himself.
async fn pass_gate(transaction: &Transaction<'_>, target: &Target<'_>) -> Result<(), InstallError> {
    let tenant = target.tenant.map(|TenantId(tenant)| tenant);
    let fingerprint = doctor::fingerprint::of(transaction, target.schema, target.login, tenant)
        .await
        .map_err(server("taking the fingerprint of a schema"))?;
    let passed = (target.isolation, fingerprint.clone());
    // Shared tables are installed once; they are looked at each time, and so are their partitions, which have no fingerprint.
    let is_known = target.isolation != Isolation::Shared
        && PASSED.lock().unwrap_or_else(PoisonError::into_inner).contains(&passed);
    if !is_known {
        transaction.batch_execute(&session(target)?).await.map_err(server("going back to the schema"))?;
        let findings =
            doctor::of_tables(transaction, target).await.map_err(server("examining the tables"))?;
        if !findings.is_empty() {
            return Err(InstallError::Findings(findings));
        }
        let mut known = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PASSED_MAX {
            known.clear();
        }
        known.insert(passed);
    }
    transaction
        .execute(
            "UPDATE rh.version SET fingerprint = $2 WHERE schema = $1 AND number = 0",
            &[&target.schema, &fingerprint],
        )
        .await
        .map_err(server("recording the fingerprint of a schema"))?;
    Ok(())
}

/// Rows that say whose they are, where no tenant is yet: on the levels above they would stop every tenant that is made.
async fn refuse_rows_of_nobody(
    transaction: &Transaction<'_>,
    schema: &str,
    manifest: &Manifest,
) -> Result<(), InstallError> {
    let doing = "looking for rows of nobody";
    let sql = "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') ORDER BY c.relname";
    let there = transaction.query(sql, &[&schema]).await.map_err(server(doing))?;
    let is_tenants =
        |table: &String| manifest.tables.get(table).is_some_and(|own| own.kind == TableKind::Tenant);
    for table in there.iter().map(|row| row.get(0)).filter(is_tenants) {
        let sql = format!("SELECT EXISTS (SELECT FROM {}.{})", quote(schema)?, quote(&table)?);
        let found = transaction.query_one(&sql, &[]).await.map_err(server(doing))?;
        if found.get(0) {
            return Err(InstallError::RowsOfNobody(table));
        }
    }
    Ok(())
}

/// A migration that fills a new column must reach the rows of all tenants, and runs as their owner, whom forced policies
/// would stop. Nobody else sees this: it is not committed before the generator has forced them again, and the gate has
/// looked.
async fn let_the_owner_see(transaction: &Transaction<'_>, target: &Target<'_>) -> Result<(), InstallError> {
    if target.isolation != Isolation::Shared {
        return Ok(());
    }
    let rows = transaction
        .query(
            "SELECT name FROM rh.relation WHERE schema = $1 AND kind = 'tenant' ORDER BY name",
            &[&target.schema],
        )
        .await
        .map_err(server("listing tenant tables"))?;
    let schema = quote(target.schema)?;
    let mut sql = String::new();
    for row in &rows {
        let name = format!("{schema}.{}", quote(row.get(0))?);
        sql.push_str(&format!("ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY;\n"));
    }
    transaction.batch_execute(&sql).await.map_err(server("letting a migration see all rows"))
}

/// Makes the schema and its record, and takes the lock that keeps two installers apart.
async fn claim_schema(
    transaction: &Transaction<'_>,
    target: &Target<'_>,
    service: &str,
    owner: &str,
) -> Result<(), InstallError> {
    let (schema, owner) = (quote(target.schema)?, quote(owner)?);
    let tenant = target.tenant.map(|tenant| tenant.0);
    transaction
        .batch_execute(LOCK_PREPARED)
        .await
        .map_err(server("waiting for a database to be prepared"))?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", &[&LOCK_CLASS, &target.schema])
        .await
        .map_err(server("locking a schema"))?;
    let fits = transaction
        .query_one(
            "WITH added AS (
               INSERT INTO rh.installed (schema, service, isolation, login, tenant) VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (schema) DO NOTHING)
             SELECT coalesce((SELECT (service, isolation, login) = ($2, $3, $4) AND tenant IS NOT DISTINCT FROM $5
                                FROM rh.installed WHERE schema = $1), true)",
            &[&target.schema, &service, &target.isolation.as_str(), &target.login, &tenant],
        )
        .await
        .map_err(server("recording a schema"))?;
    if !fits.get::<_, bool>(0) {
        return Err(InstallError::Taken(target.schema.to_owned()));
    }
    transaction
        .batch_execute(&format!(
            "CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {owner};
             {session};
             SET LOCAL ROLE {owner};
             CREATE TABLE IF NOT EXISTS {schema}.{PROBE_TABLE} (
               tenant_id uuid NOT NULL DEFAULT rh.stamped(), id uuid NOT NULL, marker text NOT NULL,
               PRIMARY KEY (tenant_id, id));
             RESET ROLE",
            session = session(target)?
        ))
        .await
        .map_err(server("making a schema"))
}

async fn versions(transaction: &Transaction<'_>, schema: &str) -> Result<Vec<(i32, String)>, InstallError> {
    let rows = transaction
        .query("SELECT number, checksum FROM rh.version WHERE schema = $1 ORDER BY number", &[&schema])
        .await
        .map_err(server("reading the version"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn check_history(before: &[(i32, String)], tables: &ServiceTables) -> Result<(), InstallError> {
    for (number, checksum) in before.iter().filter(|(number, _)| *number > 0) {
        match tables.migrations.iter().find(|migration| migration.number == *number) {
            Some(migration) if migration.checksum() == *checksum => {}
            None if *number > tables.version() => {
                return Err(InstallError::Ahead { installed: *number, given: tables.version() });
            }
            _ => return Err(InstallError::Changed { service: tables.service.clone(), number: *number }),
        }
    }
    Ok(())
}

/// Runs as the service's owner, so that tables belong to it.
async fn run(
    transaction: &Transaction<'_>,
    target: &Target<'_>,
    owner: &str,
    migration: &super::Migration,
) -> Result<(), InstallError> {
    run_as(transaction, target, owner, (Text::Migration, &migration.sql)).await?.map_err(|source| {
        let number = migration.number;
        match ends_transaction(&source) {
            true => InstallError::EndedTransaction { number },
            false => InstallError::Migration { number, name: migration.name.clone(), source },
        }
    })
}

/// Extensions that a migration asks for and may have are made for it, where every path finds them: it has no right to make one.
async fn add_extensions(transaction: &Transaction<'_>, sql: &str) -> Result<(), InstallError> {
    for name in rowhouse_firewall::extensions::wanted(sql) {
        // Two installations in one database may ask at once.
        let lock = format!("SELECT pg_advisory_xact_lock({LOCK_CLASS}, 5)");
        let create = format!("{lock}; CREATE EXTENSION IF NOT EXISTS \"{name}\" SCHEMA pg_catalog CASCADE");
        transaction.batch_execute(&create).await.map_err(server("adding an extension"))?;
    }
    Ok(())
}

/// `EXECUTE` takes no transaction commands (feature_not_supported, with these words), and `DO` inside it none either.
fn ends_transaction(error: &tokio_postgres::Error) -> bool {
    let Some(error) = error.as_db_error() else { return false };
    error.code().code() == "2D000"
        || (error.code().code() == "0A000" && error.message().contains("transaction commands"))
}

/// Settings of an installation's transaction.
pub(super) fn session(target: &Target<'_>) -> Result<String, NameError> {
    Ok(format!("SET LOCAL search_path = {}, pg_temp; SET LOCAL lock_timeout = '2s'", quote(target.schema)?))
}

async fn note(
    transaction: &Transaction<'_>,
    schema: &str,
    number: i32,
    name: &str,
    checksum: &str,
) -> Result<(), InstallError> {
    transaction
        .execute(
            "INSERT INTO rh.version (schema, number, name, checksum) VALUES ($1, $2, $3, $4)
             ON CONFLICT (schema, number) DO UPDATE
                SET name = excluded.name, checksum = excluded.checksum, applied_at = now()",
            &[&schema, &number, &name, &checksum],
        )
        .await
        .map_err(server("recording the version"))?;
    Ok(())
}

fn generator_checksum(tables: &ServiceTables) -> String {
    let manifest = serde_json::to_string(&tables.manifest).expect("a manifest is plain data");
    hexadecimal(&Sha256::digest(format!("{GENERATOR_VERSION}\n{manifest}")))
}
