//! `rowhouse serve --role gateway`: a gateway that runs on its own. It has no database; it follows the control plane's
//! directory, keeps it on its disk, decides from it, and sends its journal.
//!
//! who it is → journal → the directory of the last run, in force at once → connection → gateway → ready. Without the control
//! plane everything but the connection is the same. On SIGTERM: not ready, drained, the last records sent, ended. Asked to by the control
//! plane it does the same but for the end, and opens its doors again when it is asked back.

mod admin;
mod copy;
mod drain;
mod follow;
mod identity;
mod ship;
mod standing;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rowhouse_control::api::Bounds;
use rowhouse_control::deploy::nodes::wire::{Welcome, unhex};
use rowhouse_domain::clock::Clock;
use rowhouse_domain::directory::DirectoryWatch;
use rowhouse_domain::keys::{Pepper, Peppers};
use rowhouse_domain::routes::SeenBoard;
use rowhouse_gateway::{
    Collaborators, Doors, Freshness, Gateway, GatewayConfig, GatewayHandle, MetricsReader,
};
use rowhouse_journal::Journal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::admin::Admin;
use self::drain::{Asked, Drain};
use self::follow::Follower;
use self::identity::Identity;
use self::ship::Shipper;
use self::standing::Standing;
use super::assemble::{WATCHERS_MAX, gateway_config, listen, open};
use super::handover::{self, AllDoors, Offered};
use super::room::watch_room;
use crate::config::{Config, WhenFull, WhenStale};

/// What a gateway's own journal takes on the disk at most, if nothing else is set: 16 GiB.
const JOURNAL_MIB: u64 = 16_384;
/// Longest wait for the last records to arrive.
const LAST_WORDS: Duration = Duration::from_secs(30);
/// How often it is looked how old the directory is.
const LOOK: Duration = Duration::from_millis(500);

/// Serves until SIGTERM, Ctrl-C, or until another process has taken the doors.
pub async fn serve(config: Config, doors: AllDoors) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut house = tokio::select! {
        house = start(&config, doors) => house?,
        _ = terminate.recv() => return Ok(()),
        result = tokio::signal::ctrl_c() => return Ok(result?),
    };
    tracing::info!(gateway = ?house.address(), admin = %config.server.admin_listen, "ready");
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            result = tokio::signal::ctrl_c() => break result?,
            () = succeeded(&mut house.successor) => break,
            asked = told(&mut house.asked) => house.follow(asked).await?,
        }
    }
    tracing::info!("stopping");
    house.stop().await;
    Ok(())
}

/// Everything that runs.
struct House {
    /// None while the node takes no requests.
    gateway: Option<GatewayHandle>,
    metrics: watch::Sender<Option<MetricsReader>>,
    settings: GatewayConfig,
    collaborators: Collaborators,
    offered: Offered,
    /// The number of the drain that is asked for.
    asked: watch::Receiver<Option<i64>>,
    successor: JoinSet<anyhow::Result<()>>,
    work: JoinSet<()>,
    stopping: watch::Sender<bool>,
    last: watch::Sender<bool>,
    done: watch::Receiver<bool>,
    standing: Arc<Standing>,
    journal: Arc<Journal>,
}

async fn start(config: &Config, doors: AllDoors) -> anyhow::Result<House> {
    if config.gateway.control.is_empty() {
        bail!("a gateway of its own follows a control plane: name one in `gateway.control`");
    }
    let (clock, entropy) = (super::system_clock(), super::system_entropy());
    let data_dir = config.server.data_dir();
    std::fs::create_dir_all(&data_dir).with_context(|| format!("cannot make {}", data_dir.display()))?;
    let data_dir = std::fs::canonicalize(&data_dir)?;
    super::keep_private(&data_dir).with_context(|| format!("cannot close {}", data_dir.display()))?;
    let journal = Arc::new(super::open_journal(config, &data_dir, Some(JOURNAL_MIB))?);
    let identity = Arc::new(Identity::open(config, &data_dir, &entropy).await?);
    let standing = Arc::new(Standing::default());
    let directory = DirectoryWatch::default();
    let board = SeenBoard::default();
    let asked = Asked::open(&data_dir).context("cannot read what was asked of this node")?;
    let whom = (identity.clone(), config.gateway.control.clone());
    let known = (standing.clone(), directory.clone());
    let follower = Follower::open(
        whom,
        &data_dir,
        known,
        (clock.clone(), entropy.clone()),
        (journal.boot(), board.clone(), asked.clone()),
    )?;
    let (stopping, stop) = watch::channel(false);
    let (last, last_heard) = watch::channel(false);
    let (say_done, done) = watch::channel(false);
    let mut work = JoinSet::new();
    let freshness = Freshness::default();
    work.spawn(watch_age(config.clone(), (standing.clone(), freshness.clone()), clock.clone(), stop.clone()));
    if config.journal.when_full == WhenFull::Refuse {
        work.spawn(watch_room(journal.clone(), freshness.clone(), stop.clone()));
    }
    let (metrics, shown) = watch::channel(None);
    let admin = Admin {
        gateway: shown,
        journal: journal.clone(),
        directory: directory.clone(),
        standing: standing.clone(),
        clock: clock.clone(),
        stopping: stop.clone(),
        refuses_stale: config.gateway.when_stale == WhenStale::Refuse,
    };
    let other = open(config.server.admin_listen, doors.admin).await?;
    let admin_door = other.try_clone()?;
    listen(&mut work, other, (admin::router(admin), Bounds::of(WATCHERS_MAX, &[])), stop)?;
    let mut welcome = follower.welcome.subscribe();
    let (own, clock_of) = (journal.clone(), clock.clone());
    let shipper = Shipper {
        journal: own,
        standing: standing.clone(),
        clock: clock_of,
        last: last_heard,
        done: say_done,
    };
    work.spawn(follower.run(shipper));
    let peppers = known_peppers(&mut welcome, &directory).await?;
    let mut settings = gateway_config(config, &data_dir)?;
    settings.freshness = freshness;
    settings.board = board;
    if let Some(welcome) = &*welcome.borrow() {
        settings.docs_url.clone_from(&welcome.docs_url);
    }
    let signer = identity.signer.clone();
    let collaborators = Collaborators { directory, peppers, signer, clock, entropy };
    let offered = Offered::new(AllDoors { admin: Some(admin_door), ..AllDoors::default() });
    let mut house = House {
        gateway: None,
        metrics,
        settings,
        collaborators,
        offered: offered.clone(),
        asked: asked.number(),
        successor: JoinSet::new(),
        work,
        stopping,
        last,
        done,
        standing,
        journal,
    };
    let drain = *house.asked.borrow_and_update();
    match drain {
        None => house.open(doors.gateway)?,
        // Nothing was recorded by this process, and what the one before left is sent.
        Some(number) => drop(house.standing.drain.send_replace(Drain::Sending(number))),
    }
    let socket = handover::socket(&data_dir);
    std::fs::create_dir_all(data_dir.join("run"))?;
    house.successor.spawn(async move { handover::asked(&socket, offered).await });
    Ok(house)
}

/// Waits until there is something to decide from, and what keys are checked with.
async fn known_peppers(
    welcome: &mut watch::Receiver<Option<Welcome>>,
    directory: &DirectoryWatch,
) -> anyhow::Result<Peppers> {
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    while directory.version() == 0 || welcome.borrow().is_none() {
        beat.tick().await;
    }
    let told = welcome.borrow().clone().context("it was there a moment ago")?;
    let pepper = |(number, text): &(u32, String)| Some(Pepper::new(*number, &unhex(text)?));
    let peppers: Option<Vec<Pepper>> = told.peppers.iter().map(pepper).collect();
    match peppers {
        Some(peppers) if !peppers.is_empty() => Ok(Peppers::new(peppers)),
        _ => bail!("the control plane told no peppers that can be used"),
    }
}

/// Says when the directory is too old to be believed, and when it is not any more.
async fn watch_age(
    config: Config,
    (standing, freshness): (Arc<Standing>, Freshness),
    clock: Clock,
    mut stop: watch::Receiver<bool>,
) {
    let most_s = i64::try_from(config.gateway.stale_after.duration().as_secs()).unwrap_or(i64::MAX);
    let refuses = config.gateway.when_stale == WhenStale::Refuse;
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            _ = stop.wait_for(|stopping| *stopping) => return,
        }
        let stale = standing.age_s(clock.now_us()).is_none_or(|age_s| age_s >= most_s);
        if standing.set_stale(stale) && standing.heard_us() != 0 {
            match stale {
                true => tracing::error!(refuses, "the directory is stale"),
                false => tracing::info!("the directory is fresh again"),
            }
        }
        freshness.set_stale(standing.is_revoked() || stale && refuses);
    }
}

/// Waits until another process has taken the doors.
async fn succeeded(successor: &mut JoinSet<anyhow::Result<()>>) {
    match successor.join_next().await {
        Some(Ok(Ok(()))) => {}
        Some(Ok(Err(error))) => {
            tracing::error!(%error, "no other process can take over from this one");
            std::future::pending().await
        }
        _ => std::future::pending().await,
    }
}

/// Waits until something else is asked of the node, and says what.
async fn told(asked: &mut watch::Receiver<Option<i64>>) -> Option<i64> {
    // Who asks lives as long as the process.
    if asked.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    *asked.borrow_and_update()
}

impl House {
    /// Where requests are taken, if they are.
    fn address(&self) -> Option<SocketAddr> {
        self.gateway.as_ref().map(GatewayHandle::address)
    }

    /// Does what is asked: takes requests, or takes none. A drain that took the place of another is the same one with a later number.
    async fn follow(&mut self, asked: Option<i64>) -> anyhow::Result<()> {
        match asked {
            None if self.gateway.is_none() => {
                tracing::info!("asked back: requests are taken");
                self.open(Doors::default())
            }
            None => Ok(()),
            Some(number) => {
                tracing::info!(number, "asked to take no more requests");
                self.close(number).await;
                Ok(())
            }
        }
    }

    fn open(&mut self, doors: Doors) -> anyhow::Result<()> {
        let (settings, collaborators) = (self.settings.clone(), self.collaborators.clone());
        let gateway = Gateway::start_behind(doors, settings, collaborators, &self.journal)?;
        self.offered.set_gateway(gateway.doors()?);
        self.metrics.send_replace(Some(gateway.metrics_reader()));
        self.gateway = Some(gateway);
        self.standing.drain.send_replace(Drain::Serving);
        Ok(())
    }

    /// Not ready, no new connections, what runs ends; the rest is the shipper's.
    async fn close(&mut self, number: i64) {
        if let Some(gateway) = self.gateway.take() {
            self.standing.drain.send_replace(Drain::Finishing);
            self.offered.set_gateway(Doors::default());
            gateway.drain().await;
        }
        self.standing.drain.send_replace(Drain::Sending(number));
    }

    /// Ends in order: doors, open requests, the last records, everything.
    async fn stop(mut self) {
        self.stopping.send_replace(true);
        self.successor.shutdown().await;
        if let Some(gateway) = self.gateway.take() {
            gateway.drain().await;
        }
        self.last.send_replace(true);
        let is_there = self.standing.is_connected();
        if is_there {
            let sent = self.done.wait_for(|done| *done);
            if tokio::time::timeout(LAST_WORDS, sent).await.is_err() {
                tracing::warn!("not all records have arrived; the rest goes with the next start");
            }
        }
        self.work.shutdown().await;
    }
}
