//! One request and its answer over one connection.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Response, StatusCode};

use super::head::{self, BadAnswer, Framing};
use super::{Outbound, Wire};
use crate::body::BodyError;
use crate::framing::Chunks;
use crate::stream::Stream;

/// Why an exchange ended without an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("the connection ended before the answer did")]
    Ended,
    #[error("the answer is malformed: {0}")]
    BadAnswer(#[from] BadAnswer),
    #[error("the HTTP/2 connection failed")]
    Http2(hyper::Error),
    #[error("the client's body failed")]
    Body(#[from] BodyError),
}

impl ExchangeError {
    /// Whether whoever sends the request has ended it, badly: nothing is wrong with the connection, and the service may answer.
    fn is_senders(&self) -> bool {
        use BodyError::{BrokeOff, Read, TooLarge, TooSlow};
        matches!(self, ExchangeError::Body(Read(_) | BrokeOff | TooLarge | TooSlow))
    }
}

/// A connection with a request on it.
pub(crate) struct Exchange {
    pub(crate) wire: Wire,
    outbound: Outbound,
    /// Arrived and not yet handed on.
    arrived: Bytes,
    answer: Answer,
    /// Whether the connection can be used again, as far as is known.
    reusable: bool,
    /// The client is gone. A request that breaks off is not sent on, and not ended either, so that no service takes half of it for the
    /// whole: it is only listened. That is so, too, where the sender has broken it off and is there.
    pub(crate) left: bool,
    broke_off: bool,
}

/// How far the answer has come.
#[derive(Debug)]
enum Answer {
    /// Its head is not there.
    Head,
    /// So many bytes are to come.
    Length(u64),
    Chunked(Chunks),
    UntilClose,
}

impl Exchange {
    /// Puts a request on a connection.
    pub(crate) fn new(wire: Wire, outbound: Outbound) -> Self {
        Exchange {
            wire,
            outbound,
            arrived: Bytes::new(),
            answer: Answer::Head,
            reusable: true,
            left: false,
            broke_off: false,
        }
    }

    /// Whether nothing of the request has left.
    pub(crate) fn is_untouched(&self) -> bool {
        self.outbound.untouched()
    }

    /// The request, if nothing of it has left.
    pub(crate) fn untouched(self) -> Option<Outbound> {
        self.outbound.untouched().then_some(self.outbound)
    }

    /// Whether the request can be sent once more.
    pub(crate) fn can_repeat(&self) -> bool {
        self.outbound.can_repeat()
    }

    /// The request once more, and the connection, if it can be used again.
    pub(crate) fn again(mut self) -> (Option<Outbound>, Option<Wire>) {
        let over = self.whole().is_some() && self.outbound.sent() && self.arrived.is_empty();
        ((self.outbound.again()), (over && self.reusable).then_some(self.wire))
    }

    /// Sends on, and returns the head of the answer when it is there. Answers of 1xx are passed over, except 101.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, ExchangeError>> {
        let sending = match self.broke_off {
            true => Poll::Pending,
            false => self.poll_send(cx),
        };
        self.broke_off |= matches!(&sending, Poll::Ready(Err(_)));
        loop {
            if !self.arrived.is_empty()
                && let Some(head) = head::parse(&self.arrived, self.outbound.bodiless)?
            {
                let _ = self.arrived.split_to(head.length);
                let status = head.response.status();
                if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                    continue;
                }
                self.reusable &= head.keeps_open;
                self.answer = match head.framing {
                    Framing::Length(length) => Answer::Length(length),
                    Framing::Chunked => Answer::Chunked(Chunks::new()),
                    Framing::UntilClose => Answer::UntilClose,
                };
                return Poll::Ready(Ok(head.response));
            }
            // An upstream that answers before it has read everything may close its side: the answer counts.
            match self.wire.poll_read(cx) {
                Poll::Pending => {
                    return match sending {
                        Poll::Ready(Err(error)) if !self.left && !error.is_senders() => {
                            Poll::Ready(Err(error))
                        }
                        _ => Poll::Pending,
                    };
                }
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(match sending {
                        Poll::Ready(Err(first)) => first,
                        _ => error.into(),
                    }));
                }
                Poll::Ready(Ok(bytes)) if bytes.is_empty() => return Poll::Ready(Err(ExchangeError::Ended)),
                Poll::Ready(Ok(bytes)) if self.arrived.is_empty() => self.arrived = bytes,
                Poll::Ready(Ok(bytes)) => self.arrived = [&*self.arrived, &*bytes].concat().into(),
            }
        }
    }

    /// Writes what can be written; ready when all of the request has left.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        while !self.outbound.sent() {
            if let Err(error) = self.outbound.fill(cx) {
                self.reusable = false;
                return Poll::Ready(Err(error.into()));
            }
            if self.outbound.next().is_empty() {
                if !self.outbound.sent() {
                    // The body waits for the client; what there is goes on.
                    ready!(self.wire.poll_flush(cx))?;
                    return Poll::Pending;
                }
                break;
            }
            match ready!(self.wire.poll_write(cx, self.outbound.next())) {
                Ok(count) => self.outbound.wrote(count),
                Err(error) => {
                    self.reusable = false;
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
        self.wire.poll_flush(cx).map_err(ExchangeError::from)
    }

    /// The next piece of the answer's body; `None` at its end.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ExchangeError>>> {
        if (!self.outbound.sent() || self.wire.is_unflushed()) && self.reusable {
            // What fails here is told by the answer, or by its end.
            let _ = self.poll_send(cx);
        }
        loop {
            match self.take() {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(data))),
                Ok(None) if self.is_over() => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
            match ready!(self.wire.poll_read(cx)) {
                Ok(bytes) if !bytes.is_empty() => self.arrived = bytes,
                Ok(_) if matches!(self.answer, Answer::UntilClose) => {
                    self.answer = Answer::Length(0);
                    return Poll::Ready(None);
                }
                Ok(_) => return Poll::Ready(Some(Err(ExchangeError::Ended))),
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// What of the body is there already.
    fn take(&mut self) -> Result<Option<Bytes>, BadAnswer> {
        match &mut self.answer {
            Answer::Chunked(chunks) => Ok(chunks.next(&mut self.arrived)?),
            Answer::Length(left) if *left > 0 && !self.arrived.is_empty() => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(self.arrived.len());
                *left -= most as u64;
                Ok(Some(self.arrived.split_to(most)))
            }
            Answer::UntilClose if !self.arrived.is_empty() => Ok(Some(std::mem::take(&mut self.arrived))),
            Answer::Head | Answer::Length(_) | Answer::UntilClose => Ok(None),
        }
    }

    /// The whole body, if all of it is there and the request has left; then the exchange is over.
    pub(crate) fn whole(&mut self) -> Option<Bytes> {
        match &mut self.answer {
            Answer::Length(left) if *left <= self.arrived.len() as u64 && self.outbound.sent() => {
                let length = self.arrived.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left = 0;
                Some(self.arrived.split_to(length))
            }
            _ => None,
        }
    }

    /// Whether the answer has been read to its end.
    pub(crate) fn is_over(&self) -> bool {
        match &self.answer {
            Answer::Length(left) => *left == 0,
            Answer::Chunked(chunks) => chunks.over(),
            Answer::Head | Answer::UntilClose => false,
        }
    }

    /// Bytes of the body to come, if that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        if let Answer::Length(left) = self.answer { Some(left) } else { None }
    }

    /// The connection itself, and what has arrived behind the head of the answer: what is spoken there is no HTTP any more.
    pub(crate) fn into_stream(self) -> (Stream, Bytes) {
        (self.wire.into_stream(), self.arrived)
    }

    /// The connection, if it can take another request: both sides are through, and nothing came behind the answer.
    pub(crate) fn into_wire(self) -> Option<Wire> {
        let through = self.is_over() && self.outbound.sent() && self.arrived.is_empty();
        (through && self.reusable).then_some(self.wire)
    }
}
