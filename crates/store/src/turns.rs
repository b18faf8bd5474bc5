//! Whose turn it is for a connection. Connections are few and all callers share them, so no tenant's calls may hold all: each tenant
//! has some places, its further calls wait in a line of its own, and all tenants together leave some connections to others. So it is with
//! who is nobody yet (who signs in, a device that asks for its token, whoever looks at a page): there is a line for each network they come
//! from. What all lines leave is for the operator and for background work. A call has one place however many transactions it opens, from
//! its first one on for as long as one is open, so that no call waits for a place while it has one.
//!
//! What is no call has no line: [`within`] is around calls of the API and of pages, and nowhere else.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use rowhouse_domain::id::{ApplicationId, TenantId};
use rowhouse_domain::network::Network;

use crate::lines::{Crowded, Lines, Place};
use crate::pool::StoreError;

/// Calls of one tenant, or of one network, that wait at once; more are refused.
pub(crate) const WAITING_MAX: usize = 128;

tokio::task_local! {
    static CALL: Arc<Call>;
}

/// One call of the API, or of a page.
#[derive(Debug)]
struct Call {
    from: Network,
    whose: OnceLock<Whose>,
    /// Told with what the call changes.
    application: OnceLock<ApplicationId>,
    turn: Mutex<Weak<Place>>,
}

/// Who turned out to call.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Tenant(TenantId),
    Operator,
}

/// Runs `call`, which comes from this address as far as that is known, as one call; with its answer comes the tenant that it turned out to
/// be of. Those whose address is not known stand in one line.
pub async fn within<F: Future>(from: Option<IpAddr>, call: F) -> (F::Output, Option<TenantId>) {
    let own = Arc::new(Call {
        from: Network::of(from.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))),
        whose: OnceLock::new(),
        application: OnceLock::new(),
        turn: Mutex::default(),
    });
    let answer = CALL.scope(own.clone(), call).await;
    let tenant = match own.whose.get() {
        Some(Whose::Tenant(tenant)) => Some(*tenant),
        Some(Whose::Operator) | None => None,
    };
    (answer, tenant)
}

/// The running call is of `tenant`, and takes its turn from now on. Outside of a call this does nothing.
pub fn is_of(tenant: TenantId) {
    let _ = CALL.try_with(|call| call.whose.set(Whose::Tenant(tenant)));
}

/// The running call is the operator's, and waits in no line from now on. Outside of a call this does nothing.
pub fn is_operators() {
    let _ = CALL.try_with(|call| call.whose.set(Whose::Operator));
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

/// The lines of all.
#[derive(Debug)]
pub(crate) struct Turns {
    wait: Duration,
    tenants: Lines<TenantId>,
    strangers: Lines<Network>,
}

impl Turns {
    /// Of so many connections three fifths are for tenants, a fifth for one of them; a fifth is for who is nobody yet, a tenth for one network. A
    /// call waits so long.
    pub(crate) fn new(connections: usize, wait: Duration) -> Self {
        Turns {
            wait,
            tenants: Lines::new(connections / 5, connections * 3 / 5, WAITING_MAX),
            strangers: Lines::new(connections / 10, connections / 5, WAITING_MAX),
        }
    }

    /// The place of the running call; `None` for what stands in no line.
    ///
    /// # Errors
    /// [`StoreError::Crowded`] when too many calls wait in its line, or none of its places became free in time.
    pub(crate) async fn take(&self) -> Result<Option<Arc<Place>>, StoreError> {
        let Ok(call) = CALL.try_with(Arc::clone) else { return Ok(None) };
        if let Some(Whose::Operator) = call.whose.get() {
            return Ok(None);
        }
        if let Some(turn) = lock(&call.turn).upgrade() {
            return Ok(Some(turn));
        }
        let taken = tokio::time::timeout(self.wait, self.stand_in_line(&call)).await;
        let turn = Arc::new(taken.map_err(|_elapsed| StoreError::Crowded)??);
        *lock(&call.turn) = Arc::downgrade(&turn);
        Ok(Some(turn))
    }

    async fn stand_in_line(&self, call: &Call) -> Result<Place, Crowded> {
        match call.whose.get() {
            Some(Whose::Tenant(tenant)) => self.tenants.take(*tenant).await,
            Some(Whose::Operator) | None => self.strangers.take(call.from).await,
        }
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
    async fn call_of(turns: &Turns, tenant: u128) -> Result<Option<Arc<Place>>, StoreError> {
        let call = async {
            is_of(TenantId::from_u128(tenant));
            turns.take().await
        };
        within(None, call).await.0
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
            assert!(futures_poll(std::pin::pin!(call_of(&turns, 5))).is_pending(), "eight are for others");
            assert!(turns.take().await.expect("no line").is_none(), "what is no call does not wait");
            assert!(operators_call(&turns).await.expect("no line").is_none(), "nor does the operator");
            held.remove(0);
            assert!(fifth.await.expect("a place").is_some());
        });
    }

    async fn operators_call(turns: &Turns) -> Result<Option<Arc<Place>>, StoreError> {
        let call = async {
            is_operators();
            turns.take().await
        };
        within(None, call).await.0
    }

    /// Takes a place for who is nobody yet.
    async fn call_from(turns: &Turns, address: &str) -> Result<Option<Arc<Place>>, StoreError> {
        within(Some(address.parse().expect("an address")), turns.take()).await.0
    }

    #[test]
    fn who_is_nobody_yet_stands_in_the_line_of_his_network() {
        run(async {
            let turns = Turns::new(20, LONG);
            let mut held = Vec::new();
            for address in ["2001:db8::1", "2001:db8::2", "203.0.113.9"] {
                held.push(call_from(&turns, address).await.expect("a place"));
            }
            let mut third = std::pin::pin!(call_from(&turns, "2001:db8::3"));
            assert!(futures_poll(third.as_mut()).is_pending(), "a network has two");
            held.push(call_from(&turns, "203.0.113.10").await.expect("a place"));
            // It goes when it has been looked at: who waits longest is next.
            let is_let_in = futures_poll(std::pin::pin!(call_from(&turns, "203.0.113.11"))).is_ready();
            assert!(!is_let_in, "all networks together have four");
            assert!(call_of(&turns, 1).await.expect("its own places").is_some(), "tenants have theirs");
            held.remove(0);
            assert!(third.await.expect("a place").is_some());
        });
    }

    #[test]
    fn who_turns_out_to_be_of_a_tenant_waits_in_its_line_from_then_on() {
        run(async {
            let turns = Turns::new(5, LONG);
            let _held = call_of(&turns, 1).await.expect("its only place");
            let call = async {
                drop(turns.take().await.expect("a place of who is nobody yet"));
                is_of(TenantId::from_u128(1));
                futures_poll(std::pin::pin!(turns.take())).is_pending()
            };
            assert_eq!(within(None, call).await, (true, Some(TenantId::from_u128(1))));
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
            assert_eq!(within(None, call).await.1, Some(TenantId::from_u128(1)));
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
}
