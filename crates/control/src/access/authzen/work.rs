//! Many questions at once are work for a thread of its own: those that serve go on meanwhile. So many such calls work at once, others
//! wait for their turn; each has no more work than a batch may be.

use rowhouse_domain::refusal::{Refusal, kind};
use tokio::sync::Semaphore;

/// Calls that work at once.
const AT_ONCE: usize = 2;
/// Calls that work or wait; more are refused.
const WAITING_MAX: usize = 64;
/// What is told when nothing is left.
pub const TOO_MUCH: &str = "The conditions are too much work together: ask for less at once.";

static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);
static WAITING: Semaphore = Semaphore::const_new(WAITING_MAX);

/// Does it off the threads that serve.
///
/// # Errors
/// 503 `api.busy` when too many wait.
pub async fn off_the_threads<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let _waiting = WAITING.try_acquire().map_err(|_| busy())?;
    let turn = TURNS.acquire().await.map_err(|_| busy())?;
    // Held by the work itself: who hangs up makes no room before it is done.
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    done.await.map_err(|error| Refusal::new(&kind::INTERNAL, "").private(error.to_string()))
}

fn busy() -> Refusal {
    Refusal::new(&kind::RATE_LIMITED, "Too many ask for much at once.").retry_after(1)
}
