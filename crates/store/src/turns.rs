//! Whose turn it is for a connection. Connections are few and all callers share them, so no tenant's calls may hold all: each tenant
//! has some places, its further calls wait in a line of its own, and all tenants together leave some connections to others (who signs
//! in, the operator, background work). A call has one place however many transactions it opens, from its first one on for as long as
//! one is open, so that no call waits for a place while it has one.
//!
//! What is no call of a tenant has no line: [`within`] is around calls of the API and nowhere else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use rowhouse_domain::id::{ApplicationId, TenantId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::pool::StoreError;

/// Calls of one tenant that wait at once; more are refused.
pub(crate) const WAITING_MAX: usize = 128;
/// Tenants in the book before those are forgotten that have nothing under way.
const KNOWN_MAX: usize = 1_024;

tokio::task_local! {
    static CALL: Arc<Call>;
}

/// One call of the API.
#[derive(Debug, Default)]
struct Call {
    tenant: OnceLock<TenantId>,
    /// Told with what the call changes.
    application: OnceLock<ApplicationId>,
    turn: Mutex<Weak<Turn>>,
}

/// Runs `call` as one call of the API; with its answer comes the tenant that it turned out to be of.
pub async fn within<F: Future>(call: F) -> (F::Output, Option<TenantId>) {
    let own = Arc::new(Call::default());
    let answer = CALL.scope(own.clone(), call).await;
    (answer, own.tenant.get().copied())
}

/// The running call is of `tenant`, and takes its turn from now on. Outside of a call this does nothing.
pub fn is_of(tenant: TenantId) {
    let _ = CALL.try_with(|call| call.tenant.set(tenant));
}

/// The running call is made by an application that a person has let in: what it changes is told as done through it. Outside of a call this
/// does nothing.
pub fn is_through(application: ApplicationId) {
    let _ = CALL.try_with(|call| call.application.set(application));
}

/// The application that makes the running call.
pub(crate) fn application() -> Option<ApplicationId> {
    CALL.try_with(|call| call.application.get().copied()).ok().flatten()
}

/// A place that a call has.
#[derive(Debug)]
pub(crate) struct Turn {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    _line: Arc<Line>,
}

/// One tenant's places, and how many wait for one.
#[derive(Debug)]
struct Line {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// The lines of all tenants.
#[derive(Debug)]
pub(crate) struct Turns {
    each: usize,
    all: Arc<Semaphore>,
    wait: Duration,
    lines: Mutex<HashMap<TenantId, Arc<Line>>>,
}

impl Turns {
    /// Of so many connections a fifth is for one tenant and seven tenths for all, at least one; a call waits so long.
    pub(crate) fn new(connections: usize, wait: Duration) -> Self {
        let all = (connections * 7 / 10).max(1);
        Turns {
            each: (connections / 5).max(1),
            all: Arc::new(Semaphore::new(all)),
            wait,
            lines: Mutex::default(),
        }
    }

    /// The place of the running call; `None` for what is no call of a tenant.
    ///
    /// # Errors
    /// [`StoreError::Crowded`] when too many calls of the tenant wait, or none of its places became free in time.
    pub(crate) async fn take(&self) -> Result<Option<Arc<Turn>>, StoreError> {
        let Ok(call) = CALL.try_with(Arc::clone) else { return Ok(None) };
        let Some(tenant) = call.tenant.get() else { return Ok(None) };
        if let Some(turn) = lock(&call.turn).upgrade() {
            return Ok(Some(turn));
        }
        let taken = tokio::time::timeout(self.wait, self.stand_in_line(*tenant)).await;
        let turn = Arc::new(taken.map_err(|_elapsed| StoreError::Crowded)??);
        *lock(&call.turn) = Arc::downgrade(&turn);
        Ok(Some(turn))
    }

    async fn stand_in_line(&self, tenant: TenantId) -> Result<Turn, StoreError> {
        let line = self.line(tenant);
        let own = match line.places.clone().try_acquire_owned() {
            Ok(own) => own,
            Err(_taken) => {
                let _waiting = line.wait()?;
                line.places.clone().acquire_owned().await.map_err(|_| StoreError::Crowded)?
            }
        };
        let all = self.all.clone().acquire_owned().await.map_err(|_| StoreError::Crowded)?;
        Ok(Turn { _own: own, _all: all, _line: line })
    }

    fn line(&self, tenant: TenantId) -> Arc<Line> {
        let mut lines = lock(&self.lines);
        if lines.len() >= KNOWN_MAX && !lines.contains_key(&tenant) {
            lines.retain(|_, line| Arc::strong_count(line) > 1);
        }
        let fresh =
            || Arc::new(Line { places: Arc::new(Semaphore::new(self.each)), waiting: AtomicUsize::new(0) });
        lines.entry(tenant).or_insert_with(fresh).clone()
    }
}

/// One that waits, until it is dropped.
struct Waiting<'l>(&'l AtomicUsize);

impl Line {
    fn wait(&self) -> Result<Waiting<'_>, StoreError> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let waiting = Waiting(&self.waiting);
        if before < WAITING_MAX { Ok(waiting) } else { Err(StoreError::Crowded) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn lock<T>(own: &Mutex<T>) -> MutexGuard<'_, T> {
    own.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(future)
    }

    /// Takes a place in a call of its own.
    async fn call_of(turns: &Turns, tenant: u128) -> Result<Option<Arc<Turn>>, StoreError> {
        let call = async {
            is_of(TenantId::from_u128(tenant));
            turns.take().await
        };
        within(call).await.0
    }

    #[test]
    fn one_tenant_gets_its_places_and_leaves_the_others_theirs() {
        run(async {
            let turns = Turns::new(20, LONG);
            let mut held = Vec::new();
            for _ in 0..4 {
                held.push(call_of(&turns, 1).await.expect("a place"));
            }
            let mut fifth = std::pin::pin!(call_of(&turns, 1));
            assert!(futures_poll(fifth.as_mut()).is_pending());
            for tenant in 2..4 {
                for _ in 0..4 {
                    held.push(call_of(&turns, tenant).await.expect("a place"));
                }
            }
            held.push(call_of(&turns, 4).await.expect("the 13th"));
            held.push(call_of(&turns, 4).await.expect("the 14th"));
            assert!(futures_poll(std::pin::pin!(call_of(&turns, 5))).is_pending(), "six are for others");
            assert!(turns.take().await.expect("no line").is_none(), "what is no call does not wait");
            let nobodys = within(turns.take()).await;
            assert!(matches!(nobodys, (Ok(None), None)), "nor who has not said who he is");
            held.remove(0);
            assert!(fifth.await.expect("a place").is_some());
        });
    }

    fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn a_call_has_one_place_however_many_transactions_it_opens() {
        run(async {
            let turns = Turns::new(5, LONG);
            let call = async {
                is_of(TenantId::from_u128(1));
                let first = turns.take().await.expect("the only place");
                let second = turns.take().await.expect("the same");
                assert!(Arc::ptr_eq(first.as_ref().expect("one"), second.as_ref().expect("one")));
                drop(first);
                assert!(futures_poll(std::pin::pin!(call_of(&turns, 1))).is_pending(), "it is still taken");
                drop(second);
                assert!(call_of(&turns, 1).await.expect("free").is_some());
            };
            assert_eq!(within(call).await.1, Some(TenantId::from_u128(1)));
        });
    }

    #[test]
    fn a_line_is_neither_endless_nor_for_ever() {
        run(async {
            let turns = Turns::new(1, LONG);
            let _held = call_of(&turns, 1).await.expect("the only place");
            let mut line: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(call_of(&turns, 1))).collect();
            assert!(line.iter_mut().all(|waiting| futures_poll(waiting.as_mut()).is_pending()));
            assert!(matches!(call_of(&turns, 1).await, Err(StoreError::Crowded)));
            line.pop();
            assert!(futures_poll(std::pin::pin!(call_of(&turns, 1))).is_pending(), "who goes makes room");

            let hasty = Turns::new(1, Duration::ZERO);
            let _held = call_of(&hasty, 1).await.expect("the only place");
            assert!(matches!(call_of(&hasty, 1).await, Err(StoreError::Crowded)));
        });
    }

    #[test]
    fn tenants_with_nothing_under_way_are_forgotten() {
        run(async {
            let turns = Turns::new(20, LONG);
            let _held = call_of(&turns, 1).await.expect("a place");
            for tenant in 2..=(KNOWN_MAX as u128 + 5) {
                call_of(&turns, tenant).await.expect("a place");
            }
            let lines = lock(&turns.lines);
            assert!(lines.len() < 10 && lines.contains_key(&TenantId::from_u128(1)), "{}", lines.len());
        });
    }
}
