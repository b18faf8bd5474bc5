//! One ordinary process kept alive by a guard: a dedicated tenant's own application.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    guard::Restarts,
    guard_process::{GuardProcess, STOP_MAX, until_true},
    order::Report,
    process::reap_adopted,
};

/// What is to run.
#[derive(Clone, Debug)]
pub struct ServiceSpec {
    /// Absolute path of the program.
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// All of its environment. It goes through a file of mode 0600, never over a command line.
    pub environment: BTreeMap<String, String>,
    /// OS user it runs as, if only root starts it; else who runs Rowhouse. A name, or `#uid:gid`.
    pub os_user: Option<String>,
    /// The only TCP port that it may listen on, as far as the kernel can see to it (Landlock, from Linux 6.7 on).
    pub port: Option<u16>,
    /// Where it works; else `/`.
    pub working_dir: Option<PathBuf>,
    /// Absolute path of the file for its environment, ours alone; made here and removed at the stop.
    pub environment_file: PathBuf,
    /// Absolute path of its bounded log; the directory exists.
    pub log: PathBuf,
    /// As in [`super::ServerSpec`].
    pub guard_program: Option<PathBuf>,
}

/// What the process is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceState {
    Starting,
    /// It was started; whether it serves, its health says.
    Running {
        pid: i32,
    },
    /// It ended and will be started again, at the latest after 10 s.
    Restarting(String),
    Stopped,
}

/// Why a service process was not started.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(
        "environment variable {0:?} cannot be passed on: a name is letters, digits and _, a value is one line"
    )]
    Environment(String),
    #[error("cannot write {}: {source}", .path.display())]
    EnvironmentFile { path: PathBuf, source: io::Error },
    #[error("cannot start the guard of {}: {source}", .program.display())]
    Guard { program: PathBuf, source: io::Error },
    #[error("{0}")]
    Failed(String),
}

/// A process kept alive. Dropped, it is stopped without waiting; [`ServiceProcess::stop`] waits.
pub struct ServiceProcess {
    spec: ServiceSpec,
    state: watch::Sender<ServiceState>,
    stop_wanted: watch::Sender<bool>,
    guard: Mutex<Option<GuardProcess>>,
    /// The process as it was last started; 0 before.
    pid: AtomicI32,
}

impl ServiceProcess {
    /// Starts the process and returns when it was started once. Whether it serves is for its caller to find out.
    pub async fn start(spec: ServiceSpec) -> Result<ServiceProcess, ServiceError> {
        let guard_error = |source| ServiceError::Guard { program: spec.program.clone(), source };
        let text = environment_text(&spec.environment)?;
        write_private(&spec.environment_file, &text).map_err(|source| ServiceError::EnvironmentFile {
            path: spec.environment_file.clone(),
            source,
        })?;
        let mut guard = GuardProcess::start(spec.guard_program.as_deref(), arguments(&spec), None)
            .await
            .map_err(guard_error)?;
        let pid = match guard.report().await {
            Some(Report::Started { pid }) => pid,
            Some(Report::Exited { reason } | Report::Failed { reason, .. }) => {
                return Err(ServiceError::Failed(reason));
            }
            _ => return Err(ServiceError::Failed(guard.reap().await)),
        };
        let (state, stop_wanted) =
            (watch::Sender::new(ServiceState::Running { pid }), watch::Sender::new(false));
        Ok(ServiceProcess { spec, state, stop_wanted, guard: Mutex::new(Some(guard)), pid: pid.into() })
    }

    /// Keeps the state true and a guard alive, until [`ServiceProcess::stop`]. To be spawned once, after the start.
    pub async fn supervise(self: Arc<Self>) {
        let Some(mut guard) = self.take_guard() else { return };
        let mut stop = self.stop_wanted.subscribe();
        let mut restarts = Restarts::default();
        loop {
            let started_at = Instant::now();
            tokio::select! {
                () = self.follow(&mut guard) => {}
                () = until_true(&mut stop) => return self.stopped(Some(guard)).await,
            }
            let mut reason = guard.reap().await;
            guard = loop {
                tracing::warn!(program = %self.spec.program.display(), reason, "the guard of a service is gone; starting another");
                self.state.send_replace(ServiceState::Restarting(reason));
                let wait = restarts.wait_after_end(started_at, false);
                tokio::select! {
                    () = sleep(wait) => {}
                    () = until_true(&mut stop) => return self.stopped(None).await,
                }
                match GuardProcess::start(self.spec.guard_program.as_deref(), arguments(&self.spec), None)
                    .await
                {
                    Ok(guard) => break guard,
                    Err(error) => reason = error.to_string(),
                }
            };
        }
    }

    async fn follow(&self, guard: &mut GuardProcess) {
        while let Some(report) = guard.report().await {
            let state = match report {
                Report::Started { pid } => {
                    reap_adopted(Some(self.pid.swap(pid, Ordering::Relaxed)));
                    ServiceState::Running { pid }
                }
                Report::Exited { reason } | Report::Failed { reason, .. } => {
                    tracing::warn!(reason, "a service process ended; it will be started again");
                    ServiceState::Restarting(reason)
                }
                Report::Ready { .. } | Report::InUse { .. } => continue,
            };
            self.state.send_replace(state);
        }
    }

    /// Asks the process to end, makes it after 10 s, and returns when it and its guard are gone.
    pub async fn stop(&self) {
        self.stop_wanted.send_replace(true);
        if let Some(guard) = self.take_guard() {
            return self.stopped(Some(guard)).await;
        }
        let mut state = self.state.subscribe();
        let stopped = state.wait_for(|state| *state == ServiceState::Stopped);
        if timeout(STOP_MAX, stopped).await.is_err() {
            tracing::error!(program = %self.spec.program.display(), "a service process did not stop");
        }
    }

    async fn stopped(&self, guard: Option<GuardProcess>) {
        if let Some(guard) = guard
            && !guard.stop().await
        {
            tracing::error!(program = %self.spec.program.display(), "a service process did not stop");
        }
        // Secrets do not stay behind; if it is gone already, all the better.
        let _ = fs::remove_file(&self.spec.environment_file);
        self.state.send_replace(ServiceState::Stopped);
    }

    fn take_guard(&self) -> Option<GuardProcess> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The state, and its changes while [`ServiceProcess::supervise`] runs.
    pub fn state(&self) -> watch::Receiver<ServiceState> {
        self.state.subscribe()
    }
}

fn arguments(spec: &ServiceSpec) -> Vec<OsString> {
    let mut words = vec![OsString::from("service")];
    if let Some(user) = &spec.os_user {
        words.extend(["--user".into(), user.into()]);
    }
    if let Some(port) = spec.port {
        words.extend(["--port".into(), port.to_string().into()]);
    }
    if let Some(directory) = &spec.working_dir {
        words.extend(["--directory".into(), directory.into()]);
    }
    words.extend([
        "--env-file".into(),
        spec.environment_file.clone().into(),
        "--log".into(),
        spec.log.clone().into(),
    ]);
    words.extend(["--".into(), spec.program.clone().into()]);
    words.extend(spec.arguments.iter().cloned());
    words
}

fn environment_text(environment: &BTreeMap<String, String>) -> Result<String, ServiceError> {
    let mut text = String::new();
    for (name, value) in environment {
        let name_is_plain =
            !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if !name_is_plain || value.contains(['\n', '\r', '\0']) {
            return Err(ServiceError::Environment(name.clone()));
        }
        text.push_str(&format!("{name}={value}\n"));
    }
    Ok(text)
}

/// Makes the file anew: one that is there may be open to others, or a link.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
