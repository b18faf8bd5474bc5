//! One connection as the administrator or as a tenant's login, for the work of the control plane.
//!
//! Only Unix sockets and loopback addresses are taken: there is no TLS here yet, and an address that would need it is
//! refused rather than reached in clear.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};

/// Longest wait for a server's answer to a new connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither an absolute path nor a loopback address.
    #[error("`{0}` is neither a socket directory nor a loopback address; connections elsewhere need TLS")]
    NeedsTls(String),
    /// A schema whose name cannot stand in a search path.
    #[error(transparent)]
    Name(#[from] crate::name::NameError),
    /// The server did not take the connection.
    #[error("connecting to database `{database}` as `{user}`")]
    Server {
        /// Database that was asked for.
        database: String,
        /// Role that asked.
        user: String,
        /// What the server or the socket said.
        #[source]
        source: tokio_postgres::Error,
    },
}

/// The address, user and database of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address<'a> {
    pub host: &'a str,
    pub port: u16,
    pub user: &'a str,
    pub database: &'a str,
    /// Its commits do not wait for the disk.
    pub commits_later: bool,
}

impl Address<'_> {
    /// The driver's configuration; refuses hosts that need TLS.
    pub fn config(&self) -> Result<Config, ConnectError> {
        let loopback = self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if !self.host.starts_with('/') && !loopback {
            return Err(ConnectError::NeedsTls(self.host.to_owned()));
        }
        let mut config = Config::new();
        config
            .host(self.host)
            .port(self.port)
            .user(self.user)
            .dbname(self.database)
            .connect_timeout(CONNECT_TIMEOUT);
        if self.commits_later {
            config.options("-c synchronous_commit=off");
        }
        Ok(config)
    }

    pub fn failed(&self, source: tokio_postgres::Error) -> ConnectError {
        ConnectError::Server { database: self.database.to_owned(), user: self.user.to_owned(), source }
    }
}

/// A connection that ends when it goes out of scope.
#[derive(Debug)]
pub(crate) struct Connected {
    client: Client,
    driver: JoinHandle<()>,
}

impl Connected {
    pub async fn open(address: Address<'_>) -> Result<Self, ConnectError> {
        let mut config = address.config()?;
        config.application_name("rowhouse");
        let (client, connection) = config.connect(NoTls).await.map_err(|source| address.failed(source))?;
        let driver = tokio::spawn(async move {
            if let Err(problem) = connection.await {
                tracing::debug!(%problem, "a connection for provisioning ended");
            }
        });
        Ok(Connected { client, driver })
    }

    /// Says good-bye and waits until the server's process has let go of the database.
    pub async fn close(self) {
        drop(self.client);
        // The driver ends after Terminate was sent and the socket closed; its only failure is a panic.
        let _ = self.driver.await;
    }
}

impl Deref for Connected {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Connected {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}
