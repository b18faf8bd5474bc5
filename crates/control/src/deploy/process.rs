//! Starting what an instance is made of: its server and its processes, each under a guard.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rowhouse_domain::id::TenantId;
use rowhouse_store::server::{
    Account, Apart, PrivateServer, ServerSpec, ServiceError, ServiceProcess, ServiceSpec, StartError,
};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Application, Desired, Ids, Settings};

/// A small server: about 40 MB idle.
const SHARED_BUFFERS_MB: u32 = 16;
const CONNECTIONS_MAX: u32 = 60;
const LOCKS_PER_TRANSACTION: u32 = 64;
/// How long a process may take to accept a connection to be taken as serving.
const CONNECT_MAX: Duration = Duration::from_millis(500);

/// Something of an instance did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaunchError {
    #[error("its server: {0}")]
    Server(#[from] StartError),
    #[error("its process of {service}: {source}")]
    Process { service: String, source: ServiceError },
    #[error("no program is set for service {0} (deploy.applications)")]
    NoProgram(String),
    #[error("cannot make {}: {source}", .path.display())]
    Directory { path: PathBuf, source: io::Error },
}

/// Everything of one instance lies here.
pub(super) fn directory(settings: &Settings, name: &str) -> PathBuf {
    settings.directory.join(name)
}

/// Makes the instance's server if there is none, and starts it.
pub(super) async fn start_server(
    settings: &Settings,
    desired: &Desired,
) -> Result<PrivateServer, LaunchError> {
    let own = directory(settings, &desired.directory);
    make(&own, 0o711, None)?;
    let mut spec = ServerSpec::new(own.join("server"));
    spec.shared_buffers_mb = SHARED_BUFFERS_MB;
    spec.max_connections = CONNECTIONS_MAX;
    spec.max_locks_per_transaction = LOCKS_PER_TRANSACTION;
    spec.os_user.clone_from(&settings.os_user);
    spec.apart = desired.ids.map(|ids| Apart { user: ids.server, group: ids.server });
    spec.binaries.clone_from(&settings.binaries);
    spec.guard_program.clone_from(&settings.guard_program);
    Ok(PrivateServer::start(spec).await?)
}

/// Starts a tenant's own process of a service.
pub(super) async fn start_application(
    settings: &Settings,
    desired: &Desired,
    tenant: TenantId,
    application: &Application,
) -> Result<ServiceProcess, LaunchError> {
    let service = &application.service;
    let command =
        settings.applications.get(service).ok_or_else(|| LaunchError::NoProgram(service.clone()))?;
    let own = directory(settings, &desired.directory);
    let (working_dir, log) = (own.join(service), own.join("log"));
    let account = account(settings, desired.ids);
    make(&working_dir, 0o700, account.as_ref())?;
    make(&log, 0o700, None)?;
    let environment = BTreeMap::from([
        ("TENANT_ID".to_owned(), tenant.to_string()),
        ("TENANT_RESOLUTION_MODE".to_owned(), "single-tenant".to_owned()),
        ("DATABASE_MODE".to_owned(), "dedicated".to_owned()),
        ("ROWHOUSE_PLANE".to_owned(), settings.plane_socket.display().to_string()),
        ("ROWHOUSE_PLANE_CACHE".to_owned(), working_dir.join("plane.json").display().to_string()),
        ("LISTEN".to_owned(), application.address()),
        ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
    ]);
    let spec = ServiceSpec {
        program: command.program.clone(),
        arguments: command.arguments.iter().map(Into::into).collect(),
        environment,
        os_user: account.map(|account| account.name),
        port: Some(application.port),
        working_dir: Some(working_dir),
        environment_file: own.join(format!("{service}.env")),
        log: log.join(format!("{service}.log")),
        guard_program: settings.guard_program.clone(),
    };
    let failed = |source| LaunchError::Process { service: service.clone(), source };
    ServiceProcess::start(spec).await.map_err(failed)
}

/// Whether something accepts connections there.
pub(super) async fn serves(application: &Application) -> bool {
    matches!(timeout(CONNECT_MAX, TcpStream::connect(application.address())).await, Ok(Ok(_)))
}

/// Removes all of an instance that has been stopped.
pub(super) fn remove(settings: &Settings, name: &str) -> io::Result<()> {
    match std::fs::remove_dir_all(directory(settings, name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The account that processes run as, if it is another than our own: they reach the server's socket as that one only.
fn account(settings: &Settings, ids: Option<Ids>) -> Option<Account> {
    if let Some(ids) = ids {
        return Some(Account::without_name(ids.processes, ids.server));
    }
    let account = Account::for_server(settings.os_user.as_deref()).ok()?;
    (Account::current().ok()? != account).then_some(account)
}

fn make(path: &Path, mode: u32, owner: Option<&Account>) -> Result<(), LaunchError> {
    let failed = |source| LaunchError::Directory { path: path.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(failed)?;
    match owner {
        Some(owner) => chown(path, Some(owner.uid), Some(owner.gid)).map_err(failed),
        None => Ok(()),
    }
}
