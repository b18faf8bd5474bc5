//! A stream that ends when what is written is not taken.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How long is waited for the next byte.
pub(super) struct Patience {
    stall: Duration,
    /// Runs while something is awaited.
    over: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(super) fn new(stall: Duration) -> Self {
        Patience { stall, over: None }
    }

    /// Ready when nothing has come for so long.
    pub(super) fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let stall = self.stall;
        self.over.get_or_insert_with(|| Box::pin(sleep(stall))).as_mut().poll(context)
    }

    /// Something has come.
    pub(super) fn renew(&mut self) {
        self.over = None;
    }
}

/// A connection whose peer must take what it is sent.
pub(super) struct Steady {
    stream: TcpStream,
    patience: Patience,
}

impl Steady {
    pub(super) fn new(stream: TcpStream, stall: Duration) -> Self {
        Steady { stream, patience: Patience::new(stall) }
    }

    fn bounded<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            ready!(self.patience.poll_over(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.patience.renew();
        polled
    }
}

impl AsyncRead for Steady {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Steady {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.bounded(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
