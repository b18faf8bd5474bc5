//! Operating-system accounts: who runs Rowhouse, and who PostgreSQL is to run as.
//!
//! PostgreSQL refuses to run as root. Started as root, Rowhouse runs it as the configured account, else `rowhouse`, which its package
//! makes, else `postgres`. Started as anyone else, both run as the same account.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

/// One line of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

/// Why there is no account to run a process as.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("cannot read /etc/passwd: {0}")]
    Unreadable(#[source] io::Error),
    #[error(
        "there is no OS user {0}; make one: useradd --system --no-create-home --shell /usr/sbin/nologin {0}"
    )]
    NoSuchName(String),
    #[error("OS user id {0} has no line in /etc/passwd, without which PostgreSQL does not start; add one")]
    NoSuchUid(u32),
    #[error(
        "PostgreSQL refuses to run as root, and neither OS user `rowhouse` nor `postgres` exists; make one: useradd --system --no-create-home --shell /usr/sbin/nologin rowhouse"
    )]
    OnlyRoot,
    #[error("PostgreSQL refuses to run as root; name another OS user in deploy.postgres.user")]
    RootNamed,
    #[error("only root can run a process as {wanted}; this is {current}")]
    NotRoot { wanted: String, current: String },
}

impl Account {
    /// The account that this process runs as.
    pub fn current() -> Result<Account, AccountError> {
        let uid = geteuid().as_raw();
        let text = passwd()?;
        entries(&text).find(|account| account.uid == uid).ok_or(AccountError::NoSuchUid(uid))
    }

    /// The account of that name.
    pub fn named(name: &str) -> Result<Account, AccountError> {
        let text = passwd()?;
        entries(&text)
            .find(|account| account.name == name)
            .ok_or_else(|| AccountError::NoSuchName(name.to_owned()))
    }

    /// The account that PostgreSQL is to run as, given the setting and who runs Rowhouse.
    pub fn for_server(setting: Option<&str>) -> Result<Account, AccountError> {
        let current = Account::current()?;
        let chosen = match setting {
            Some(name) => Account::named(name)?,
            None if current.uid != 0 => current.clone(),
            None => ["rowhouse", "postgres"]
                .into_iter()
                .find_map(|name| Account::named(name).ok())
                .ok_or(AccountError::OnlyRoot)?,
        };
        if chosen.uid == 0 {
            return Err(AccountError::RootNamed);
        }
        if current.uid != 0 && current.uid != chosen.uid {
            return Err(AccountError::NotRoot { wanted: chosen.name, current: current.name });
        }
        Ok(chosen)
    }

    /// The first directory on the way to `path` that this account cannot pass, if any. Supplementary groups do not count, as they are
    /// dropped when a process of this account is started.
    pub fn barred_by(&self, path: &Path) -> Option<PathBuf> {
        let mut ancestors: Vec<&Path> = path.ancestors().collect();
        ancestors.reverse();
        ancestors.into_iter().find(|directory| !self.may_pass(directory)).map(Path::to_owned)
    }

    fn may_pass(&self, directory: &Path) -> bool {
        let Ok(found) = std::fs::metadata(directory) else { return true };
        let shift = match () {
            () if found.uid() == self.uid => 6,
            () if found.gid() == self.gid => 3,
            () => 0,
        };
        (found.mode() >> shift) & 1 == 1
    }
}

fn passwd() -> Result<String, AccountError> {
    std::fs::read_to_string("/etc/passwd").map_err(AccountError::Unreadable)
}

/// Lines are `name:password:uid:gid:…` (`passwd(5)`).
fn entries(text: &str) -> impl Iterator<Item = Account> + '_ {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { name, uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lines_of_passwd() {
        let text = "root:x:0:0:root:/root:/bin/bash\nbroken\npostgres:x:101:104:PostgreSQL,,,:/var/lib/postgresql:/bin/bash\n";
        let found: Vec<_> = entries(text).map(|account| (account.name, account.uid, account.gid)).collect();
        assert_eq!(found, [("root".to_owned(), 0, 0), ("postgres".to_owned(), 101, 104)]);
    }

    #[test]
    fn never_chooses_root() {
        assert!(matches!(Account::for_server(Some("root")), Err(AccountError::RootNamed)));
        assert_ne!(Account::for_server(None).expect("an account for the server").uid, 0);
    }

    #[test]
    fn names_the_directory_that_bars_the_way() {
        let nobody = Account { name: "nobody".to_owned(), uid: 65_534, gid: 65_534 };
        let root = Account { name: "root".to_owned(), uid: 0, gid: 0 };
        assert_eq!(nobody.barred_by(Path::new("/proc")), None);
        assert_eq!(
            nobody.barred_by(Path::new("/proc/1/task")),
            None,
            "the directories of processes are open"
        );
        assert_eq!(
            nobody.barred_by(Path::new("/proc/1/fd/x")),
            Some("/proc/1/fd".into()),
            "0500 for its owner"
        );
        assert_eq!(root.barred_by(Path::new("/proc/1/fd/x")), None);
    }
}
