//! Copies that DNS names (`dns:host:port`, `srv:name`): asked beside requests, by one core for all, each name again when its records have
//! lived as long as they say. An answer without copies, or none at all, leaves those that were known: a service does not go away because a
//! resolver does.

mod ask;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rowhouse_domain::directory::Directory;
use rowhouse_domain::entropy::Entropy;
use rowhouse_domain::routes::Discovered;

use crate::core::Core;

/// From one look at what is due to the next.
const LOOK: Duration = Duration::from_millis(250);
/// Records are believed for as long as they say, within this.
const LIVES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// After an answer that names nobody, or none.
const AGAIN: Duration = Duration::from_secs(2);
/// Copies of one name.
const COPIES_MAX: usize = 64;

type Known = HashMap<Box<str>, Arc<[String]>>;

/// What names stand for, shared by all cores.
#[derive(Default)]
pub(crate) struct Names {
    known: ArcSwap<Known>,
    /// Raised with each change.
    generation: AtomicU64,
}

impl Names {
    /// Which state of the names this is.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The addresses that a service's list stands for.
    pub(crate) fn expand(&self, addresses: &[String]) -> Vec<String> {
        if !addresses.iter().any(|address| Discovered::is_meant(address)) {
            return addresses.to_vec();
        }
        let known = self.known.load();
        let mut all: Vec<String> = Vec::new();
        for address in addresses {
            let found: &[String] = match Discovered::is_meant(address) {
                true => known.get(address.as_str()).map_or(&[], |own| own),
                false => std::slice::from_ref(address),
            };
            all.extend(found.iter().filter(|own| !addresses.contains(own)).cloned());
            if !Discovered::is_meant(address) {
                all.push(address.clone());
            }
        }
        let mut seen = BTreeSet::new();
        all.retain(|own| seen.insert(own.clone()));
        all
    }

    fn learn(&self, name: &str, found: Vec<String>) {
        let current = self.known.load();
        if current.get(name).is_some_and(|own| **own == *found) {
            return;
        }
        tracing::info!(name, copies = ?found, "a name stands for other copies now");
        let mut next: Known = (**current).clone();
        next.insert(name.into(), found.into());
        self.known.store(Arc::new(next));
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn forget_all_but(&self, wanted: &BTreeSet<String>) {
        let current = self.known.load();
        if current.keys().any(|name| !wanted.contains(&**name)) {
            let kept = current.iter().filter(|(name, _)| wanted.contains(&***name));
            self.known.store(Arc::new(kept.map(|(name, own)| (name.clone(), own.clone())).collect()));
        }
    }
}

/// A name that is asked for.
struct Asked {
    due: Instant,
    /// Whether it was told that it names nobody.
    told: bool,
}

/// Asks for ever; ends with the core's runtime.
pub(crate) async fn run(core: Rc<Core>) {
    let (names, entropy) = (core.shared.names.clone(), core.shared.entropy.clone());
    let resolvers = match core.shared.config.resolvers.is_empty() {
        true => ask::resolvers_of_the_system(),
        false => core.shared.config.resolvers.clone(),
    };
    let (mut version, mut all) = (None, HashMap::<String, Asked>::new());
    loop {
        let directory = core.shared.directory.current();
        if version != Some(directory.version) {
            version = Some(directory.version);
            let wanted = wanted(&directory);
            all.retain(|name, _| wanted.contains(name));
            names.forget_all_but(&wanted);
            for name in wanted {
                all.entry(name).or_insert_with(|| Asked { due: Instant::now(), told: false });
            }
        }
        let now = Instant::now();
        for (name, asked) in all.iter_mut().filter(|(_, asked)| asked.due <= now) {
            asked.due = Instant::now() + look_up(&names, (&resolvers, &entropy), name, &mut asked.told).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Asks for one name; how long what is known then is good.
async fn look_up(
    names: &Names,
    (resolvers, entropy): (&[SocketAddr], &Entropy),
    name: &str,
    told: &mut bool,
) -> Duration {
    let Some(meant) = Discovered::parse(name) else { return LIVES.1 };
    let problem = match ask::copies(resolvers, entropy, meant).await {
        Ok(found) if !found.addresses.is_empty() => {
            let mut addresses: Vec<String> = found.addresses.into_iter().collect();
            addresses.truncate(COPIES_MAX);
            names.learn(name, addresses);
            *told = false;
            return found.lives.clamp(LIVES.0, LIVES.1);
        }
        Ok(_) => "it names nobody".to_owned(),
        Err(error) => error.to_string(),
    };
    if !std::mem::replace(told, true) {
        tracing::error!(name, problem, "copies of a service cannot be found; those that were known stay");
    }
    AGAIN
}

fn wanted(directory: &Directory) -> BTreeSet<String> {
    let services = directory.services.iter();
    let all =
        services.flat_map(|own| own.upstreams.iter().chain(own.releases.iter().flat_map(|r| &r.upstreams)));
    all.filter(|address| Discovered::is_meant(address)).cloned().collect()
}
