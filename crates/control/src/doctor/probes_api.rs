//! `POST /v1/probes` and `GET /v1/probes`: the attacks that are tried on the shared databases, now and every day, and their evidence.

use axum::Json;
use axum::extract::State;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::probes::probe_cells;
use super::queries::{self, ProbeRow};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, cursor};
use crate::{Shared, tenancy};

/// The routes of the probes.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(run_probes, list_probes))
}

/// Where to try them.
#[derive(Debug, Default, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProbesBody {
    /// Names of cells; all if not said.
    cells: Option<Vec<String>>,
}

/// What became of the probes on one cell.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct ProbeRound {
    /// Its id in the evidence.
    run: String,
    /// The cell.
    cell: String,
    /// Probes that were tried.
    tried: usize,
    /// Those that got nowhere.
    held: usize,
    /// Names of those that got through.
    through: Vec<&'static str>,
    /// When.
    at: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct ProbesAnswer {
    /// One for each cell on which tenants share a database.
    rounds: Vec<ProbeRound>,
}

/// Tries fifty attacks of one tenant on another, who are both nobody's, on the shared databases; each is kept as evidence. One that gets
/// through is an event and a message to the operators.
#[utoipa::path(post, path = "/v1/probes", operation_id = "doctor.run_probes", tag = "doctor", request_body = ProbesBody,
    responses((status = 200, body = ProbesAnswer)))]
async fn run_probes(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<ProbesBody>,
) -> Answer<Json<ProbesAnswer>> {
    let permit = caller.permit("doctor:run", None)?;
    let cells = body.value.cells;
    if let Some(names) = &cells {
        let transaction = control.store.read(&permit).await?;
        for name in names {
            if tenancy::cells::get(&transaction, name).await?.is_none() {
                return Err(Refusal::new(&kind::NOT_FOUND, format!("There is no cell `{name}`.")).into());
            }
        }
        transaction.finish().await?;
    }
    let rounds = probe_cells(&control, cells.as_deref()).await?;
    let shown = rounds.into_iter().map(|round| {
        let through: Vec<_> =
            round.outcomes.iter().filter(|outcome| !outcome.held).map(|outcome| outcome.probe.name).collect();
        ProbeRound {
            run: round.id.to_string(),
            cell: round.cell,
            tried: round.outcomes.len(),
            held: round.outcomes.len() - through.len(),
            through,
            at: round.at.to_string(),
        }
    });
    Ok(Json(ProbesAnswer { rounds: shown.collect() }))
}

/// Which evidence.
#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ProbesFilter {
    /// Only this cell.
    cell: Option<String>,
    /// `false`: only those that got through.
    held: Option<bool>,
    /// 1 to 200, default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// One probe.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct ProbeItem {
    /// The round it belongs to.
    run: String,
    /// Its place in the round, from 1.
    number: i32,
    /// The cell.
    cell: String,
    /// The database.
    database: String,
    /// `read`, `write`, `forge`, `replay`, `key` or `catalog`.
    kind: String,
    /// What was tried.
    name: String,
    /// On which table.
    table: String,
    /// SQLSTATEs of which one must come (`ok`: rows of its own only); none if anything may come that tells nothing.
    expected: Vec<String>,
    /// What came; `seen`: a text of the victim's, `changed`: the victim's row is not what it was.
    found: String,
    /// Whether it got nowhere.
    held: bool,
    /// When.
    at: String,
}

impl ProbeItem {
    fn of(row: ProbeRow) -> Self {
        ProbeItem {
            run: row.run.to_string(),
            number: row.number,
            cell: row.cell,
            database: row.database,
            kind: row.kind,
            name: row.name,
            table: row.table,
            expected: row.expected.split_whitespace().map(str::to_owned).collect(),
            found: row.found,
            held: row.held,
            at: row.at.to_string(),
        }
    }
}

/// Lists the evidence, newest round first.
#[utoipa::path(get, path = "/v1/probes", operation_id = "doctor.list_probes", tag = "doctor", params(ProbesFilter),
    responses((status = 200, body = List<ProbeItem>)))]
async fn list_probes(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(wanted): Parameters<ProbesFilter>,
) -> Answer<Json<List<ProbeItem>>> {
    let permit = caller.permit("doctor:run", None)?;
    let size = Page { tenant: None, limit: wanted.limit, cursor: None }.size()?;
    let only_through = wanted.held == Some(false);
    if wanted.held == Some(true) {
        let refusal = Refusal::new(&kind::INVALID, "Ask for all, or for those that got through.");
        return Err(refusal.field("/held", "unknown", "false").into());
    }
    let query = format!("probes {:?} {only_through}", wanted.cell);
    let after: Option<Position> = cursor::after(&control, &query, wanted.cursor.as_deref())?;
    let transaction = control.store.read(&permit).await?;
    let filter = (wanted.cell.as_deref(), only_through);
    let after = after.map(|Position(run, number)| (run, number));
    let mut rows = queries::probes(&transaction, filter, after, size + 1).await?;
    transaction.finish().await?;
    let next_cursor =
        cursor::cut(&control, &query, &mut rows, size, |row| format!("{}/{}", row.run, row.number));
    Ok(Json(List { items: rows.into_iter().map(ProbeItem::of).collect(), next_cursor }))
}

/// Where a page ended: round and number.
struct Position(Uuid, i32);

impl std::str::FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (run, number) = text.split_once('/').ok_or(())?;
        Ok(Position(run.parse().map_err(|_| ())?, number.parse().map_err(|_| ())?))
    }
}
