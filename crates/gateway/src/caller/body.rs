//! The body of a caller's request, whichever protocol it comes in.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::line::{Line, Rest};
use crate::alarm::Alarm;
use crate::body::BodyError;

/// A caller owes so many bytes of a body for each second that it is waited for.
const OWED_PER_S: u64 = 1024;

/// A caller's body as it comes. Who lets it be waited for longer than `grace`, and for more than a second for each KiB, has broken it off.
pub(crate) struct Incoming {
    source: Source,
    pace: Pace,
}

enum Source {
    /// Read by whoever reads this, from the connection itself.
    Http1 {
        line: Rc<Line>,
        request: u64,
    },
    Http2(hyper::body::Incoming),
}

impl Incoming {
    /// The body of the request that came last on `line`.
    pub(crate) fn http1(line: &Rc<Line>, grace: Duration) -> Self {
        let source = Source::Http1 { line: line.clone(), request: line.request() };
        Incoming { source, pace: Pace::new(grace) }
    }

    pub(crate) fn http2(own: hyper::body::Incoming, grace: Duration) -> Self {
        Incoming { source: Source::Http2(own), pace: Pace::new(grace) }
    }

    /// It is a stream, which may rest for as long as it likes.
    pub(crate) fn may_rest(&mut self) {
        self.pace.grace = None;
    }
}

/// How long a body was waited for. Time in which nobody asks for it is not its sender's.
struct Pace {
    grace: Option<Duration>,
    alarm: Alarm,
    /// Since when it is waited for.
    since: Option<Instant>,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn new(grace: Duration) -> Self {
        Pace { grace: Some(grace), alarm: Alarm::default(), since: None, waited: Duration::ZERO, bytes: 0 }
    }

    fn came(&mut self, bytes: usize, now: impl Fn() -> Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now() - since;
        }
        self.bytes += bytes as u64;
    }

    /// Nothing is here: until when it may be waited for.
    fn until(&mut self, now: impl Fn() -> Instant) -> Option<Instant> {
        let grace = self.grace?;
        let since = *self.since.get_or_insert_with(now);
        let allowed = grace.max(Duration::from_secs(self.bytes / OWED_PER_S));
        Some(since + allowed.saturating_sub(self.waited))
    }

    /// Nothing is here: ready when that has been so for too long.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.until(Instant::now) {
            Some(until) => self.alarm.poll(until, cx),
            None => Poll::Pending,
        }
    }
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Source::Http1 { line, request } => {
                let data = ready!(line.poll_body(*request, cx));
                Poll::Ready(data.map(|data| data.map(Frame::data).map_err(|_| BodyError::BrokeOff)))
            }
            Source::Http2(own) => Pin::new(own).poll_frame(cx).map_err(BodyError::Read),
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Incoming { source, pace } = self.get_mut();
        let Poll::Ready(frame) = source.poll_frame(cx) else {
            return pace.poll_too_slow(cx).map(|()| Some(Err(BodyError::TooSlow)));
        };
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        pace.came(bytes, Instant::now);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Http1 { line, request } => line.request() == *request && line.rest() == Rest::Over,
            Source::Http2(own) => own.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Http1 { line, .. } => match line.rest() {
                Rest::Over => SizeHint::with_exact(0),
                Rest::Length(left) => SizeHint::with_exact(left),
                Rest::Chunked(_) | Rest::Broken => SizeHint::default(),
            },
            Source::Http2(own) => own.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_the_pace_is_waited_for_and_who_does_not_is_not() {
        let begun = Instant::now();
        let after = |seconds| move || begun + Duration::from_secs(seconds);
        let until = |pace: &mut Pace, seconds| pace.until(after(seconds)).map(|at| (at - begun).as_secs());
        let mut pace = Pace::new(Duration::from_secs(10));
        assert_eq!(until(&mut pace, 0), Some(10), "nothing at all");
        assert_eq!(until(&mut pace, 9), Some(10), "asking again does not put it off");
        pace.came(1, after(9));
        assert_eq!(until(&mut pace, 9), Some(10), "nor does a byte");

        let mut pace = Pace::new(Duration::from_secs(10));
        pace.came(30 * 1024, after(0));
        assert_eq!(
            until(&mut pace, 100),
            Some(130),
            "time in which nobody asks does not count, and a KiB is a second"
        );
        pace.came(1024, after(120));
        assert_eq!(until(&mut pace, 120), Some(131));
        pace.grace = None;
        assert_eq!(until(&mut pace, 120), None);
    }
}
