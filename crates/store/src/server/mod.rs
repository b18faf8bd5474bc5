//! A PostgreSQL of our own, for who has none: found on this machine, made in a directory, supervised through a guard.
//!
//! What it promises:
//! - [`PrivateServer::start`] returns when a query was answered, on a bare directory after about half a second.
//! - `kill -9` of the main process, of the guard, of the postmaster, in any order: no acknowledged commit is lost, never do two postmasters
//!   run on one cluster, and it serves again by itself, or stops when nobody is left to serve.
//! - A directory that is not ours, in use, of another owner or another major is refused with the cure, and not touched.
//! - Only the Unix socket is open, and only to the OS users of Rowhouse and of the server ([`admission`]).
//!
//! How: `docs/internals/private-postgresql.md`. The same guard keeps a dedicated tenant's own application: [`ServiceProcess`].

mod account;
mod admission;
mod binaries;
mod directory;
pub mod guard;
mod guard_process;
mod memory;
mod order;
mod private;
mod process;
mod service;
mod settings;
mod version;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use account::{Account, AccountError, may_run_as};
pub use admission::AdmissionError;
pub use binaries::{Binaries, BinariesError, find_binaries};
pub use directory::DirectoryError;
pub use memory::shared_buffers_for_this_machine;
pub use private::{PrivateServer, ServerState, StartError};
pub use service::{ServiceError, ServiceProcess, ServiceSpec, ServiceState};
pub use settings::{SettingError, check_all as check_settings};
pub use version::{BelowFloor, Version};

/// The role that `initdb` makes: superuser, reachable over the socket alone.
pub const SUPERUSER: &str = "rowhouse_super";

/// Ids of the operating system that one server and its clients have for themselves, without lines in `/etc/passwd`. Nobody else of the
/// machine but root reads its files or reaches its socket; members of the group may be any role but those that administer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Apart {
    /// User id of the server.
    pub user: u32,
    /// Group id of the server and of those who may connect.
    pub group: u32,
}

/// What a private server is to be.
#[derive(Clone, Debug)]
pub struct ServerSpec {
    /// A directory of ours, or an empty or absent one.
    pub data_dir: PathBuf,
    /// Where the socket is to be; else in `data_dir`, or in a short directory when that is too long for a socket's name.
    pub socket_dir: Option<PathBuf>,
    /// Directory of the server programs; else they are looked for ([`find_binaries`]).
    pub binaries: Option<PathBuf>,
    /// OS user of the server when root starts it; else `rowhouse`, else `postgres`.
    pub os_user: Option<String>,
    /// Keeps it apart from the other servers of this machine; only root can.
    pub apart: Option<Apart>,
    /// The operator's own lines for `postgresql.conf`. They come last.
    pub settings: Vec<String>,
    pub shared_buffers_mb: u32,
    pub max_connections: u32,
    /// 1,024 where tenants have schemas of their own.
    pub max_locks_per_transaction: u32,
    /// OS users, beside those of Rowhouse and of the server, who may be any role. Needs PostgreSQL 16.
    pub ident: Vec<String>,
    /// The program that calls [`guard::main`] when its first argument is `guard`; else this one.
    pub guard_program: Option<PathBuf>,
}

impl ServerSpec {
    /// The usual server in that directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> ServerSpec {
        ServerSpec {
            data_dir: data_dir.into(),
            socket_dir: None,
            binaries: None,
            os_user: None,
            apart: None,
            settings: Vec::new(),
            shared_buffers_mb: shared_buffers_for_this_machine(),
            max_connections: 200,
            max_locks_per_transaction: 1024,
            ident: Vec::new(),
            guard_program: None,
        }
    }
}
