//! One direction of a WebSocket: read, followed, written, never more than one buffer ahead.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;

/// Bytes that wait to be written at most.
const BUFFER_BYTES: usize = 16 * 1024;

/// What passed in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) bytes: u64,
    pub(crate) messages: u64,
}

/// One direction.
#[derive(Default)]
pub(super) struct Way {
    buffer: Vec<u8>,
    written: usize,
    frames: Frames,
    bytes: u64,
    moved: bool,
    unflushed: bool,
}

impl Way {
    /// With what was read already.
    pub(super) fn beginning(arrived: &[u8]) -> Self {
        let mut way = Way::default();
        way.hear(arrived);
        way.buffer = arrived.to_vec();
        way
    }

    /// What passed so far.
    pub(super) fn passed(&self) -> Passed {
        Passed { bytes: self.bytes, messages: self.frames.messages() }
    }

    /// Whether anything moved since the last time that this was asked.
    pub(super) fn moved(&mut self) -> bool {
        std::mem::replace(&mut self.moved, false)
    }

    /// Whether all that was read has left, and ends with a frame.
    pub(super) fn is_between_frames(&self) -> bool {
        self.buffer.is_empty() && self.frames.at_boundary()
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.frames.hear(bytes);
        self.bytes += bytes.len() as u64;
        self.moved = true;
    }

    /// Passes what there is; ready at the end of what is read, or when something fails.
    pub(super) fn pump(
        &mut self,
        cx: &mut Context<'_>,
        mut from: Pin<&mut impl AsyncRead>,
        mut to: Pin<&mut impl AsyncWrite>,
    ) -> Poll<()> {
        loop {
            if ready!(self.write(cx, to.as_mut())).is_err() {
                return Poll::Ready(());
            }
            match self.read(cx, from.as_mut()) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(_) => {
                    // The other end hears of it, as far as it still listens.
                    let _ = ready!(to.as_mut().poll_shutdown(cx));
                    return Poll::Ready(());
                }
                Poll::Pending if self.unflushed => {
                    let flushed = ready!(to.as_mut().poll_flush(cx));
                    self.unflushed = false;
                    return if flushed.is_err() { Poll::Ready(()) } else { Poll::Pending };
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Lets the frame that is being sent come to its end, sends `last` behind it, and ends.
    pub(super) fn finish(
        &mut self,
        cx: &mut Context<'_>,
        mut from: Pin<&mut impl AsyncRead>,
        mut to: Pin<&mut impl AsyncWrite>,
        last: &mut Vec<u8>,
    ) -> Poll<()> {
        loop {
            if ready!(self.write(cx, to.as_mut())).is_err() {
                return Poll::Ready(());
            }
            if self.frames.at_boundary() {
                self.buffer = std::mem::take(last);
                self.written = 0;
                if self.buffer.is_empty() {
                    let _ = ready!(to.as_mut().poll_shutdown(cx));
                    return Poll::Ready(());
                }
                continue;
            }
            match ready!(self.read(cx, from.as_mut())) {
                Ok(true) => {}
                _ => return Poll::Ready(()),
            }
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, mut to: Pin<&mut impl AsyncWrite>) -> Poll<io::Result<()>> {
        while self.written < self.buffer.len() {
            match ready!(to.as_mut().poll_write(cx, &self.buffer[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
            (self.moved, self.unflushed) = (true, true);
        }
        // An idle WebSocket holds no memory.
        self.buffer = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Whether anything was read; false at the end.
    fn read(&mut self, cx: &mut Context<'_>, from: Pin<&mut impl AsyncRead>) -> Poll<io::Result<bool>> {
        let mut own = [0; BUFFER_BYTES];
        let mut buffer = ReadBuf::new(&mut own);
        ready!(from.poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        self.buffer = read.to_vec();
        let more = !read.is_empty();
        if more {
            self.hear(&own[..self.buffer.len()]);
        }
        Poll::Ready(Ok(more))
    }
}
