//! Bodies that tell when they are over, and do not wait for ever.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::{BoxError, Error};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::guest::Guest;
use super::steady::Patience;

/// What a caller sends: its end is told, and a stall is an error.
pub(super) struct Heard {
    body: Incoming,
    guest: Arc<Guest>,
    patience: Patience,
}

impl Heard {
    pub(super) fn new(body: Incoming, guest: Arc<Guest>, stall: Duration) -> Self {
        let own = Heard { body, guest, patience: Patience::new(stall) };
        own.tell_if_over();
        own
    }

    fn tell_if_over(&self) {
        if self.body.is_end_stream() {
            self.guest.heard();
        }
    }
}

impl HttpBody for Heard {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context).map_err(BoxError::from);
        if polled.is_pending() {
            ready!(self.patience.poll_over(context));
            return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())));
        }
        self.patience.renew();
        match &polled {
            Poll::Ready(None) => self.guest.heard(),
            _ => self.tell_if_over(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a caller is told: when it is over, or given up, the caller is silent again.
pub(super) struct Told {
    body: Body,
    guest: Arc<Guest>,
}

impl Told {
    pub(super) fn new(body: Body, guest: Arc<Guest>) -> Self {
        Told { body, guest }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.guest.answered();
    }
}

impl HttpBody for Told {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
