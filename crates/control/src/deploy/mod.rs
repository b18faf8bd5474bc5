//! What runs where: the server and the applications of tenants of level `instance`, on this machine.
//!
//! What an instance is to be is one row; `lifecycle` changes it, and nobody else. One reconciler ([`run`]) brings the
//! processes to it: at start, after a change, and after whatever died. It alone holds the processes, so that nobody races
//! it; others wait for what it has observed ([`Fleet`]).
//!
//! ```text
//! <data>/instances/<16 hex>/server/            the tenant's PostgreSQL, as `store::server` keeps it
//! <data>/instances/<16 hex>/<service>/         where its own process of a service works
//! <data>/instances/<16 hex>/<service>.env      the process's environment, while it runs
//! <data>/instances/<16 hex>/log/<service>.log  bounded
//! ```
//!
//! Where root runs Rowhouse, a tenant's server and its processes have user ids of their own ([`Ids`]). A process then reaches its own
//! server, as its own tenant's login, and the plane, which tells it of its own tenant; it listens on its own port only. It
//! reaches no other tenant's files, sockets or processes, nor those of Rowhouse. Without root all run as one user, and none of this
//! holds against code that runs in a service's place.

mod api;
mod fleet;
mod instance;
mod keeper;
pub mod nodes;
mod process;
mod queries;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use utoipa_axum::router::OpenApiRouter;

pub use fleet::{Fleet, WaitError, run};
pub use instance::{Application, Desired, Ids, Observed, ObservedApplication, ObservedServer, Phase};
pub use nodes::context_keys;
pub use queries::{choose_ids, count, desire, forget, get, reserve_applications, upstreams};
pub(crate) use queries::{of_process, with_own_process};

use crate::Shared;

/// All paths of the feature.
pub fn routes() -> OpenApiRouter<Shared> {
    api::routes().merge(nodes::routes())
}

/// Settings of this feature.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where instances lie; passable for the OS user of the servers.
    pub directory: PathBuf,
    /// The control plane's socket for services.
    pub plane_socket: PathBuf,
    /// Service → the program of a tenant's own process of it.
    pub applications: BTreeMap<String, Program>,
    /// OS user of the shared server when root runs Rowhouse; else `rowhouse`, else `postgres`. It makes new clusters.
    pub os_user: Option<String>,
    /// User ids for servers and processes of instances, two each; for nothing else. `None`: all run as one user, which is so when not
    /// root runs Rowhouse.
    pub ids: Option<RangeInclusive<u32>>,
    /// Service → the user id of its shared processes; empty: they run as whoever may ask for everything.
    pub service_users: BTreeMap<String, u32>,
    /// Ports of tenants' own processes; for nothing else.
    pub ports: RangeInclusive<u16>,
    /// Most instances on this machine.
    pub instances_max: u32,
    /// Directory of the server programs, as in `store::server::ServerSpec`.
    pub binaries: Option<PathBuf>,
    /// As in `store::server::ServerSpec`.
    pub guard_program: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            directory: PathBuf::new(),
            plane_socket: PathBuf::new(),
            applications: BTreeMap::new(),
            os_user: None,
            ids: None,
            service_users: BTreeMap::new(),
            ports: 20_000..=24_999,
            instances_max: 100,
            binaries: None,
            guard_program: None,
        }
    }
}

/// How a service is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}
