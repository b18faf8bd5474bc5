//! What a client has left behind: it went away, broke its body off, or its own deadline (gRPC) passed, after the service had got its
//! request, or a part of it, and before there was an answer. The service may have done its work, so its answer is heard out, by a task of its own and for as long as the client could have waited for it; the
//! request then counts as if the client had stayed. Where that is not possible, because too many were left behind already or the
//! gateway ends, nobody knows how it ended, and it counts as used. So does a request that its sender broke off and the service did not answer:
//! nobody can say what it would have come to, and that is its sender's doing.

use std::cell::Cell;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Response, StatusCode};
use rowhouse_domain::routes::Trouble;

use super::Recording;
use super::forward::is_failure;
use super::usage::reported;
use crate::body::AnswerSource;
use crate::upstream::{Care, SendError, Sending, Upstream};

/// Answers heard out at once, per thread.
const LEFT_MAX: u32 = 1_024;

/// How many answers of one core are heard out, and whether more may be.
#[derive(Debug, Default)]
pub(crate) struct LeftBehind {
    open: Cell<u32>,
    closed: Cell<bool>,
}

impl LeftBehind {
    /// The core ends: no more is heard out.
    pub(crate) fn close(&self) {
        self.closed.set(true);
    }

    fn admits(&self) -> bool {
        !self.closed.get() && self.open.get() < LEFT_MAX
    }
}

/// A request that the service has, and nobody waits for.
pub(crate) struct Left {
    pub(super) sending: Sending,
    pub(super) upstream: Rc<Upstream>,
    pub(super) care: Rc<Care>,
    /// When it was put on the connection.
    pub(super) sent: Instant,
    pub(super) first_byte_timeout: Duration,
    /// When the whole request must be over, whatever the client says.
    pub(super) until: Instant,
    pub(super) reports_usage: bool,
    pub(super) measures: bool,
}

/// A request's record while it is answered. If the answering is dropped when the service has the request, the record waits for the
/// service's answer.
pub(super) struct Story(Option<Box<Recording>>);

impl Story {
    pub(super) fn of(recording: Box<Recording>) -> Self {
        Story(Some(recording))
    }

    /// The answer is there: the record goes with it.
    pub(super) fn told(mut self) -> Box<Recording> {
        self.0.take().expect("told once")
    }
}

impl Deref for Story {
    type Target = Recording;

    fn deref(&self) -> &Recording {
        self.0.as_ref().expect("told once, at the end")
    }
}

impl DerefMut for Story {
    fn deref_mut(&mut self) -> &mut Recording {
        self.0.as_mut().expect("told once, at the end")
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        let Some(mut recording) = self.0.take() else { return };
        let Some(left) = recording.left.take() else { return };
        recording.unheard = true;
        let core = recording.core.clone();
        if core.left.admits() {
            core.left.open.set(core.left.open.get() + 1);
            // The gateway does not end before it, but for the time that open requests have then.
            let ticket = core.drain.ticket();
            tokio::task::spawn_local(async move {
                left.hear_out(recording).await;
                core.left.open.set(core.left.open.get() - 1);
                drop(ticket);
            });
        }
    }
}

impl Left {
    async fn hear_out(mut self: Box<Self>, mut recording: Box<Recording>) {
        self.sending.is_left();
        // The time begins anew: a body may have come to its end just now. One that broke off does not, so it is not put off any more.
        let at = (Instant::now() + self.first_byte_timeout).min(self.until);
        let outcome = poll_fn(|cx| match self.sending.poll(cx, &self.upstream) {
            std::task::Poll::Ready(outcome) => std::task::Poll::Ready(Some(outcome)),
            std::task::Poll::Pending => self.sending.poll_alarm(at.into(), cx).map(|()| None),
        });
        let outcome = outcome.await;
        recording.unheard = false;
        recording.upstream_us = Some(u64::try_from(self.sent.elapsed().as_micros()).unwrap_or(u64::MAX));
        let trouble = match outcome {
            Some(Ok((response, source))) => self.answered(&response, source, &mut recording),
            Some(Err(SendError::NotSent(_))) => return,
            // Half a request, without an answer: that is all that will be known.
            Some(Err(SendError::Failed(..))) | None if !recording.request_body_is_over() => {
                recording.unheard = true;
                return;
            }
            Some(Err(SendError::Failed(..))) => Some(Trouble::Broken),
            None => Some(Trouble::NoAnswer),
        };
        // Who got half a body may be excused.
        if recording.request_body_is_over() {
            let at_us = recording.started_at_us;
            let failed = trouble.is_some();
            self.upstream.note(at_us, trouble);
            self.care.circuit.borrow_mut().note(at_us, failed);
            if self.measures {
                self.upstream.took(at_us, recording.upstream_us.unwrap_or(0), failed);
            }
        }
    }

    /// What the answer tells of the copy that is not as it should be.
    fn answered(
        &self,
        response: &Response<()>,
        source: AnswerSource,
        recording: &mut Recording,
    ) -> Option<Trouble> {
        let status = response.status();
        let switched = status == StatusCode::SWITCHING_PROTOCOLS;
        if switched && recording.websocket.is_none() {
            return Some(Trouble::Broken);
        }
        recording.upstream_status = Some(status.as_u16());
        if self.reports_usage {
            recording.reported = reported(recording.service(), response.headers());
        }
        if !switched {
            source.let_go();
        }
        is_failure(status).then(|| Trouble::Status(status.as_u16()))
    }
}
