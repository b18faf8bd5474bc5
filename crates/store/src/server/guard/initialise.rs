//! Makes a cluster: `initdb` beside its place, then a rename, so that a half-made cluster never looks like one.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, lchown},
    path::Path,
    process::Command,
};

use rustix::{
    fs::syncfs,
    process::{Pid, Signal},
};

use super::{children::Children, log::Log};
use crate::server::{
    SUPERUSER, account::Account, directory::give, order::ServerOrder, settings::syncs_whole,
};

const HALF_MADE: &str = "cluster.initialising";

/// Starts `initdb`. When it has ended well, [`finish`] puts the cluster into its place.
pub(super) fn begin(order: &ServerOrder, children: &mut Children, log: &mut Log) -> io::Result<Pid> {
    let directory = order.layout.data.join(HALF_MADE);
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::DirBuilder::new().mode(0o700).create(&directory)?;
    let account = order.initialiser.as_ref().or(order.account.as_ref());
    if let Some(account) = account {
        give(&directory, account).map_err(io::Error::other)?;
    }
    let mut command = Command::new(order.binaries.join("initdb"));
    command.arg("--pgdata").arg(&directory).args([
        "--username",
        SUPERUSER,
        "--data-checksums",
        "--encoding",
        "UTF8",
    ]);
    command.args(["--locale", "C.UTF-8", "--auth-local", "peer", "--auth-host", "scram-sha-256"]);
    if syncs_whole() {
        // A thousand files one by one would take longer than making them: [`finish`] syncs them at once.
        command.arg("--no-sync");
    }
    super::postgres::plain_environment(&mut command);
    command.current_dir("/");
    children.start(&mut command, account, log.pipe()?, Signal::KILL)
}

/// Puts a whole cluster into its place, once all of it is on disk: where `initdb` has not synced what it wrote, that is done here;
/// and the rename in any case.
pub(super) fn finish(order: &ServerOrder) -> io::Result<()> {
    if let (Some(account), Some(_)) = (&order.account, &order.initialiser) {
        give_all(&order.layout.data.join(HALF_MADE), account)?;
    }
    if syncs_whole() {
        syncfs(File::open(order.layout.data.join(HALF_MADE))?)?;
    }
    fs::rename(order.layout.data.join(HALF_MADE), order.layout.cluster())?;
    File::open(&order.layout.data)?.sync_all()
}

/// Makes `account` the owner of a directory and of all below it. Nothing of it is followed anywhere else.
fn give_all(directory: &Path, account: &Account) -> io::Result<()> {
    lchown(directory, Some(account.uid), Some(account.gid))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => give_all(&entry.path(), account)?,
            false => lchown(entry.path(), Some(account.uid), Some(account.gid))?,
        }
    }
    Ok(())
}
