//! Connections that wait for the next work of the control plane in the same database, because opening one and reading the
//! catalog anew takes longer than the work itself.
//!
//! A connection that is lent again has forgotten its session (`DISCARD ALL`), which also shows that it is alive; one that is not
//! given back, as after an error, is closed. Who is the last to work in a database of one tenant closes ([`Spare::rest`]).

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Id};

use crate::cell::{SCHEMAS_DATABASE, SHARED_DATABASE};
use crate::connect::{Address, ConnectError, Connected};

/// Most that wait for one database.
const EACH_MAX: usize = 4;
/// Longest time that one waits.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Databases that stay.
const LASTING: [&str; 3] = ["postgres", SHARED_DATABASE, SCHEMAS_DATABASE];

/// Whose connection to what. A connection lives in the runtime that opened it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    host: String,
    port: u16,
    user: String,
    database: String,
    commits_later: bool,
    runtime: Id,
}

type Waiting = HashMap<Key, Vec<(Instant, Connected)>>;
static WAITING: LazyLock<Mutex<Waiting>> = LazyLock::new(Mutex::default);

/// A connection to be given back.
#[derive(Debug)]
pub(crate) struct Spare {
    key: Key,
    connected: Option<Connected>,
}

impl Spare {
    /// One that waits, or a new one.
    pub async fn borrow(address: Address<'_>) -> Result<Spare, ConnectError> {
        let key = Key {
            host: address.host.to_owned(),
            port: address.port,
            user: address.user.to_owned(),
            database: address.database.to_owned(),
            commits_later: address.commits_later,
            runtime: Handle::current().id(),
        };
        while let Some(connected) = take(&key) {
            if connected.batch_execute("DISCARD ALL").await.is_ok() {
                return Ok(Spare { key, connected: Some(connected) });
            }
        }
        Ok(Spare { key, connected: Some(Connected::open(address).await?) })
    }

    /// Keeps it for the next one.
    pub async fn give_back(mut self) {
        let Some(connected) = self.connected.take() else { return };
        let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        let own = waiting.entry(self.key.clone()).or_default();
        if own.len() < EACH_MAX {
            own.push((Instant::now(), connected));
        }
    }

    /// Keeps it if its database is one of many tenants; closes it if nobody is expected there soon.
    pub async fn rest(self) {
        match LASTING.contains(&self.key.database.as_str()) {
            true => self.give_back().await,
            false => self.close().await,
        }
    }

    /// Closes it.
    pub async fn close(mut self) {
        if let Some(connected) = self.connected.take() {
            connected.close().await;
        }
    }
}

/// The one that was used last; all that waited too long are closed.
fn take(key: &Key) -> Option<Connected> {
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.retain(|_, spares| {
        spares.retain(|(since, spare)| since.elapsed() < IDLE_MAX && !spare.is_closed());
        !spares.is_empty()
    });
    waiting.get_mut(key)?.pop().map(|(_, connected)| connected)
}

impl Deref for Spare {
    type Target = Connected;
    fn deref(&self) -> &Connected {
        self.connected.as_ref().expect("taken only when it is given back")
    }
}

impl DerefMut for Spare {
    fn deref_mut(&mut self) -> &mut Connected {
        self.connected.as_mut().expect("taken only when it is given back")
    }
}
