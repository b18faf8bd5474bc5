//! Bodies on their way: the client's to the upstream, counted and bounded; the answer's to the client, with the
//! request's record written before its last byte leaves.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::caller;
use crate::path::Recording;
use crate::upstream::{Care, Exchange, ExchangeError, Message, Upstream};

/// What became of a client's body so far, seen from outside of it.
#[derive(Debug, Default)]
pub(crate) struct BodyWatch {
    pub(crate) bytes: Cell<u64>,
    pub(crate) fate: Cell<BodyFate>,
}

/// How a client's body ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum BodyFate {
    /// It has not.
    #[default]
    Flowing,
    /// All of it was read.
    Complete,
    /// It is larger than the route takes.
    TooLarge,
    /// The client broke off, or framed it wrongly.
    Broken,
    /// The client let it be waited for too long.
    TooSlow,
}

/// Why a body could not be passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body is larger than the route takes")]
    TooLarge,
    #[error("reading a body")]
    Read(#[from] hyper::Error),
    #[error("a caller's body broke off or is framed wrongly")]
    BrokeOff,
    #[error("a caller's body came too slowly")]
    TooSlow,
    #[error("a body has not the length that was said")]
    OtherLength,
    #[error("the request took longer than its route allows")]
    TimedOut,
    #[error("an upstream said nothing more in the middle of its answer")]
    Silent,
    #[error("an upstream's answer broke off")]
    Upstream(#[source] Box<ExchangeError>),
}

/// A client's body on its way to the upstream.
pub(crate) enum UpstreamBody {
    /// There is none.
    Empty,
    /// It is passed on as it comes.
    Client { incoming: caller::Incoming, max_bytes: u64, watch: Rc<BodyWatch> },
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let UpstreamBody::Client { incoming, max_bytes, watch } = self.get_mut() else {
            return Poll::Ready(None);
        };
        let frame = std::task::ready!(Pin::new(incoming).poll_frame(cx));
        Poll::Ready(match frame {
            None => {
                watch.fate.set(BodyFate::Complete);
                None
            }
            Some(Err(error)) => {
                watch.fate.set(match error {
                    BodyError::TooSlow => BodyFate::TooSlow,
                    _ => BodyFate::Broken,
                });
                Some(Err(error))
            }
            Some(Ok(frame)) => {
                let bytes = watch.bytes.get() + frame.data_ref().map_or(0, |data| data.len() as u64);
                watch.bytes.set(bytes);
                if bytes > *max_bytes {
                    watch.fate.set(BodyFate::TooLarge);
                    Some(Err(BodyError::TooLarge))
                } else {
                    Some(Ok(frame))
                }
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            UpstreamBody::Empty => true,
            UpstreamBody::Client { incoming, watch, .. } => {
                let ended = incoming.is_end_stream();
                if ended && watch.fate.get() == BodyFate::Flowing {
                    watch.fate.set(BodyFate::Complete);
                }
                ended
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            UpstreamBody::Empty => SizeHint::with_exact(0),
            UpstreamBody::Client { incoming, .. } => incoming.size_hint(),
        }
    }
}

/// Where the body of an upstream's answer comes from.
pub(crate) enum AnswerSource {
    Http1(Box<Exchange>, Rc<Upstream>),
    Http2(Incoming, Alarm),
}

impl AnswerSource {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            AnswerSource::Http1(exchange, _) => exchange.poll_data(cx).map(|data| {
                data.map(|data| data.map(Frame::data).map_err(|error| BodyError::Upstream(Box::new(error))))
            }),
            AnswerSource::Http2(incoming, _) => Pin::new(incoming).poll_frame(cx).map_err(BodyError::Read),
        }
    }

    fn poll_alarm(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            AnswerSource::Http1(exchange, _) => exchange.wire.alarm.poll(at, cx),
            AnswerSource::Http2(_, alarm) => alarm.poll(at, cx),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            AnswerSource::Http1(exchange, _) => exchange.is_over(),
            AnswerSource::Http2(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerSource::Http1(exchange, _) => exchange.left().map(SizeHint::with_exact).unwrap_or_default(),
            AnswerSource::Http2(incoming, _) => incoming.size_hint(),
        }
    }

    /// The request once more, in place of this answer.
    pub(crate) fn again(self) -> Option<Message> {
        let AnswerSource::Http1(exchange, upstream) = self else { return None };
        let (outbound, wire) = exchange.again();
        if let Some(wire) = wire {
            upstream.put_idle(wire);
        }
        outbound.map(|outbound| Message::Http1(Box::new(outbound)))
    }

    /// Whether [`again`](Self::again) has a request.
    pub(crate) fn can_repeat(&self) -> bool {
        matches!(self, AnswerSource::Http1(exchange, _) if exchange.can_repeat())
    }

    /// Nobody wants the body: the connection takes another request if all of it is here already, else it ends.
    pub(crate) fn let_go(mut self) {
        if let AnswerSource::Http1(exchange, _) = &mut self {
            exchange.whole();
        }
        self.give_back();
    }

    /// Lets the connection take another request, if it can.
    fn give_back(self) {
        if let AnswerSource::Http1(exchange, upstream) = self
            && let Some(wire) = exchange.into_wire()
        {
            upstream.put_idle(wire);
        }
    }
}

/// The body of an answer to a client.
pub(crate) enum AnswerBody {
    /// All of it is here; its record has been written.
    Whole(Option<Bytes>),
    /// The upstream's, as it comes.
    Passing(Box<Passing>),
}

/// An upstream's body on its way to the client.
pub(crate) struct Passing {
    source: Option<AnswerSource>,
    recording: Option<Box<Recording>>,
    until: Instant,
    /// How long the service may say nothing.
    idle: Duration,
    /// Since when it has said nothing, though it is listened to, and how much of the request's body had gone to it by then.
    silent_since: Option<(Instant, u64)>,
    care: Rc<Care>,
    /// When it is written next what passed, if it goes on for so long.
    record_at: Instant,
    /// It broke off; told at the next poll, so that what came before is on its way.
    broken: Option<BodyError>,
}

impl AnswerBody {
    /// Takes over once the head is there. A body that has arrived already is recorded at once.
    pub(crate) fn passing(
        mut source: AnswerSource,
        mut recording: Box<Recording>,
        (until, idle): (Instant, Duration),
        care: Rc<Care>,
    ) -> Self {
        let whole = match &mut source {
            AnswerSource::Http1(exchange, _) => exchange.whole(),
            AnswerSource::Http2(incoming, _) => incoming.is_end_stream().then(Bytes::new),
        };
        let Some(whole) = whole else {
            let every = recording.core.shared.config.streams_recorded;
            return AnswerBody::Passing(Box::new(Passing {
                record_at: Instant::from_std(recording.started + every),
                source: Some(source),
                recording: Some(recording),
                until,
                idle,
                silent_since: None,
                care,
                broken: None,
            }));
        };
        recording.bytes_out = whole.len() as u64;
        recording.copy_has_answered();
        recording.served();
        source.give_back();
        AnswerBody::Whole((!whole.is_empty()).then_some(whole))
    }
}

impl Passing {
    /// The last frame has been read: the record is written, then the connection is given back.
    fn complete(&mut self) {
        if let Some(recording) = self.recording.take() {
            recording.copy_has_answered();
            recording.served();
        }
        if let Some(source) = self.source.take() {
            source.give_back();
        }
    }

    /// It goes on: what passed since the last time is written.
    fn record(&mut self) {
        if let Some(recording) = &mut self.recording {
            recording.streams_on();
            self.record_at = Instant::now() + recording.core.shared.config.streams_recorded;
        }
    }

    fn broke_off(
        &mut self,
        error: BodyError,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(recording) = self.recording.take() {
            if self.is_the_copys(&error) {
                recording.copy_broke_off(&self.care);
            }
            recording.upstream_broke_off();
        }
        self.source = None;
        self.broken = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(source) = &mut self.source else { return Poll::Ready(self.broken.take().map(Err)) };
        let frame = match source.poll_frame(cx) {
            Poll::Pending => return self.wait(cx),
            Poll::Ready(frame) => frame,
        };
        self.silent_since = None;
        match frame {
            None => {
                self.complete();
                Poll::Ready(None)
            }
            Some(Ok(frame)) => {
                if let (Some(recording), Some(data)) = (&mut self.recording, frame.data_ref()) {
                    recording.bytes_out += data.len() as u64;
                }
                if source.is_over() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => self.broke_off(error, cx),
        }
    }

    /// Nothing has come: what happens when nothing does for too long, or when it goes on for so long that it is recorded.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(source) = &mut self.source else { return Poll::Pending };
        let sent = self.recording.as_ref().map_or(0, |recording| recording.request_body_sent());
        let (since, sent_before) = *self.silent_since.get_or_insert_with(|| (Instant::now(), sent));
        let too_silent = since + self.idle;
        let at = self.until.min(self.record_at).min(too_silent);
        std::task::ready!(source.poll_alarm(at, cx));
        match at {
            _ if at == self.until => return self.broke_off(BodyError::TimedOut, cx),
            // Who listens to a long request may answer late.
            _ if at == too_silent && sent > sent_before => self.silent_since = None,
            _ if at == too_silent => return self.broke_off(BodyError::Silent, cx),
            _ => self.record(),
        }
        // Armed for the next time.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the copy is at fault. How long an answer may go on is no fault of who gives it, nor is it that a stream has nothing to
    /// say; but who has said how long its answer is owes all of it.
    fn is_the_copys(&self, error: &BodyError) -> bool {
        match error {
            BodyError::TimedOut => false,
            BodyError::Silent => {
                self.source.as_ref().is_some_and(|source| source.size_hint().exact().is_some())
            }
            _ => true,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            AnswerBody::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            AnswerBody::Passing(passing) => passing.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Whole(bytes) => bytes.is_none(),
            AnswerBody::Passing(passing) => passing.source.is_none() && passing.broken.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            AnswerBody::Passing(passing) => {
                passing.source.as_ref().map_or(SizeHint::with_exact(0), AnswerSource::size_hint)
            }
        }
    }
}
