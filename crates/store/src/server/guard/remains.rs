//! What an earlier server left on a cluster, and how to get to where a new one may start: no process of the old one, and nobody attached
//! to its shared memory.
//!
//! PostgreSQL guards itself with `postmaster.pid`, but knows a process only by its number. So it refuses for ever when the number
//! belongs to a dead process that nobody reaps, or was given to another program of the same account. Here the number counts only
//! with proof: the program's name, where it works, when it started. A file is removed only when its process is proven dead and nothing
//! of it is left; in any doubt PostgreSQL's own refusal stands.

use std::{fs, io, path::Path, time::Duration};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, sleep};

use super::{children::Children, shutdown::Shutdown};
use crate::server::{
    directory::Layout,
    process::{self, Seen},
};

const POLL: Duration = Duration::from_millis(10);
/// Backends whose postmaster is dead end on SIGQUIT; one that does not is stuck. PostgreSQL itself waits as long.
const BACKENDS_MAX: Duration = Duration::from_secs(5);
/// After this long something holds on that we cannot end.
const ALL_MAX: Duration = Duration::from_secs(70);
/// Start times come from two clocks, one in whole seconds.
const START_TOLERANCE_S: u64 = 3;

/// What `postmaster.pid` says, as far as it is written (`src/include/utils/pidfile.h`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PidFile {
    pub pid: i32,
    cluster: String,
    started_at_s: u64,
    shared_memory: Option<i32>,
    pub ready: bool,
}

impl PidFile {
    pub fn read(layout: &Layout) -> Option<PidFile> {
        PidFile::parse(&fs::read_to_string(layout.pid_file()).ok()?)
    }

    fn parse(text: &str) -> Option<PidFile> {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        // A number below zero is a single-user server's.
        let pid = lines.first()?.parse::<i32>().ok()?.checked_abs().filter(|pid| *pid > 0)?;
        Some(PidFile {
            pid,
            cluster: (*lines.get(1)?).to_owned(),
            started_at_s: lines.get(2)?.parse().ok()?,
            shared_memory: lines.get(6).and_then(|line| line.split_whitespace().nth(1)?.parse().ok()),
            ready: lines.get(7).is_some_and(|line| *line == "ready"),
        })
    }

    /// Whether the number still means the process that wrote the file, and that one lives.
    fn is_alive(&self, cluster: &Path) -> bool {
        let Some(seen) = Seen::at(self.pid) else { return false };
        if seen.is_dead() || seen.program != "postgres" {
            return false;
        }
        // Where it works is the best proof: a postmaster never leaves its cluster. The clock may have been set since it wrote the file.
        match process::working_directory(self.pid) {
            Some(directory) => directory == cluster,
            None => Path::new(&self.cluster) == cluster && self.started_like(&seen),
        }
    }

    fn started_like(&self, seen: &Seen) -> bool {
        seen.started_at_s().is_none_or(|at_s| at_s.abs_diff(self.started_at_s) <= START_TOLERANCE_S)
    }
}

/// Returns when a server may be started: stops one that lives, waits for its backends, and removes files whose process is proven dead.
/// `children` may be the parent of the dead.
pub(super) async fn settle(layout: &Layout, children: &mut Children) -> io::Result<()> {
    let cluster = layout.cluster();
    let begun = Instant::now();
    let mut backends_since = None;
    let mut shutdown = None;
    loop {
        children.reap();
        let file = PidFile::read(layout);
        if let Some(file) = file.as_ref().filter(|file| file.is_alive(&cluster)) {
            let shutdown = shutdown.get_or_insert_with(|| Shutdown::begin(file.pid));
            if let Some(wanted) = shutdown.next_signal() {
                signal(file.pid, wanted, || file.is_alive(&cluster));
            }
        } else {
            let attached = file.as_ref().and_then(|file| file.shared_memory).is_some_and(is_attached);
            let backends = backends_of(&cluster);
            if !attached && backends.is_empty() {
                return remove_dead_files(layout, file.as_ref());
            }
            let since: Instant = *backends_since.get_or_insert_with(Instant::now);
            let wanted = if since.elapsed() < BACKENDS_MAX { Signal::QUIT } else { Signal::KILL };
            for backend in backends {
                signal(backend, wanted, || is_backend_of(backend, &cluster));
            }
        }
        if begun.elapsed() > ALL_MAX {
            return Err(io::Error::other(format!("an earlier server still holds {}", cluster.display())));
        }
        sleep(POLL).await;
    }
}

/// Sends a signal to a process that is not our child, without the race in which its number is given to another: the descriptor means
/// one process, and `still` is asked after it was opened.
fn signal(pid: i32, signal: Signal, still: impl Fn() -> bool) {
    let Some(pid) = Pid::from_raw(pid) else { return };
    if let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty())
        && still()
    {
        let _ = pidfd_send_signal(descriptor, signal);
    }
}

fn backends_of(cluster: &Path) -> Vec<i32> {
    process::all().into_iter().filter(|pid| is_backend_of(*pid, cluster)).collect()
}

fn is_backend_of(pid: i32, cluster: &Path) -> bool {
    let Some(seen) = Seen::at(pid) else { return false };
    seen.program == "postgres"
        && !seen.is_dead()
        && process::working_directory(pid).is_some_and(|directory| directory == cluster)
}

/// Whether anybody is attached to this System V segment (`proc_sysvipc_shm(5)`: id is the second column, attachments the seventh).
fn is_attached(id: i32) -> bool {
    let text = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    text.lines().any(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns.get(1).is_some_and(|column| *column == id.to_string())
            && columns.get(6).is_some_and(|column| *column != "0")
    })
}

/// PostgreSQL removes the file of a number that is free. It refuses one that is taken, by a dead process or by another program, and one
/// that is empty: these are ours to remove.
fn remove_dead_files(layout: &Layout, file: Option<&PidFile>) -> io::Result<()> {
    let is_taken = file.is_none_or(|file| Seen::at(file.pid).is_some());
    if !is_taken {
        return Ok(());
    }
    for path in [layout.pid_file(), layout.socket_lock()] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str =
        "4711\n/data/cluster\n1700000000\n5432\n/data/socket\n\n  5432001    32768\nready   \n";

    #[test]
    fn reads_what_a_postmaster_writes_bit_by_bit() {
        let whole = PidFile::parse(WHOLE).expect("a whole file");
        assert_eq!((whole.pid, whole.shared_memory, whole.ready), (4711, Some(32_768), true));
        let early = PidFile::parse("4711\n/data/cluster\n1700000000\n5432\n").expect("a file just begun");
        assert_eq!((early.pid, early.shared_memory, early.ready), (4711, None, false));
        assert_eq!(
            PidFile::parse("-4711\n/data/cluster\n1700000000\n").expect("a single-user server's").pid,
            4711
        );
        for broken in ["", "x\n/data\n1\n", "0\n/data\n1\n", "4711\n"] {
            assert_eq!(PidFile::parse(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn a_number_of_another_program_is_not_a_server() {
        let own = i32::try_from(std::process::id()).expect("pids fit");
        let file = PidFile { pid: own, ..PidFile::parse(WHOLE).expect("a whole file") };
        assert!(!file.is_alive(Path::new("/data/cluster")));
    }
}
