//! `/v1/fleet`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{RolloutId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::dry_run::{Would, dry_run};
use super::queries::{self, RolloutRow};
use super::rollout::{self, Order, Wanted};
use super::status::{self, Lying};
use super::waves;
use crate::api::{Answer, Body, Caller, List, Page, Parameters, cursor, path_id};
use crate::{Control, Shared};

/// Most failed schemas that an answer names.
const FAILED_MAX: i64 = 100;

/// The routes of this feature.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_rollouts, begin_rollout))
        .routes(routes!(get_rollout))
        .routes(routes!(order_rollout))
        .routes(routes!(read_status))
        .routes(routes!(find_drift))
}

/// A rollout that is wanted.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RolloutBody {
    /// The service whose tables are recorded at a newer version.
    service: String,
    /// The version that is recorded; another one is refused, so that nobody rolls out what they did not mean.
    to: Option<i32>,
    /// `canary` first, if at all, then rising shares up to `100%`; `["canary","1%","10%","100%"]` if not said.
    waves: Option<Vec<String>>,
    /// `stop` (the default): one failure of a canary, later five or one in a hundred, stop it. `continue`: nothing does.
    #[serde(default)]
    on_failure: OnFailure,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OnFailure {
    #[default]
    Stop,
    Continue,
}

#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DryRun {
    /// Whether it is only said what would happen.
    #[serde(default)]
    dry_run: bool,
}

/// A rollout.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Rollout {
    /// Its id.
    id: String,
    /// The service.
    service: String,
    /// The version it brings.
    to: i32,
    /// `running`, `stopped`, `done`, or `incomplete`: everybody was tried, and some failed.
    state: String,
    /// Why it stopped.
    reason: Option<String>,
    /// `stop` or `continue`.
    on_failure: String,
    /// The waves with their schemas.
    waves: Vec<WaveAnswer>,
    /// Schemas whose migration failed; they stay at their version and are served. The first hundred.
    failed: Vec<FailedTarget>,
    /// When it began.
    created_at: String,
    /// When it ended.
    finished_at: Option<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct WaveAnswer {
    /// `canary`, `1%` …
    name: String,
    /// Whether it is this one's turn.
    current: bool,
    /// Not begun, or to be tried again.
    waiting: i64,
    /// Under way.
    running: i64,
    /// At the version.
    done: i64,
    /// Not brought to it.
    failed: i64,
    /// Gone meanwhile.
    skipped: i64,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct FailedTarget {
    /// The tenant; nothing for a shared schema.
    tenant: Option<String>,
    /// The cell.
    cell: String,
    /// The database.
    database: String,
    /// The schema.
    schema: String,
    /// What went wrong.
    problem: String,
}

/// What a rollout would do.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct WouldAnswer {
    /// What it would do.
    would: WouldBody,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct WouldBody {
    /// The newer migrations' statements, in order.
    statements: Vec<StatementAnswer>,
    /// Locks that keep writers or readers of a table out while a migration runs.
    locks: Vec<LockAnswer>,
    /// How long they were held where it was tried, in milliseconds.
    held_ms: u64,
    /// What the migrations should be asked about.
    findings: Vec<ConcernAnswer>,
    /// The waves with the number of their schemas.
    waves: Vec<WaveSize>,
    /// Where it was tried and rolled back: `cell/database/schema`.
    tried: Vec<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct StatementAnswer {
    /// Number of the migration.
    migration: i32,
    /// As in `ALTER TABLE`.
    statement: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct LockAnswer {
    /// The table.
    relation: String,
    /// As in `AccessExclusiveLock`.
    mode: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct ConcernAnswer {
    /// Number of the migration.
    migration: i32,
    /// As in `rewrite`.
    concern: &'static str,
    /// In words.
    detail: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct WaveSize {
    /// `canary`, `1%` …
    name: String,
    /// Schemas in it.
    schemas: usize,
}

fn would(would: Would) -> WouldAnswer {
    let statements = would.statements.into_iter();
    let findings = would.advice.into_iter();
    WouldAnswer {
        would: WouldBody {
            statements: statements
                .map(|(migration, statement)| StatementAnswer { migration, statement })
                .collect(),
            locks: would.locks.into_iter().map(|(relation, mode)| LockAnswer { relation, mode }).collect(),
            held_ms: would.held_ms,
            findings: findings
                .map(|(migration, concern, detail)| ConcernAnswer { migration, concern, detail })
                .collect(),
            waves: would.waves.into_iter().map(|(name, schemas)| WaveSize { name, schemas }).collect(),
            tried: would.tried,
        },
    }
}

async fn view(control: &Control, permit: &Permit, row: RolloutRow) -> Result<Rollout, Refusal> {
    let transaction = control.store.read(permit).await?;
    let counts: BTreeMap<_, _> = queries::counts(&transaction, row.id).await?.into_iter().collect();
    let failed = queries::failed(&transaction, row.id, FAILED_MAX).await?;
    transaction.finish().await?;
    let wave = |(number, name): (i32, &String)| {
        let of = counts.get(&number).copied().unwrap_or_default();
        WaveAnswer {
            name: name.clone(),
            current: number == row.wave && row.state == "running",
            waiting: of.waiting,
            running: of.running,
            done: of.done,
            failed: of.failed,
            skipped: of.skipped,
        }
    };
    let failed_target = |(target, problem): (queries::Target, String)| FailedTarget {
        tenant: target.tenant.map(|tenant| tenant.to_string()),
        cell: target.cell,
        database: target.database,
        schema: target.schema,
        problem,
    };
    Ok(Rollout {
        id: row.id.to_string(),
        waves: (0..).zip(&row.waves).map(wave).collect(),
        failed: failed.into_iter().map(failed_target).collect(),
        service: row.service,
        to: row.version,
        state: row.state,
        reason: row.reason,
        on_failure: row.on_failure,
        created_at: row.created_at.to_string(),
        finished_at: row.finished_at.map(|at| at.to_string()),
    })
}

/// Begins to bring a service's recorded tables to every place, in waves. With `dry_run`, says what would happen.
#[utoipa::path(post, path = "/v1/fleet/migrations", operation_id = "fleet.begin_rollout", tag = "fleet", params(DryRun),
    request_body = RolloutBody, responses((status = 202, body = Rollout), (status = 200, body = WouldAnswer)))]
async fn begin_rollout(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(DryRun { dry_run: only_said }): Parameters<DryRun>,
    body: Body<RolloutBody>,
) -> Answer<Response> {
    let permit = caller.permit("fleet:migrate", None)?;
    let RolloutBody { service, to, waves, on_failure } = body.value;
    let usual = || waves::USUAL.map(str::to_owned).to_vec();
    let wanted = Wanted {
        service,
        to,
        waves: waves.unwrap_or_else(usual),
        goes_on_after_failures: on_failure == OnFailure::Continue,
    };
    if only_said {
        return Ok(Json(would(dry_run(&control, &permit, &wanted).await?)).into_response());
    }
    let row = rollout::begin(&control, &permit, &wanted, caller.request_id).await?;
    let location = format!("/v1/fleet/migrations/{}", row.id);
    let answer = view(&control, &permit, row).await?;
    Ok((StatusCode::ACCEPTED, [("location", location)], Json(answer)).into_response())
}

/// Lists rollouts, the newest first.
#[utoipa::path(get, path = "/v1/fleet/migrations", operation_id = "fleet.list_rollouts", tag = "fleet", params(Page),
    responses((status = 200, body = List<Rollout>)))]
async fn list_rollouts(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Answer<Json<List<Rollout>>> {
    let permit = caller.permit("fleet:read", None)?;
    let size = page.size()?;
    let query = "rollouts";
    let before: Option<RolloutId> = cursor::after(&control, query, page.cursor.as_deref())?;
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list(&transaction, before, size + 1).await?;
    transaction.finish().await?;
    let next_cursor = cursor::cut(&control, query, &mut rows, size, |row| row.id.to_string());
    let mut items = Vec::new();
    for row in rows {
        items.push(view(&control, &permit, row).await?);
    }
    Ok(Json(List { items, next_cursor }))
}

/// One rollout: its waves, and whose migration failed.
#[utoipa::path(get, path = "/v1/fleet/migrations/{rollout}", operation_id = "fleet.get_rollout", tag = "fleet",
    params(("rollout" = String, Path)), responses((status = 200, body = Rollout)))]
async fn get_rollout(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<Rollout>> {
    let permit = caller.permit("fleet:read", None)?;
    let id: RolloutId = path_id(&id)?;
    let transaction = control.store.read(&permit).await?;
    let row = queries::get(&transaction, id).await?;
    transaction.finish().await?;
    let row = row.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such rollout."))?;
    Ok(Json(view(&control, &permit, row).await?))
}

/// Tells a rollout to `continue` whatever fails, to `stop`, or to `retry` what failed.
#[utoipa::path(post, path = "/v1/fleet/migrations/{rollout}/{order}", operation_id = "fleet.order_rollout", tag = "fleet",
    params(("rollout" = String, Path), ("order" = String, Path, description = "`continue`, `stop` or `retry`")),
    responses((status = 200, body = Rollout)))]
async fn order_rollout(
    State(control): State<Shared>,
    caller: Caller,
    Path((id, order)): Path<(String, String)>,
) -> Answer<Json<Rollout>> {
    let permit = caller.permit("fleet:migrate", None)?;
    let id: RolloutId = path_id(&id)?;
    let order = match order.as_str() {
        "continue" => Order::Continue,
        "stop" => Order::Stop,
        "retry" => Order::Retry,
        _ => return Err(Refusal::new(&kind::NOT_FOUND, "A rollout is told continue, stop or retry.").into()),
    };
    let row = rollout::order(&control, &permit, (id, order), caller.request_id).await?;
    Ok(Json(view(&control, &permit, row).await?))
}

#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OfService {
    /// The service.
    service: String,
}

/// Where the fleet is.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct FleetStatus {
    /// The service.
    service: String,
    /// The version that is recorded.
    recorded: i32,
    /// Tenants by version.
    versions: BTreeMap<String, i64>,
    /// Schemas that the doctor found not to be what was installed.
    drifted: Vec<SchemaAnswer>,
    /// Schemas below the recorded version.
    behind: Vec<SchemaAnswer>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct SchemaAnswer {
    /// The tenant; nothing for a shared schema.
    tenant: Option<String>,
    /// The cell.
    cell: String,
    /// The database.
    database: String,
    /// The schema.
    schema: String,
    /// Its version.
    version: i32,
    /// Why the last rollout did not bring it on.
    problem: Option<String>,
}

impl From<Lying> for SchemaAnswer {
    fn from(lying: Lying) -> Self {
        SchemaAnswer {
            tenant: lying.tenant.map(|tenant: TenantId| tenant.to_string()),
            cell: lying.cell,
            database: lying.database,
            schema: lying.schema,
            version: lying.version,
            problem: lying.problem,
        }
    }
}

/// Says which version of a service's tables each tenant has, who is behind and why.
#[utoipa::path(get, path = "/v1/fleet/status", operation_id = "fleet.read_status", tag = "fleet", params(OfService),
    responses((status = 200, body = FleetStatus)))]
async fn read_status(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(OfService { service }): Parameters<OfService>,
) -> Answer<Json<FleetStatus>> {
    let permit = caller.permit("fleet:read", None)?;
    let transaction = control.store.read(&permit).await?;
    let tables = crate::tenancy::service_tables::of_service(&transaction, &service).await?;
    let lying = status::lying(&transaction, &service).await?;
    transaction.finish().await?;
    let recorded = tables
        .ok_or_else(|| Refusal::new(&kind::NOT_FOUND, format!("`{service}` has no tables.")))?
        .version();
    let versions = status::versions(&lying);
    let drifted = lying.iter().filter(|one| one.drifted).cloned().map(SchemaAnswer::from).collect();
    let behind = lying.into_iter().filter(|one| one.version < recorded).map(SchemaAnswer::from).collect();
    Ok(Json(FleetStatus { service, recorded, versions, drifted, behind }))
}

/// Which service to compare.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DriftBody {
    /// The service.
    service: String,
}

/// What has drifted.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct DriftAnswer {
    /// Schemas that are not what was installed in them.
    drifted: Vec<SchemaAnswer>,
    /// Schemas that were compared.
    checked: usize,
    /// Databases that could not be reached: `cell/database`.
    unreachable: Vec<String>,
}

/// Compares every schema of a service with what was installed in it, now.
#[utoipa::path(post, path = "/v1/fleet/drift", operation_id = "fleet.find_drift", tag = "fleet", request_body = DriftBody,
    responses((status = 200, body = DriftAnswer)))]
async fn find_drift(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<DriftBody>,
) -> Answer<Json<DriftAnswer>> {
    let permit = caller.permit("fleet:read", None)?;
    let (drifted, checked, unreachable) = status::drift(&control, &permit, &body.value.service).await?;
    Ok(Json(DriftAnswer {
        drifted: drifted.into_iter().map(SchemaAnswer::from).collect(),
        checked,
        unreachable,
    }))
}
