//! Opening a connection to an upstream and sending one request over it.

use std::rc::Rc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::Upstream;
use crate::body::UpstreamBody;
use crate::connection::LocalExecutor;
use crate::stream::Stream;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("connecting")]
    Connect(#[from] std::io::Error),
    #[error("greeting")]
    Handshake(#[from] hyper::Error),
}

/// Why there is no answer.
pub(crate) enum SendError {
    /// Nothing was sent: the connection had closed. The request can go elsewhere.
    NotSent(Box<Request<UpstreamBody>>),
    /// It may have been sent.
    Failed(hyper::Error),
}

/// A connection taken out for one request.
pub(crate) struct Pooled {
    pub(crate) upstream: Rc<Upstream>,
    sender: Sender,
}

enum Sender {
    Http1(http1::SendRequest<UpstreamBody>),
    Http2(http2::SendRequest<UpstreamBody>),
}

impl Upstream {
    /// A connection that is open already.
    pub(crate) fn open(self: &Rc<Self>) -> Option<Pooled> {
        let sender = match self.http2 {
            true => Sender::Http2(self.shared()?),
            false => Sender::Http1(self.take_idle()?),
        };
        Some(Pooled { upstream: self.clone(), sender })
    }

    /// A new connection. Its deadline is the caller's.
    pub(crate) async fn connect(self: &Rc<Self>) -> Result<Pooled, ConnectError> {
        let stream = TcpStream::connect(&*self.address).await?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(Stream(stream));
        let sender = match self.http2 {
            true => {
                let mut builder = http2::Builder::new(LocalExecutor);
                let (sender, connection) = builder.timer(TokioTimer::new()).handshake(io).await?;
                tokio::task::spawn_local(connection);
                self.share(sender.clone());
                Sender::Http2(sender)
            }
            false => {
                let (sender, connection) = http1::Builder::new().handshake(io).await?;
                tokio::task::spawn_local(connection);
                Sender::Http1(sender)
            }
        };
        Ok(Pooled { upstream: self.clone(), sender })
    }
}

impl Pooled {
    /// Whether it takes a request at once.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_ready(),
            Sender::Http2(sender) => sender.is_ready(),
        }
    }

    /// Waits until it takes a request; whether it does.
    pub(crate) async fn ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Hands `request` over at once, so that it is moved no further; then waits for the head of the answer.
    pub(crate) fn send(
        &mut self,
        request: Request<UpstreamBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError>> + use<> {
        let (http1, http2) = match &mut self.sender {
            Sender::Http1(sender) => (Some(sender.try_send_request(request)), None),
            Sender::Http2(sender) => (None, Some(sender.try_send_request(request))),
        };
        async move {
            let sent = match (http1, http2) {
                (Some(answer), _) => answer.await,
                (None, answer) => answer.expect("it is one of the two").await,
            };
            sent.map_err(|mut error| match error.take_message() {
                Some(request) => SendError::NotSent(Box::new(request)),
                None => SendError::Failed(error.into_error()),
            })
        }
    }

    /// Gives the connection back: its answer has been read to the end.
    pub(crate) fn give_back(self) {
        if let Sender::Http1(sender) = self.sender {
            self.upstream.put_idle(sender);
        }
    }
}
