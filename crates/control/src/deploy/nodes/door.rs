//! Where nodes come in: a listener of its own, TLS with raw keys, HTTP/2. Who asks is known by the key of the connection; what
//! a name says in a body counts for nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rowhouse_domain::access::Permit;
use rowhouse_domain::network::Network;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::routes::Seen;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use uuid::Uuid;

use super::follow::{self, Stream};
use super::intake::Intake;
use super::queries::{self, NodeRow, Wanted};
use super::raw_keys::{NodeKey, PublicKey, accept_with, public_of};
use super::wire::{BODY_MAX, Drained, Enrolment, Follow, SEEN_BYTES, Shipment, Welcome, hex};
use super::{DIRECTORY_PATH, DRAINED_PATH, ENROL_PATH, JOURNAL_PATH, UPSTREAMS_PATH, drain, enrol};
use crate::Shared;
use crate::lobby::{Lobby, Seat};
use crate::projection::{ALL, Source};

/// Connections of nodes at once, and of one node: it has one, and for a moment another when it comes back. When it has more, its oldest
/// go, so that who has one node's key takes no place of another.
const NODES_MAX: usize = 1_024;
const NODES_OF_ONE_MAX: usize = 4;
/// Connections at once whose key is not known yet, and of one address. When there are more, the oldest go.
const GREETED_MAX: usize = 512;
const GREETED_OF_ONE_MAX: usize = 256;
/// Time for the handshake: long enough for a packet that is lost on a long way, twice.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Keys looked up at once, so that handshakes alone do not take all connections of the database.
const LOOKS_MAX: usize = 4;
/// Connections at once of keys that are no node's, and of one address: who wants to enrol, and who has no business here. They are
/// over soon, and when there are more, the oldest go.
const STRANGERS_MAX: usize = 64;
const STRANGERS_OF_ONE_MAX: usize = 16;
/// How long a stranger's connection lasts.
const STRANGER: Duration = Duration::from_secs(60);
/// Pause after a connection could not be accepted: out of descriptors, most likely.
const PAUSE: Duration = Duration::from_millis(10);
/// Bytes of what is no shipment.
const WORDS_MAX: usize = 64 * 1024;
/// Silence after which a connection is asked, and after which it is over.
const ASK: Duration = Duration::from_secs(10);
/// Names the process that sends.
pub(super) const PROCESS_HEADER: &str = "rowhouse-process";

/// What is told beside the directory.
pub struct Told {
    /// Numbered peppers of API keys.
    pub peppers: Vec<(u32, [u8; 32])>,
}

/// The door of one control plane.
pub(super) struct Door {
    pub(super) control: Shared,
    pub(super) stop: watch::Receiver<bool>,
    intake: Intake,
    greeted: Arc<Lobby<Network>>,
    looks: Semaphore,
    strangers: Arc<Lobby<Network>>,
    nodes: Arc<Lobby<PublicKey>>,
    life: Uuid,
    peppers: Vec<(u32, String)>,
}

impl Door {
    pub(super) fn welcome(&self, node: &str) -> Welcome {
        let docs_url = self.control.settings.public_url.clone();
        Welcome { node: node.to_owned(), life: self.life, peppers: self.peppers.clone(), docs_url }
    }

    /// What is wanted of a node; `None` if that cannot be asked now.
    pub(super) async fn wanted(&self, name: &str) -> Option<Wanted> {
        let permit = Permit::for_system(None, "what is wanted of a node");
        let transaction = self.control.store.read(&permit).await.ok()?;
        let wanted = queries::wanted(&transaction, name).await.ok()?;
        transaction.finish().await.ok()?;
        Some(wanted)
    }

    /// The node of this key.
    async fn node(&self, key: &PublicKey) -> Result<NodeRow, Refusal> {
        let permit = Permit::for_system(None, "who a node is");
        let transaction = self.control.store.read(&permit).await?;
        let row = queries::by_key(&transaction, key).await?;
        transaction.finish().await?;
        let row = row.ok_or_else(|| Refusal::new(&kind::NODE_REFUSED, "No node has this key."))?;
        match row.revoked_at {
            None => Ok(row),
            Some(_) => Err(Refusal::new(&kind::NODE_REVOKED, format!("`{}` was revoked.", row.name))),
        }
    }
}

/// Lets nodes in until `stop` says true, and ends what is open then.
pub async fn run(
    control: Shared,
    listener: TcpListener,
    key: NodeKey,
    told: Told,
    stop: watch::Receiver<bool>,
) {
    let life = control.entropy().uuid_v7(control.clock().now_us());
    control.nodes.open(life, key.public());
    let acceptor = match accept_with(&key) {
        Ok(config) => TlsAcceptor::from(Arc::new(config)),
        Err(error) => return tracing::error!(%error, "nodes cannot be let in"),
    };
    seed_progress(&control).await;
    let peppers = told.peppers.iter().map(|(number, bytes)| (*number, hex(bytes))).collect();
    let (intake, ending) = (Intake::default(), stop.clone());
    let door = Arc::new(Door {
        control,
        stop: ending,
        intake,
        greeted: Lobby::new(GREETED_MAX, GREETED_OF_ONE_MAX),
        looks: Semaphore::new(LOOKS_MAX),
        strangers: Lobby::new(STRANGERS_MAX, STRANGERS_OF_ONE_MAX),
        nodes: Lobby::new(NODES_MAX, NODES_OF_ONE_MAX),
        life,
        peppers,
    });
    let mut open = JoinSet::new();
    let mut stop = stop;
    loop {
        tokio::select! {
            () = told_to_stop(&mut stop) => break,
            Some(_) = open.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Taken before the task begins: who is in its way goes now.
                    let seat = door.greeted.enter(Network::of(peer.ip()));
                    open.spawn(serve(acceptor.clone(), (stream, peer), seat, door.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a node could not be let in");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
    open.shutdown().await;
}

async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    // An error means that the process ends.
    let _ = stop.wait_for(|stopping| *stopping).await;
}

/// What nodes recorded and did not send before this start is not forgotten: usage is complete without it to no later instant.
async fn seed_progress(control: &Shared) {
    let permit = Permit::for_system(None, "lanes of nodes");
    let lanes = async {
        let transaction = control.store.read(&permit).await?;
        let lanes = queries::lanes_behind(&transaction).await?;
        transaction.finish().await?;
        Ok::<_, rowhouse_store::StoreError>(lanes)
    };
    match lanes.await {
        Ok(lanes) => {
            for (node, lane, complete_to) in lanes {
                let at_us = complete_to.map(|at| at.as_microsecond());
                control.projections.arrived(&Source { node, lane }, at_us);
            }
        }
        Err(error) => tracing::error!(%error, "it is not known which nodes are behind"),
    }
}

/// Greets who came in, and serves them by whose key it is. Until that is known, their seat may go to another.
async fn serve(
    acceptor: TlsAcceptor,
    (stream, peer): (TcpStream, SocketAddr),
    mut seat: Seat<Network>,
    door: Arc<Door>,
) {
    let greeted = tokio::select! {
        greeted = greet(&acceptor, stream, &door) => greeted,
        () = seat.lost() => None,
    };
    let Some((stream, key, is_node)) = greeted else { return };
    drop(seat);
    if is_node {
        let Some(mut place) = door.nodes.enter_if_free(key) else { return };
        return tokio::select! {
            () = converse(stream, key, peer, door.clone()) => {}
            () = place.lost() => tracing::warn!(%peer, "a node has too many connections: its oldest ends"),
        };
    }
    let mut seat = door.strangers.enter(Network::of(peer.ip()));
    let conversation = tokio::time::timeout(STRANGER, converse(stream, key, peer, door.clone()));
    tokio::select! {
        _ = conversation => {}
        () = seat.lost() => {}
    }
}

/// The key of who came in, and whether it is a node's.
async fn greet(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    door: &Door,
) -> Option<(TlsStream<TcpStream>, PublicKey, bool)> {
    let _ = stream.set_nodelay(true);
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await.ok()?.ok()?;
    let key = public_of(stream.get_ref().1.peer_certificates()?.first()?)?;
    let _looks = door.looks.acquire().await.ok()?;
    let is_node = door.node(&key).await.is_ok();
    Some((stream, key, is_node))
}

async fn converse(stream: TlsStream<TcpStream>, key: PublicKey, peer: SocketAddr, door: Arc<Door>) {
    let service = TowerToHyperService::new(router(door).layer(Extension(key)).layer(Extension(peer)));
    let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(hyper_util::rt::TokioTimer::new())
        .keep_alive_interval(ASK)
        .keep_alive_timeout(ASK)
        .max_concurrent_streams(64)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, %peer, "the connection of a node broke");
    }
}

fn router(door: Arc<Door>) -> Router {
    Router::new()
        .route(ENROL_PATH, post(enrol_node))
        .route(DIRECTORY_PATH, post(follow_directory))
        .route(UPSTREAMS_PATH, post(take_upstreams))
        .route(DRAINED_PATH, post(note_drained))
        .route(JOURNAL_PATH, get(journal_positions))
        .route(&format!("{JOURNAL_PATH}/{{lane}}"), post(take_journal))
        .with_state(door)
}

/// A refusal as nodes are told it.
struct No(Refusal);

impl<E: Into<Refusal>> From<E> for No {
    fn from(error: E) -> Self {
        No(error.into())
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let No(refusal) = self;
        if let Some(private) = refusal.private_detail() {
            tracing::warn!(code = refusal.code(), private, "a node was refused");
        }
        let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(json!({"code": refusal.code(), "detail": refusal.to_string()}))).into_response()
    }
}

async fn words<T: DeserializeOwned>(body: Body) -> Result<T, No> {
    words_within(body, WORDS_MAX).await
}

async fn words_within<T: DeserializeOwned>(body: Body, most: usize) -> Result<T, No> {
    let malformed = || Refusal::new(&kind::NODE_RELEASE, "The call cannot be read.");
    let bytes = to_bytes(body, most).await.map_err(|_| malformed())?;
    Ok(serde_json::from_slice(&bytes).map_err(|_| malformed())?)
}

async fn enrol_node(
    State(door): State<Arc<Door>>,
    Extension(key): Extension<PublicKey>,
    body: Body,
) -> Result<Json<Welcome>, No> {
    let asked: Enrolment = words(body).await?;
    let row = enrol::enrol(&door.control, &key, &asked).await?;
    Ok(Json(door.welcome(&row.name)))
}

async fn follow_directory(
    State(door): State<Arc<Door>>,
    Extension(key): Extension<PublicKey>,
    Extension(peer): Extension<SocketAddr>,
    body: Body,
) -> Result<Response, No> {
    let asked: Follow = words(body).await?;
    let row = door.node(&key).await?;
    follow::meet(&door, &row, &asked).await?;
    tracing::info!(node = row.name, %peer, version = ?asked.version, "a node follows the directory");
    let stream = Stream::begin(door, &row, &asked, peer.ip().to_string());
    let messages = futures_util::stream::unfold(stream, |mut stream| async move {
        let message = stream.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(message), stream))
    });
    Ok(Body::from_stream(messages).into_response())
}

async fn journal_positions(
    State(door): State<Arc<Door>>,
    Extension(key): Extension<PublicKey>,
) -> Result<Json<serde_json::Value>, No> {
    let row = door.node(&key).await?;
    let permit = Permit::for_system(None, "positions of a node");
    let transaction = door.control.store.read(&permit).await?;
    let positions = queries::positions(&transaction, &row.name, &ALL).await?;
    transaction.finish().await?;
    let lanes: serde_json::Map<_, _> = positions.into_iter().map(|(lane, at)| (lane, at.into())).collect();
    Ok(Json(json!({ "lanes": lanes })))
}

/// The one process of the node that is believed.
fn refuse_other_process(row: &NodeRow, headers: &HeaderMap) -> Result<(), Refusal> {
    let process = headers.get(PROCESS_HEADER).and_then(|value| value.to_str().ok()?.parse::<Uuid>().ok());
    if process.is_none() || process != row.process {
        let why = "Another process of the node came after this one.";
        return Err(Refusal::new(&kind::JOURNAL_REPLACED, why));
    }
    Ok(())
}

async fn take_upstreams(
    State(door): State<Arc<Door>>,
    Extension(key): Extension<PublicKey>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, No> {
    let row = door.node(&key).await?;
    refuse_other_process(&row, &headers)?;
    let seen: Vec<Seen> = words_within(body, SEEN_BYTES).await?;
    door.control.upstreams.told(&row.name, door.control.clock().now_us(), seen);
    Ok(Json(json!({})).into_response())
}

async fn note_drained(
    State(door): State<Arc<Door>>,
    Extension(key): Extension<PublicKey>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, No> {
    let row = door.node(&key).await?;
    refuse_other_process(&row, &headers)?;
    let told: Drained = words(body).await?;
    drain::ended(&door.control, &row, told.drain).await?;
    Ok(Json(json!({})).into_response())
}

async fn take_journal(
    State(door): State<Arc<Door>>,
    Extension(key): Extension<PublicKey>,
    Path(lane): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, No> {
    let row = door.node(&key).await?;
    refuse_other_process(&row, &headers)?;
    let malformed = |why: String| Refusal::new(&kind::NODE_RELEASE, "The batch cannot be read.").private(why);
    let bytes = to_bytes(body, BODY_MAX).await.map_err(|error| malformed(error.to_string()))?;
    let shipment = Shipment::decode(&bytes).map_err(|error| malformed(error.to_string()))?;
    let position = door.intake.take(&door.control, &row, (&lane, &shipment)).await?;
    Ok(Json(position).into_response())
}
