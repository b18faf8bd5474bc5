//! How a gateway of its own stands with the control plane.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::drain::Drain;

/// Seconds without word after which health says that the control plane is away.
const AWAY_S: i64 = 10;

/// What follower and shipper note, and health and metrics read.
#[derive(Debug, Default)]
pub struct Standing {
    heard_us: AtomicI64,
    /// Frames that the control plane has taken since the start.
    pub shipped: AtomicU64,
    /// Versions that were put in force since the start.
    pub versions: AtomicU64,
    connected: AtomicBool,
    revoked: AtomicBool,
    stale: AtomicBool,
    /// How far the node is with being drained.
    pub drain: watch::Sender<Drain>,
    problems: Mutex<[Option<String>; 3]>,
}

/// What a problem is about; a newer one of the same takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The connection.
    Link = 0,
    /// The copy on the disk.
    Copy = 1,
    /// The journal's way.
    Shipping = 2,
}

impl Standing {
    /// The control plane says that what is here is all there is.
    pub fn heard(&self, now_us: i64) {
        self.heard_us.fetch_max(now_us, Ordering::Relaxed);
    }

    /// Seconds since then; `None` if it was never heard of.
    pub fn age_s(&self, now_us: i64) -> Option<i64> {
        let heard_us = self.heard_us.load(Ordering::Relaxed);
        (heard_us != 0).then(|| (now_us - heard_us).max(0) / 1_000_000)
    }

    /// When it was last heard of, µs since 1970; 0 for never.
    pub fn heard_us(&self) -> i64 {
        self.heard_us.load(Ordering::Relaxed)
    }

    /// Notes whether there is a connection.
    pub fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    /// Whether there is.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Notes that the node is revoked, for good.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::Relaxed);
    }

    /// Whether it is.
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Relaxed)
    }

    /// Notes whether the directory is stale; whether that is news.
    pub fn set_stale(&self, stale: bool) -> bool {
        self.stale.swap(stale, Ordering::Relaxed) != stale
    }

    /// Whether it is.
    pub fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// Notes a problem, or that there is none. Whether that is news.
    pub fn note(&self, about: About, problem: Option<String>) -> bool {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        let own = &mut problems[about as usize];
        let is_news = *own != problem;
        *own = problem;
        is_news
    }

    /// What is wrong now, with the part that it is about.
    pub fn problems(&self, now_us: i64) -> Vec<(&'static str, String)> {
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all = Vec::new();
        if let Some(age_s) = self.age_s(now_us).filter(|age_s| *age_s >= AWAY_S) {
            all.push(("control", format!("not heard of for {age_s} s")));
        }
        let parts = ["control", "copy", "shipping"];
        all.extend(parts.into_iter().zip(problems).filter_map(|(part, own)| Some((part, own?))));
        all
    }
}
