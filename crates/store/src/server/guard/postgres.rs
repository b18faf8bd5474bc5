//! The life of a private PostgreSQL: locked, made if absent, started, restarted, stopped.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::{Command, ExitCode},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitStatus};
use tokio::time::{Instant, sleep, timeout};

use super::{
    children::{Children, describe},
    initialise, leftovers,
    lock::{Lock, LockError},
    log::Log,
    reins::Reins,
    remains::{self, PidFile},
    restarts::{Next, Restarts},
    shutdown::Shutdown,
};
use crate::server::{
    directory::Layout,
    order::{Report, ServerOrder},
    settings::DURABLE,
};

const READY_POLL: Duration = Duration::from_millis(10);
const STOP_POLL: Duration = Duration::from_millis(50);

/// Runs until the main process is gone and the server stopped, or until starting it has failed for good.
pub(super) async fn run() -> io::Result<ExitCode> {
    let mut reins = Reins::take()?;
    let Some(order) = reins.order::<ServerOrder>().await? else { return Ok(ExitCode::SUCCESS) };
    let lock = order.layout.lock();
    let taken = tokio::select! {
        taken = Lock::take(&lock) => taken,
        () = reins.gone() => return Ok(ExitCode::SUCCESS),
    };
    let lock = match taken {
        Ok(lock) => lock,
        Err(LockError::InUse { pid, command }) => {
            reins.report(&Report::InUse { pid, command });
            return Ok(ExitCode::FAILURE);
        }
        Err(LockError::Io(error)) => return Ok(fail(&mut reins, &error.to_string(), Vec::new())),
    };
    let log = match Log::open(&order.layout.log()) {
        Ok(log) => log,
        Err(error) => return Ok(fail(&mut reins, &format!("cannot open the log: {error}"), Vec::new())),
    };
    let mut keeper = Keeper { children: Children::new()?, reins, log, order, lock };
    match keeper.keep().await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            let tail = keeper.log.tail().await;
            Ok(fail(&mut keeper.reins, &error.to_string(), tail))
        }
    }
}

fn fail(reins: &mut Reins, reason: &str, log: Vec<String>) -> ExitCode {
    reins.report(&Report::Failed { reason: reason.to_owned(), log });
    ExitCode::FAILURE
}

struct Keeper {
    children: Children,
    reins: Reins,
    log: Log,
    order: ServerOrder,
    lock: Lock,
}

impl Keeper {
    /// Returns when the main process is gone and the server with it.
    async fn keep(&mut self) -> io::Result<()> {
        if !self.initialise().await? {
            return Ok(());
        }
        write_settings(&self.order)?;
        let mut restarts = Restarts::default();
        loop {
            tokio::select! {
                settled = remains::settle(&self.order.layout, &mut self.children) => settled?,
                () = self.reins.gone() => return Ok(()),
            }
            let started_at = Instant::now();
            let pid = self.start()?;
            let Some((status, ready)) = self.watch(pid).await else {
                self.stop(pid).await;
                return Ok(());
            };
            let reason = format!("PostgreSQL {}", describe(status));
            let wait = match restarts.after_end(started_at, ready) {
                Next::StartAfter(wait) => wait,
                Next::GiveUp => {
                    return Err(io::Error::other(format!("{reason}, five times within a minute")));
                }
            };
            self.reins.report(&Report::Exited { reason });
            tokio::select! {
                () = sleep(wait) => {}
                () = self.reins.gone() => return Ok(()),
            }
        }
    }

    /// Makes the cluster if there is none. False: the main process went meanwhile.
    async fn initialise(&mut self) -> io::Result<bool> {
        if self.order.layout.cluster().exists() {
            return Ok(true);
        }
        let pid = initialise::begin(&self.order, &mut self.children, &mut self.log)?;
        let status = tokio::select! {
            status = self.children.end_of(pid) => status,
            () = self.reins.gone() => {
                self.children.signal(pid, Signal::KILL);
                self.children.end_of(pid).await;
                // `initdb` has children of its own, who would still write while the next one clears up.
                leftovers::end_adopted(&mut self.children).await;
                return Ok(false);
            }
        };
        if status.exit_status() != Some(0) {
            return Err(io::Error::other(format!("initdb {}", describe(status))));
        }
        initialise::finish(&self.order)?;
        Ok(true)
    }

    fn start(&mut self) -> io::Result<Pid> {
        let settings = self.order.layout.settings().join("postgresql.conf");
        let mut command = Command::new(self.order.binaries.join("postgres"));
        command.arg("-D").arg(self.order.layout.cluster());
        command.arg("-c").arg(format!("config_file={}", settings.display()));
        for (name, value) in DURABLE {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        plain_environment(&mut command);
        command.current_dir("/");
        // If this guard is killed, the kernel asks for the fast shutdown that the guard would have asked for.
        let pid =
            self.children.start(&mut command, self.order.account.as_ref(), self.log.pipe()?, Signal::INT)?;
        self.reins.report(&Report::Started { pid: pid.as_raw_nonzero().get() });
        Ok(pid)
    }

    /// How the server ended and whether it had been ready; `None`: the main process is gone.
    async fn watch(&mut self, pid: Pid) -> Option<(WaitStatus, bool)> {
        let raw = pid.as_raw_nonzero().get();
        let mut ready = false;
        loop {
            tokio::select! {
                status = self.children.end_of(pid) => return Some((status, ready)),
                () = self.reins.gone() => return None,
                () = until_ready(&self.order.layout, raw), if !ready => {
                    ready = true;
                    self.reins.report(&Report::Ready { pid: raw });
                }
            }
        }
    }

    async fn stop(&mut self, pid: Pid) {
        self.lock.is_stopping();
        let mut shutdown = Shutdown::begin(pid.as_raw_nonzero().get());
        while !shutdown.is_hopeless() {
            if let Some(signal) = shutdown.next_signal() {
                self.children.signal(pid, signal);
            }
            if timeout(STOP_POLL, self.children.end_of(pid)).await.is_ok() {
                self.order.layout.forget_elsewhere();
                return;
            }
        }
    }
}

/// Returns when the postmaster says that it takes connections. Whether it answers, the main process finds out with a query.
async fn until_ready(layout: &Layout, pid: i32) {
    while !PidFile::read(layout).is_some_and(|file| file.pid == pid && file.ready) {
        sleep(READY_POLL).await;
    }
}

/// Nothing of our environment: it may hold secrets, and settings of PostgreSQL's programs (`PG…`, `LC_…`).
pub(super) fn plain_environment(command: &mut Command) {
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
}

fn write_settings(order: &ServerOrder) -> io::Result<()> {
    let directory = order.layout.settings();
    let mode = if order.account.is_some() { 0o644 } else { 0o600 };
    for (name, text) in [
        ("postgresql.conf", &order.postgresql_conf),
        ("pg_hba.conf", &order.pg_hba_conf),
        ("pg_ident.conf", &order.pg_ident_conf),
    ] {
        replace(&directory.join(name), text, mode)?;
    }
    Ok(())
}

/// Writes beside and renames: a reader sees the old text or the new.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    use std::io::Write;
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let mut file = fs::File::options().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(beside, path)
}
