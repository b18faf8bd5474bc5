//! Several things at once within one task.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

/// Runs all of `work` at once until each has ended.
pub(super) async fn together<'a>(work: Vec<Pin<Box<dyn Future<Output = ()> + Send + 'a>>>) {
    let mut running = work;
    std::future::poll_fn(move |context| {
        running.retain_mut(|one| one.as_mut().poll(context).is_pending());
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
