//! How a postmaster is brought to its end: SIGINT, the fast shutdown, which ends with a checkpoint; SIGQUIT, the immediate one, when the
//! fast one takes too long or is stuck. Never SIGTERM, which waits for clients for ever; never SIGKILL, which leaves backends behind. No
//! acknowledged commit depends on which it was: after an immediate shutdown the next start recovers from the log of writes.
//!
//! Stuck it can be. A postmaster that is starting its processes anew after the crash of one, and is asked for a fast shutdown just then,
//! ends them all but the checkpointer, and waits for that one for ever (seen on 15.18 and 15.20: its wait for the checkpointer
//! expects that the crash has ended it already). Restarting within two seconds does not allow for thirty seconds of that.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::server::process::{self, Seen};

/// A fast shutdown that takes longer is made an immediate one.
const FAST_MAX: Duration = Duration::from_secs(30);
/// After SIGQUIT a postmaster ends its processes within 5 s, with SIGKILL if it must; then there is no more to be done.
const ALL_MAX: Duration = Duration::from_secs(60);
/// A checkpointer that is about to write the last checkpoint says so long before this.
const STUCK_MAX: Duration = Duration::from_millis(300);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One shutdown of one postmaster, asked again and again for what is to be done.
pub(super) struct Shutdown {
    postmaster: i32,
    begun: Instant,
    sent: Option<Signal>,
    looked: Instant,
    waiting_since: Option<Instant>,
}

impl Shutdown {
    pub fn begin(postmaster: i32) -> Shutdown {
        let now = Instant::now();
        Shutdown { postmaster, begun: now, sent: None, looked: now, waiting_since: None }
    }

    /// The signal to send now, if any. Each is named once.
    pub fn next_signal(&mut self) -> Option<Signal> {
        let wanted =
            if self.begun.elapsed() > FAST_MAX || self.is_stuck() { Signal::QUIT } else { Signal::INT };
        if self.sent == Some(wanted) || self.sent == Some(Signal::QUIT) {
            return None;
        }
        self.sent = Some(wanted);
        self.sent
    }

    /// Whether waiting longer is of no use.
    pub fn is_hopeless(&self) -> bool {
        self.begun.elapsed() > ALL_MAX
    }

    fn is_stuck(&mut self) -> bool {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            let is_waiting = only_an_idle_checkpointer(self.postmaster);
            self.waiting_since = is_waiting.then(|| self.waiting_since.unwrap_or_else(Instant::now));
        }
        self.waiting_since.is_some_and(|since| since.elapsed() > STUCK_MAX)
    }
}

/// Whether the postmaster has one process left, a checkpointer that does nothing. While it writes, its title says what
/// (`postgres: checkpointer performing shutdown checkpoint`).
fn only_an_idle_checkpointer(postmaster: i32) -> bool {
    let is_child =
        |pid: &i32| Seen::at(*pid).is_some_and(|seen| seen.parent == postmaster && !seen.is_dead());
    let children: Vec<i32> = process::all().into_iter().filter(is_child).collect();
    matches!(children[..], [only] if process::command_line(only).trim_end().ends_with("checkpointer"))
}
