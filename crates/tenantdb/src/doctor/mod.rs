//! The doctor: reads the catalog of a tenants' database and says what would let one tenant reach another, with the
//! cure. It runs at the end of each installation (and rolls it back), at start, nightly and on demand.
//!
//! [`check`] looks at one database, [`examine`] at all of a cell. The [`Watchdog`] ends sessions for which nothing can be
//! revoked.

pub(crate) mod fingerprint;
mod holes;
mod kinds;
mod watchdog;

use rowhouse_domain::id::TenantId;
use serde::{Deserialize, Serialize};
use tokio_postgres::{GenericClient, Transaction};
use uuid::Uuid;

pub use holes::{Holes, try_holes};
pub use watchdog::{Ended, IDLE_S, STATEMENT_S, TRANSACTION_S, Watchdog};

use crate::cell::{Cell, CellError, while_doing};
use crate::connect::Connected;
use crate::tables::Target;

const TABLES: &str = include_str!("tables.sql");
const LOGIN: &str = include_str!("login.sql");
const DATABASE: &str = include_str!("database.sql");
const SERVER: &str = include_str!("server.sql");

/// Most relations of a database (D26).
const RELATIONS_MAX: i64 = 200_000;
/// Fewest connections of a server (D25): the superuser's, migrations' and moves' twenty, and a service with room.
const CONNECTIONS_MIN: i32 = 100;

const DOING: &str = "examining a database";

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// To be known.
    Low,
    /// A second layer is missing.
    High,
    /// A tenant can reach another's rows, or stop them from being served.
    Critical,
}

impl Severity {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `D01` to `D34`.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// Table, policy, role, function, database or server version.
    pub object: String,
    /// What is wrong with it.
    pub detail: &'static str,
    /// What to do.
    pub cure: &'static str,
    /// The statement of the cure, where the object says it.
    pub sql: Option<String>,
}

/// What was found in a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// Each with its database; empty for the server.
    pub findings: Vec<(String, Finding)>,
    /// Things looked at: the server, databases, schemas, logins.
    pub checked: usize,
    /// As in `15.20`.
    pub version: String,
    /// What the probes found, if they were made.
    pub holes: Option<Holes>,
}

impl Examination {
    /// Whether the server is below the floor, by its version or by what the probes found.
    pub fn below_floor(&self) -> bool {
        self.findings.iter().any(|(_, finding)| finding.code == "D23")
    }
}

/// How closely tables are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// All of them.
    All,
    /// Those that are not just what was installed, which the gate has let pass.
    Changed,
}

/// A schema as `rh.installed` knows it.
struct Installed {
    schema: String,
    login: String,
    shared: bool,
    tenant: Option<Uuid>,
}

/// Examines the server of `cell`, and all its databases of tenants with what is installed in them; with `probe`, tries the
/// known holes too.
///
/// # Errors
/// If the server is away.
pub async fn examine(cell: &Cell, probe: bool) -> Result<Examination, CellError> {
    let server = cell.connect("postgres").await?;
    let mut found = of_server(&server).await?;
    let version: String = server
        .query_one("SELECT current_setting('server_version')", &[])
        .await
        .map_err(while_doing(DOING))?
        .get(0);
    let databases = tenants_databases(&server).await?;
    server.close().await;
    let holes = if probe { Some(try_holes(cell).await?) } else { None };
    if let Some(holes) = holes.filter(|holes| holes.any()) {
        let by_version = found.iter_mut().find(|finding| finding.code == "D23");
        let object = format!("{version}: {} is open", holes.names().join(" and "));
        match by_version {
            Some(finding) => finding.object = object,
            None => found.push(finding("D23", object)),
        }
    }
    let mut examination = Examination {
        findings: found.into_iter().map(|finding| (String::new(), finding)).collect(),
        checked: 1,
        version,
        holes,
    };
    for database in databases {
        let connection = cell.connect(&database).await?;
        let (findings, checked) = of_database(&connection, &[], Depth::All, false).await?;
        connection.close().await;
        examination.checked += checked;
        examination.findings.extend(findings.into_iter().map(|finding| (database.clone(), finding)));
    }
    Ok(examination)
}

/// Examines `schemas` of `database` (all that are installed, if empty), their logins, and the server. Tables with the
/// fingerprint that they had when the gate let them pass are as good as then.
///
/// # Errors
/// If the server is away, or `database` has not been prepared.
pub async fn check(cell: &Cell, database: &str, schemas: &[&str]) -> Result<Vec<Finding>, CellError> {
    check_beside(cell, database, schemas, Known::default()).await
}

/// What the caller has found sound a moment ago, and need not be looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// The server.
    pub server: bool,
    /// What all schemas of the database have in common.
    pub database: bool,
}

/// [`check`], but for what is `known`.
///
/// # Errors
/// As [`check`].
pub async fn check_beside(
    cell: &Cell,
    database: &str,
    schemas: &[&str],
    known: Known,
) -> Result<Vec<Finding>, CellError> {
    let admin = cell.borrow(database).await?;
    let mut findings = if known.server { Vec::new() } else { of_server(&admin).await? };
    findings.extend(of_database(&admin, schemas, Depth::Changed, known.database).await?.0);
    admin.rest().await;
    Ok(findings)
}

/// Schemas of `database` that are not what was installed in them (D27), of `service` or all.
///
/// # Errors
/// If the server is away, or `database` has not been prepared.
pub async fn drifted(cell: &Cell, database: &str, service: Option<&str>) -> Result<Vec<String>, CellError> {
    let mut admin = cell.connect(database).await?;
    let services = admin
        .query(
            "SELECT schema FROM rh.installed WHERE $1::text IS NULL OR service = $1 ORDER BY schema",
            &[&service],
        )
        .await
        .map_err(while_doing(DOING))?;
    let wanted: Vec<String> = services.iter().map(|row| row.get(0)).collect();
    let transaction = admin.transaction().await.map_err(while_doing(DOING))?;
    let mut drifted = Vec::new();
    for installed in installed(&transaction).await.map_err(while_doing(DOING))? {
        if wanted.contains(&installed.schema)
            && drift(&transaction, &installed).await.map_err(while_doing(DOING))? == Some(true)
        {
            drifted.push(installed.schema);
        }
    }
    transaction.rollback().await.map_err(while_doing(DOING))?;
    admin.close().await;
    Ok(drifted)
}

async fn of_server(client: &Connected) -> Result<Vec<Finding>, CellError> {
    run(&**client, SERVER, &[&CONNECTIONS_MIN]).await.map_err(while_doing(DOING))
}

async fn tenants_databases(server: &Connected) -> Result<Vec<String>, CellError> {
    let rows = server
        .query(
            "SELECT datname::text FROM pg_database
              WHERE datallowconn AND datconnlimit <> 0 AND datname ~ '^(rh_shared|rh_schemas_[0-9]+|t_[0-9a-f]{16})$' ORDER BY 1",
            &[],
        )
        .await
        .map_err(while_doing(DOING))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Findings, and how many things were looked at.
async fn of_database(
    admin: &Connected,
    schemas: &[&str],
    depth: Depth,
    is_known: bool,
) -> Result<(Vec<Finding>, usize), CellError> {
    let failed = || while_doing(DOING);
    let extensions: Vec<&str> = rowhouse_firewall::extensions::names().collect();
    admin.batch_execute("BEGIN READ ONLY").await.map_err(failed())?;
    let mut findings = match is_known {
        true => Vec::new(),
        false => run(&**admin, DATABASE, &[&RELATIONS_MAX, &extensions]).await.map_err(failed())?,
    };
    let mut checked = 1;
    let mut logins = Vec::new();
    for installed in installed(&**admin).await.map_err(failed())? {
        if !schemas.is_empty() && !schemas.contains(&installed.schema.as_str()) {
            continue;
        }
        let Installed { schema, login, shared, tenant } = &installed;
        let drift = drift(&**admin, &installed).await.map_err(failed())?;
        if depth == Depth::All || drift != Some(false) {
            findings.extend(run(&**admin, TABLES, &[schema, login, shared, tenant]).await.map_err(failed())?);
        }
        checked += 1;
        if !logins.contains(login) {
            findings.extend(run(&**admin, LOGIN, &[login]).await.map_err(failed())?);
            checked += 1;
            logins.push(login.clone());
        }
        if drift == Some(true) {
            findings.push(finding("D27", schema.clone()));
        }
    }
    admin.batch_execute("ROLLBACK").await.map_err(failed())?;
    Ok((findings, checked))
}

async fn installed(client: &impl GenericClient) -> Result<Vec<Installed>, tokio_postgres::Error> {
    let sql = "SELECT schema, login, isolation = 'shared', tenant FROM rh.installed ORDER BY schema";
    let rows = client.query(sql, &[]).await?;
    let row = |row: &tokio_postgres::Row| Installed {
        schema: row.get(0),
        login: row.get(1),
        shared: row.get(2),
        tenant: row.get(3),
    };
    Ok(rows.iter().map(row).collect())
}

/// Whether a schema is not what was installed; `None` if that is not on record.
async fn drift(client: &impl GenericClient, of: &Installed) -> Result<Option<bool>, tokio_postgres::Error> {
    let sql =
        "SELECT fingerprint FROM rh.version WHERE schema = $1 AND number = 0 AND fingerprint IS NOT NULL";
    let Some(row) = client.query_opt(sql, &[&of.schema]).await? else { return Ok(None) };
    let now = fingerprint::of(client, &of.schema, &of.login, of.tenant).await?;
    client.batch_execute("SET LOCAL search_path TO DEFAULT").await?;
    Ok(Some(now != row.get::<_, String>(0)))
}

/// What is wrong with the tables of `target`, as the transaction sees them.
pub(crate) async fn of_tables(
    transaction: &Transaction<'_>,
    target: &Target<'_>,
) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let shared = target.tenant.is_none();
    let tenant = target.tenant.map(|TenantId(tenant)| tenant);
    run(transaction, TABLES, &[&target.schema, &target.login, &shared, &tenant]).await
}

async fn run(
    client: &impl GenericClient,
    sql: &str,
    parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let rows = client.query(sql, parameters).await?;
    Ok(rows.iter().map(|row| finding(row.get(0), row.get(1))).collect())
}

fn finding(code: &str, object: String) -> Finding {
    let (code, severity, detail, cure) = kinds::KINDS
        .iter()
        .copied()
        .find(|kind| kind.0 == code)
        .expect("the queries answer codes of the table");
    let sql = kinds::sql(code, &object);
    Finding { code, severity, object, detail, cure, sql }
}
