//! What services' processes are told (`rowhouse_tenantdb::plane`), by long polling on a Unix socket.
//!
//! The version is a counter in the control database that every change of places, rights, keys and tables raises in its own
//! transaction; so it never goes back, and a plane is never older than the version it names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::IncomingStream;
use axum::{Json, Router};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::Refusal;
use rowhouse_domain::tenancy::{Isolation, Tier};
use rowhouse_store::server::Account;
use rowhouse_store::{StoreError, Topic, Transaction};
use rowhouse_tenantdb::plane::{HOLD_S, Plane, PlaneCell, PlaneDatabase, PlaneJwk, PlanePlace, WATCH_PATH};
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout_at};

use super::cells;
use crate::{Control, Shared, catalog, deploy};

/// How often the version is looked at when nothing in this process says that it changed.
const BACKSTOP: Duration = Duration::from_secs(1);
/// Connections that one process of a service may have open to a cell of many tenants, and to one of its own.
const CONNECTIONS: u32 = 60;
const CONNECTIONS_OWN: u32 = 20;

/// Says that services must look again, in the transaction of what they must see.
pub async fn raise(transaction: &Transaction) -> Result<(), StoreError> {
    transaction.touch(Topic::Places);
    transaction.execute("UPDATE tenancy.plane SET version = version + 1", &[]).await.map(drop)
}

/// Answers services on the socket `path` until `shutdown`. Everybody on the machine may connect; what is answered depends on
/// who asks ([`Peer`]), as the kernel says.
///
/// # Errors
/// If the socket cannot be made.
pub async fn serve(
    control: Shared,
    path: &Path,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), std::io::Error> {
    // Keys that verify the gateway's context live as long as this process: with a new one there is news.
    let transaction =
        control.store.write(&Permit::for_system(None, "plane")).await.map_err(std::io::Error::other)?;
    raise(&transaction).await.map_err(std::io::Error::other)?;
    transaction.commit_telemetry().await.map_err(std::io::Error::other)?;
    let listener = listen(path)?;
    let ending = shutdown.clone();
    let router = Router::new().route(WATCH_PATH, get(watch_plane)).with_state((control, ending));
    let stopped = async move {
        let _ = shutdown.wait_for(|wanted| *wanted).await;
    };
    let router = router.into_make_service_with_connect_info::<Caller>();
    axum::serve(listener, router).with_graceful_shutdown(stopped).await
}

fn listen(path: &Path) -> Result<UnixListener, std::io::Error> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if let Some(directory) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o711).create(directory)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// The OS user at the other end of a connection, as the kernel took it down when the connection was made (`SO_PEERCRED`,
/// `unix(7)`); `None`: it did not say.
#[derive(Debug, Clone, Copy)]
struct Caller(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Caller(stream.io().peer_cred().ok().map(|peer| peer.uid()))
    }
}

/// Who asks.
#[derive(Debug, PartialEq, Eq)]
enum Peer {
    /// Who runs Rowhouse, root, or the OS user of the shared server: a service for many tenants. It is told of all that have no process of
    /// their own of that service.
    Many,
    /// A shared process of these services. It is told of all that have no process of their own of its service.
    Service(Vec<String>),
    /// A process of one tenant's own of these services. It is told of that tenant.
    One(TenantId, Vec<String>),
}

/// `None`: nobody who is told anything.
async fn peer(control: &Control, caller: Caller) -> Result<Option<Peer>, StoreError> {
    let Caller(Some(user)) = caller else { return Ok(None) };
    let settings = &control.settings.deploy;
    let server = Account::for_server(settings.os_user.as_deref()).ok().map(|account| account.uid);
    if user == 0 || Some(user) == server || Account::current().is_ok_and(|own| own.uid == user) {
        return Ok(Some(Peer::Many));
    }
    let shared = settings.service_users.iter().filter(|(_, own)| **own == user);
    let services: Vec<String> = shared.map(|(service, _)| service.clone()).collect();
    if !services.is_empty() {
        return Ok(Some(Peer::Service(services)));
    }
    let transaction = control.store.read(&Permit::for_system(None, "plane")).await?;
    let row = deploy::of_process(&transaction, user).await?;
    transaction.finish().await?;
    Ok(row.map(|row| {
        let services = row.desired.applications.into_iter().map(|own| own.service).collect();
        Peer::One(row.tenant, services)
    }))
}

/// The tenant whose place is told; `None`: of all that have no process of their own.
fn scope(peer: Option<Peer>, wanted: &Wanted) -> Result<Option<TenantId>, StatusCode> {
    match peer {
        Some(Peer::Many) => Ok(wanted.tenant),
        Some(Peer::Service(services)) if services.contains(&wanted.service) => Ok(wanted.tenant),
        Some(Peer::One(tenant, services))
            if services.contains(&wanted.service) && wanted.tenant.is_none_or(|named| named == tenant) =>
        {
            Ok(Some(tenant))
        }
        Some(Peer::Service(_) | Peer::One(..)) | None => Err(StatusCode::FORBIDDEN),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    service: String,
    #[serde(default)]
    after: u64,
    tenant: Option<TenantId>,
}

async fn watch_plane(
    State((control, mut shutdown)): State<(Shared, watch::Receiver<bool>)>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let peer = peer(&control, caller).await;
    let is_own_process = matches!(peer, Ok(Some(Peer::One(..))));
    let tenant = match peer.map(|peer| scope(peer, &wanted)) {
        Ok(Ok(tenant)) => tenant,
        Ok(Err(status)) => {
            tracing::warn!(?caller, service = wanted.service, tenant = ?wanted.tenant, "asked for what is not its own");
            return status.into_response();
        }
        Err(error) => {
            tracing::error!(%error, "who asks for places cannot be found out");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    let deadline = Instant::now() + Duration::from_secs(HOLD_S);
    let newer = tokio::select! {
        newer = timeout_at(deadline, newer_than(&control, wanted.after)) => newer.unwrap_or(Ok(())),
        _ = shutdown.wait_for(|wanted| *wanted) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
    };
    let plane = match newer {
        Ok(()) => build(&control, &wanted.service, tenant).await,
        Err(error) => Err(error.into()),
    };
    match plane {
        Ok(mut plane) if plane.version > wanted.after => {
            if is_own_process {
                keep_instances(&mut plane);
            }
            Json(plane).into_response()
        }
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => {
            let cause = refusal.private_detail().unwrap_or_default();
            tracing::error!(cause, "services cannot be told where tenants lie");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// A tenant's own process may run before the tenant has moved to its own server: it learns nothing of the server that is
/// everybody's.
fn keep_instances(plane: &mut Plane) {
    plane.places.retain(|_, place| place.isolation == Isolation::Instance);
    let (places, databases) = (&plane.places, &mut plane.databases);
    databases.retain(|own| {
        places.values().any(|place| (&place.cell, &place.database) == (&own.cell, &own.database))
    });
    plane.cells.retain(|cell, _| places.values().any(|place| place.cell == *cell));
}

/// Returns when the version is above `after`.
async fn newer_than(control: &Control, after: u64) -> Result<(), StoreError> {
    let mut committed = control.store.touched(Topic::Places);
    let mut backstop = interval(BACKSTOP);
    loop {
        let transaction = control.store.read(&Permit::for_system(None, "plane")).await?;
        let version = version(&transaction).await?;
        transaction.finish().await?;
        if version > after {
            return Ok(());
        }
        tokio::select! {
            _ = committed.changed() => {}
            _ = backstop.tick() => {}
        }
    }
}

async fn version(transaction: &Transaction) -> Result<u64, StoreError> {
    let row = transaction.query_one("SELECT version FROM tenancy.plane", &[]).await?;
    u64::try_from(row.get::<_, i64>(0)).map_err(|_| StoreError::Stored { what: "the version of the plane" })
}

/// The plane of `service` as it is now: of one tenant, if one is named; else of all that have no process of their own of it.
///
/// # Errors
/// If the control database is away, or a key does not open.
pub async fn build(control: &Control, service: &str, tenant: Option<TenantId>) -> Result<Plane, Refusal> {
    let transaction = control.store.read(&Permit::for_system(None, "plane")).await?;
    // Read first: what changes from here on has a later version.
    let version = version(&transaction).await?;
    let tiers = catalog::load(&transaction).await?.tiers;
    let elsewhere = match tenant {
        Some(_) => Vec::new(),
        None => deploy::with_own_process(&transaction, service).await?,
    };
    let mut places = places(&transaction, service, tenant, &tiers).await?;
    // While a tenant moves, its own processes are there and do not serve it.
    places.retain(|tenant, place| place.isolation != Isolation::Instance || !elsewhere.contains(tenant));
    let named: BTreeSet<(&str, &str)> =
        places.values().map(|place| (place.cell.as_str(), place.database.as_str())).collect();
    let mut databases = Vec::new();
    for (cell, database) in named {
        let key = cells::newest_key(&transaction, control, cell, database).await.map_err(unusable)?;
        if let Some(key) = key {
            databases.push(PlaneDatabase { cell: cell.to_owned(), database: database.to_owned(), key });
        }
    }
    let cells = known_cells(&transaction, &databases).await?;
    let functions = super::service_tables::functions(&transaction, service).await?;
    let mut keys = vec![control.context_signer.verifier()];
    keys.extend(deploy::context_keys(&transaction).await?);
    transaction.finish().await?;
    let jwks = keys.iter().map(|key| PlaneJwk::ed25519(key.key_id(), key.x())).collect();
    Ok(Plane { version, service: service.to_owned(), functions, cells, databases, places, jwks })
}

fn unusable(error: cells::CellsError) -> Refusal {
    match error {
        cells::CellsError::Store(error) => error.into(),
        other => Refusal::new(&rowhouse_domain::refusal::kind::INTERNAL, "A key cannot be used.")
            .private(other.to_string()),
    }
}

async fn places(
    transaction: &Transaction,
    service: &str,
    tenant: Option<TenantId>,
    tiers: &[Tier],
) -> Result<BTreeMap<TenantId, PlanePlace>, StoreError> {
    let rows = transaction
        .query(
            "SELECT p.tenant_id, t.isolation, p.cell, p.database, i.schema, p.login, p.epoch, p.rights, t.tier \
             FROM tenancy.places p \
             JOIN tenancy.tenants t ON t.tenant_id = p.tenant_id \
             JOIN tenancy.installations i ON i.cell = p.cell AND i.database = p.database AND i.service = $1 \
               AND i.tenant_id IS NOT DISTINCT FROM CASE WHEN t.isolation = 'shared' THEN NULL ELSE p.tenant_id END \
             WHERE p.state IN ('settled', 'fenced') AND ($2::uuid IS NULL OR p.tenant_id = $2)",
            &[&service, &tenant.map(|tenant| tenant.0)],
        )
        .await?;
    let size =
        |name: &str| tiers.iter().find(|tier| tier.name == name).map_or(10, |tier| tier.connection_pool_size);
    let stored = |what| StoreError::Stored { what };
    let place = |row: &tokio_postgres::Row| {
        let place = PlanePlace {
            isolation: Isolation::parse(row.get(1)).ok_or(stored("a tenant's isolation"))?,
            cell: row.get(2),
            database: row.get(3),
            schema: row.get(4),
            login: row.get(5),
            epoch: u64::try_from(row.get::<_, i64>(6)).map_err(|_| stored("the epoch of a place"))?,
            rights: super::places::rights_of_letters(row.get(7))?,
            connections: size(row.get(8)),
        };
        Ok((TenantId(row.get(0)), place))
    };
    rows.iter().map(place).collect()
}

async fn known_cells(
    transaction: &Transaction,
    databases: &[PlaneDatabase],
) -> Result<BTreeMap<String, PlaneCell>, StoreError> {
    let names: BTreeSet<&str> = databases.iter().map(|database| database.cell.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let sql = "SELECT name, host, port, kind, strict FROM tenancy.cells WHERE name = ANY ($1)";
    let rows = transaction.query(sql, &[&names]).await?;
    let cell = |row: &tokio_postgres::Row| {
        let port =
            u16::try_from(row.get::<_, i32>(2)).map_err(|_| StoreError::Stored { what: "a cell's port" })?;
        let connections = if row.get::<_, &str>(3) == "instance" { CONNECTIONS_OWN } else { CONNECTIONS };
        Ok((row.get(0), PlaneCell { host: row.get(1), port, connections, strict: row.get(4) }))
    };
    rows.iter().map(cell).collect()
}
