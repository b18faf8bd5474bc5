//! Opening a connection to an upstream and sending one request over it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::http1::{Exchange, ExchangeError, Outbound, Wire};
use super::{Security, Upstream};
use crate::alarm::Alarm;
use crate::body::{AnswerSource, UpstreamBody};
use crate::connection::LocalExecutor;
use crate::stream::Stream;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("connecting")]
    Connect(#[from] std::io::Error),
    #[error("TLS")]
    Tls(#[source] std::io::Error),
    #[error("greeting")]
    Handshake(#[from] hyper::Error),
}

/// Why there is no answer.
pub(crate) enum SendError {
    /// Nothing was sent: the connection had closed. The request can go elsewhere.
    NotSent(Message),
    /// It may have been sent. The same once more, if it can be repeated.
    Failed(ExchangeError, Option<Message>),
}

/// A request as an upstream's protocol has it.
pub(crate) enum Message {
    Http1(Box<Outbound>),
    Http2(Box<Request<UpstreamBody>>),
}

/// A connection that takes a request.
pub(crate) enum Connection {
    Http1(Wire),
    Http2(http2::SendRequest<UpstreamBody>),
}

impl Upstream {
    /// A connection that is open already.
    pub(crate) fn open(&self) -> Option<Connection> {
        match self.http2 {
            true => self.shared().map(Connection::Http2),
            false => self.take_idle().map(Connection::Http1),
        }
    }

    /// A new connection. Its deadline is the caller's.
    pub(crate) async fn connect(&self) -> Result<Connection, ConnectError> {
        let stream = TcpStream::connect(&*self.address).await?;
        stream.set_nodelay(true)?;
        let stream = open(&self.secure, &self.address, stream).await.map_err(ConnectError::Tls)?;
        if !self.http2 {
            return Ok(Connection::Http1(self.wire(stream)));
        }
        let mut builder = http2::Builder::new(LocalExecutor);
        let (sender, connection) = builder.timer(TokioTimer::new()).handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(connection);
        self.share(sender.clone());
        Ok(Connection::Http2(sender))
    }
}

/// Greets in TLS, if that is spoken.
pub(crate) async fn open(security: &Security, address: &str, stream: TcpStream) -> std::io::Result<Stream> {
    match security {
        Security::Plain => Ok(Stream::Plain(stream)),
        Security::Tls(secure) => Ok(Stream::ToUpstream(Box::new(secure.greet(address, stream).await?))),
        Security::Unusable => Err(std::io::Error::other("it is not set up")),
    }
}

/// A request on its way, until the head of the answer is there.
pub(crate) enum Sending {
    Http1(Option<Box<Exchange>>),
    Http2(Pin<Box<dyn Future<Output = Result<Response<Incoming>, SendError>>>>, Alarm),
}

impl Connection {
    /// Puts `message` on the connection.
    pub(crate) fn send(self, message: Message) -> Sending {
        match (self, message) {
            (Connection::Http1(wire), Message::Http1(outbound)) => {
                Sending::Http1(Some(Box::new(Exchange::new(wire, *outbound))))
            }
            (Connection::Http2(sender), Message::Http2(request)) => {
                Sending::Http2(Box::pin(send_http2(sender, request)), Alarm::default())
            }
            _ => unreachable!("a message is made for the protocol of its service"),
        }
    }
}

async fn send_http2(
    mut sender: http2::SendRequest<UpstreamBody>,
    request: Box<Request<UpstreamBody>>,
) -> Result<Response<Incoming>, SendError> {
    if !sender.is_ready() && sender.ready().await.is_err() {
        return Err(SendError::NotSent(Message::Http2(request)));
    }
    sender.try_send_request(*request).await.map_err(|mut error| match error.take_message() {
        Some(request) => SendError::NotSent(Message::Http2(Box::new(request))),
        None => SendError::Failed(ExchangeError::Http2(error.into_error()), None),
    })
}

fn sent_or_not(exchange: Exchange, error: ExchangeError) -> SendError {
    let message = |outbound| Message::Http1(Box::new(outbound));
    if !matches!(error, ExchangeError::Io(_) | ExchangeError::Ended) {
        return SendError::Failed(error, None);
    }
    if !exchange.is_untouched() {
        return SendError::Failed(error, exchange.again().0.map(message));
    }
    match exchange.untouched() {
        Some(outbound) => SendError::NotSent(message(outbound)),
        None => SendError::Failed(error, None),
    }
}

impl Sending {
    /// The head of the answer, and where its body comes from.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &Rc<Upstream>,
    ) -> Poll<Result<(Response<()>, AnswerSource), SendError>> {
        match self {
            Sending::Http2(answer, _) => answer.as_mut().poll(cx).map_ok(|response| {
                let (parts, incoming) = response.into_parts();
                (Response::from_parts(parts, ()), AnswerSource::Http2(incoming, Alarm::default()))
            }),
            Sending::Http1(running) => {
                let exchange = running.as_mut().expect("nobody asks again after the answer");
                let head = std::task::ready!(exchange.poll_head(cx));
                let exchange = running.take().expect("it was there just now");
                Poll::Ready(match head {
                    Ok(head) => Ok((head, AnswerSource::Http1(exchange, upstream.clone()))),
                    Err(error) => Err(sent_or_not(*exchange, error)),
                })
            }
        }
    }

    /// Whether the service may have something of the request.
    pub(crate) fn has_begun(&self) -> bool {
        match self {
            Sending::Http1(exchange) => exchange.as_ref().is_some_and(|exchange| !exchange.is_untouched()),
            Sending::Http2(..) => true,
        }
    }

    /// The client is gone: what it did not send will not come, and what it did send may be answered.
    pub(crate) fn is_left(&mut self) {
        if let Sending::Http1(Some(exchange)) = self {
            exchange.left = true;
        }
    }

    /// Ready once `at` has passed.
    pub(crate) fn poll_alarm(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Sending::Http1(Some(exchange)) => exchange.wire.alarm.poll(at, cx),
            Sending::Http1(None) => Poll::Pending,
            Sending::Http2(_, alarm) => alarm.poll(at, cx),
        }
    }
}
