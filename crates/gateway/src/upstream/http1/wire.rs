//! A connection to an upstream: its socket, and where bytes are read into.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::alarm::Alarm;

/// What one read can take.
const READ_MAX: usize = 64 * 1024;

/// Where all connections of a core read into, one after the other: what arrived is copied out, in its size, so that
/// an idle connection holds no memory.
#[derive(Clone)]
pub(crate) struct Scratch(Rc<RefCell<Box<[u8]>>>);

impl Default for Scratch {
    fn default() -> Self {
        Scratch(Rc::new(RefCell::new(vec![0; READ_MAX].into_boxed_slice())))
    }
}

/// An open connection with no request on it.
pub(crate) struct Wire {
    stream: TcpStream,
    scratch: Scratch,
    pub(crate) alarm: Alarm,
    /// How often it was looked at since it was used.
    pub(crate) idle_looks: u32,
}

impl Wire {
    /// Takes over a connected socket.
    pub(crate) fn new(stream: TcpStream, scratch: Scratch) -> Self {
        Wire { stream, scratch, alarm: Alarm::default(), idle_looks: 0 }
    }

    /// The socket alone.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Whether nothing came since the last answer: neither its end nor bytes that nobody asked for. Costs no system
    /// call, because the last read has emptied the socket and the runtime is told of what comes later.
    pub(crate) fn is_quiet(&self) -> bool {
        self.stream.poll_read_ready(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// What arrived; empty at the end of the stream.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut scratch = self.scratch.0.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
    }

    /// Writes what the socket takes.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
}
