//! A timer that is used for one deadline after another. It stays armed for an earlier one and is armed anew only
//! when that has passed, so that a request costs no change of the runtime's timers.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// Belongs to something that lives longer than a request.
#[derive(Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once `at` has passed. The task may be woken earlier, for nothing.
    pub(crate) fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_deadline_is_missed_and_none_comes_early() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let mut alarm = Alarm::default();
            for ms in [1, 30, 5, 5, 40, 1] {
                let at = Instant::now() + Duration::from_millis(ms);
                let far = Instant::now() + Duration::from_secs(60);
                assert!(poll_fn(|cx| Poll::Ready(alarm.poll(far, cx))).await.is_pending());
                poll_fn(|cx| alarm.poll(at, cx)).await;
                assert!(Instant::now() >= at);
            }
        });
    }
}
