//! The one place where tasks are spawned, and the order in which they end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rowhouse_control::deploy::nodes;
use rowhouse_control::{
    Shared, access, api, audit, deploy, directory, doctor, fleet, identity, keys, lifecycle, messages,
    metering, projection, resources, tenancy,
};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::OPERATOR_TENANT;
use rowhouse_domain::routes::UpstreamTls;
use rowhouse_gateway::{
    Collaborators, Doors, Freshness, Gateway, GatewayConfig, GatewayHandle, StoreConfig, TlsListen,
};
use rowhouse_journal::Journal;
use rowhouse_store::server::PrivateServer;
use rowhouse_store::{Change, Notice};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Role;
use super::admin::{self, Admin};
use super::handover::{self, AllDoors, Offered};
use super::room::watch_room;
use crate::config::{Config, Limits, WhenFull};

/// Longest wait for the projections before the first directory is made without them.
const CATCH_UP: Duration = Duration::from_secs(20);
/// Longest wait for background work to end.
const END: Duration = Duration::from_secs(10);

/// Silent connections at once at the control API, and as many that ask.
const CALLERS_MAX: usize = 1_024;
/// The same at the admin listener.
pub const WATCHERS_MAX: usize = 64;

/// Everything that runs.
pub struct House {
    /// Ends when another process has taken the doors.
    successor: JoinSet<anyhow::Result<()>>,
    gateway: Option<GatewayHandle>,
    work: JoinSet<()>,
    stopping: watch::Sender<bool>,
    server: Option<Arc<PrivateServer>>,
    /// Ends with the server, after everything that needs it.
    _supervision: JoinSet<()>,
    _journal: Arc<Journal>,
}

impl House {
    /// Starts the work, waits until usage is up to date, publishes the first directory, opens the doors.
    pub async fn assemble(
        config: &Config,
        data_dir: &Path,
        (control, role): (Shared, Role),
        (server, journal): (Option<Arc<PrivateServer>>, Arc<Journal>),
        (doors, node_door): (AllDoors, NodeDoor),
    ) -> anyhow::Result<House> {
        let (stopping, stop) = watch::channel(false);
        let mut work = JoinSet::new();
        let mut supervision = JoinSet::new();
        if let Some(server) = &server {
            supervision.spawn(server.clone().supervise());
        }
        let mut reconciler = directory::start(&control).await.context("cannot build the directory")?;
        spawn_work(&mut work, &control, &journal, data_dir, &stop);
        caught_up(&control, &journal).await;
        started(&control, journal.node()).await?;
        reconciler.catch_up(&control).await.context("cannot build the directory")?;
        work.spawn(reconciler.run(control.clone(), stop.clone()));
        let mut node = None;
        if let Some(address) = config.server.node_listen {
            let listener = open(address, doors.node).await?;
            node = Some(listener.try_clone()?);
            let listener = TcpListener::from_std(listener)?;
            node_door.open(&mut work, &control, listener, stop.clone())?;
        }
        let gateway = match role {
            Role::Control => None,
            _ => {
                let freshness = Freshness::default();
                if config.journal.when_full == WhenFull::Refuse {
                    work.spawn(watch_room(journal.clone(), freshness.clone(), stop.clone()));
                }
                let how = (gateway_config(config, data_dir)?, freshness);
                Some(start_gateway(how, &control, &journal, doors.gateway)?)
            }
        };
        let admin = Admin {
            gateway: gateway.as_ref().map(GatewayHandle::metrics_reader),
            journal: journal.clone(),
            control: control.clone(),
            server: server.clone(),
            stopping: stop.clone(),
        };
        let bounds = api::Bounds::of(CALLERS_MAX, &control.settings.trusted_proxies);
        let api = rowhouse_control::router(control);
        let door = open(config.server.control_listen, doors.control).await?;
        let other = open(config.server.admin_listen, doors.admin).await?;
        let doors = AllDoors {
            gateway: gateway.as_ref().map(GatewayHandle::doors).transpose()?.unwrap_or_default(),
            node,
            control: Some(door.try_clone()?),
            admin: Some(other.try_clone()?),
        };
        listen(&mut work, door, (api, bounds), stop.clone())?;
        listen(&mut work, other, (admin::router(admin), api::Bounds::of(WATCHERS_MAX, &[])), stop)?;
        let mut successor = JoinSet::new();
        let socket = handover::socket(data_dir);
        std::fs::create_dir_all(data_dir.join("run"))?;
        successor.spawn(async move { handover::asked(&socket, Offered::new(doors)).await });
        Ok(House { successor, gateway, work, stopping, server, _supervision: supervision, _journal: journal })
    }

    /// Waits until another process has taken the doors.
    pub async fn succeeded(&mut self) {
        match self.successor.join_next().await {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => {
                tracing::error!(%error, "no other process can take over from this one");
                std::future::pending().await
            }
            _ => std::future::pending().await,
        }
    }

    /// Where the gateway listens, if there is one.
    pub fn gateway_address(&self) -> Option<SocketAddr> {
        self.gateway.as_ref().map(GatewayHandle::address)
    }

    /// Ends in order: doors, open requests, work, PostgreSQL.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        // With it go our copies of the doors: who has taken none finds them closed.
        self.successor.shutdown().await;
        if let Some(gateway) = self.gateway {
            gateway.drain().await;
        }
        let ended = async { while self.work.join_next().await.is_some() {} };
        if tokio::time::timeout(END, ended).await.is_err() {
            tracing::warn!("background work did not end in time; it is safe to cut");
        }
        if let Some(server) = self.server {
            server.stop().await;
        }
    }
}

fn spawn_work(
    work: &mut JoinSet<()>,
    control: &Shared,
    journal: &Arc<Journal>,
    data_dir: &Path,
    stop: &watch::Receiver<bool>,
) {
    let projector = metering::UsageProjector::new(control);
    work.spawn(projection::run(control.clone(), journal.clone(), projector, stop.clone()));
    let uses = keys::UseProjector::default();
    work.spawn(projection::run(control.clone(), journal.clone(), uses, stop.clone()));
    work.spawn(serve_sagas(control.clone(), stop.clone()));
    work.spawn(lifecycle::backup::run(control.clone(), stop.clone()));
    work.spawn(access::run(control.clone(), stop.clone()));
    work.spawn(api::work::run(control.clone(), stop.clone()));
    work.spawn(resources::run(control.clone(), stop.clone()));
    let checkpoints = data_dir.join("audit");
    work.spawn(audit::run(control.clone(), journal.clone(), checkpoints, stop.clone()));
    work.spawn(deploy::run(control.clone(), stop.clone()));
    work.spawn(messages::run(control.clone(), stop.clone()));
    work.spawn(tenancy::stock::run(control.clone(), stop.clone()));
    work.spawn(identity::issuers::run(control.clone(), stop.clone()));
    work.spawn(tenancy::hosts::run(control.clone(), stop.clone()));
    work.spawn(doctor::run(control.clone(), stop.clone()));
    work.spawn(doctor::run_watchdog(control.clone(), stop.clone()));
    work.spawn(doctor::run_probes(control.clone(), stop.clone()));
    work.spawn(fleet::run(control.clone(), stop.clone()));
    work.spawn(serve_plane(control.clone(), plane_socket(data_dir), stop.clone()));
}

/// Where services ask for places and keys.
pub fn plane_socket(data_dir: &Path) -> PathBuf {
    data_dir.join("run/plane.sock")
}

async fn serve_sagas(control: Shared, stop: watch::Receiver<bool>) {
    if let Err(error) = lifecycle::run(control, stop).await {
        tracing::error!(%error, "long changes of tenants stand still");
    }
}

async fn serve_plane(control: Shared, socket: PathBuf, stop: watch::Receiver<bool>) {
    if let Err(error) = tenancy::plane::serve(control, &socket, stop).await {
        tracing::error!(%error, socket = %socket.display(), "services cannot be told where tenants lie");
    }
}

/// Leaves the event of this start, whose notice makes the directory anew with the usage counted meanwhile.
async fn started(control: &Shared, node: &str) -> anyhow::Result<()> {
    let tx = control.store.write(&Permit::for_system(None, "start of a node")).await?;
    let change = Change::new(OPERATOR_TENANT, "deploy.node_started", "create", tx.principal());
    tx.commit(change.on("node", node).notify(Notice::catalog())).await?;
    Ok(())
}

/// Quotas count from what is in the database, so the records of before the start must be there first.
async fn caught_up(control: &Shared, journal: &Journal) {
    let lanes = journal.status().lanes;
    let behind = lanes.iter().filter(|lane| lane.next_sequence > 0);
    let passed = behind
        .map(|lane| control.projections.passed(metering::PROJECTION, &lane.lane, lane.next_sequence - 1));
    let all = async {
        for one in passed {
            one.await;
        }
    };
    if tokio::time::timeout(CATCH_UP, all).await.is_err() {
        tracing::warn!("usage of before the start is not counted yet; quotas start from what is");
    }
}

/// What the door of nodes is opened with.
pub struct NodeDoor {
    /// What nodes know the control plane by.
    pub key: [u8; 32],
    /// Pepper 1 of API keys.
    pub pepper: [u8; 32],
}

impl NodeDoor {
    fn open(
        self,
        work: &mut JoinSet<()>,
        control: &Shared,
        listener: TcpListener,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let key = nodes::NodeKey::new(&self.key).context("the key of the door for nodes")?;
        let told = nodes::Told { peppers: vec![(1, self.pepper)] };
        work.spawn(nodes::run(control.clone(), listener, key, told, stop));
        Ok(())
    }
}

/// How a gateway is set up, here or on its own.
pub fn gateway_config(config: &Config, data_dir: &Path) -> anyhow::Result<GatewayConfig> {
    let mut settings = GatewayConfig::new(config.server.gateway_listen);
    settings.docs_url = config.server.public_url();
    settings.drain_timeout = config.server.drain.duration();
    let proxies = config.server.trusted_proxies.iter();
    settings.trusted_proxies = proxies.map(std::net::IpAddr::to_canonical).collect();
    settings.proxied_certificates = config.server.proxied_certificates;
    settings.limit_store = limit_store(&config.limits)?;
    settings.resolvers = config.server.resolvers.clone();
    settings.upstream_certificates = config.server.upstream_certificates(data_dir);
    settings.cores = config.server.gateway_threads.unwrap_or(settings.cores);
    settings.https_redirect_port = config.server.https_redirect_port;
    settings.tls = config.server.tls_listen.map(|listen| {
        let certificates = config.server.tls_certificates(data_dir);
        TlsListen { listen, certificates }
    });
    Ok(settings)
}

/// Where limits are counted together, if anywhere.
///
/// # Errors
/// Names the setting that cannot be used.
pub fn limit_store(config: &Limits) -> anyhow::Result<Option<StoreConfig>> {
    let Some(url) = &config.store_url else { return Ok(None) };
    let read = |file: &PathBuf| {
        std::fs::read_to_string(file)
            .with_context(|| format!("cannot read limits.store_authorities {}", file.display()))
    };
    let authorities = config.store_authorities.as_ref().map(read).transpose()?;
    let tls = UpstreamTls { authorities, client: config.store_certificate.clone(), ..UpstreamTls::default() };
    if let Err((field, expected)) = tls.check() {
        anyhow::bail!("limits.store_{}: {expected}", if field == "client" { "certificate" } else { field });
    }
    Ok(Some(StoreConfig { tls, ..StoreConfig::new(url, config.store_deadline.duration()) }))
}

fn start_gateway(
    (mut settings, freshness): (GatewayConfig, Freshness),
    control: &Shared,
    journal: &Journal,
    doors: Doors,
) -> anyhow::Result<GatewayHandle> {
    settings.freshness = freshness;
    settings.board = control.upstreams.board();
    let collaborators = Collaborators {
        directory: control.directory.clone(),
        peppers: control.peppers.clone(),
        signer: control.context_signer.clone(),
        clock: control.clock().clone(),
        entropy: control.entropy().clone(),
    };
    Ok(Gateway::start_behind(doors, settings, collaborators, journal)?)
}

/// A listener: the one that was taken over, if it is at this address.
pub async fn open(
    address: SocketAddr,
    taken: Option<std::net::TcpListener>,
) -> anyhow::Result<std::net::TcpListener> {
    if let Some(taken) = taken.filter(|taken| taken.local_addr().is_ok_and(|own| own == address)) {
        return Ok(taken);
    }
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    Ok(listener.into_std()?)
}

/// Serves `router` within `bounds` until told to stop.
pub fn listen(
    work: &mut JoinSet<()>,
    listener: std::net::TcpListener,
    (router, bounds): (axum::Router, api::Bounds),
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    work.spawn(api::listen(TcpListener::from_std(listener)?, router, bounds, stop));
    Ok(())
}
