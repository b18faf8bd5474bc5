//! Connections to the control database, and the store that hands out transactions.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, QueueMode, RecyclingMethod, Runtime, Timeouts};
use rowhouse_domain::access::Permit;
use rowhouse_domain::clock::Clock;
use rowhouse_domain::entropy::Entropy;
use rowhouse_domain::refusal::{Refusal, kind};
use tokio::sync::watch;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;

use crate::lines::Crowded;
use crate::transaction::{Role, Transaction};
use crate::turns::Turns;
use crate::wake::{Bells, Topic};

/// The control database could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection within the deadline: the database is down or busy.
    #[error("no connection to the control database")]
    Connection(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A statement failed.
    #[error("a statement on the control database failed")]
    Statement(#[from] tokio_postgres::Error),
    /// As many calls of the tenant, or of the network that they come from, are under way and waiting as may be.
    #[error("as many calls of one as may be are under way")]
    Crowded,
    /// A stored value does not fit its type.
    #[error("{what} in the control database does not have the form we wrote")]
    Stored {
        /// Which value.
        what: &'static str,
    },
}

impl From<Crowded> for StoreError {
    fn from(Crowded: Crowded) -> Self {
        StoreError::Crowded
    }
}

impl StoreError {
    /// The name of the unique, check or foreign key constraint that refused, if one did.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            StoreError::Statement(error) => error.as_db_error().and_then(|error| error.constraint()),
            _ => None,
        }
    }
}

/// What no statement of ours causes by itself: a NUL in a text or in JSON, a time beyond the calendar.
const NO_VALUES: [SqlState; 3] = [
    SqlState::CHARACTER_NOT_IN_REPERTOIRE,
    SqlState::UNTRANSLATABLE_CHARACTER,
    SqlState::DATETIME_FIELD_OVERFLOW,
];

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::Crowded => {
                let words = "As many calls of yours as may be are under way: ask less at once.";
                return Refusal::new(&kind::LIMIT_EXCEEDED, words).retry_after(1);
            }
            StoreError::Connection(_) => &kind::UNAVAILABLE,
            StoreError::Statement(error) if error.is_closed() => &kind::UNAVAILABLE,
            StoreError::Statement(error) if error.code().is_some_and(|code| NO_VALUES.contains(code)) => {
                return Refusal::new(
                    &kind::INVALID,
                    "The request holds a text or a time that cannot be kept.",
                )
                .private(error.to_string());
            }
            _ => &kind::INTERNAL,
        };
        let mut private = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            private = format!("{private}: {cause}");
            source = cause.source();
        }
        Refusal::new(kind, "The control plane could not do this just now.").private(private)
    }
}

/// Sizes and times of the pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolBounds {
    /// Most connections.
    pub connections_max: usize,
    /// Longest wait for one.
    pub wait: Duration,
    /// Longest time for one statement. The longest there is reads a whole directory.
    pub statement: Duration,
    /// Longest wait for a lock; shorter than a statement may take, so that who waits is told.
    pub lock: Duration,
    /// Longest time that a transaction may stand open with nothing to do.
    pub idle: Duration,
}

impl Default for PoolBounds {
    fn default() -> Self {
        PoolBounds {
            connections_max: 20,
            wait: Duration::from_secs(5),
            statement: Duration::from_secs(120),
            lock: Duration::from_secs(30),
            idle: Duration::from_secs(60),
        }
    }
}

impl PoolBounds {
    /// The settings of a session that is bounded so; what `config` says itself comes last and wins.
    fn session(&self, config: &tokio_postgres::Config) -> String {
        let millis = |time: Duration| time.as_millis();
        format!(
            "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={} {}",
            millis(self.statement),
            millis(self.lock),
            millis(self.idle),
            config.get_options().unwrap_or_default(),
        )
    }
}

/// The control database.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    turns: Arc<Turns>,
    /// Hosts, or directories of sockets, and ports of its server.
    addresses: Arc<[(String, u16)]>,
    clock: Clock,
    entropy: Entropy,
    committed: Arc<watch::Sender<u64>>,
    bells: Bells,
}

impl Store {
    /// Connects lazily with `config`, whose user must be a member of `rowhouse_app` and `rowhouse_sequencer`.
    pub fn new(
        mut config: tokio_postgres::Config,
        bounds: PoolBounds,
        clock: Clock,
        entropy: Entropy,
    ) -> Self {
        let session = bounds.session(&config);
        config.options(session);
        let addresses = addresses_of(&config).into();
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config, tokio_postgres::NoTls, recycling);
        let wait = Some(bounds.wait);
        let pool = Pool::builder(manager)
            .max_size(bounds.connections_max)
            .timeouts(Timeouts { wait, create: wait, recycle: wait })
            // The one that was given back last: its statements are prepared and its backend's caches are warm.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a runtime is given with the timeouts");
        Store {
            pool,
            turns: Arc::new(Turns::new(bounds.connections_max, bounds.wait)),
            addresses,
            clock,
            entropy,
            committed: Arc::new(watch::channel(0).0),
            bells: Bells::new(),
        }
    }

    /// Whether the control database is on the server that is reached by this host, or directory of its socket, and port: that is its
    /// only address.
    pub fn is_at(&self, host: &str, port: u16) -> bool {
        matches!(&*self.addresses, [(own, own_port)] if own == host && *own_port == port)
    }

    /// The clock that rows are stamped with.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Where ids and secrets come from.
    pub fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    /// Changes with each commit of this process, whatever it was about; only for those who look at a measured pace.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }

    /// Changes with each commit of this process that touched `topic`: a hint to look.
    pub fn touched(&self, topic: Topic) -> watch::Receiver<u64> {
        self.bells.listen(topic)
    }

    pub(crate) fn bells(&self) -> &Bells {
        &self.bells
    }

    /// A transaction that can read what the permit is for.
    pub async fn read(&self, permit: &Permit) -> Result<Transaction, StoreError> {
        self.begin(permit, Role::App, "BEGIN READ ONLY").await
    }

    /// A transaction that can change what the permit is for; it ends only with an event.
    pub async fn write(&self, permit: &Permit) -> Result<Transaction, StoreError> {
        self.begin(permit, Role::App, "BEGIN").await
    }

    /// The transaction of the audit sequencer, which alone writes the event log.
    pub async fn sequence(&self) -> Result<Transaction, StoreError> {
        let permit = Permit::for_system(None, "audit sequencer");
        self.begin(&permit, Role::Sequencer, "BEGIN").await
    }

    async fn begin(&self, permit: &Permit, role: Role, begin: &str) -> Result<Transaction, StoreError> {
        let turn = self.turns.take().await?;
        let client = self.pool.get().await.map_err(|error| StoreError::Connection(Box::new(error)))?;
        Transaction::begin((client, turn), self.clone(), permit, role, begin).await
    }

    pub(crate) fn announce(&self) {
        self.committed.send_modify(|count| *count += 1);
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Store({:?})", self.pool.status())
    }
}

/// Hosts and ports in the order in which they are tried.
fn addresses_of(config: &tokio_postgres::Config) -> Vec<(String, u16)> {
    let ports = config.get_ports();
    let port = |place: usize| *ports.get(place).or(ports.first()).unwrap_or(&5432);
    let name = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(directory) => directory.display().to_string(),
    };
    config.get_hosts().iter().enumerate().map(|(place, host)| (name(host), port(place))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_known_by_its_only_address() {
        let at = |words: &str| {
            let config = words.parse().expect("well-formed");
            let (clock, entropy) = (Clock::by_hand(0).0, Entropy::new(|bytes| bytes.fill(7)));
            Store::new(config, PoolBounds::default(), clock, entropy)
        };
        let near = at("host=/data/socket port=5432 user=a");
        assert!(near.is_at("/data/socket", 5432));
        assert!(!near.is_at("/data/socket", 5433) && !near.is_at("/data/other", 5432));
        assert!(at("host=127.0.0.1 user=a").is_at("127.0.0.1", 5432));
        let two = at("host=127.0.0.1,127.0.0.2 port=5432 user=a");
        assert!(!two.is_at("127.0.0.1", 5432), "either may be meant");
    }
}
