//! What a service holds: all of its tenants' databases, each reachable only as one tenant at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rowhouse_domain::context::ContextError;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::tenancy::Isolation;
use rowhouse_firewall::Firewall;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::pool::{CellPool, PoolKey, SHARED_POOL};
use crate::statement::Guard;
use crate::transaction::Entry;
use crate::view::View;
use crate::watch::{OpenError, Source};
use crate::{
    Access, ContextKeys, DatabaseError, RequestError, TenantContext, TenantRequest, TenantTransaction,
};

/// How long a transaction waits for news of a place that has changed.
const NEWS: Duration = Duration::from_secs(2);
/// How often idle connections are looked at.
const SWEEP: Duration = Duration::from_secs(5);

/// The tenants' databases of one service. Cheap to clone; the last clone that goes closes all connections.
#[derive(Clone)]
pub struct Databases {
    inner: Arc<Inner>,
}

struct Inner {
    /// The only tenant of a process of an instance of its own.
    only: Option<TenantId>,
    view: watch::Receiver<Arc<View>>,
    pools: Arc<Pools>,
    firewall: Firewall,
    /// The watcher and the sweeper; they end with this.
    _tasks: JoinSet<()>,
}

/// Pools by address of their server, made on demand.
#[derive(Default)]
struct Pools(Mutex<HashMap<(String, u16), Arc<CellPool>>>);

impl std::fmt::Debug for Databases {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Databases(plane {})", self.inner.view.borrow().version())
    }
}

impl Databases {
    /// Opens what `source` tells of. With [`Source::Watch`], waits for the first plane, or takes the last one from
    /// disk if the control plane is away; later ones come in by themselves.
    ///
    /// # Errors
    /// If there is no plane to be had. Must be called within a Tokio runtime.
    pub async fn open(source: Source) -> Result<Self, OpenError> {
        let mut tasks = JoinSet::new();
        let only = source.only_tenant();
        let view = source.start(&mut tasks).await?;
        let pools = Arc::new(Pools::default());
        tasks.spawn(sweep(pools.clone(), view.clone()));
        Ok(Databases {
            inner: Arc::new(Inner { only, view, pools, firewall: Firewall::default(), _tasks: tasks }),
        })
    }

    /// The gateway's public keys as they are now.
    pub fn context_keys(&self) -> ContextKeys {
        self.inner.view.borrow().context_keys().clone()
    }

    /// [`TenantContext::from_header`] with the keys as they are now.
    ///
    /// # Errors
    /// If the header is malformed, forged, for another service, or not valid at `now_s`.
    pub fn context(&self, header: &str, now_s: i64) -> Result<TenantContext, ContextError> {
        let view = self.view();
        TenantContext::from_header(view.context_keys(), view.service(), header, now_s)
    }

    /// Believes the one header `rowhouse-context` of a request, and answers the way to the rows of its tenant. A process
    /// that serves one tenant only takes no other's.
    ///
    /// # Errors
    /// If the header is not there once, or is not believed at `now_s` (seconds since 1970).
    pub fn request(&self, headers: &hyper::HeaderMap, now_s: i64) -> Result<TenantRequest, RequestError> {
        TenantRequest::believe(self, headers, now_s)
    }

    pub(crate) fn only_tenant(&self) -> Option<TenantId> {
        self.inner.only
    }

    /// Begins a transaction of the context's tenant. If its place has changed, or takes no writers while the tenant is
    /// being moved, waits up to two seconds for the news and tries again with what they say.
    ///
    /// # Errors
    /// See [`DatabaseError`]; nothing was executed then.
    pub async fn begin(
        &self,
        context: &TenantContext,
        access: Access,
    ) -> Result<TenantTransaction, DatabaseError> {
        use DatabaseError::{Moved, NoContext, UnknownTenant};
        let deadline = Instant::now() + NEWS;
        let mut view = self.view();
        loop {
            match self.begin_at(&view, context.tenant(), access).await {
                // News of somebody else, or of a move that has only begun, do not end the wait.
                Err(stale @ (Moved | UnknownTenant | NoContext)) => {
                    match self.newer_than(view.version(), deadline).await {
                        Some(newer) => view = newer,
                        None => return Err(stale),
                    }
                }
                other => return other,
            }
        }
    }

    /// Connections of this process to the server at `host` and `port`, open or being opened.
    pub fn open_connections(&self, host: &str, port: u16) -> u32 {
        self.inner.pools.lock().get(&(host.to_owned(), port)).map_or(0, |pool| pool.open_connections())
    }

    fn view(&self) -> Arc<View> {
        self.inner.view.borrow().clone()
    }

    async fn newer_than(&self, version: u64, deadline: Instant) -> Option<Arc<View>> {
        let mut receiver = self.inner.view.clone();
        let newer = receiver.wait_for(|view| view.version() > version);
        Some(tokio::time::timeout_at(deadline, newer).await.ok()?.ok()?.clone())
    }

    async fn begin_at(
        &self,
        view: &View,
        tenant: TenantId,
        access: Access,
    ) -> Result<TenantTransaction, DatabaseError> {
        let (place, cell, key) = view.find(tenant).ok_or(DatabaseError::UnknownTenant)?;
        let permitted =
            if access == Access::Read { place.rights.can_read() } else { place.rights.can_change() };
        if !permitted {
            return Err(DatabaseError::NotPermitted);
        }
        let pool = self.inner.pools.of(&cell.host, cell.port, cell.connections);
        let pool_key = PoolKey {
            database: place.database.clone(),
            login: place.login.clone(),
            schema: place.schema.clone(),
        };
        let size = if place.isolation == Isolation::Shared { SHARED_POOL } else { place.connections };
        let guard = Guard { firewall: self.inner.firewall.clone(), ground: view.ground(place, cell) };
        let entry = Entry { tenant, epoch: place.epoch, rights: place.rights.letters(), key, access, guard };
        match TenantTransaction::begin(pool.acquire(&pool_key, size).await?, &entry).await {
            // An idle connection that died unnoticed (the server was restarted) says nothing about the server now.
            Err(DatabaseError::Unavailable(_)) => {
                TenantTransaction::begin(pool.acquire(&pool_key, size).await?, &entry).await
            }
            other => other,
        }
    }
}

impl Pools {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, u16), Arc<CellPool>>> {
        self.0.lock().expect("nothing panics while it holds the pools")
    }

    fn of(&self, host: &str, port: u16, budget: u32) -> Arc<CellPool> {
        let mut pools = self.lock();
        if let Some(pool) = pools.get(&(host.to_owned(), port)) {
            return pool.clone();
        }
        let pool = CellPool::new(host.to_owned(), port, budget);
        pools.insert((host.to_owned(), port), pool.clone());
        pool
    }
}

/// Closes what is idle for too long, and follows changes of the budgets.
async fn sweep(pools: Arc<Pools>, mut view: watch::Receiver<Arc<View>>) {
    let mut tick = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                for pool in pools.lock().values() {
                    pool.sweep();
                }
            }
            changed = view.changed() => {
                if changed.is_err() {
                    // A fixed plane has no sender; there is nothing more to follow.
                    std::future::pending::<()>().await;
                }
                let view = view.borrow_and_update().clone();
                for ((host, port), pool) in pools.lock().iter() {
                    if let Some(budget) = view.budget(host, *port) {
                        pool.set_budget(budget);
                    }
                }
            }
        }
    }
}
