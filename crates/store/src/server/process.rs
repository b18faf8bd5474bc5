//! What the kernel says of other processes: `/proc/<pid>`.
//!
//! A number alone is never trusted: pids are used again, and a dead process whose parent does not reap it keeps its own.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use rustix::process::{Pid, WaitOptions, child_subreaper, getpid, waitpid};
use serde::{Deserialize, Serialize};

/// `/proc/<pid>/stat` counts time in ticks of this length; fixed by the kernel's interface on every architecture (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// What `/proc/<pid>/stat` says (`proc_pid_stat(5)`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub program: String,
    pub state: char,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// Time of its start since boot.
    pub started_ticks: u64,
}

impl Seen {
    /// Looks at a process. `None`: there is none with that number.
    pub fn at(pid: i32) -> Option<Seen> {
        Seen::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name is in parentheses and may itself hold any character, so the last one ends it.
    fn parse(text: &str) -> Option<Seen> {
        let (before, after) = text.rsplit_once(')')?;
        let program = before.split_once('(')?.1.to_owned();
        let mut fields = after.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        let started_ticks = fields.nth(15)?.parse().ok()?;
        Some(Seen { program, state, parent, group, session, started_ticks })
    }

    /// Dead: it has ended, and only its parent's failure to ask keeps its number.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// Seconds since 1970 when it started, by the clock as it stands now.
    pub fn started_at_s(&self) -> Option<u64> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let booted: u64 = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        Some(booted + self.started_ticks / TICKS_PER_SECOND)
    }
}

/// Proof of which process a number meant: it and its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub pid: i32,
    pub started_ticks: u64,
    pub command: String,
}

impl Identity {
    pub fn of(pid: i32) -> Option<Identity> {
        let seen = Seen::at(pid)?;
        Some(Identity { pid, started_ticks: seen.started_ticks, command: command_line(pid) })
    }

    pub fn is_alive(&self) -> bool {
        Seen::at(self.pid).is_some_and(|seen| seen.started_ticks == self.started_ticks && !seen.is_dead())
    }
}

/// Program and arguments, with spaces between.
pub(super) fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ")
}

/// Where it works. `None` also when we may not know.
pub(super) fn working_directory(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

/// Numbers of all processes.
pub(super) fn all() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Held while this process waits for a short-lived `postgres` of its own, which [`reap_adopted`] must not take from it.
pub(super) static OWN_POSTGRES: Mutex<()> = Mutex::new(());

/// Reaps dead processes of PostgreSQL that came to us because their guard died, and the dead process `known` of a service.
///
/// Orphans come to a main process only when it is the first process of a container, or was made a subreaper. Others of its children
/// are not touched: whoever started them waits for them.
pub(super) fn reap_adopted(known: Option<i32>) {
    let is_first = getpid() == Pid::INIT;
    if !is_first && !matches!(child_subreaper(), Ok(Some(_))) {
        return;
    }
    let _own = OWN_POSTGRES.lock().unwrap_or_else(PoisonError::into_inner);
    let own = getpid().as_raw_nonzero().get();
    for pid in all() {
        let Some(seen) = Seen::at(pid).filter(|seen| seen.parent == own && seen.is_dead()) else { continue };
        if seen.program == "postgres" || Some(pid) == known {
            // Fails if it was reaped meanwhile.
            let _ = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_name_with_parentheses_and_spaces() {
        let text = "42 (a) b (c)) Z 7 8 9 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 987 0 0";
        let expected = Seen {
            program: "a) b (c)".to_owned(),
            state: 'Z',
            parent: 7,
            group: 8,
            session: 9,
            started_ticks: 987,
        };
        let seen = Seen::parse(text).expect("a line of stat");
        assert!(seen.is_dead());
        assert_eq!(seen, expected);
        assert_eq!(Seen::parse("42 (x) R"), None);
    }

    #[test]
    fn an_identity_is_more_than_a_number() {
        let own = i32::try_from(std::process::id()).expect("pids fit");
        let identity = Identity::of(own).expect("this process");
        assert!(identity.is_alive());
        let reused = Identity { started_ticks: identity.started_ticks + 1, ..identity };
        assert!(!reused.is_alive());
    }
}
