//! Many questions at once are work for a thread of its own: those that serve go on meanwhile. So many such calls work at once, of one
//! tenant only one, and others wait for their turn; each has no more work than a batch may be.

use std::sync::LazyLock;

use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::lines::{Crowded, Lines};

/// Calls of one tenant, and of all, that work at once.
const OF_ONE: usize = 1;
const OF_ALL: usize = 2;
/// Calls of one tenant that wait; more are refused.
const WAITING_MAX: usize = 16;
/// What is told when nothing is left.
pub const TOO_MUCH: &str = "The conditions are too much work together: ask for less at once.";

static LINES: LazyLock<Lines<TenantId>> = LazyLock::new(|| Lines::new(OF_ONE, OF_ALL, WAITING_MAX));

/// Does it for `tenant`, off the threads that serve.
///
/// # Errors
/// 429 `limits.exceeded` when too many of the tenant's wait.
pub async fn off_the_threads<T: Send + 'static>(
    tenant: TenantId,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let turn = LINES.take(tenant).await.map_err(busy)?;
    // Held by the work itself: who hangs up makes no room before it is done.
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    done.await.map_err(|error| Refusal::new(&kind::INTERNAL, "").private(error.to_string()))
}

fn busy(Crowded: Crowded) -> Refusal {
    Refusal::new(&kind::LIMIT_EXCEEDED, "Too many calls of the tenant ask for much at once.").retry_after(1)
}
