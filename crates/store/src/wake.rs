//! Who waits for what: a commit wakes those whose rows it touched, and nobody else. Waking everybody with each commit made a
//! dozen transactions of one, most of which found nothing, and some of which committed and woke everybody again.
//!
//! A wake-up is a hint. It is given within this process and may be lost with it; whoever waits looks by itself now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::sync::watch;

/// What a commit may touch that somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Notices, from which the directory is made: of every change that has one.
    Notices,
    /// Drafts of audit events: of every change.
    Outbox,
    /// Sagas that may be taken further now.
    Sagas,
    /// Operations that are over, or wait for a person: for who follows one.
    Operations,
    /// Places: where tenants lie, and what they may do there.
    Places,
    /// What runs on its own for tenants.
    Instances,
    /// Rollouts of tables.
    Rollouts,
    /// Backups to be taken.
    Backups,
    /// Messages to be sent.
    Messages,
}

const TOPICS: usize = 9;

/// The bells of one store.
#[derive(Debug, Clone)]
pub(crate) struct Bells(Arc<[watch::Sender<u64>; TOPICS]>);

impl Bells {
    pub fn new() -> Self {
        Bells(Arc::new(std::array::from_fn(|_| watch::channel(0).0)))
    }

    pub fn listen(&self, topic: Topic) -> watch::Receiver<u64> {
        self.0[topic as usize].subscribe()
    }

    fn ring(&self, touched: u16) {
        let bells = self.0.iter().enumerate();
        for (_, bell) in bells.filter(|(index, _)| touched & 1 << index != 0) {
            bell.send_modify(|count| *count += 1);
        }
    }
}

/// What one transaction has touched so far.
#[derive(Debug, Default)]
pub(crate) struct Touched(AtomicU16);

impl Touched {
    pub fn add(&self, topic: Topic) {
        self.0.fetch_or(1 << topic as u16, Ordering::Relaxed);
    }

    /// Rings for all of it; to be called after the commit.
    pub fn announce(&self, bells: &Bells) {
        bells.ring(self.0.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_touched_rings() {
        let bells = Bells::new();
        let (mut sagas, mut last, outbox) =
            (bells.listen(Topic::Sagas), bells.listen(Topic::Messages), bells.listen(Topic::Outbox));
        let touched = Touched::default();
        touched.announce(&bells);
        assert!(!sagas.has_changed().expect("open"));
        touched.add(Topic::Sagas);
        touched.add(Topic::Messages);
        touched.announce(&bells);
        assert!(sagas.has_changed().expect("open") && last.has_changed().expect("open"));
        assert!(!outbox.has_changed().expect("open"));
        assert_eq!((*sagas.borrow_and_update(), *last.borrow_and_update()), (1, 1));
    }
}
