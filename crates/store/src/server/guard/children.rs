//! Starting, signalling and reaping processes. The one place of this crate's guard with `unsafe`: see [`Children::start`].
#![allow(unsafe_code)]

use std::{
    collections::BTreeMap,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Command, Stdio},
};

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, set_child_subreaper,
    set_parent_process_death_signal, wait,
};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use crate::server::account::Account;

/// The guard's children, and those it adopted. Every dead one is reaped, also those nobody asks about.
pub(super) struct Children {
    child_ended: SignalStream,
    /// Those we started; `Some` once they have ended.
    started: BTreeMap<i32, Option<WaitStatus>>,
}

impl Children {
    /// Makes this process the parent of all orphans among its descendants.
    pub fn new() -> io::Result<Children> {
        set_child_subreaper(Some(getpid()))?;
        Ok(Children { child_ended: signal(SignalKind::child())?, started: BTreeMap::new() })
    }

    /// Starts a process in a group of its own, as `account` if given, printing to `output`. If the guard dies, the kernel sends it
    /// `if_guard_dies`, so that it is never left without one. Unlike most programs the guard may rely on this: the kernel acts when
    /// the starting *thread* ends, and the guard has one.
    pub fn start(
        &mut self,
        command: &mut Command,
        account: Option<&Account>,
        output: OwnedFd,
        if_guard_dies: Signal,
    ) -> io::Result<Pid> {
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        if let Some(account) = account {
            // As root, the standard library drops supplementary groups before it changes the user.
            command.gid(account.gid).uid(account.uid);
        }
        let guard = getpid();
        let in_child = move || {
            set_parent_process_death_signal(Some(if_guard_dies))?;
            // The guard died before the line above took effect: nobody would ever tell this child.
            if getppid() != Some(guard) {
                return Err(io::Error::from(rustix::io::Errno::SRCH));
            }
            Ok(())
        };
        // SAFETY: between fork and exec only async-signal-safe work is allowed (fork(2)). The closure makes two system calls, prctl and
        // getppid, without allocating or locking; its error is made from a number. It runs after the change of user, which would
        // clear the death signal (prctl(2)).
        unsafe { command.pre_exec(in_child) };
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        self.started.insert(pid.as_raw_nonzero().get(), None);
        Ok(pid)
    }

    /// Returns when a process that we started has ended. May be dropped and called anew.
    pub async fn end_of(&mut self, pid: Pid) -> WaitStatus {
        loop {
            self.reap();
            let number = pid.as_raw_nonzero().get();
            if let Some(Some(status)) = self.started.get(&number).copied() {
                self.started.remove(&number);
                return status;
            }
            // A signal that came between the two lines is kept by the stream. It cannot fail: the runtime lives as long as we do.
            self.child_ended.recv().await;
        }
    }

    /// Takes note of all that have ended.
    pub fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if let Some(ended) = self.started.get_mut(&pid.as_raw_nonzero().get()) {
                *ended = Some(status);
            }
        }
    }

    /// Signals a process that we started. Until we have seen its end its number is its own: nobody else reaps it.
    pub fn signal(&mut self, pid: Pid, signal: Signal) {
        self.reap();
        if let Some(None) = self.started.get(&pid.as_raw_nonzero().get()) {
            // Fails only if it has just ended, which is what was wanted.
            let _ = kill_process(pid, signal);
        }
    }
}

/// How a process ended, for a person.
pub(super) fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (_, Some(number)) => format!("was ended by signal {number}"),
        _ => "ended".to_owned(),
    }
}
