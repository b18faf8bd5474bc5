//! The control database: on the private server, or outside; made, migrated, and opened as a store.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rowhouse_domain::clock::Clock;
use rowhouse_domain::entropy::Entropy;
use rowhouse_store::pool::PoolBounds;
use rowhouse_store::server::{Account, Apart, PrivateServer, SUPERUSER, ServerSpec, may_run_as};
use rowhouse_store::{Store, migrate};
use tokio_postgres::config::Host;
use tokio_postgres::{Client, NoTls};

use crate::config::Config;

/// Name of the control database on the private server.
const NAME: &str = "rowhouse";
/// Longest wait for a connection to an outside server.
const CONNECT: Duration = Duration::from_secs(10);
/// The login that the store works as; it owns nothing.
const LOGIN: &str = "rowhouse_service";

/// The control database and, if we run it, its server.
pub struct ControlDatabase {
    /// Transactions.
    pub store: Store,
    /// Our own server.
    pub server: Option<Arc<PrivateServer>>,
    /// Where tenants are placed: directory of a socket or loopback address, and port.
    pub cell: Option<(String, u16)>,
}

/// Starts the private server or finds the outside one, and brings the database to this binary's schema.
pub async fn open(
    config: &Config,
    data_dir: &Path,
    clock: Clock,
    entropy: Entropy,
) -> anyhow::Result<ControlDatabase> {
    let bounds = PoolBounds { connections_max: config.database.connections_max, ..PoolBounds::default() };
    let (owner, login, server) = match &config.database.url {
        Some(url) => {
            let mut outside: tokio_postgres::Config = url.parse().context("database.url")?;
            outside.connect_timeout(CONNECT);
            (outside.clone(), outside, None)
        }
        None => {
            let server = Arc::new(start_private(config, data_dir).await?);
            make_database(&server).await?;
            let owner = server.connect_config(NAME, SUPERUSER);
            (owner, server.connect_config(NAME, LOGIN), Some(server))
        }
    };
    let mut client = connect(&owner).await.context("cannot reach the control database")?;
    let applied = migrate(&mut client).await?;
    if applied > 0 {
        tracing::info!(applied, "migrated the control database");
    }
    let grant = if server.is_some() { LOGIN } else { "CURRENT_USER" };
    client.batch_execute(&format!("GRANT rowhouse_app, rowhouse_sequencer TO {grant}")).await?;
    let cell = cell_of(&owner);
    Ok(ControlDatabase { store: Store::new(login, bounds, clock, entropy), server, cell })
}

/// The server of the control database as a cell for tenants, if it is on this machine: a place is made over a Unix
/// socket or a loopback address, as the role `rowhouse_super`, without a password.
fn cell_of(config: &tokio_postgres::Config) -> Option<(String, u16)> {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let host = match config.get_hosts().first()? {
        Host::Unix(directory) => directory.display().to_string(),
        Host::Tcp(name) => name.clone(),
    };
    let near = host.starts_with('/')
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    near.then_some((host, port))
}

async fn start_private(config: &Config, data_dir: &Path) -> anyhow::Result<PrivateServer> {
    let mut spec = ServerSpec::new(data_dir.join("postgres"));
    spec.binaries = config.database.binaries.clone();
    spec.os_user = config.database.os_user.clone();
    spec.settings = config.database.settings.clone();
    if services_apart(config) {
        let server = Account::for_server(spec.os_user.as_deref())?;
        spec.apart = Some(Apart { user: server.uid, group: config.deploy.services_group });
    }
    let server = PrivateServer::start(spec).await.context("the private PostgreSQL did not start")?;
    if let Some(below) = server.below_floor() {
        tracing::warn!("{below}");
    }
    tracing::info!(version = %server.version(), socket = %server.socket_dir().display(), "PostgreSQL runs");
    Ok(server)
}

/// Whether services' shared processes run as users of their own, whom the server lets in as tenants' logins only.
pub fn services_apart(config: &Config) -> bool {
    let ids = config.deploy.service_users.values();
    let all = ids.clone().min().zip(ids.max());
    all.is_some_and(|(first, last)| *first > 0 && may_run_as(&(*first..=*last)))
}

async fn make_database(server: &PrivateServer) -> anyhow::Result<()> {
    let client = connect(&server.connect_config("postgres", SUPERUSER)).await?;
    if client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&NAME]).await?.is_none() {
        client.batch_execute(&format!("CREATE DATABASE {NAME}")).await?;
    }
    if client.query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[&LOGIN]).await?.is_none() {
        client.batch_execute(&format!("CREATE ROLE {LOGIN} LOGIN NOINHERIT")).await?;
    }
    client
        .batch_execute(&format!(
            "REVOKE CONNECT ON DATABASE {NAME} FROM PUBLIC; GRANT CONNECT ON DATABASE {NAME} TO {LOGIN}"
        ))
        .await?;
    Ok(())
}

async fn connect(config: &tokio_postgres::Config) -> anyhow::Result<Client> {
    let (client, connection) = config.connect(NoTls).await?;
    // Ends by itself when the client is dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(%error, "the connection for migrations broke");
        }
    });
    Ok(client)
}
