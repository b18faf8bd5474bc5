//! Follows notices and publishes a version for each batch. A commit of this process wakes it at once; a look every
//! second finds what others committed, and what a lost wake-up left behind.

use std::collections::BTreeSet;
use std::time::Duration;

use rowhouse_domain::directory::Directory;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::build::{BuildError, Built, begin, build_all, put, version};
use super::notices;
use crate::catalog::Compiled;
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
}

/// Builds and publishes the first version.
pub async fn start(control: &Control) -> Result<Reconciler, BuildError> {
    let built = build_all(control).await?;
    let reconciler = Reconciler::of(built);
    control.directory.publish(reconciler.directory.clone());
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

impl Reconciler {
    fn of(built: Built) -> Self {
        let Built { directory, catalogue, last_notice } = built;
        Reconciler { directory, catalogue, last_notice }
    }

    /// Keeps the published directory true until `shutdown`. While the database is away the last version stays.
    pub async fn run(mut self, control: Shared, mut shutdown: watch::Receiver<bool>) {
        let mut committed = control.store.committed();
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

    /// Takes in all notices there are, and publishes. Whether there were any.
    pub async fn catch_up(&mut self, control: &Control) -> Result<bool, BuildError> {
        let mut moved = false;
        while self.step(control).await? {
            moved = true;
        }
        Ok(moved)
    }

    async fn step(&mut self, control: &Control) -> Result<bool, BuildError> {
        let transaction = begin(control).await?;
        let batch = notices::after(&transaction, self.last_notice).await?;
        let Some(last) = batch.last().map(|notice| notice.id) else {
            transaction.finish().await?;
            return Ok(false);
        };
        let tenants: BTreeSet<_> = batch.iter().filter_map(|notice| notice.tenant).collect();
        if tenants.len() > ONE_BY_ONE_MAX || batch.iter().any(|notice| notice.topic == "catalog") {
            transaction.finish().await?;
            *self = Reconciler::of(build_all(control).await?);
        } else {
            let mut next = self.directory.clone();
            next.version = version(last, 0);
            for tenant in tenants {
                put(&mut next, &self.catalogue, &transaction, Some(tenant)).await?;
            }
            transaction.finish().await?;
            (self.directory, self.last_notice) = (next, last);
        }
        control.directory.publish(self.directory.clone());
        Ok(true)
    }
}
