//! Where all connections of a core read into, one after the other.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

/// What one read can take.
const READ_MAX: usize = 64 * 1024;

/// The one buffer of a core. What arrived is copied out, in its size, so that an idle connection holds no memory.
#[derive(Clone)]
pub(crate) struct Scratch(Rc<RefCell<Box<[u8]>>>);

impl Default for Scratch {
    fn default() -> Self {
        Scratch(Rc::new(RefCell::new(vec![0; READ_MAX].into_boxed_slice())))
    }
}

impl Scratch {
    /// What arrived on `stream`; empty at its end.
    pub(crate) fn poll_read(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        let mut scratch = self.0.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
    }
}
