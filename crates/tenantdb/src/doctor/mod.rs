//! The doctor: reads the catalog of a tenants' database and says what would let one tenant reach another, with the
//! cure. It runs at the end of each installation (and rolls it back), at start, nightly and on demand.

use rowhouse_domain::id::TenantId;
use serde::{Deserialize, Serialize};
use tokio_postgres::{GenericClient, Transaction};

use crate::cell::{Cell, CellError, while_doing};
use crate::tables::Target;

const TABLES: &str = include_str!("tables.sql");
const LOGIN: &str = include_str!("login.sql");
const SERVER: &str = include_str!("server.sql");

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

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `D01` to `D28`.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// Table, policy, role, function, database or server version.
    pub object: String,
    /// What is wrong with it.
    pub detail: &'static str,
    /// What to do.
    pub cure: &'static str,
}

/// Examines `schemas` of `database` (all that are installed, if empty), their logins, and the server.
///
/// # Errors
/// If the server is away, or `database` has not been prepared.
pub async fn check(cell: &Cell, database: &str, schemas: &[&str]) -> Result<Vec<Finding>, CellError> {
    let admin = cell.connect(database).await?;
    let doing = "examining a database";
    let mut findings = run(&*admin, SERVER, &[]).await.map_err(while_doing(doing))?;
    let installed = admin
        .query("SELECT schema, login, isolation = 'shared', tenant FROM rh.installed ORDER BY schema", &[])
        .await
        .map_err(while_doing(doing))?;
    let mut logins = Vec::new();
    for row in &installed {
        let (schema, login): (String, String) = (row.get(0), row.get(1));
        let (shared, tenant): (bool, Option<uuid::Uuid>) = (row.get(2), row.get(3));
        if !schemas.is_empty() && !schemas.contains(&schema.as_str()) {
            continue;
        }
        let found = run(&*admin, TABLES, &[&schema, &login, &shared, &tenant]).await;
        findings.extend(found.map_err(while_doing(doing))?);
        if !logins.contains(&login) {
            findings.extend(run(&*admin, LOGIN, &[&login]).await.map_err(while_doing(doing))?);
            logins.push(login);
        }
    }
    admin.close().await;
    Ok(findings)
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
    let (code, severity, detail, cure) =
        KINDS.iter().copied().find(|kind| kind.0 == code).expect("the queries answer codes of the table");
    Finding { code, severity, object, detail, cure }
}

/// Every code that the queries can answer.
#[rustfmt::skip]
const KINDS: &[(&str, Severity, &str, &str)] = {
    use Severity::{Critical, High, Low};
    &[
        ("D01", Critical, "a tenant table without tenant_id", "Add `tenant_id uuid NOT NULL DEFAULT rh.stamped()`, or declare the table `reference` or `internal`."),
        ("D02", Critical, "tenant_id may be NULL", "ALTER TABLE … ALTER COLUMN tenant_id SET NOT NULL."),
        ("D03", Critical, "row-level security is off", "Repair the service's tables."),
        ("D04", High, "row-level security is not forced", "Repair the service's tables."),
        ("D05", Critical, "the tenant policy or CHECK is missing or altered", "Repair the service's tables."),
        ("D06", High, "a policy is bound to a role", "Make the policy TO PUBLIC."),
        ("D07", Critical, "a second permissive policy opens rows of other tenants", "Drop the policy."),
        ("D08", Critical, "a policy calls a function that is not STABLE", "Make the function STABLE, or drop the policy."),
        ("D09", High, "a unique key does not begin with tenant_id, so it tells of other tenants' values", "Make tenant_id the first column of the key."),
        ("D10", Critical, "a foreign key without tenant_id can point at another tenant's row", "Put tenant_id into the foreign key."),
        ("D11", Critical, "a leaf partition is open", "Repair the service's tables."),
        ("D12", High, "a view asks as its owner", "ALTER VIEW … SET (security_invoker = true, security_barrier = true)."),
        ("D13", Critical, "a materialised view or SECURITY DEFINER function is open to tenants", "Revoke it from the login and from PUBLIC."),
        ("D14", High, "a policy calls the verifier once a row", "Wrap the call: (SELECT rh.tenant('r'))."),
        ("D15", Critical, "a tenant login has an attribute, membership or ownership it must not have", "Prepare the cell again; take away what the login owns or is a member of."),
        ("D16", High, "a tenant login has a privilege on a table beyond its kind", "Repair the service's tables."),
        ("D17", High, "a tenant login may make temporary tables or schemas", "Prepare the database again."),
        ("D18", High, "a tenant login has settings of its own", "ALTER ROLE … RESET ALL."),
        ("D19", High, "a sequence or dangerous catalog function is open to tenants", "Prepare the database again."),
        ("D20", High, "a database takes connections from PUBLIC", "REVOKE CONNECT ON DATABASE … FROM PUBLIC."),
        ("D21", High, "a publication without row filter", "Give the table a WHERE, or drop it from the publication."),
        ("D22", High, "the event trigger that stops tenants' DDL is missing", "Prepare the database again."),
        ("D23", Critical, "the server is below the floor: 15.20, 16.16, 17.12, 18.7; it has known holes in row-level security", "Install the newest minor release."),
        ("D24", Low, "the server does not protect its files", "Switch fsync, full_page_writes and data checksums on."),
    ]
};
