//! What the main process and its guard say to each other: one order down, reports up, as lines of JSON over the guard's standard
//! input and output. The end of the order's pipe means that the main process is gone.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{account::Account, directory::Layout};

/// The first line a guard of a PostgreSQL reads.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ServerOrder {
    pub layout: Layout,
    pub binaries: PathBuf,
    /// Whom the server runs as, when that is not who runs the guard.
    pub account: Option<Account>,
    /// Who makes the cluster, when the server's account has no name, without which `initdb` does not run.
    pub initialiser: Option<Account>,
    pub postgresql_conf: String,
    pub pg_hba_conf: String,
    pub pg_ident_conf: String,
}

/// What a guard tells its main process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "report")]
pub(super) enum Report {
    /// Another Rowhouse holds the directory. The guard has ended.
    InUse { pid: i32, command: String },
    /// A process was started.
    Started { pid: i32 },
    /// It says that it takes connections.
    Ready { pid: i32 },
    /// It ended and will be started again.
    Exited { reason: String },
    /// The guard has given up and ended.
    Failed { reason: String, log: Vec<String> },
}
