//! One connection, and calls over it that end by a deadline.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError,
    ServerErrorKind, Value,
};
use tokio::net::TcpStream;

use super::{LimitStore, StoreError, wire};
use crate::metrics::bump;
use crate::upstream::Spoken;

/// Time for a connection to come about; no request waits for that.
const CONNECT: Duration = Duration::from_millis(500);
/// Probes in a row without an answer, after which a connection is given up: about two seconds.
const UNANSWERED_MAX: u32 = 8;
/// Answers waited for at once on one connection; one that is stopped is not written to for ever.
const PIPELINED_MAX: usize = 1_024;

impl LimitStore {
    /// Asks, and waits until the deadline at most. A call whose answer comes too late may have been charged.
    pub(super) async fn call(&self, command: &Cmd) -> Result<Value, StoreError> {
        if !self.breaker.borrow().lets_through() || self.connection.borrow().is_none() {
            return Err(StoreError::LeftAlone);
        }
        let began = Instant::now();
        let answered = self.ask(command, self.shared.config.deadline).await;
        self.count_call();
        self.note(&answered, began);
        answered
    }

    /// The same for probes, whether or not the store is left alone.
    pub(super) async fn ask(&self, command: &Cmd, within: Duration) -> Result<Value, StoreError> {
        let Some(mut connection) = self.connection.borrow().clone() else {
            return Err(StoreError::LeftAlone);
        };
        let asking = async {
            match send(&mut connection, command).await {
                // Emptied, or a node that is new: loaded, and tried once more.
                Err(error) if library_is_missing(&error) => {
                    send(&mut connection, &load()).await?;
                    send(&mut connection, command).await
                }
                answered => answered,
            }
        };
        match tokio::time::timeout(within, asking).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                // One that became another's replica stays so: who is the first now is found by connecting anew.
                let is_demoted = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
                if is_demoted || error.is_unrecoverable_error() {
                    self.connection.replace(None);
                }
                Err(error.into())
            }
            Err(_elapsed) => Err(StoreError::TooLate),
        }
    }

    fn note(&self, answered: &Result<Value, StoreError>, began: Instant) {
        let now = Instant::now();
        if let Err(error) = answered {
            bump(&self.metrics.store_failures, 1);
            tracing::debug!(%error, waited_us = (now - began).as_micros() as u64, "limits are counted alone");
        }
        if self.breaker.borrow_mut().note(answered.is_ok(), now) {
            tracing::warn!("the store of limits does not answer: gateways count for themselves");
        }
    }

    /// Connects, if it is not connected. Answers whether it did.
    pub(super) async fn connect(&self) -> Result<bool, StoreError> {
        if self.connection.borrow().is_some() {
            return Ok(false);
        }
        let (info, is_secure) = self.shared.config.read()?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINED_MAX);
        let connecting = async {
            match (info.addr(), is_secure) {
                (ConnectionAddr::Tcp(host, port), true) => {
                    self.connect_securely(host, *port, &info, config).await
                }
                _ => Ok(Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await?),
            }
        };
        let connection =
            tokio::time::timeout(CONNECT, connecting).await.map_err(|_| StoreError::TooLate)??;
        self.connection.replace(Some(connection));
        self.unanswered.set(0);
        Ok(true)
    }

    /// Over TLS, with the one stack that speaks it here.
    async fn connect_securely(
        &self,
        host: &str,
        port: u16,
        info: &ConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, StoreError> {
        let shared = &self.shared;
        let secure = shared.secure.secure(&shared.config.tls, Spoken::Other);
        let secure = secure.ok_or_else(|| std::io::Error::other("TLS cannot be set up"))?;
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let stream = secure.greet(&format!("{host}:{port}"), stream).await?;
        let made = MultiplexedConnection::new_with_config(info.redis_settings(), stream, config).await?;
        let (connection, driver) = made;
        tokio::task::spawn_local(driver);
        Ok(connection)
    }

    /// Notes whether a probe was answered. A connection on which nothing is answered any more may be one whose other end has gone
    /// without a word; another is opened.
    pub(super) fn note_probe(&self, answered: &Result<Value, StoreError>) {
        let unanswered =
            if matches!(answered, Err(StoreError::TooLate)) { self.unanswered.get() + 1 } else { 0 };
        self.unanswered.set(unanswered);
        if unanswered >= UNANSWERED_MAX {
            self.connection.replace(None);
        }
    }
}

fn load() -> Cmd {
    let mut command = Cmd::new();
    command.arg("FUNCTION").arg("LOAD").arg("REPLACE").arg(wire::LIBRARY);
    command
}

async fn send(connection: &mut MultiplexedConnection, command: &Cmd) -> Result<Value, RedisError> {
    connection.send_packed_command(command).await?.extract_error()
}

/// Redis has no code for it, only words.
fn library_is_missing(error: &RedisError) -> bool {
    error.to_string().contains("Function not found")
}
