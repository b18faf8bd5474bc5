//! A request as it goes out: bytes that wait to be written, and the body that follows them.

use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::Body;

use crate::body::{BodyError, UpstreamBody};

/// With so much waiting to be written, no more is taken from the body.
const WAITING_MAX: usize = 64 * 1024;

/// A request that is being sent.
pub(crate) struct Outbound {
    waiting: Vec<u8>,
    written: usize,
    body: UpstreamBody,
    framing: BodyFraming,
    /// A HEAD, whose answer has no body.
    pub(super) bodiless: bool,
    begun: bool,
}

/// How the end of the body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyFraming {
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
    /// All of it was taken.
    Over,
}

impl Outbound {
    /// `head` is the request line and headers, without any that frames the body and without the empty line. `sized`
    /// says that a body of no bytes is to be called one.
    pub(crate) fn new(mut head: Vec<u8>, body: UpstreamBody, bodiless: bool, sized: bool) -> Self {
        let framing = match (&body, body.size_hint().exact()) {
            (UpstreamBody::Empty, _) => BodyFraming::Over,
            (_, Some(length)) => BodyFraming::Length(length),
            (_, None) => BodyFraming::Chunked,
        };
        match framing {
            // Writing to memory cannot fail.
            BodyFraming::Length(length) => drop(write!(head, "content-length: {length}\r\n")),
            BodyFraming::Chunked => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            BodyFraming::Over if sized => head.extend_from_slice(b"content-length: 0\r\n"),
            BodyFraming::Over => {}
        }
        head.extend_from_slice(b"\r\n");
        Outbound { waiting: head, written: 0, body, framing, bodiless, begun: false }
    }

    /// Whether nothing of it has left, so that it can go elsewhere.
    pub(super) fn untouched(&self) -> bool {
        !self.begun
    }

    /// Whether all of it has left.
    pub(super) fn sent(&self) -> bool {
        self.written == self.waiting.len() && self.framing == BodyFraming::Over
    }

    /// Whether nothing of a body was in it.
    pub(super) fn can_repeat(&self) -> bool {
        matches!(self.body, UpstreamBody::Empty)
    }

    /// The same request once more, if nothing of a body was in it.
    pub(super) fn again(self) -> Option<Outbound> {
        self.can_repeat().then_some(Outbound { written: 0, begun: false, ..self })
    }

    /// What is to be written next.
    pub(super) fn next(&self) -> &[u8] {
        &self.waiting[self.written..]
    }

    /// So much of it was written.
    pub(super) fn wrote(&mut self, count: usize) {
        self.begun = true;
        self.written += count;
        // A request without a body may have to be sent again.
        if self.written == self.waiting.len() && !matches!(self.body, UpstreamBody::Empty) {
            self.waiting.clear();
            self.written = 0;
        }
    }

    /// Takes from the body what it has, as far as there is room.
    pub(super) fn fill(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        while self.framing != BodyFraming::Over && self.waiting.len() - self.written < WAITING_MAX {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(frame) => frame.transpose()?,
            };
            match frame.map(|frame| frame.into_data()) {
                Some(Ok(data)) => self.append(&data)?,
                // Trailers go no further (RFC 9110 §6.5.1).
                Some(Err(_trailers)) => {}
                None => self.end()?,
            }
        }
        Ok(())
    }

    fn append(&mut self, data: &[u8]) -> Result<(), BodyError> {
        match &mut self.framing {
            BodyFraming::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(BodyError::OtherLength)?;
                self.waiting.extend_from_slice(data);
                if *left == 0 {
                    // Asked once more, the body notes that it is complete.
                    self.framing = BodyFraming::Over;
                    let _ = self.body.is_end_stream();
                }
            }
            BodyFraming::Chunked if !data.is_empty() => {
                drop(write!(self.waiting, "{:x}\r\n", data.len()));
                self.waiting.extend_from_slice(data);
                self.waiting.extend_from_slice(b"\r\n");
            }
            BodyFraming::Chunked | BodyFraming::Over => {}
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), BodyError> {
        match self.framing {
            BodyFraming::Length(1..) => return Err(BodyError::OtherLength),
            BodyFraming::Chunked => self.waiting.extend_from_slice(b"0\r\n\r\n"),
            BodyFraming::Length(0) | BodyFraming::Over => {}
        }
        self.framing = BodyFraming::Over;
        Ok(())
    }
}
