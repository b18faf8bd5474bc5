//! One timer per request, moved from deadline to deadline and made only when something has to be waited for.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// The deadline of what is going on now.
pub(crate) struct Deadline {
    at: Instant,
    /// May still be set to an earlier deadline; it is moved when it is asked.
    sleep: Option<Pin<Box<Sleep>>>,
}

/// The deadline passed first.
#[derive(Debug)]
pub(crate) struct Elapsed;

impl Deadline {
    /// A deadline at an instant.
    pub(crate) fn at(at: Instant) -> Self {
        Deadline { at, sleep: None }
    }

    /// Moves the deadline.
    pub(crate) fn move_to(&mut self, at: Instant) {
        self.at = at;
    }

    /// Ready once the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }

    /// Waits for `work`, but not beyond the deadline.
    pub(crate) async fn guard<F: Future>(&mut self, work: F) -> Result<F::Output, Elapsed> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => self.poll(cx).map(|()| Err(Elapsed)),
        })
        .await
    }
}
