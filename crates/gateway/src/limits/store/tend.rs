//! What is done for the store beside requests: connecting, probing, saying that this gateway lives, charging what is
//! owed, giving back what was not spent.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::Value;

use super::super::table::LimitTable;
use super::{LimitStore, StoreError, wire};

/// Between two rounds.
const ROUND: Duration = Duration::from_millis(100);
/// Rounds between two probes of a store that failed: 200 to 300 ms.
const PROBE_ROUNDS: u32 = 2;
/// Rounds between two words that this gateway lives.
const LIVE_ROUNDS: u32 = 10;
/// Time for a call that nobody waits for.
const UNHURRIED: Duration = Duration::from_millis(250);

impl LimitStore {
    /// Goes on until the core ends.
    pub(crate) async fn tend(self: Rc<Self>, table: Arc<LimitTable>) {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut round = 0_u32;
        loop {
            rounds.tick().await;
            let left_alone = !self.breaker.borrow().lets_through() || self.connection.borrow().is_none();
            // Gateways that lost it together do not come back together.
            let jitter = (self.shared.elapsed_us(Instant::now()) & 1) as u32;
            let due = if left_alone { PROBE_ROUNDS + jitter } else { LIVE_ROUNDS };
            round += 1;
            if round >= due || !self.tended.replace(true) {
                round = 0;
                self.tell(self.probe().await);
            }
            if self.breaker.borrow().lets_through() && self.connection.borrow().is_some() {
                self.pay().await;
                self.sweep(&table, false).await;
            }
        }
    }

    /// Charges and gives back what there is, once, for an end.
    pub(crate) async fn leave(&self, table: &LimitTable) {
        let last = async {
            self.pay().await;
            self.sweep(table, true).await;
        };
        let _ = tokio::time::timeout(UNHURRIED, last).await;
    }

    /// Says once that it cannot be reached, and why.
    fn tell(&self, probed: Result<(), StoreError>) {
        let failed = probed.err();
        if let Some(error) = failed.as_ref().filter(|_| !self.unreached.get()) {
            let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(%error, cause, "limits are not counted together now");
        }
        self.unreached.set(failed.is_some());
    }

    /// A store that was left alone must answer as fast as requests want it to.
    async fn probe(&self) -> Result<(), StoreError> {
        let live = wire::live(&self.shared.id);
        if self.connect().await? {
            // One that is new may have to be given the library first.
            self.ask(&live, UNHURRIED).await?;
        }
        let is_open = !self.breaker.borrow().lets_through();
        let within = if is_open { self.shared.config.deadline } else { UNHURRIED };
        let answered = self.ask(&live, within).await;
        self.note_probe(&answered);
        let answer = answered?;
        let Value::Int(gateways) = answer else { return Err(StoreError::Unreadable) };
        self.shared.gateways.store(gateways.max(1), Ordering::Relaxed);
        if !self.breaker.borrow().lets_through() {
            tracing::info!("the store of limits answers again");
            self.breaker.borrow_mut().close();
        }
        Ok(())
    }

    /// Charges what was let in without asking.
    async fn pay(&self) {
        let owed = self.owed.borrow_mut().take();
        let mut failed = false;
        for (name, (rule, units)) in owed {
            failed = failed || self.ask(&wire::charge(&name, &rule, units), UNHURRIED).await.is_err();
            if failed {
                self.owe(&name, &rule, units);
            }
        }
    }

    /// Gives back what was not spent of leases that ended.
    async fn sweep(&self, table: &LimitTable, all: bool) {
        let now_us = self.shared.elapsed_us(Instant::now());
        for (key, held) in self.shared.ended(now_us, all) {
            let left = table.end_lease(key, held.expires_us);
            if left > 0 {
                let _ = self.give_back(&held, left, now_us).await;
            }
        }
    }
}
