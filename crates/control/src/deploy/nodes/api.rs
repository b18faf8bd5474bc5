//! `/v1/nodes`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::known::Following;
use super::queries::{self, NodeRow};
use super::{drain, enrol, wire};
use crate::Shared;
use crate::api::{Answer, Body, Caller, List, Page, Parameters, cursor};
use crate::projection;

/// The routes of nodes.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_nodes, admit_node))
        .routes(routes!(revoke_node))
        .routes(routes!(drain_node))
        .routes(routes!(resume_node))
}

/// A gateway of its own.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Node {
    /// Its name, as in its journal.
    name: String,
    /// `admitted` (its token is not used), `connected`, `away` or `revoked`.
    state: &'static str,
    /// The public key that it proves itself with, in hexadecimal.
    key: Option<String>,
    /// From where it is connected.
    address: Option<String>,
    /// The release that it runs.
    release: Option<String>,
    /// How often it was started.
    boot: i64,
    /// The version of the directory that it was told last, while it is connected.
    directory_version: Option<u64>,
    /// Versions of the directory are told apart by this one, which is in force here.
    current_version: u64,
    /// Records that it has and that have not arrived, by lane, while it is connected.
    behind: BTreeMap<String, u64>,
    /// Everything that it recorded by then has arrived.
    complete_to: Option<String>,
    /// When it was last heard of, to the minute.
    seen_at: Option<String>,
    /// That it was asked to take no requests, until it is asked back.
    drain: Option<Drain>,
    /// When its token was made.
    created_at: String,
    /// By whom.
    created_by: String,
    /// When its token ends, if it is not used.
    token_expires_at: Option<String>,
    /// When it was enrolled.
    enrolled_at: Option<String>,
    /// When it was revoked.
    revoked_at: Option<String>,
}

/// What was asked of a node, and how far it is.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Drain {
    /// `asked`, or `drained`: what it served has ended, and what it recorded has arrived.
    state: &'static str,
    /// When it was asked.
    asked_at: String,
    /// By whom.
    asked_by: String,
    /// When the node said that it has ended.
    drained_at: Option<String>,
}

impl Drain {
    fn of(row: &NodeRow) -> Option<Drain> {
        let (asked_at, asked_by) = row.drain_asked_at.zip(row.drain_asked_by.clone())?;
        Some(Drain {
            state: if row.drained_at.is_some() { "drained" } else { "asked" },
            asked_at: asked_at.to_string(),
            asked_by,
            drained_at: row.drained_at.map(|at| at.to_string()),
        })
    }
}

impl Node {
    fn of(row: NodeRow, following: Option<&Following>, positions: &[(String, i64)], version: u64) -> Node {
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let state = match (&row.revoked_at, &row.enrolled_at, following) {
            (Some(_), ..) => "revoked",
            (None, None, _) => "admitted",
            (None, Some(_), Some(_)) => "connected",
            (None, Some(_), None) => "away",
        };
        let behind = |(lane, end): (&String, &u64)| {
            let position = positions.iter().find(|(own, _)| own == lane).map_or(1, |(_, at)| (*at).max(1));
            (lane.clone(), end.saturating_sub(u64::try_from(position).unwrap_or(0)))
        };
        let drain = Drain::of(&row);
        Node {
            state,
            key: row.node_key.as_deref().map(wire::hex),
            address: following.map(|own| own.address.clone()),
            release: Some(row.release).filter(|release| !release.is_empty()),
            boot: row.boot,
            directory_version: following.map(|own| own.version),
            current_version: version,
            behind: following.into_iter().flat_map(|own| own.lanes.iter().map(behind)).collect(),
            complete_to: text(row.complete_to),
            drain,
            seen_at: text(row.seen_at),
            created_at: row.created_at.to_string(),
            created_by: row.created_by,
            token_expires_at: row.enrolled_at.is_none().then(|| row.token_expires_at.to_string()),
            enrolled_at: text(row.enrolled_at),
            revoked_at: text(row.revoked_at),
            name: row.name,
        }
    }
}

/// Gateways that run on their own, revoked ones included, by name. For the operator.
#[utoipa::path(get, path = "/v1/nodes", operation_id = "deploy.list_nodes", tag = "deploy", params(Page),
    responses((status = 200, body = List<Node>)))]
async fn list_nodes(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Answer<Json<List<Node>>> {
    let permit = caller.permit("node:read", None)?;
    let size = page.size()?;
    let after: Option<String> = cursor::after(&control, "nodes", page.cursor.as_deref())?;
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list(&transaction, after.as_deref().unwrap_or(""), size + 1).await?;
    let next_cursor = cursor::cut(&control, "nodes", &mut rows, size, |row| row.name.clone());
    let following = control.nodes.following();
    let version = control.directory.version();
    let mut items = Vec::new();
    for row in rows {
        let positions = queries::positions(&transaction, &row.name, &projection::ALL).await?;
        let own = following.get(&row.name);
        items.push(Node::of(row, own, &positions, version));
    }
    transaction.finish().await?;
    Ok(Json(List { items, next_cursor }))
}

/// One node as it stands after a change.
async fn shown(control: &Shared, row: NodeRow) -> Answer<Json<Node>> {
    let permit = Permit::for_system(None, "where a node's lanes stand");
    let transaction = control.store.read(&permit).await?;
    let positions = queries::positions(&transaction, &row.name, &projection::ALL).await?;
    transaction.finish().await?;
    let following = control.nodes.following();
    let own = following.get(&row.name);
    Ok(Json(Node::of(row, own, &positions, control.directory.version())))
}

/// Asks a node to take no more requests: its health says so, it takes no new connections, finishes what runs, sends what it recorded
/// and says that it has; `drain` tells how far it is. It stays so, over restarts too, until it is asked back. Twice is once. For the operator.
#[utoipa::path(post, path = "/v1/nodes/{name}/drain", operation_id = "deploy.drain_node", tag = "deploy",
    params(("name" = String, Path, description = "Its name")), responses((status = 200, body = Node)))]
async fn drain_node(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<Json<Node>> {
    let row = drain::ask(&control, &caller, &name).await?;
    shown(&control, row).await
}

/// Asks a node back that was asked to take no more requests. Twice is once. For the operator.
#[utoipa::path(post, path = "/v1/nodes/{name}/resume", operation_id = "deploy.resume_node", tag = "deploy",
    params(("name" = String, Path, description = "Its name")), responses((status = 200, body = Node)))]
async fn resume_node(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<Json<Node>> {
    let row = drain::resume(&control, &caller, &name).await?;
    shown(&control, row).await
}

/// A node to be.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewNode {
    /// 1 to 39 lower-case letters, digits and hyphens, a letter first; used once and for ever.
    name: String,
    /// How long its token is good, 1 to 10,080 minutes.
    #[serde(default = "an_hour")]
    minutes: i64,
}

fn an_hour() -> i64 {
    60
}

/// What a node enrols with.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Admission {
    /// The node's name.
    name: String,
    /// Shown once. Whoever has it becomes the node: hand it over as you would a key.
    token: String,
    /// Until when it is good.
    expires_at: String,
}

/// Admits a gateway under a name and gives the token that it enrols with, once. Of a name that is not enrolled yet, the newer
/// token counts. For the operator.
#[utoipa::path(post, path = "/v1/nodes", operation_id = "deploy.admit_node", tag = "deploy",
    request_body = NewNode, responses((status = 201, body = Admission)))]
async fn admit_node(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<NewNode>,
) -> Answer<(StatusCode, Json<Admission>)> {
    let NewNode { name, minutes } = body.value;
    let (token, until) = enrol::admit(&control, &caller, &name, minutes).await?;
    Ok((StatusCode::CREATED, Json(Admission { name, token, expires_at: until.to_string() })))
}

/// Revokes a node for ever: it is told nothing more, what it sends is not taken, and services do not believe what it signs. What
/// it has not sent by then is lost; see `behind`. For the operator.
#[utoipa::path(delete, path = "/v1/nodes/{name}", operation_id = "deploy.revoke_node", tag = "deploy",
    params(("name" = String, Path, description = "Its name")), responses((status = 204)))]
async fn revoke_node(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<StatusCode> {
    enrol::revoke(&control, &caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
