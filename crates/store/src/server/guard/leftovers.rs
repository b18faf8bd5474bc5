//! Processes that a service started and did not end: in its group, or gone from it and adopted by the guard.
//!
//! While its guard lives, both are known to the kernel. For the guard that comes after one that was killed, the group is written down.
//! A group's number counts only together with its session's, which was the dead guard's own: no other process can have both.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::children::Children;
use crate::server::process::{self, Seen};

const POLL: Duration = Duration::from_millis(5);
/// SIGKILL needs no more than a moment, but for a process stuck in the kernel.
const END_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    group: i32,
    session: i32,
}

/// Where the group of a service is written down.
pub(super) struct Record(PathBuf);

impl Record {
    /// Beside the service's environment file.
    pub fn beside(environment: &Path) -> Record {
        Record(environment.with_extension("running"))
    }

    /// Notes the group of a service just started by this guard.
    pub fn write(&self, leader: Pid) -> io::Result<()> {
        let group = Group { group: leader.as_raw_nonzero().get(), session: getpid().as_raw_nonzero().get() };
        let file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&self.0)?;
        serde_json::to_writer(file, &group).map_err(io::Error::other)
    }

    /// Ends what a killed guard's service left, if anything.
    pub async fn end_all(&self, children: &mut Children) {
        let written = fs::read(&self.0).ok().and_then(|text| serde_json::from_slice::<Group>(&text).ok());
        if let Some(Group { group, session }) = written {
            end_all(children, |seen| seen.group == group && seen.session == session).await;
        }
        self.remove();
    }

    pub fn remove(&self) {
        // It may not be there; what stays is checked before it is believed.
        let _ = fs::remove_file(&self.0);
    }
}

/// Ends all that this guard is the parent of.
pub(super) async fn end_adopted(children: &mut Children) {
    let own = getpid().as_raw_nonzero().get();
    end_all(children, |seen| seen.parent == own).await;
}

async fn end_all(children: &mut Children, is_meant: impl Fn(&Seen) -> bool) {
    let deadline = Instant::now() + END_MAX;
    loop {
        children.reap();
        let is_alive = |pid: &i32| Seen::at(*pid).is_some_and(|seen| !seen.is_dead() && is_meant(&seen));
        let alive: Vec<i32> = process::all().into_iter().filter(is_alive).collect();
        if alive.is_empty() || Instant::now() > deadline {
            return;
        }
        for pid in alive {
            // The descriptor means one process; whether it is the one is asked after it was opened.
            if let Some(Ok(descriptor)) = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty()))
                && is_alive(&pid)
            {
                let _ = pidfd_send_signal(descriptor, Signal::KILL);
            }
        }
        sleep(POLL).await;
    }
}
