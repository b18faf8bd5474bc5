//! `POST /v1/doctor` and `POST /v1/firewall/explain`.

use axum::Json;
use axum::extract::State;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::Isolation;
use rowhouse_firewall::{Ground, Level, judge};
use rowhouse_tenantdb::doctor::Severity;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::look;
use crate::api::{Answer, Body, Caller};
use crate::{Shared, tenancy};

/// The routes of this feature.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(run_doctor))
        .routes(routes!(explain_statement))
        .merge(super::probes_api::routes())
}

/// Where to look.
#[derive(Debug, Default, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DoctorBody {
    /// Names of cells; all if not said.
    cells: Option<Vec<String>>,
    /// Whether the known holes of the servers are tried out, in a scratch database; else their versions speak.
    #[serde(default)]
    probe: bool,
}

/// What was found.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct DoctorAnswer {
    /// The gravest first.
    findings: Vec<FindingAnswer>,
    /// Servers, databases, schemas and logins that were looked at.
    checked: usize,
    /// Cells that could not be reached.
    unreachable: Vec<UnreachableCell>,
    /// When.
    at: String,
}

/// One thing that is wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct FindingAnswer {
    /// `D01` to `D34`.
    code: &'static str,
    /// `low`, `high` or `critical`.
    severity: &'static str,
    /// The cell.
    cell: String,
    /// The database; nothing if it is about the server.
    database: Option<String>,
    /// Table, policy, role, function, database or version.
    object: String,
    /// What is wrong with it.
    detail: &'static str,
    /// What to do.
    cure: &'static str,
    /// The statement that does it, if the object alone says it.
    sql: Option<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct UnreachableCell {
    /// The cell.
    cell: String,
    /// Why.
    problem: String,
}

/// Examines tenants' databases on every level: tables, policies, privileges, logins, servers.
#[utoipa::path(post, path = "/v1/doctor", operation_id = "doctor.run_doctor", tag = "doctor", request_body = DoctorBody,
    responses((status = 200, body = DoctorAnswer)))]
async fn run_doctor(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<DoctorBody>,
) -> Answer<Json<DoctorAnswer>> {
    let permit = caller.permit("doctor:run", None)?;
    let DoctorBody { cells, probe } = body.value;
    if let Some(names) = &cells {
        let transaction = control.store.read(&permit).await?;
        for name in names {
            if tenancy::cells::get(&transaction, name).await?.is_none() {
                return Err(Refusal::new(&kind::NOT_FOUND, format!("There is no cell `{name}`.")).into());
            }
        }
        transaction.finish().await?;
    }
    let report = look(&control, cells.as_deref(), probe).await?;
    let finding =
        |(cell, database, found): (String, String, rowhouse_tenantdb::doctor::Finding)| FindingAnswer {
            code: found.code,
            severity: word(found.severity),
            cell,
            database: (!database.is_empty()).then_some(database),
            object: found.object,
            detail: found.detail,
            cure: found.cure,
            sql: found.sql,
        };
    Ok(Json(DoctorAnswer {
        findings: report.findings.into_iter().map(finding).collect(),
        checked: report.checked,
        unreachable: report
            .unreachable
            .into_iter()
            .map(|(cell, problem)| UnreachableCell { cell, problem })
            .collect(),
        at: control.clock().now().to_string(),
    }))
}

fn word(severity: Severity) -> &'static str {
    severity.as_str()
}

/// A statement, and for whom.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FirewallExplainBody)]
struct ExplainBody {
    /// The service whose statement it is.
    service: String,
    /// `shared`, `schema`, `database` or `instance`.
    isolation: String,
    /// The text.
    sql: String,
    /// As on a server below the floor of known holes.
    #[serde(default)]
    strict: bool,
}

/// The verdict of the statement firewall.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct VerdictAnswer {
    /// `allowed` or `refused`.
    verdict: &'static str,
    /// The statements of the text, as they are called.
    statement: String,
    /// Which rule refused.
    rule: Option<&'static str>,
    /// What is not allowed, as the statement's sender is told.
    message: Option<String>,
    /// Where the rules are explained.
    hint: Option<&'static str>,
    /// `read` or `write`.
    access: Option<&'static str>,
    /// Relations that are named.
    relations: Vec<String>,
    /// Functions that are called.
    functions: Vec<String>,
    /// SHA-256 of the text, by which verdicts are kept.
    fingerprint: String,
}

/// Says whether the statement firewall lets a text pass, and why not. Nothing is run.
#[utoipa::path(post, path = "/v1/firewall/explain", operation_id = "doctor.explain_statement", tag = "doctor",
    request_body = ExplainBody, responses((status = 200, body = VerdictAnswer)))]
async fn explain_statement(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<ExplainBody>,
) -> Answer<Json<VerdictAnswer>> {
    let permit = caller.permit("firewall:read", None)?;
    let ExplainBody { service, isolation, sql, strict } = body.value;
    let level = match Isolation::parse(&isolation) {
        Some(Isolation::Shared) => Level::Shared,
        Some(Isolation::Schema) => Level::Schema,
        Some(Isolation::Database | Isolation::Instance) => Level::Own,
        None => {
            let words = "The isolation is `shared`, `schema`, `database` or `instance`.";
            return Err(Refusal::new(&kind::INVALID, words)
                .field("/isolation", "unknown", words.to_owned())
                .into());
        }
    };
    let transaction = control.store.read(&permit).await?;
    let functions = tenancy::service_tables::functions(&transaction, &service).await?;
    transaction.finish().await?;
    let ground = Ground { strict, functions, ..Ground::new(&service, level) };
    let verdict = judge(&ground, &sql);
    let fingerprint = Sha256::digest(&sql).iter().map(|byte| format!("{byte:02x}")).collect();
    let refusal = verdict.refusal.as_ref();
    Ok(Json(VerdictAnswer {
        verdict: if refusal.is_none() { "allowed" } else { "refused" },
        statement: verdict.statements.join("; "),
        rule: refusal.map(|refusal| refusal.rule.as_str()),
        message: refusal.map(ToString::to_string),
        hint: refusal.map(|_| rowhouse_firewall::HINT),
        access: verdict.access.map(rowhouse_firewall::Access::as_str),
        relations: verdict.relations.into_iter().collect(),
        functions: verdict.functions.into_iter().collect(),
        fingerprint,
    }))
}
