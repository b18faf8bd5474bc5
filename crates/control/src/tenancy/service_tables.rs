//! What services keep in tenants' databases: a manifest and migrations for each service, installed wherever tenants lie.
//!
//! The order is what keeps the record true: shared tables first (the doctor's gate decides there), then the record,
//! then the places that are open. A place that is being made meanwhile takes the recorded tables before it opens.

use rowhouse_domain::access::{Permit, Principal};
use rowhouse_domain::id::{OPERATOR_TENANT, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::Isolation;
use rowhouse_store::{Change, StoreError, Transaction};
use rowhouse_tenantdb::cell::{SHARED_DATABASE, SHARED_LOGIN};
use rowhouse_tenantdb::name::schema_of_service;
use rowhouse_tenantdb::tables::{
    InstallError, Migration, ServiceTables, TableKind, Target, TryOut, install, try_anew, try_out,
};
use rowhouse_tenantdb::{Cell, Place};
use serde_json::json;
use std::collections::BTreeSet;

use tokio_postgres::error::ErrorPosition;
use tokio_postgres::types::Json;

use rowhouse_firewall::{lint, own_functions};

use super::cells::{self, CellsError};
use super::places;
use crate::Control;

/// What became of a service's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rolled {
    /// Number of the last migration.
    pub version: i32,
    /// Schemas that are at it: the shared ones, and those of places.
    pub installed: usize,
    /// Tenants whose place could not be brought to it, and why. They are served as before; asking again tries again.
    pub failed: Vec<(TenantId, String)>,
}

/// Where one service's tables lie in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The service.
    pub service: String,
    /// Its schema.
    pub schema: String,
    /// The last migration.
    pub version: i32,
}

/// All services' tables as recorded, in the order of their names.
pub async fn all(transaction: &Transaction) -> Result<Vec<ServiceTables>, StoreError> {
    let sql = "SELECT service, manifest, migrations FROM tenancy.service_tables ORDER BY service";
    let rows = transaction.query(sql, &[]).await?;
    let parsed = rows.iter().map(|row| {
        let (service, manifest): (String, String) = (row.get(0), row.get(1));
        ServiceTables::parse(&service, &manifest, row.get::<_, Json<Vec<Migration>>>(2).0)
            .map_err(|_| StoreError::Stored { what: "a service's tables" })
    });
    parsed.collect()
}

/// Names of all services with tables.
pub async fn services(transaction: &Transaction) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT service FROM tenancy.service_tables ORDER BY service";
    Ok(transaction.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Versions of all services' tables as they are now.
pub async fn versions(transaction: &Transaction) -> Result<Vec<(String, i32)>, StoreError> {
    let sql = "SELECT service, version FROM tenancy.service_tables ORDER BY service";
    Ok(transaction.query(sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Whether `there` has each of `wanted`.
pub fn are_current(wanted: &[(String, i32)], there: &[Installation]) -> bool {
    wanted
        .iter()
        .all(|(service, version)| there.iter().any(|own| own.service == *service && own.version == *version))
}

/// The recorded tables of one service.
pub async fn of_service(
    transaction: &Transaction,
    service: &str,
) -> Result<Option<ServiceTables>, StoreError> {
    Ok(all(transaction).await?.into_iter().find(|tables| tables.service == service))
}

/// Functions that a service's migrations define.
pub async fn functions(transaction: &Transaction, service: &str) -> Result<BTreeSet<String>, StoreError> {
    let sql = "SELECT functions FROM tenancy.service_tables WHERE service = $1";
    let row = transaction.query_opt(sql, &[&service]).await?;
    Ok(row.map(|row| row.get::<_, Vec<String>>(0)).unwrap_or_default().into_iter().collect())
}

/// Versions of all services' tables; they stay until the transaction ends.
pub async fn hold_versions(transaction: &Transaction) -> Result<Vec<(String, i32)>, StoreError> {
    let sql = "SELECT service, version FROM tenancy.service_tables ORDER BY service FOR SHARE";
    Ok(transaction.query(sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// What is installed for a tenant: in its own schemas, or in the shared ones where it lies.
pub async fn installed(
    transaction: &Transaction,
    cell: &str,
    place: &Place,
) -> Result<Vec<Installation>, StoreError> {
    let tenant = (place.isolation != Isolation::Shared).then_some(place.tenant.0);
    let rows = transaction
        .query(
            "SELECT service, schema, version FROM tenancy.installations \
             WHERE cell = $1 AND database = $2 AND tenant_id IS NOT DISTINCT FROM $3 ORDER BY service",
            &[&cell, &place.database, &tenant],
        )
        .await?;
    let installation = |row: &tokio_postgres::Row| Installation {
        service: row.get(0),
        schema: row.get(1),
        version: row.get(2),
    };
    Ok(rows.iter().map(installation).collect())
}

/// Takes a service's tables: checks and installs them everywhere, records them.
///
/// # Errors
/// 422 `tenancy.tables_invalid` with every finding; then nothing was changed anywhere.
pub async fn put(
    control: &Control,
    permit: &Permit,
    manifest: &str,
    tables: &ServiceTables,
    request_id: &str,
) -> Result<Rolled, Refusal> {
    refuse_faults(tables)?;
    let transaction = control.store.write(permit).await?;
    // One at a time: two versions of one service must not overtake each other.
    transaction.execute("SELECT pg_advisory_xact_lock(7243)", &[]).await?;
    try_as_for_a_new_tenant(&transaction, tables).await?;
    let mut installed = 0;
    for name in cells::with_shared_tables(&transaction).await? {
        let Some(cell) = cells::get(&transaction, &name).await? else { continue };
        install_shared_tables(&transaction, &cell, tables).await?;
        installed += 1;
    }
    record(&transaction, manifest, tables).await?;
    super::plane::raise(&transaction).await?;
    let open = places::with_own_tables(&transaction).await?;
    transaction.commit(changed(tables, permit.principal(), request_id)).await?;
    let mut failed = Vec::new();
    for row in &open {
        match install_in_place(control, &row.cell, &row.place, tables).await {
            Ok(()) => installed += 1,
            Err(error) => failed.push((row.place.tenant, error.to_string())),
        }
    }
    Ok(Rolled { version: tables.version(), installed, failed })
}

/// Takes a service's tables without installing them: a rollout brings them to the places, and new places have them from the
/// start. They are tried out in a shared database, which is left as it was.
///
/// # Errors
/// As [`put`].
pub async fn put_for_rollout(
    control: &Control,
    permit: &Permit,
    manifest: &str,
    tables: &ServiceTables,
    request_id: &str,
) -> Result<(), Refusal> {
    refuse_faults(tables)?;
    let transaction = control.store.write(permit).await?;
    transaction.execute("SELECT pg_advisory_xact_lock(7243)", &[]).await?;
    try_as_for_a_new_tenant(&transaction, tables).await?;
    if let Some(name) = cells::with_shared_tables(&transaction).await?.first()
        && let Some(cell) = cells::get(&transaction, name).await?
    {
        try_shared_tables(&cell, tables).await?;
    }
    record(&transaction, manifest, tables).await?;
    super::plane::raise(&transaction).await?;
    Ok(transaction.commit(changed(tables, permit.principal(), request_id)).await?)
}

/// A tenant that comes later gets all migrations at once, in a place without rows: what does not work there is refused now.
async fn try_as_for_a_new_tenant(transaction: &Transaction, tables: &ServiceTables) -> Result<(), Refusal> {
    if let Some(name) = cells::with_shared_tables(transaction).await?.first()
        && let Some(cell) = cells::get(transaction, name).await?
    {
        try_anew(&cell, tables).await.map_err(refusal)?;
    }
    Ok(())
}

/// What installing `tables` in the shared database of `cell` would do.
///
/// # Errors
/// As [`put`].
pub async fn try_shared_tables(cell: &Cell, tables: &ServiceTables) -> Result<TryOut, Refusal> {
    let schema = schema_of_service(&tables.service);
    try_out(cell, &shared_target(&schema), tables).await.map_err(refusal)
}

/// What installing `tables` in the schema of a place would do.
///
/// # Errors
/// As [`put`].
pub async fn try_place(
    cell: &Cell,
    place: &Place,
    schema: &str,
    tables: &ServiceTables,
) -> Result<TryOut, Refusal> {
    try_out(cell, &place.target(schema), tables).await.map_err(refusal)
}

/// What the parse trees of the migrations say must not run. Of what runs already nothing is said again.
fn refuse_faults(tables: &ServiceTables) -> Result<(), Refusal> {
    let mut refusal = Refusal::new(&kind::TABLES_INVALID, "A migration does what it must not.");
    let mut faults = 0;
    for (number, concern, detail) in concerns(tables).into_iter().filter(|(_, concern, _)| concern.is_fault())
    {
        faults += 1;
        refusal = refusal.field("/migrations", concern.as_str(), format!("migration {number}: {detail}"));
    }
    if faults == 0 { Ok(()) } else { Err(refusal) }
}

/// Everything that the migrations should be asked about: number, what about, in words.
pub fn concerns(tables: &ServiceTables) -> Vec<(i32, rowhouse_firewall::Concern, String)> {
    let own: BTreeSet<String> = tables
        .manifest
        .tables
        .iter()
        .filter(|(_, table)| table.kind == TableKind::Tenant)
        .map(|(name, _)| name.clone())
        .collect();
    let of = |migration: &Migration| {
        let number = migration.number;
        lint(&migration.sql, &own).into_iter().map(move |lint| (number, lint.concern, lint.detail))
    };
    tables.migrations.iter().flat_map(of).collect()
}

fn shared_target(schema: &str) -> Target<'_> {
    Target {
        database: SHARED_DATABASE,
        schema,
        isolation: Isolation::Shared,
        login: SHARED_LOGIN,
        tenant: None,
    }
}

fn changed(tables: &ServiceTables, actor: Principal, request_id: &str) -> Change {
    Change::new(OPERATOR_TENANT, "tenancy.tables_changed", "update", actor)
        .on("service", &tables.service)
        .details(json!({ "version": tables.version(), "tables": tables.manifest.tables.len() }))
        .request(request_id)
}

async fn record(transaction: &Transaction, manifest: &str, tables: &ServiceTables) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO tenancy.service_tables (service, version, manifest, migrations, updated_at, functions) \
             VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (service) DO UPDATE SET version = excluded.version, manifest = excluded.manifest, \
               migrations = excluded.migrations, updated_at = excluded.updated_at, functions = excluded.functions",
            &[
                &tables.service,
                &tables.version(),
                &manifest,
                &Json(&tables.migrations),
                &transaction.store().clock().now(),
                &own_functions(tables.migrations.iter().map(|migration| migration.sql.as_str()))
                    .into_iter()
                    .collect::<Vec<_>>(),
            ],
        )
        .await?;
    Ok(())
}

/// Installs what is recorded in the shared database of `cell`, which may be new.
pub(super) async fn install_shared(control: &Control, cell: &Cell) -> Result<(), CellsError> {
    let transaction = control.store.write(&Permit::for_system(None, "shared tables of a cell")).await?;
    for tables in all(&transaction).await? {
        if let Err(refusal) = install_shared_tables(&transaction, cell, &tables).await {
            // The place keeps what it has; the operator hears of it here and by the doctor.
            tracing::error!(cell = cell.name, service = tables.service, %refusal, "shared tables could not be brought up to date");
        }
    }
    Ok(transaction.commit_telemetry().await?)
}

/// Why a schema could not be brought to a version.
#[derive(Debug, thiserror::Error)]
pub enum BringError {
    /// The control database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The place is not there any more, or its server is not known.
    #[error("the place is not there any more")]
    Gone,
    /// The schema is as it was.
    #[error("{}", with_cause(.0))]
    Install(#[from] InstallError),
}

/// Brings one installed schema to `tables`. The version stands in the schema's own database, in the transaction of the
/// migrations; the record here follows it.
///
/// # Errors
/// [`BringError`]; what is passing may work a little later.
pub(crate) async fn bring(
    control: &Control,
    (cell, database, schema): (&str, &str, &str),
    tenant: Option<TenantId>,
    tables: &ServiceTables,
) -> Result<i32, BringError> {
    let permit = Permit::for_system(tenant, "a rollout");
    let transaction = control.store.read(&permit).await?;
    let reachable = cells::get(&transaction, cell).await?.ok_or(BringError::Gone)?;
    let place = match tenant {
        None => None,
        Some(tenant) => {
            let row = places::get(&transaction, tenant).await?;
            let here = row.filter(|row| row.cell == cell && row.place.database == database);
            Some(here.ok_or(BringError::Gone)?.place)
        }
    };
    transaction.finish().await?;
    let target = place.as_ref().map_or_else(|| shared_target(schema), |place| place.target(schema));
    let done = install(&reachable, &target, tables).await?;
    let transaction = control.store.write(&permit).await?;
    enter(&transaction, cell, &target, &tables.service, done.version).await?;
    transaction.commit_telemetry().await?;
    Ok(done.version)
}

async fn install_shared_tables(
    transaction: &Transaction,
    cell: &Cell,
    tables: &ServiceTables,
) -> Result<(), Refusal> {
    let schema = schema_of_service(&tables.service);
    let target = shared_target(&schema);
    let done = install(cell, &target, tables).await.map_err(refusal)?;
    Ok(enter(transaction, &cell.name, &target, &tables.service, done.version).await?)
}

/// Installs one service's tables in a tenant's own schema of `place`. Twice is once.
///
/// # Errors
/// If the place's server is away or refuses; the schema is as it was then.
pub async fn install_in_place(
    control: &Control,
    cell: &str,
    place: &Place,
    tables: &ServiceTables,
) -> Result<(), Refusal> {
    let permit = Permit::for_system(Some(place.tenant), "tables of a place");
    let transaction = control.store.write(&permit).await?;
    // One at a time in a place: its first service gets the bare name.
    let lock = "SELECT pg_advisory_xact_lock(7244, hashtext($1::uuid::text))";
    transaction.execute(lock, &[&place.tenant.0]).await?;
    let reachable = cells::get_for_provisioning(&transaction, cell).await?;
    let reachable =
        reachable.ok_or_else(|| Refusal::new(&kind::UNAVAILABLE, "The tenant's server is not known yet."))?;
    let before = installed(&transaction, cell, place).await?;
    let own = before.iter().find(|installation| installation.service == tables.service);
    let schema = match own {
        Some(installation) => installation.schema.clone(),
        None => place.schema(&tables.service, before.is_empty()),
    };
    let done = install(&reachable, &place.target(&schema), tables)
        .await
        .map_err(|error| refusal(error).about(format!("Tables of `{}`", tables.service)))?;
    enter(&transaction, cell, &place.target(&schema), &tables.service, done.version).await?;
    super::plane::raise(&transaction).await?;
    Ok(transaction.commit_telemetry().await?)
}

pub(crate) async fn enter(
    transaction: &Transaction,
    cell: &str,
    target: &Target<'_>,
    service: &str,
    version: i32,
) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO tenancy.installations (cell, database, schema, service, tenant_id, version, at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (cell, database, schema) DO UPDATE SET version = excluded.version, at = excluded.at",
            &[
                &cell,
                &target.database,
                &target.schema,
                &service,
                &target.tenant.map(|tenant| tenant.0),
                &version,
                &transaction.store().clock().now(),
            ],
        )
        .await?;
    Ok(())
}

/// What the author must correct is 422 with every finding; a server that is away is ours.
fn refusal(error: InstallError) -> Refusal {
    let invalid = |words: String| Refusal::new(&kind::TABLES_INVALID, words);
    match &error {
        // What the author wrote could not be partitioned or granted: the server says why.
        InstallError::Server { source, doing } if is_of_the_text(source) => {
            invalid(format!("{doing} failed.")).field("/migrations", "failed", said(source))
        }
        InstallError::Connect(_) | InstallError::Server { .. } => {
            Refusal::new(&kind::UNAVAILABLE, "A tenants' database could not be reached.")
                .private(with_cause(&error))
        }
        InstallError::Findings(findings) => findings.iter().fold(
            invalid("The tables would not keep tenants apart.".to_owned()),
            |refusal, finding| {
                let detail = format!("{}: {}. {}", finding.object, finding.detail, finding.cure);
                refusal.field("/migrations", finding.code, detail)
            },
        ),
        InstallError::Migration { source, .. } => {
            invalid(format!("{error}.")).field("/migrations", "failed", said(source))
        }
        _ => invalid(format!("{error}.")),
    }
}

/// What the server said, to the author of the tables, and where: there is no tenant's row in it yet, or it is the operator's.
fn said(error: &tokio_postgres::Error) -> String {
    let Some(server) = error.as_db_error() else { return error.to_string() };
    let mut words = server.message().to_owned();
    if let Some(detail) = server.detail() {
        words.push_str(&format!(": {detail}"));
    }
    if let Some(ErrorPosition::Internal { position, query }) = server.position() {
        words.push_str(&line_at(query, *position));
    }
    if let Some(hint) = server.hint() {
        words.push_str(&format!(" ({hint})"));
    }
    words
}

/// The line of a text in which its `position`th letter stands, counted from 1.
fn line_at(text: &str, position: u32) -> String {
    let before: String =
        text.chars().take(usize::try_from(position).unwrap_or(0).saturating_sub(1)).collect();
    let number = before.matches('\n').count();
    let line: String = text.lines().nth(number).unwrap_or_default().trim().chars().take(100).collect();
    format!(", at line {}: {line}", number + 1)
}

/// 55006 (rows with triggers pending), classes 0A (not supported), 22 (data), 23 (constraints) and 42 (syntax, privileges), 2B (others depend on it).
fn is_of_the_text(error: &tokio_postgres::Error) -> bool {
    let class = |code: &tokio_postgres::error::SqlState| {
        let code = code.code();
        code == "55006" || ["0A", "22", "23", "2B", "42"].contains(&&code[..2])
    };
    error.code().is_some_and(class)
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_cause(cause)),
        None => error.to_string(),
    }
}
