//! A private PostgreSQL, as the main process sees it: started, watched, started again, stopped.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_postgres::{Config, NoTls};

use super::{
    SUPERUSER, ServerSpec,
    account::{Account, AccountError},
    admission::{self, AdmissionError, admission},
    binaries::{Binaries, BinariesError, find_binaries},
    directory::{self, DirectoryError, Layout, OpenTo, PORT},
    guard::{Next, Restarts},
    guard_process::{GuardProcess, STOP_MAX, until_true},
    order::{Report, ServerOrder},
    process::reap_adopted,
    settings::{SettingError, Sizes, postgresql_conf},
    version::{BelowFloor, Version},
};

/// From "ready" in PostgreSQL's own file to the first answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const ANSWER_POLL: Duration = Duration::from_millis(10);

/// What a private server is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Being made, started, or started again after an end.
    Starting,
    /// A query was answered.
    Running,
    /// Starting it has failed for good; the reason ends with the last lines of its log.
    Failed(String),
    Stopped,
}

/// Why a private server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Binaries(#[from] BinariesError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    #[error("{} is in use by process {pid} ({command}); stop that one first", .directory.display())]
    InUse { directory: PathBuf, pid: i32, command: String },
    #[error("cannot start the guard of PostgreSQL: {0}")]
    Guard(#[source] io::Error),
    #[error("PostgreSQL in {} does not start: {reason}", .directory.display())]
    Failed { directory: PathBuf, reason: String },
}

/// A PostgreSQL of our own. Dropped, it is stopped without waiting; [`PrivateServer::stop`] waits.
pub struct PrivateServer {
    guard_program: Option<PathBuf>,
    order: String,
    layout: Layout,
    binaries: Binaries,
    state: watch::Sender<ServerState>,
    stop_wanted: watch::Sender<bool>,
    /// Here from the start until somebody supervises or stops it.
    guard: Mutex<Option<GuardProcess>>,
}

impl std::fmt::Debug for PrivateServer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.borrow();
        formatter
            .debug_struct("PrivateServer")
            .field("data", &self.layout.data)
            .field("state", &*state)
            .finish_non_exhaustive()
    }
}

/// How a guard's reports ended.
enum End {
    InUse { pid: i32, command: String },
    Failed(String),
    Died { was_running: bool },
}

impl PrivateServer {
    /// Makes the cluster if there is none, starts it, and returns when a query was answered. An earlier server that nobody watches any
    /// more is stopped first. There is no deadline: recovering after a crash takes as long as it takes.
    ///
    /// # Errors
    /// A directory that is not ours, in use, or made by another major is refused untouched; see [`StartError`].
    pub async fn start(spec: ServerSpec) -> Result<PrivateServer, StartError> {
        let server = PrivateServer::prepare(spec)?;
        let mut guard = server.launch().await.map_err(StartError::Guard)?;
        let mut running = server.state.subscribe();
        let end = tokio::select! {
            end = server.follow(&mut guard) => end,
            () = until_running(&mut running) => {
                *server.guard.lock().unwrap_or_else(PoisonError::into_inner) = Some(guard);
                return Ok(server);
            }
        };
        let directory = server.layout.data.clone();
        let reason = match end {
            End::InUse { pid, command } => return Err(StartError::InUse { directory, pid, command }),
            End::Failed(reason) => reason,
            End::Died { .. } => guard.reap().await,
        };
        Err(StartError::Failed { directory, reason })
    }

    /// All that can be refused before a process is started.
    fn prepare(spec: ServerSpec) -> Result<PrivateServer, StartError> {
        let found = directory::cluster_major(&spec.data_dir);
        let preferred = found.as_ref().and_then(|major| major.parse().ok());
        let binaries = find_binaries(spec.binaries.as_deref(), preferred)?;
        if let Some(found) = found.filter(|found| *found != binaries.version.major.to_string()) {
            let (directory, programs) = (spec.data_dir, binaries.directory);
            return Err(DirectoryError::OtherMajor {
                directory,
                found,
                running: binaries.version.major,
                programs,
            }
            .into());
        }
        let named = Account::for_server(spec.os_user.as_deref())?;
        let current = Account::current()?;
        let apart = spec.apart.filter(|_| current.uid == 0);
        let account = apart.map_or_else(|| named.clone(), |ids| Account::without_name(ids.user, ids.group));
        let own = [current.name.clone(), account.name.clone()];
        let own = if current == account { &own[..1] } else { &own[..] };
        let others: Vec<String> = spec.ident.into_iter().filter(|name| !own.contains(name)).collect();
        let (admission, open_to) = match apart {
            Some(_) => (admission::apart(&current.name)?, OpenTo::Group),
            None if others.is_empty() => (admission(binaries.version.major, own, &others)?, OpenTo::Owner),
            None => (admission(binaries.version.major, own, &others)?, OpenTo::All),
        };
        // Settings are judged before the directory is touched; the paths in them follow when it is known.
        let sizes = Sizes {
            shared_buffers_mb: spec.shared_buffers_mb,
            max_connections: spec.max_connections,
            max_locks_per_transaction: spec.max_locks_per_transaction,
        };
        super::settings::check_all(&spec.settings)?;
        let layout = directory::prepare(&spec.data_dir, spec.socket_dir.as_deref(), &account, open_to)?;
        let order = ServerOrder {
            postgresql_conf: postgresql_conf(&layout, sizes, open_to, &spec.settings)?,
            pg_hba_conf: admission.hba,
            pg_ident_conf: admission.ident,
            binaries: binaries.directory.clone(),
            initialiser: account.is_nameless().then_some(named),
            account: (current != account).then_some(account),
            layout: layout.clone(),
        };
        let order = serde_json::to_string(&order).map_err(|error| StartError::Guard(error.into()))?;
        let (state, stop_wanted) = (watch::Sender::new(ServerState::Starting), watch::Sender::new(false));
        Ok(PrivateServer {
            guard_program: spec.guard_program,
            order,
            layout,
            binaries,
            state,
            stop_wanted,
            guard: Mutex::new(None),
        })
    }

    async fn launch(&self) -> io::Result<GuardProcess> {
        let arguments = vec![OsString::from("postgres"), self.layout.data.clone().into_os_string()];
        GuardProcess::start(self.guard_program.as_deref(), arguments, Some(&self.order)).await
    }

    /// Keeps the state true and a guard alive, until [`PrivateServer::stop`]. To be spawned once, after the start.
    pub async fn supervise(self: Arc<Self>) {
        let Some(mut guard) = self.take_guard() else { return };
        let mut stop = self.stop_wanted.subscribe();
        let mut restarts = Restarts::default();
        loop {
            let started_at = Instant::now();
            let end = tokio::select! {
                end = self.follow(&mut guard) => end,
                () = until_true(&mut stop) => return self.stopped(guard).await,
            };
            let next = match end {
                End::Died { was_running } => {
                    let reason = guard.reap().await;
                    tracing::warn!(reason, "the guard of PostgreSQL is gone; starting another");
                    self.state.send_replace(ServerState::Starting);
                    restarts.after_end(started_at, was_running)
                }
                End::Failed(reason) => return self.failed(reason).await,
                End::InUse { pid, command } => {
                    return self.failed(format!("in use by process {pid} ({command})")).await;
                }
            };
            let Next::StartAfter(wait) = next else {
                return self.failed("its guard died five times within a minute".to_owned()).await;
            };
            let launched = tokio::select! {
                launched = async { sleep(wait).await; self.launch().await } => launched,
                () = until_true(&mut stop) => { self.state.send_replace(ServerState::Stopped); return }
            };
            guard = match launched {
                Ok(guard) => guard,
                Err(error) => return self.failed(error.to_string()).await,
            };
        }
    }

    /// Stops the server and returns when it and its guard are gone.
    pub async fn stop(&self) {
        self.stop_wanted.send_replace(true);
        if let Some(guard) = self.take_guard() {
            return self.stopped(guard).await;
        }
        let mut state = self.state.subscribe();
        let stopped = state.wait_for(|state| *state == ServerState::Stopped);
        if timeout(STOP_MAX, stopped).await.is_err() {
            tracing::error!(directory = %self.layout.data.display(), "PostgreSQL did not stop");
        }
    }

    async fn stopped(&self, guard: GuardProcess) {
        if !guard.stop().await {
            tracing::error!(directory = %self.layout.data.display(), "PostgreSQL did not stop");
        }
        self.state.send_replace(ServerState::Stopped);
    }

    /// Says so, and waits to be stopped.
    async fn failed(&self, reason: String) {
        tracing::error!(directory = %self.layout.data.display(), reason, "PostgreSQL has failed");
        self.state.send_replace(ServerState::Failed(reason));
        until_true(&mut self.stop_wanted.subscribe()).await;
        self.state.send_replace(ServerState::Stopped);
    }

    fn take_guard(&self) -> Option<GuardProcess> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps the state by what the guard reports, until it ends. While an answer is awaited, reports are still heard: they may say that none
    /// will come.
    async fn follow(&self, guard: &mut GuardProcess) -> End {
        let mut was_running = *self.state.borrow() == ServerState::Running;
        let mut is_ready = false;
        loop {
            let report = tokio::select! {
                report = guard.report() => report,
                answered = self.answers(), if is_ready => {
                    is_ready = false;
                    was_running |= self.answered(answered);
                    continue;
                }
            };
            reap_adopted(None);
            is_ready = matches!(report, Some(Report::Ready { .. }));
            match report {
                Some(Report::Ready { .. }) => {}
                Some(Report::Started { pid }) => tracing::info!(pid, "PostgreSQL was started"),
                Some(Report::Exited { reason }) => {
                    tracing::warn!(reason, "PostgreSQL ended; it will be started again");
                    self.state.send_replace(ServerState::Starting);
                }
                Some(Report::InUse { pid, command }) => return End::InUse { pid, command },
                Some(Report::Failed { reason, log }) => return End::Failed(with_log(&reason, &log)),
                None => return End::Died { was_running },
            }
        }
    }

    /// Says whether it runs.
    fn answered(&self, answered: Result<(), String>) -> bool {
        let socket = self.layout.socket.display();
        match answered {
            Ok(()) => {
                tracing::info!(%socket, "PostgreSQL answers");
                self.state.send_replace(ServerState::Running);
                true
            }
            Err(error) => {
                tracing::error!(%socket, error, "PostgreSQL says that it is ready, but does not answer");
                false
            }
        }
    }

    /// Returns when a query was answered.
    async fn answers(&self) -> Result<(), String> {
        let config = self.connect_config("postgres", SUPERUSER);
        let deadline = Instant::now() + ANSWER_MAX;
        loop {
            match timeout(ANSWER_MAX, answer(&config)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) if Instant::now() > deadline => return Err(describe(&error)),
                Ok(Err(_)) => sleep(ANSWER_POLL).await,
                Err(_) => return Err("no answer within 10 s".to_owned()),
            }
        }
    }

    /// Directory of the Unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.layout.socket
    }

    /// Names the socket in [`PrivateServer::socket_dir`]; no TCP port is open.
    pub fn port(&self) -> u16 {
        PORT
    }

    /// The server's directory, free of symbolic links.
    pub fn data_dir(&self) -> &Path {
        &self.layout.data
    }

    /// How to connect to `database` as `role`. No password is needed: the OS user is the proof.
    pub fn connect_config(&self, database: &str, role: &str) -> Config {
        let mut config = Config::new();
        config.host_path(&self.layout.socket).port(PORT).dbname(database).user(role);
        config
    }

    /// Directory of the server programs.
    pub fn binaries(&self) -> &Path {
        &self.binaries.directory
    }

    pub fn version(&self) -> Version {
        self.binaries.version
    }

    /// What is wrong with the server's release, if it is older than the floor.
    pub fn below_floor(&self) -> Option<BelowFloor> {
        self.binaries.version.below_floor()
    }

    /// The state, and its changes while [`PrivateServer::supervise`] runs.
    pub fn state(&self) -> watch::Receiver<ServerState> {
        self.state.subscribe()
    }
}

async fn until_running(state: &mut watch::Receiver<ServerState>) {
    let _ = state.wait_for(|state| *state == ServerState::Running).await;
}

async fn answer(config: &Config) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::select! {
        answered = client.simple_query("SELECT 1") => answered.map(|_| ()),
        ended = connection => ended,
    }
}

fn describe(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn with_log(reason: &str, log: &[String]) -> String {
    match log.is_empty() {
        true => reason.to_owned(),
        false => format!("{reason}; its log ends:\n{}", log.join("\n")),
    }
}
