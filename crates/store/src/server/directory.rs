//! The directory of one private server, and the promise not to touch anybody else's.
//!
//! ```text
//! <data>/rowhouse.lock      held by the guard; says who holds it. Its presence makes the directory ours
//! <data>/cluster/           PostgreSQL's own data directory; owned by the server's account, 0700
//! <data>/settings/          postgresql.conf, pg_hba.conf, pg_ident.conf; out of the server's reach when root starts it
//! <data>/socket/            the Unix socket; 0700, or 0711 when OS users beside Rowhouse's and the server's may connect
//! <data>/log/postgres.log   bounded
//! <data>/socket_directory   where the socket is instead, when <data> is too long for a socket's name
//! ```

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{Gid, Uid, chown};
use serde::{Deserialize, Serialize};

use super::account::Account;

/// Longest name of a Unix socket, in bytes (`unix(7)`: 108 with its terminator).
const SOCKET_NAME_MAX: usize = 107;
/// PostgreSQL names its socket after its port.
pub(super) const PORT: u16 = 5432;
const SOCKET_FILE: &str = "/.s.PGSQL.5432";

/// Where everything of one server is. All paths are absolute and free of symbolic links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    pub data: PathBuf,
    pub socket: PathBuf,
    /// The socket's directory is one of ours outside `data`, to be removed when the server stops.
    pub socket_is_elsewhere: bool,
}

/// Who reaches a server's socket beside root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenTo {
    /// The server's account.
    Owner,
    /// Its group, too.
    Group,
    /// Everybody; whom the server lets in, its ident map says.
    All,
}

impl OpenTo {
    fn directory_mode(self) -> u32 {
        match self {
            OpenTo::Owner => 0o700,
            OpenTo::Group => 0o750,
            OpenTo::All => 0o711,
        }
    }

    /// `unix_socket_permissions`.
    pub fn socket_mode(self) -> &'static str {
        match self {
            OpenTo::Owner => "0700",
            OpenTo::Group => "0770",
            OpenTo::All => "0777",
        }
    }
}

/// Why a directory cannot hold a private server. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("{} holds files that Rowhouse did not put there (such as {found:?}); name an empty or new directory", .directory.display())]
    Foreign { directory: PathBuf, found: String },
    #[error("{} was made by PostgreSQL {found}, and the programs in {} are of {running}; run: apt-get install postgresql-{found}, or upgrade the cluster with pg_upgrade", .directory.display(), .programs.display())]
    OtherMajor { directory: PathBuf, found: String, running: u32, programs: PathBuf },
    #[error("{} belongs to OS user id {found}, and PostgreSQL is to run as {wanted}; set database.os_user, or run: chown -R {wanted} {}", .directory.display(), .directory.display())]
    WrongOwner { directory: PathBuf, found: u32, wanted: String },
    #[error("OS user {account} cannot pass {}; run: chmod o+x {}, or keep the data elsewhere", .directory.display(), .directory.display())]
    Barred { directory: PathBuf, account: String },
    #[error("a Unix socket in {} would have a name of {length} bytes, and {SOCKET_NAME_MAX} are possible; name a shorter socket directory", .directory.display())]
    SocketNameTooLong { directory: PathBuf, length: usize },
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
}

/// Makes an [`io::Error`] say what was being done to which path.
fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_owned();
    move |source| DirectoryError::Io { doing, path, source }
}

impl Layout {
    pub fn cluster(&self) -> PathBuf {
        self.data.join("cluster")
    }

    pub fn lock(&self) -> PathBuf {
        self.data.join("rowhouse.lock")
    }

    pub fn settings(&self) -> PathBuf {
        self.data.join("settings")
    }

    pub fn log(&self) -> PathBuf {
        self.data.join("log").join("postgres.log")
    }

    /// PostgreSQL's own record of its process, inside the cluster (`postmaster.pid`).
    pub fn pid_file(&self) -> PathBuf {
        self.cluster().join("postmaster.pid")
    }

    /// PostgreSQL's lock beside its socket.
    pub fn socket_lock(&self) -> PathBuf {
        self.socket.join(&format!("{SOCKET_FILE}.lock")[1..])
    }

    pub fn forget_elsewhere(&self) {
        if self.socket_is_elsewhere {
            // Both may be gone already; what stays is an empty directory, which the next start uses again.
            let _ = fs::remove_dir(&self.socket);
            let _ = fs::remove_file(elsewhere_record(&self.data));
        }
    }
}

/// The major of the cluster in `data`, if there is one.
pub(super) fn cluster_major(data: &Path) -> Option<String> {
    let text = fs::read_to_string(data.join("cluster").join("PG_VERSION")).ok()?;
    Some(text.trim().to_owned())
}

/// Checks that `data` is ours or nobody's, and makes what is missing around the cluster. Safe while another Rowhouse uses it.
///
/// Who reaches the socket, `open_to` says.
pub(super) fn prepare(
    data: &Path,
    socket: Option<&Path>,
    account: &Account,
    open_to: OpenTo,
) -> Result<Layout, DirectoryError> {
    refuse_foreign(data)?;
    let closed = rustix::process::geteuid().as_raw() == account.uid;
    fs::create_dir_all(data).map_err(at("make the directory", data))?;
    let data = fs::canonicalize(data).map_err(at("find", data))?;
    let lock = data.join("rowhouse.lock");
    fs::OpenOptions::new().create(true).append(true).open(&lock).map_err(at("make", &lock))?;
    // Whoever can open it can lock it.
    set_mode(&lock, 0o600)?;
    set_mode(&data, if closed { 0o700 } else { 0o711 })?;
    refuse_unusable_cluster(&data, account)?;
    let socket_mode = open_to.directory_mode();
    let settings = data.join("settings");
    make_directory(&settings, if closed { 0o700 } else { 0o750 }, None)?;
    if !closed {
        let readable = chown(&settings, None, Some(Gid::from_raw(account.gid)));
        readable.map_err(|error| at("change the group of", &settings)(error.into()))?;
    }
    make_directory(&data.join("log"), 0o700, None)?;
    let (socket, socket_is_elsewhere) = match socket {
        Some(named) => (std::path::absolute(named).map_err(at("find", named))?, false),
        None => socket_directory(&data, account, socket_mode)?,
    };
    refuse_long_name(&socket)?;
    make_directory(&socket, socket_mode, Some(account))?;
    for path in [&data, &socket] {
        if let Some(directory) = account.barred_by(path) {
            return Err(DirectoryError::Barred { directory, account: account.name.clone() });
        }
    }
    Ok(Layout { data, socket, socket_is_elsewhere })
}

/// A directory that is not empty and lacks our lock file is somebody's. `lost+found` is the file system's.
fn refuse_foreign(data: &Path) -> Result<(), DirectoryError> {
    let entries = match fs::read_dir(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at("read", data)(error)),
    };
    let mut foreign = None;
    for entry in entries {
        let name = entry.map_err(at("read", data))?.file_name();
        match name.to_str() {
            Some("rowhouse.lock") => return Ok(()),
            Some("lost+found") => {}
            _ => foreign = Some(name.to_string_lossy().into_owned()),
        }
    }
    foreign.map_or(Ok(()), |found| Err(DirectoryError::Foreign { directory: data.to_owned(), found }))
}

fn refuse_unusable_cluster(data: &Path, account: &Account) -> Result<(), DirectoryError> {
    let cluster = data.join("cluster");
    let owner = match fs::symlink_metadata(&cluster) {
        Ok(found) => found.uid(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at("look at", &cluster)(error)),
    };
    if owner != account.uid {
        return Err(DirectoryError::WrongOwner {
            directory: cluster,
            found: owner,
            wanted: account.name.clone(),
        });
    }
    Ok(())
}

fn refuse_long_name(socket: &Path) -> Result<(), DirectoryError> {
    let length = socket_name_length(socket);
    if length > SOCKET_NAME_MAX {
        return Err(DirectoryError::SocketNameTooLong { directory: socket.to_owned(), length });
    }
    Ok(())
}

fn socket_name_length(directory: &Path) -> usize {
    directory.as_os_str().len() + SOCKET_FILE.len()
}

fn elsewhere_record(data: &Path) -> PathBuf {
    data.join("socket_directory")
}

/// `<data>/socket`, or a short directory elsewhere when that is too long. The place is recorded, so that every start finds the same.
fn socket_directory(data: &Path, account: &Account, mode: u32) -> Result<(PathBuf, bool), DirectoryError> {
    let inside = data.join("socket");
    if socket_name_length(&inside) <= SOCKET_NAME_MAX {
        return Ok((inside, false));
    }
    let record = elsewhere_record(data);
    if let Some(recorded) = still_ours(&record, account) {
        return Ok((recorded, true));
    }
    let made = make_elsewhere(account, mode)?;
    let text = made.to_str().expect("made of ASCII just above");
    fs::write(&record, text).map_err(at("write", &record))?;
    Ok((made, true))
}

/// The recorded directory, if it is still a directory of the server's account: anybody may make names in `/tmp`.
fn still_ours(record: &Path, account: &Account) -> Option<PathBuf> {
    let recorded = PathBuf::from(fs::read_to_string(record).ok()?);
    let found = fs::symlink_metadata(&recorded).ok()?;
    (found.is_dir() && found.uid() == account.uid).then_some(recorded)
}

fn make_elsewhere(account: &Account, mode: u32) -> Result<PathBuf, DirectoryError> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random)
        .map_err(|error| at("name a socket directory in", Path::new("/tmp"))(error.into()))?;
    let name = format!("rowhouse-{:016x}", u64::from_be_bytes(random));
    let in_run = Path::new("/run").join(&name);
    let made = match fs::DirBuilder::new().mode(mode).create(&in_run) {
        Ok(()) => in_run,
        Err(_) => {
            let in_tmp = Path::new("/tmp").join(&name);
            fs::DirBuilder::new().mode(mode).create(&in_tmp).map_err(at("make the directory", &in_tmp))?;
            in_tmp
        }
    };
    give(&made, account)?;
    Ok(made)
}

fn make_directory(path: &Path, mode: u32, owner: Option<&Account>) -> Result<(), DirectoryError> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(at("make the directory", path)(error));
        }
        _ => {}
    }
    set_mode(path, mode)?;
    owner.map_or(Ok(()), |account| give(path, account))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), DirectoryError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(at("set the mode of", path))
}

/// Makes `account` the owner, if it is not.
pub(super) fn give(path: &Path, account: &Account) -> Result<(), DirectoryError> {
    let owner = fs::symlink_metadata(path).map_err(at("look at", path))?.uid();
    if owner == account.uid {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    chown(path, Some(uid), Some(gid)).map_err(|error| at("change the owner of", path)(error.into()))
}
