//! Keeps the connection to the control plane: follows the directory, and lets the journal go on the same connection.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rowhouse_control::deploy::nodes::link::{Link, LinkError, Messages};
use rowhouse_control::deploy::nodes::wire::{FORMAT, Follow, Message, Welcome};
use rowhouse_domain::clock::Clock;
use rowhouse_domain::directory::{Change, Directory, DirectoryWatch};
use rowhouse_domain::entropy::Entropy;
use rowhouse_domain::refusal::kind;
use rowhouse_domain::routes::SeenBoard;
use tokio::sync::watch;
use uuid::Uuid;

use super::copy::Copy;
use super::drain::Asked;
use super::identity::Identity;
use super::ship::Shipper;
use super::standing::{About, Standing};

/// Between two tries to connect: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How often it is written down that the control plane was heard of.
const NOTED_US: i64 = 5_000_000;

/// How often it is told what the gateway sees of upstreams.
const SEEN: Duration = Duration::from_secs(3);

/// What a follower works with.
pub struct Follower {
    pub identity: Arc<Identity>,
    pub addresses: Vec<String>,
    pub directory: DirectoryWatch,
    pub standing: Arc<Standing>,
    pub clock: Clock,
    pub process: Uuid,
    pub boot: u64,
    /// What stands beside the directory, once it is known.
    pub welcome: watch::Sender<Option<Welcome>>,
    /// What the gateway sees of upstreams.
    pub board: SeenBoard,
    /// Whether it is to take requests.
    pub asked: Asked,
    copy: Copy,
    /// Parts of a version of which some are to come.
    partial: Option<Directory>,
    noted_us: i64,
}

/// Tells it for as long as the connection holds. An older control plane does not listen: nothing depends on it.
async fn tell_upstreams(link: &Link, process: Uuid, board: &SeenBoard) {
    let mut beat = tokio::time::interval(SEEN);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        if let Err(error) = link.tell_upstreams(process, &board.all()).await {
            tracing::debug!(%error, "the control plane was not told how upstreams stand");
        }
    }
}

/// How a stream ended.
enum End {
    Over,
    Broken(LinkError),
    Revoked,
}

impl Follower {
    /// A follower that begins with what is on the disk, which is in force when this returns.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn open(
        (identity, addresses): (Arc<Identity>, Vec<String>),
        data_dir: &Path,
        (standing, directory): (Arc<Standing>, DirectoryWatch),
        (clock, entropy): (Clock, Entropy),
        (boot, board, asked): (u64, SeenBoard, Asked),
    ) -> std::io::Result<Follower> {
        let process = Uuid::from_u128(u128::from_le_bytes(entropy.bytes()));
        let (copy, read) = Copy::open(data_dir, &identity.seal, entropy)?;
        let welcome = watch::Sender::new(None);
        if let Some(read) = read {
            tracing::info!(version = read.directory.version, "the directory of the last run is in force");
            standing.heard(read.heard_us);
            directory.replace(read.directory);
            welcome.send_replace(Some(read.welcome));
        }
        let (partial, noted_us) = (None, 0);
        Ok(Follower {
            identity,
            addresses,
            directory,
            standing,
            clock,
            process,
            boot,
            welcome,
            board,
            asked,
            copy,
            partial,
            noted_us,
        })
    }

    /// Follows for ever, from one connection to the next.
    pub async fn run(mut self, mut shipper: Shipper) {
        let mut pause = AGAIN.0;
        loop {
            for address in self.addresses.clone() {
                match self.follow(&address, &mut shipper).await {
                    End::Over => pause = AGAIN.0,
                    End::Broken(error) => self.broken(&address, &error),
                    End::Revoked => self.revoked(),
                }
                self.partial = None;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
        }
    }

    fn broken(&mut self, address: &str, error: &LinkError) {
        if error.code() == kind::NODE_REVOKED.code {
            return self.revoked();
        }
        if self.standing.note(About::Link, Some(error.to_string())) {
            tracing::warn!(%error, address, "the control plane is not there; serving what is known");
        }
    }

    /// What was told is forgotten, here and on the disk, and nobody is served any more.
    fn revoked(&mut self) {
        if self.standing.is_revoked() {
            return;
        }
        tracing::error!("this node was revoked: it forgets what it was told and serves nobody");
        self.standing.revoke();
        self.directory.replace(Directory::empty());
        if let Err(error) = self.copy.forget() {
            tracing::error!(%error, "the copy of the directory cannot be removed");
        }
    }

    async fn follow(&mut self, address: &str, shipper: &mut Shipper) -> End {
        let link = match Link::connect(address, &self.identity.key, self.identity.door).await {
            Ok(link) => link,
            Err(error) => return End::Broken(error),
        };
        let version = Some(self.directory.version()).filter(|version| *version > 0);
        let asked = Follow {
            format: FORMAT,
            boot: self.boot,
            process: self.process,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            life: self.welcome.borrow().as_ref().map(|welcome| welcome.life),
            version,
        };
        let messages = match link.follow(&asked).await {
            Ok(messages) => messages,
            Err(error) => return End::Broken(error),
        };
        tracing::info!(address, "connected to the control plane");
        self.standing.note(About::Link, None);
        self.standing.set_connected(true);
        let (process, board) = (self.process, self.board.clone());
        let end = tokio::select! {
            end = self.read(messages) => end,
            () = shipper.run(&link, process) => End::Over,
            () = tell_upstreams(&link, process, &board) => End::Over,
        };
        self.standing.set_connected(false);
        end
    }

    async fn read(&mut self, mut messages: Messages) -> End {
        loop {
            let (message, packed) = match messages.next().await {
                Ok(Some(message)) => message,
                Ok(None) => return End::Over,
                Err(error) => return End::Broken(error),
            };
            match message {
                Message::Welcome(welcome) => self.welcomed(welcome),
                Message::Change(change) => {
                    if let Err(problem) = self.change(*change, packed) {
                        return End::Broken(LinkError::Away(problem));
                    }
                }
                Message::Beat { version } if version == self.directory.version() => self.heard(),
                Message::Beat { .. } => {}
                Message::Drain { drain } => self.asked(drain),
                Message::Revoked => return End::Revoked,
            }
        }
    }

    fn welcomed(&self, welcome: Welcome) {
        let before = self.welcome.borrow().as_ref().map(|own| own.peppers.clone());
        if before.is_some_and(|peppers| peppers != welcome.peppers) {
            tracing::error!("the peppers of API keys are others now: this gateway must be started anew");
        }
        self.welcome.send_replace(Some(welcome));
    }

    fn asked(&self, drain: Option<i64>) {
        if let Err(error) = self.asked.heard(drain) {
            tracing::error!(%error, "what is asked of this node cannot be kept: a restart would not know of it");
        }
    }

    /// Takes a change in: first in force, then on the disk.
    fn change(&mut self, change: Change, packed: Bytes) -> Result<(), String> {
        let is_first_of_all = change.is_whole() && self.partial.is_none();
        let is_last = change.is_last;
        let base = || if is_first_of_all { Directory::empty() } else { (*self.directory.current()).clone() };
        let mut next = self.partial.take().unwrap_or_else(base);
        next.apply(change).map_err(|error| error.to_string())?;
        let whole = if is_last {
            self.directory.replace(next);
            self.standing.versions.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Some(self.directory.current())
        } else {
            self.partial = Some(next);
            None
        };
        let welcome = self.welcome.borrow().clone();
        let welcome = welcome.ok_or("a change before the first words")?;
        let kept = self.copy.keep(&welcome, (&packed, is_first_of_all), whole.as_deref());
        let problem = kept.err().map(|error| format!("the directory cannot be kept on the disk: {error}"));
        if self.standing.note(About::Copy, problem.clone())
            && let Some(problem) = problem
        {
            tracing::error!(problem, "a restart without the control plane would begin with an older one");
        }
        if is_last {
            self.heard();
        }
        Ok(())
    }

    fn heard(&mut self) {
        let now_us = self.clock.now_us();
        self.standing.heard(now_us);
        if now_us - self.noted_us >= NOTED_US {
            self.noted_us = now_us;
            if let Err(error) = self.copy.note_heard(now_us) {
                tracing::warn!(%error, "it cannot be noted that the control plane was heard of");
            }
        }
    }
}
