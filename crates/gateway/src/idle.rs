//! Connections that nobody uses end, and those whose client does not come to the end of a head: what goes on in one is noted here, and
//! looked at from time to time, so that a request costs no timer.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What goes on in one connection. Nothing here reads a clock: whoever watches looks from time to time.
#[derive(Default)]
pub(crate) struct Use {
    /// Bytes came or went since the last look.
    moved: Cell<bool>,
    /// Bytes came since the last look.
    heard: Cell<bool>,
    /// The client takes nothing more of what is written.
    stuck: Cell<bool>,
    /// Requests whose answer has not left yet.
    answering: Cell<u32>,
    /// Requests that came since the last look.
    came: Cell<u32>,
    /// A part of a head has come, and it is waited for the rest.
    pub(crate) has_part: Cell<bool>,
    /// Whether HTTP/2 is spoken, where other things than heads of requests are sent.
    pub(crate) http2: Cell<bool>,
    /// Whether the request that is being answered came after the gateway had begun to end.
    pub(crate) is_last: Cell<bool>,
    /// Whether it is to end in good order, with the answer that is being given or at once.
    pub(crate) told: Cell<bool>,
}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is used, or its client waits for us.
    InUse,
    /// Nothing was said, and nothing is being answered.
    Idle,
    /// Something was said that has not become a request yet.
    Incomplete,
    /// The same, since no longer than the last look: requests came in between.
    Begun,
    /// An answer does not leave, because the client does not take it.
    Stuck,
}

impl Use {
    /// What happened since the last look.
    pub(crate) fn look(&self) -> Found {
        let came = self.came.replace(0);
        let said = self.heard.replace(false) && came == 0;
        let incomplete = (said || self.has_part.get()) && !self.http2.get();
        match (self.moved.replace(false), self.answering.get(), self.stuck.get()) {
            (_, 0, _) if incomplete && came > 0 => Found::Begun,
            (_, 0, _) if incomplete => Found::Incomplete,
            (true, ..) => Found::InUse,
            (false, 0, _) => Found::Idle,
            (false, _, true) => Found::Stuck,
            (false, ..) => Found::InUse,
        }
    }

    /// Whether a request is being answered.
    pub(crate) fn answers(&self) -> bool {
        self.answering.get() > 0
    }

    /// A request that is being answered until what is returned is dropped.
    pub(crate) fn answer(self: &Rc<Self>) -> Answering {
        self.answering.set(self.answering.get() + 1);
        self.came.set(self.came.get() + 1);
        Answering(self.clone())
    }
}

/// One request that is being answered.
pub(crate) struct Answering(Rc<Use>);

impl Answering {
    /// Lasts until the body of `response` was handed over.
    pub(crate) fn until_sent<B>(self, response: Response<B>) -> Response<Sent<B>> {
        response.map(|body| Sent { body, _answering: self })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.set(self.0.answering.get() - 1);
    }
}

/// The body of an answer, with the note that it has not left yet.
pub(crate) struct Sent<B> {
    body: B,
    _answering: Answering,
}

impl<B: Body + Unpin> Body for Sent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that notes when it is used.
pub(crate) struct Watched<S> {
    pub(crate) stream: S,
    pub(crate) seen: Rc<Use>,
}

impl<S> Watched<S> {
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.seen.stuck.set(written.is_pending());
        if written.is_ready() {
            self.seen.moved.set(true);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.seen.moved.set(true);
            self.seen.heard.set(true);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(written)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(written)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_waits_for_is_idle() {
        let seen = Rc::new(Use::default());
        assert_eq!(seen.look(), Found::Idle);
        let hear = || {
            seen.moved.set(true);
            seen.heard.set(true);
        };
        hear();
        assert_eq!((seen.look(), seen.look()), (Found::Incomplete, Found::Idle));
        hear();
        drop(seen.answer());
        assert_eq!((seen.look(), seen.look()), (Found::InUse, Found::Idle), "it has become a request");
        hear();
        drop(seen.answer());
        seen.has_part.set(true);
        assert_eq!(
            (seen.look(), seen.look()),
            (Found::Begun, Found::Incomplete),
            "and a part of the next came with it"
        );
        let first = seen.answer();
        assert_eq!(seen.look(), Found::InUse, "a part may wait while we answer");
        drop(first);
        seen.has_part.set(false);
        seen.http2.set(true);
        hear();
        assert_eq!((seen.look(), seen.look()), (Found::InUse, Found::Idle));
        let first = seen.answer();
        let second = seen.answer();
        assert_eq!(seen.look(), Found::InUse, "the client waits for us");
        drop(first);
        seen.stuck.set(true);
        assert_eq!(seen.look(), Found::Stuck, "we wait for the client");
        drop(second);
        assert_eq!(seen.look(), Found::Idle);
    }
}
