//! The lock that keeps two supervisors off one directory: `flock` on `<data>/rowhouse.lock`, held by the guard for its life.
//!
//! The kernel drops it however the guard dies. The file's content only explains: who holds it, for the message of who comes second. A
//! holder whose main process is dead is on its way out, so it is waited for; any other is refused at once.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    process::{getpid, getppid},
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::server::process::Identity;

/// A guard that stops its server needs at most 30 s until SIGQUIT, and as long again after it.
const WAIT_MAX: Duration = Duration::from_secs(75);
const POLL: Duration = Duration::from_millis(10);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Holder {
    main: Option<Identity>,
    guard: i32,
    stopping: bool,
}

/// The lock, while it lives.
pub(super) struct Lock {
    file: File,
    holder: Holder,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum LockError {
    #[error("in use by process {pid} ({command})")]
    InUse { pid: i32, command: String },
    #[error("cannot lock the directory: {0}")]
    Io(#[from] io::Error),
}

impl Lock {
    /// Takes the lock for the process that started this guard.
    pub async fn take(path: &Path) -> Result<Lock, LockError> {
        // Whoever can open it can lock it.
        let file =
            File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let deadline = Instant::now() + WAIT_MAX;
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(io::Error::from(error).into());
            }
            let holder = read_holder(path);
            if Instant::now() > deadline || holder.as_ref().is_some_and(Holder::is_to_stay) {
                return Err(in_use(holder));
            }
            sleep(POLL).await;
        }
        let main = getppid().and_then(|parent| Identity::of(parent.as_raw_nonzero().get()));
        let holder = Holder { main, guard: getpid().as_raw_nonzero().get(), stopping: false };
        let mut lock = Lock { file, holder };
        lock.write()?;
        Ok(lock)
    }

    /// Tells who comes next that the lock will be free.
    pub fn is_stopping(&mut self) {
        self.holder.stopping = true;
        // Only an explanation: who comes next waits or refuses by the main process's state otherwise.
        let _ = self.write();
    }

    fn write(&mut self) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let text = serde_json::to_vec(&self.holder)?;
        self.file.set_len(0)?;
        self.file.write_all_at(&text, 0)?;
        self.file.flush()
    }
}

impl Holder {
    fn is_to_stay(&self) -> bool {
        !self.stopping && self.main.as_ref().is_some_and(Identity::is_alive)
    }
}

/// `None` while the holder is just writing it.
fn read_holder(path: &Path) -> Option<Holder> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn in_use(holder: Option<Holder>) -> LockError {
    let guard = holder.as_ref().map_or(0, |holder| holder.guard);
    match holder.and_then(|holder| holder.main) {
        Some(main) => LockError::InUse { pid: main.pid, command: main.command },
        None => LockError::InUse { pid: guard, command: "a guard whose main process is gone".to_owned() },
    }
}
