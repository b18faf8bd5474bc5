//! One connection of a service to a tenants' database: its backend, the server's clock, its prepared statements, and
//! whose transaction it served last.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::{CancelToken, Client, NoTls, Statement};
use uuid::Uuid;

use super::PoolKey;
use crate::connect::Address;
use crate::name::quote;
use crate::statement::Guard;
use crate::{ConnectError, DatabaseError};

/// Settings of every session. In the startup packet they outrank what a role set for itself, and `RESET ALL` comes
/// back to them: all that could make a commit less durable, end sessions, or change what a statement means. The last
/// one keeps a login from naming a library that no session could load.
const SETTINGS: &str = "-c statement_timeout=30000 -c lock_timeout=2000 -c idle_in_transaction_session_timeout=60000 \
     -c default_transaction_read_only=off -c default_transaction_isolation=read\\ committed -c row_security=on \
     -c default_transaction_deferrable=off -c synchronous_commit=on -c idle_session_timeout=0 -c exit_on_error=off \
     -c standard_conforming_strings=on -c transform_null_equals=off -c array_nulls=on -c gin_fuzzy_search_limit=0 \
     -c plan_cache_mode=auto -c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=1 \
     -c bytea_output=hex -c local_preload_libraries=";

/// How long a cancel request may take before the connection is simply closed.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// Statements kept prepared; a service has fewer, or makes texts, which then are prepared each time.
const STATEMENTS_MAX: usize = 1_000;

pub(crate) struct Backend {
    client: Client,
    driver: JoinHandle<()>,
    cancel: CancelToken,
    pid: i32,
    clock: ServerClock,
    statements: HashMap<String, Statement>,
    pub last_tenant: Option<Uuid>,
    pub opened_at: Instant,
    pub idle_since: Instant,
}

/// The server's time, carried forward by our monotonic clock, so that neither side's wall clock has to agree.
#[derive(Clone, Copy)]
struct ServerClock {
    server_s: f64,
    measured_at: Instant,
}

impl ServerClock {
    fn now_s(&self) -> i64 {
        (self.server_s + self.measured_at.elapsed().as_secs_f64()) as i64
    }
}

impl Backend {
    /// Opens a connection, and asks for its process id and the server's time in one round trip.
    pub async fn open(key: &PoolKey, host: &str, port: u16) -> Result<Self, ConnectError> {
        let address = Address { host, port, user: &key.login, database: &key.database, commits_later: false };
        let mut config = address.config()?;
        config
            .options(format!("-c search_path={} {SETTINGS}", quote(&key.schema)?))
            .application_name(format!("rowhouse:{}", key.schema));
        let (client, connection) = config.connect(NoTls).await.map_err(|source| address.failed(source))?;
        let driver = tokio::spawn(async move {
            if let Err(problem) = connection.await {
                tracing::debug!(%problem, "a tenant connection ended");
            }
        });
        let row = client
            .query_typed_one("SELECT pg_backend_pid(), extract(epoch FROM clock_timestamp())::float8", &[])
            .await
            .map_err(|source| address.failed(source))?;
        let now = Instant::now();
        Ok(Backend {
            pid: row.get(0),
            clock: ServerClock { server_s: row.get(1), measured_at: now },
            cancel: client.cancel_token(),
            client,
            driver,
            statements: HashMap::new(),
            last_tenant: None,
            opened_at: now,
            idle_since: now,
        })
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Seconds since 1970 on the server's clock.
    pub fn server_now_s(&self) -> i64 {
        self.clock.now_s()
    }

    pub fn learn_time(&mut self, server_s: f64) {
        self.clock = ServerClock { server_s, measured_at: Instant::now() };
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The prepared form of a service's `sql`, which must be a statement that tenants may run.
    pub async fn prepare(&mut self, sql: &str, guard: &Guard) -> Result<Statement, DatabaseError> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        guard.check(sql)?;
        self.prepare_own(sql).await
    }

    /// The prepared form of a text that the library made of quoted names.
    pub async fn prepare_own(&mut self, sql: &str) -> Result<Statement, DatabaseError> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let prepared = self.client.prepare(sql).await?;
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), prepared.clone());
        Ok(prepared)
    }

    /// Ends an idle connection, and waits until the server has been told.
    pub async fn close(self) {
        drop(self.client);
        let _ = self.driver.await; // its only failure is a panic of the driver
    }

    /// Stops whatever runs, then closes the socket. Nothing of the connection is used again.
    pub async fn destroy(self) {
        if !self.client.is_closed() {
            // Best effort: without it, the server notices when it next writes to the closed socket.
            let _ = tokio::time::timeout(CANCEL_TIMEOUT, self.cancel.cancel_query(NoTls)).await;
        }
        drop(self.client);
        self.driver.abort();
        let _ = self.driver.await;
    }
}
