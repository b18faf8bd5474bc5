//! The body of a caller's request, whichever protocol it comes in.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::line::{Line, Rest};
use crate::body::BodyError;

/// A caller's body as it comes.
pub(crate) enum Incoming {
    /// Read by whoever reads this, from the connection itself.
    Http1 {
        line: Rc<Line>,
        request: u64,
    },
    Http2(hyper::body::Incoming),
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Incoming::Http1 { line, request } => {
                let data = ready!(line.poll_body(*request, cx));
                Poll::Ready(data.map(|data| data.map(Frame::data).map_err(|_| BodyError::BrokeOff)))
            }
            Incoming::Http2(own) => Pin::new(own).poll_frame(cx).map_err(BodyError::Read),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Incoming::Http1 { line, request } => line.request() == *request && line.rest() == Rest::Over,
            Incoming::Http2(own) => own.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Incoming::Http1 { line, .. } => match line.rest() {
                Rest::Over => SizeHint::with_exact(0),
                Rest::Length(left) => SizeHint::with_exact(left),
                Rest::Chunked(_) | Rest::Broken => SizeHint::default(),
            },
            Incoming::Http2(own) => own.size_hint(),
        }
    }
}
