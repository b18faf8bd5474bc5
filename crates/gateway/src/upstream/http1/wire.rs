//! A connection to an upstream: its socket, and where bytes are read into.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::alarm::Alarm;
use crate::scratch::Scratch;
use crate::stream::Stream;

/// An open connection with no request on it.
pub(crate) struct Wire {
    stream: Stream,
    scratch: Scratch,
    /// Whether something waits inside of TLS to be written.
    unflushed: bool,
    pub(crate) alarm: Alarm,
    /// How often it was looked at since it was used.
    pub(crate) idle_looks: u32,
}

impl Wire {
    /// Takes over a connected socket.
    pub(crate) fn new(stream: Stream, scratch: Scratch) -> Self {
        Wire { stream, scratch, unflushed: false, alarm: Alarm::default(), idle_looks: 0 }
    }

    /// The socket alone.
    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Whether nothing came since the last answer: neither its end nor bytes that nobody asked for. Costs no system
    /// call in the clear, because the last read has emptied the socket and the runtime is told of what comes later. In TLS what
    /// comes may be a ticket for another connection, so that it has to be looked at.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        match &mut self.stream {
            Stream::Plain(stream) => stream.poll_read_ready(&mut cx).is_pending(),
            stream => {
                let mut byte = [0];
                Pin::new(stream).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }

    /// What arrived; empty at the end of the stream.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.scratch.poll_read(&mut self.stream, cx)
    }

    /// Writes what the socket takes.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.unflushed = !matches!(self.stream, Stream::Plain(_));
        written
    }

    /// Lets everything out that was written.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            std::task::ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether something waits to be let out.
    pub(super) fn is_unflushed(&self) -> bool {
        self.unflushed
    }
}
