//! Operating-system accounts: who runs Rowhouse, and who PostgreSQL is to run as.
//!
//! PostgreSQL refuses to run as root. Started as root, Rowhouse runs it as the configured account, else `rowhouse`, which its package
//! makes, else `postgres`. Started as anyone else, both run as the same account. What must be kept apart from everything else on the
//! machine runs as ids of its own without a line in `/etc/passwd` ([`Account::without_name`]).

use std::{
    io,
    ops::RangeInclusive,
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
    #[error("PostgreSQL refuses to run as root; name another OS user in database.os_user")]
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

    /// The account of that name; of `#uid:gid`, ids that need no line in `/etc/passwd`.
    pub fn named(name: &str) -> Result<Account, AccountError> {
        if let Some((uid, gid)) = name.strip_prefix('#').and_then(|ids| ids.split_once(':')) {
            let number = |text: &str| text.parse().map_err(|_| AccountError::NoSuchName(name.to_owned()));
            return Ok(Account::without_name(number(uid)?, number(gid)?));
        }
        let text = passwd()?;
        entries(&text)
            .find(|account| account.name == name)
            .ok_or_else(|| AccountError::NoSuchName(name.to_owned()))
    }

    /// Ids set aside for one purpose; its name is `#uid:gid`, which [`Account::named`] reads.
    pub fn without_name(uid: u32, gid: u32) -> Account {
        Account { name: format!("#{uid}:{gid}"), uid, gid }
    }

    /// Whether it has no line in `/etc/passwd`: `initdb` and peer authentication need one.
    pub(super) fn is_nameless(&self) -> bool {
        self.name.starts_with('#')
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

/// Whether this process can start others as any user id of the range: it is root, and the ids exist in its user namespace (`user_namespaces(7)`).
pub fn may_run_as(ids: &RangeInclusive<u32>) -> bool {
    let Ok(map) = std::fs::read_to_string("/proc/self/uid_map") else { return false };
    geteuid().is_root() && map.lines().any(|line| maps_all(line, ids))
}

/// Lines of `uid_map` are the first id inside, the first outside, and how many.
fn maps_all(line: &str, ids: &RangeInclusive<u32>) -> bool {
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [first, _, count] = numbers[..] else { return false };
    u64::from(*ids.start()) >= first && u64::from(*ids.end()) < first + count
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
    fn ids_need_no_line() {
        let made = Account::without_name(1_900_000_001, 1_900_000_000);
        assert_eq!(Account::named("#1900000001:1900000000").expect("two numbers"), made);
        assert!(made.is_nameless());
        for broken in ["#", "#1", "#1:", "#:1", "#a:b", "#-1:1", "#1:99999999999"] {
            assert!(Account::named(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_user_namespace_may_lack_ids() {
        let ids = 1_900_000_000..=1_900_000_999;
        assert!(maps_all("         0          0 4294967295", &ids));
        assert!(!maps_all("0 100000 65536", &ids));
        assert!(maps_all("0 100000 65536", &(60_000..=65_535)));
        assert!(!maps_all("0 100000 65536", &(60_000..=65_536)));
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
