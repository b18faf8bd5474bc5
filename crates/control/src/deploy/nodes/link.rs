//! The node's end of the connection: calls of the door, and the stream of the directory.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rowhouse_domain::routes::Seen;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use uuid::Uuid;

use super::door::PROCESS_HEADER;
use super::raw_keys::{NodeKey, PublicKey, connect_with};
use super::wire::{Drained, Enrolment, Follow, MESSAGE_MAX, Message, Position, Shipment, Welcome, WireError};
use super::{DIRECTORY_PATH, DRAINED_PATH, ENROL_PATH, JOURNAL_PATH, UPSTREAMS_PATH};

/// Time to connect, and for each call that answers at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time for a batch of the journal, which the other side writes to its database first.
const SHIPPING: Duration = Duration::from_secs(60);
/// Silence of the stream, which beats every second, after which it is over.
const SILENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer that is no stream.
const ANSWER_MAX: usize = 1024 * 1024;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nobody answers, or not in time, or somebody whose key is another.
    #[error("the control plane cannot be reached: {0}")]
    Away(String),
    /// It says no.
    #[error("the control plane refuses: {code}: {detail}")]
    Refused {
        /// A code of the catalogue.
        code: String,
        /// In words.
        detail: String,
    },
    /// What it says cannot be read.
    #[error("the control plane cannot be understood")]
    Wire(#[from] WireError),
}

impl LinkError {
    /// The code of a refusal.
    pub fn code(&self) -> &str {
        match self {
            LinkError::Refused { code, .. } => code,
            _ => "",
        }
    }
}

fn away(error: impl std::fmt::Display) -> LinkError {
    LinkError::Away(error.to_string())
}

/// A connection to the control plane.
pub struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// Drives the connection; ends with it.
    _driver: JoinSet<()>,
}

impl Link {
    /// Connects to `address` (`host:port`), which must prove to have the key `door`.
    ///
    /// # Errors
    /// If nobody is there in time, or somebody else.
    pub async fn connect(address: &str, own: &NodeKey, door: PublicKey) -> Result<Link, LinkError> {
        let connecting = async {
            let stream = TcpStream::connect(address).await.map_err(away)?;
            stream.set_nodelay(true).map_err(away)?;
            let connector = TlsConnector::from(Arc::new(connect_with(own, door).map_err(away)?));
            let name = ServerName::try_from("control.rowhouse.internal").map_err(away)?;
            let stream = connector.connect(name, stream).await.map_err(away)?;
            let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(PATIENCE / 2)
                .keep_alive_timeout(PATIENCE)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(away)?;
            let mut driver = JoinSet::new();
            driver.spawn(async move {
                // What broke is seen by the calls on it.
                let _ = connection.await;
            });
            Ok(Link { sender, _driver: driver })
        };
        tokio::time::timeout(PATIENCE, connecting).await.map_err(away)?
    }

    /// Enrols with a token.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn enrol(&self, asked: &Enrolment) -> Result<Welcome, LinkError> {
        self.call(Method::POST, ENROL_PATH, words(asked), (PATIENCE, None)).await
    }

    /// Where the control plane stands on each lane.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn positions(&self) -> Result<std::collections::BTreeMap<String, u64>, LinkError> {
        #[derive(serde::Deserialize)]
        struct Positions {
            lanes: std::collections::BTreeMap<String, u64>,
        }
        let told: Positions = self.call(Method::GET, JOURNAL_PATH, Bytes::new(), (PATIENCE, None)).await?;
        Ok(told.lanes)
    }

    /// Sends a batch of a lane, as this process; where the lane stands then.
    ///
    /// # Errors
    /// If it is refused; the same batch will do later.
    pub async fn ship(&self, process: Uuid, lane: &str, shipment: &Shipment) -> Result<Position, LinkError> {
        let path = format!("{JOURNAL_PATH}/{lane}");
        self.call(Method::POST, &path, shipment.encode().into(), (SHIPPING, Some(process))).await
    }

    /// Tells what this process sees of upstreams.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn tell_upstreams(&self, process: Uuid, seen: &[Seen]) -> Result<(), LinkError> {
        let how = (PATIENCE, Some(process));
        let _: serde_json::Value = self.call(Method::POST, UPSTREAMS_PATH, words(&seen), how).await?;
        Ok(())
    }

    /// Says, as this process, that the drain of this number has ended.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn tell_drained(&self, process: Uuid, drain: i64) -> Result<(), LinkError> {
        let how = (PATIENCE, Some(process));
        let _: serde_json::Value =
            self.call(Method::POST, DRAINED_PATH, words(&Drained { drain }), how).await?;
        Ok(())
    }

    /// Follows the directory.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn follow(&self, asked: &Follow) -> Result<Messages, LinkError> {
        let answer = self.ask(Method::POST, DIRECTORY_PATH, words(asked), (PATIENCE, None)).await?;
        Ok(Messages { body: answer, read: BytesMut::new() })
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        how: (Duration, Option<Uuid>),
    ) -> Result<T, LinkError> {
        let answer = self.ask(method, path, body, how).await?;
        let read = tokio::time::timeout(how.0, Limited::new(answer, ANSWER_MAX).collect());
        let bytes = read.await.map_err(away)?.map_err(away)?.to_bytes();
        Ok(serde_json::from_slice(&bytes).map_err(WireError::Unknown)?)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        (patience, process): (Duration, Option<Uuid>),
    ) -> Result<Incoming, LinkError> {
        let mut request =
            Request::builder().method(method).uri(format!("https://control.rowhouse.internal{path}"));
        if let Some(process) = process {
            request = request.header(PROCESS_HEADER, process.to_string());
        }
        let request = request.body(Full::new(body)).map_err(away)?;
        let mut sender = self.sender.clone();
        let answer = tokio::time::timeout(patience, sender.send_request(request)).await;
        let answer = answer.map_err(away)?.map_err(away)?;
        if answer.status() == StatusCode::OK {
            return Ok(answer.into_body());
        }
        Err(refusal(answer.into_body()).await)
    }
}

async fn refusal(body: Incoming) -> LinkError {
    #[derive(serde::Deserialize)]
    struct Problem {
        code: String,
        detail: String,
    }
    let read = tokio::time::timeout(PATIENCE, Limited::new(body, ANSWER_MAX).collect()).await;
    let bytes = match read {
        Ok(Ok(read)) => read.to_bytes(),
        _ => return away("a refusal that broke off"),
    };
    match serde_json::from_slice::<Problem>(&bytes) {
        Ok(Problem { code, detail }) => LinkError::Refused { code, detail },
        Err(error) => away(error),
    }
}

fn words(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("text and numbers").into()
}

/// The stream of the directory.
pub struct Messages {
    body: Incoming,
    read: BytesMut,
}

impl Messages {
    /// The next message with its bytes as they were packed; `None` when the stream is over.
    ///
    /// # Errors
    /// If it breaks, is silent for too long, or cannot be read.
    pub async fn next(&mut self) -> Result<Option<(Message, Bytes)>, LinkError> {
        loop {
            if let Some(packed) = self.whole()? {
                return Ok(Some((Message::unpack(&packed)?, packed)));
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame()).await;
            match frame.map_err(|_| away("it fell silent"))? {
                None => return Ok(None),
                Some(Err(error)) => return Err(away(error)),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.read.extend_from_slice(&bytes);
                    }
                }
            }
        }
    }

    fn whole(&mut self) -> Result<Option<Bytes>, LinkError> {
        let Some(length) = self.read.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MESSAGE_MAX {
            return Err(WireError::TooLong(length).into());
        }
        if self.read.len() < 4 + length {
            return Ok(None);
        }
        let mut whole = self.read.split_to(4 + length);
        Ok(Some(whole.split_off(4).freeze()))
    }
}
