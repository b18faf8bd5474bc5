//! Bodies on their way: the client's to the upstream, counted and bounded; the answer's to the client, with the
//! request's record written before its last byte leaves.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::path::{Deadline, Recording};
use crate::upstream::Pooled;

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
}

/// Why a body could not be passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body is larger than the route takes")]
    TooLarge,
    #[error("reading a body")]
    Read(#[from] hyper::Error),
    #[error("the request took longer than its route allows")]
    TimedOut,
}

/// A client's body on its way to the upstream.
pub(crate) enum UpstreamBody {
    /// There is none.
    Empty,
    /// It is passed on as it comes.
    Client { incoming: Incoming, max_bytes: u64, watch: Rc<BodyWatch> },
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
                watch.fate.set(BodyFate::Broken);
                Some(Err(error.into()))
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

/// The body of an answer to a client.
pub(crate) enum AnswerBody {
    /// The gateway's own; its record has been written.
    Own(Option<Bytes>),
    /// The upstream's.
    Upstream(Box<Passing>),
}

/// An upstream's body on its way to the client.
pub(crate) struct Passing {
    incoming: Incoming,
    pooled: Option<Pooled>,
    recording: Option<Box<Recording>>,
    deadline: Deadline,
}

impl Passing {
    /// Takes over once the head is there. An answer without a body is complete already.
    pub(crate) fn new(
        incoming: Incoming,
        pooled: Pooled,
        recording: Box<Recording>,
        deadline: Deadline,
    ) -> Self {
        let mut passing = Passing { incoming, pooled: Some(pooled), recording: Some(recording), deadline };
        if passing.incoming.is_end_stream() {
            passing.complete();
        }
        passing
    }

    /// The last frame has been read: the record is written, then the connection is given back.
    fn complete(&mut self) {
        if let Some(recording) = self.recording.take() {
            let reusable = recording.request_body_is_over();
            recording.served();
            if let (true, Some(pooled)) = (reusable, self.pooled.take()) {
                pooled.give_back();
            }
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Pending => {
                std::task::ready!(self.deadline.poll(cx));
                if let Some(recording) = self.recording.take() {
                    recording.upstream_broke_off();
                }
                Poll::Ready(Some(Err(BodyError::TimedOut)))
            }
            Poll::Ready(None) => {
                self.complete();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(recording), Some(data)) = (&mut self.recording, frame.data_ref()) {
                    recording.bytes_out += data.len() as u64;
                }
                if self.incoming.is_end_stream() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                if let Some(recording) = self.recording.take() {
                    recording.upstream_broke_off();
                }
                Poll::Ready(Some(Err(error.into())))
            }
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
            AnswerBody::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            AnswerBody::Upstream(passing) => passing.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Own(bytes) => bytes.is_none(),
            // Without a record left to write, the last frame has been handed on.
            AnswerBody::Upstream(passing) => passing.recording.is_none() && passing.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            AnswerBody::Upstream(passing) => passing.incoming.size_hint(),
        }
    }
}
