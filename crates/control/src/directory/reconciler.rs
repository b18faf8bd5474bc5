//! Follows notices and publishes a version for each batch. A commit of this process wakes it at once; a look every
//! second finds what others committed, and what a lost wake-up left behind.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use rowhouse_domain::directory::Directory;
use rowhouse_store::Topic;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::build::{BuildError, Built, begin, build_all, expired, next_expiry, put, version};
use super::notices;
use crate::catalog::Compiled;
use crate::routing::{SPLITS_TOPIC, load_splits};
use crate::{Control, Shared};

/// How often it looks without being woken.
const LOOK: Duration = Duration::from_secs(1);
/// More tenants than this are cheaper to build all together.
const ONE_BY_ONE_MAX: usize = 200;

/// What the next version is made from.
pub struct Reconciler {
    directory: Directory,
    catalogue: Compiled,
    last_notice: i64,
    /// How often it was made anew since that notice without a further one.
    remakes: u16,
    /// The time that overrides of features were looked at.
    as_of: Timestamp,
    /// When the next of them ends.
    next_expiry: Option<Timestamp>,
}

/// Builds and publishes the first version.
pub async fn start(control: &Control) -> Result<Reconciler, BuildError> {
    let built = build_all(control).await?;
    let reconciler = Reconciler::of(built);
    publish(control, &reconciler.directory);
    Ok(reconciler)
}

/// Builds the first version, however long the database needs, then keeps the directory true until `shutdown`.
pub async fn run(control: Shared, mut shutdown: watch::Receiver<bool>) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reconciler = loop {
        tokio::select! {
            _ = look.tick() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        match start(&control).await {
            Ok(reconciler) => break reconciler,
            Err(error) => tracing::error!(%error, "the directory cannot be built yet"),
        }
    };
    reconciler.run(control, shutdown).await;
}

/// Puts a version in force, here and at the gateways that follow.
fn publish(control: &Control, directory: &Directory) {
    control.directory.publish(directory.clone());
    control.nodes.published(control.directory.current());
}

impl Reconciler {
    fn of(built: Built) -> Self {
        let Built { directory, catalogue, last_notice, as_of, next_expiry } = built;
        Reconciler { directory, catalogue, last_notice, remakes: 0, as_of, next_expiry }
    }

    /// Keeps the published directory true until `shutdown`. While the database is away the last version stays.
    pub async fn run(mut self, control: Shared, mut shutdown: watch::Receiver<bool>) {
        let mut committed = control.store.touched(Topic::Notices);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                _ = look.tick() => {}
                _ = committed.changed() => {}
                _ = shutdown.wait_for(|wanted| *wanted) => return,
            }
            let caught_up = self.catch_up(&control).await;
            match &caught_up {
                Ok(_) if failing => tracing::info!("the directory follows changes again"),
                Err(error) if !failing => tracing::error!(%error, "the directory cannot follow changes"),
                _ => {}
            }
            failing = caught_up.is_err();
        }
    }

    /// Takes in all notices there are, and overrides that have ended, and publishes. Whether there were any.
    pub async fn catch_up(&mut self, control: &Control) -> Result<bool, BuildError> {
        let mut moved = false;
        while self.step(control).await? {
            moved = true;
        }
        Ok(moved)
    }

    async fn step(&mut self, control: &Control) -> Result<bool, BuildError> {
        let now = control.clock().now();
        let transaction = begin(control).await?;
        let batch = notices::after(&transaction, self.last_notice).await?;
        let ended = match self.next_expiry {
            Some(at) if at <= now => expired(&transaction, self.as_of, now).await?,
            _ => Vec::new(),
        };
        if batch.is_empty() && ended.is_empty() {
            transaction.finish().await?;
            return Ok(false);
        }
        let named = batch.iter().filter_map(|notice| notice.tenant);
        let tenants: BTreeSet<_> = named.chain(ended).collect();
        // A whole build is numbered by its last notice: without a new one, tenants are made anew one by one.
        let is_catalog = batch.iter().any(|notice| notice.topic == "catalog");
        let is_large = tenants.len() > ONE_BY_ONE_MAX;
        if !batch.is_empty()
            && (is_catalog || is_large || notices::missed(&transaction, self.last_notice).await?)
        {
            transaction.finish().await?;
            *self = Reconciler::of(build_all(control).await?);
        } else {
            let (last, remakes) = match batch.last() {
                Some(notice) => (notice.id, 0),
                None => (self.last_notice, self.remakes.saturating_add(1)),
            };
            let mut next = self.directory.clone();
            next.version = version(last, remakes);
            for tenant in tenants {
                put(control, &mut next, &self.catalogue, &transaction, (Some(tenant), now)).await?;
            }
            if batch.iter().any(|notice| notice.topic == SPLITS_TOPIC) {
                next.traffic = load_splits(&transaction, &next.services).await?;
            }
            let next_expiry = next_expiry(&transaction, now).await?;
            transaction.finish().await?;
            (self.directory, self.last_notice, self.remakes) = (next, last, remakes);
            (self.as_of, self.next_expiry) = (now, next_expiry);
        }
        publish(control, &self.directory);
        Ok(true)
    }
}
