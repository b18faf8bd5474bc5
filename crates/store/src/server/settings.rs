//! What a private server is told: `postgresql.conf`, who may connect, and which of the operator's lines are refused.
//!
//! The operator's lines come last, so they win; but a line that could lose acknowledged data, or that moves what Rowhouse relies on,
//! is refused with its reason before anything starts. What keeps data safe is also given on the command line, where neither a file
//! nor `ALTER SYSTEM` reaches it.

use std::fmt::Write as _;

use super::directory::{Layout, OpenTo, PORT};

/// Settings that keep acknowledged data, as given on the command line: no file and no `ALTER SYSTEM` overrides them.
pub(super) const DURABLE: [(&str, &str); 5] = [
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("wal_level", "logical"),
    ("data_sync_retry", "off"),
    ("ignore_invalid_pages", "off"),
];

/// A guarded setting, and the values an operator may still give it.
const GUARDED: [(&str, &[&str]); 8] = [
    ("fsync", &["on", "true", "yes", "1"]),
    ("full_page_writes", &["on", "true", "yes", "1"]),
    ("synchronous_commit", &["on", "true", "yes", "1", "local", "remote_write", "remote_apply"]),
    ("wal_level", &["logical"]),
    ("data_sync_retry", &["off", "false", "no", "0"]),
    ("ignore_invalid_pages", &["off", "false", "no", "0"]),
    ("ignore_checksum_failure", &["off", "false", "no", "0"]),
    ("zero_damaged_pages", &["off", "false", "no", "0"]),
];

/// Settings that Rowhouse itself relies on.
const OURS: [&str; 13] = [
    "config_file",
    "data_directory",
    "hba_file",
    "ident_file",
    "external_pid_file",
    "include",
    "include_dir",
    "include_if_exists",
    "listen_addresses",
    "logging_collector",
    "port",
    "unix_socket_directories",
    "unix_socket_permissions",
];

/// Why a line of `database.settings` is not passed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    #[error("database.settings: {setting} = {value} could lose data; allowed: {allowed}")]
    LosesData { setting: String, value: String, allowed: String },
    #[error("database.settings: {setting} is set by Rowhouse itself")]
    Ours { setting: String },
    #[error("database.settings: {line:?} is not of the form name = value on one line")]
    Malformed { line: String },
}

/// Sizes that the caller chooses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub shared_buffers_mb: u32,
    pub max_connections: u32,
    pub max_locks_per_transaction: u32,
}

/// The text of `postgresql.conf`: ours, then the operator's lines.
pub(super) fn postgresql_conf(
    layout: &Layout,
    sizes: Sizes,
    open_to: OpenTo,
    operator: &[String],
) -> Result<String, SettingError> {
    let mut text =
        String::from("# Written by Rowhouse at every start; put your own lines into `database.settings`.\n");
    let settings = layout.settings();
    let ours = [
        ("data_directory", layout.cluster().display().to_string()),
        ("hba_file", settings.join("pg_hba.conf").display().to_string()),
        ("ident_file", settings.join("pg_ident.conf").display().to_string()),
        ("listen_addresses", String::new()),
        ("port", PORT.to_string()),
        ("unix_socket_directories", quoted_in_list(&layout.socket.display().to_string())),
        ("unix_socket_permissions", open_to.socket_mode().to_owned()),
        ("max_connections", sizes.max_connections.to_string()),
        ("shared_buffers", format!("{}MB", sizes.shared_buffers_mb)),
        ("max_locks_per_transaction", sizes.max_locks_per_transaction.to_string()),
        ("wal_level", "logical".to_owned()),
        ("fsync", "on".to_owned()),
        ("full_page_writes", "on".to_owned()),
        ("synchronous_commit", "on".to_owned()),
        ("recovery_init_sync_method", recovery_sync().to_owned()),
        ("password_encryption", "scram-sha-256".to_owned()),
        ("row_security", "on".to_owned()),
        ("logging_collector", "off".to_owned()),
        ("log_destination", "stderr".to_owned()),
        ("log_line_prefix", "%m [%p] %q%u@%d ".to_owned()),
        ("log_timezone", "UTC".to_owned()),
        ("timezone", "UTC".to_owned()),
        ("lc_messages", "C".to_owned()),
    ];
    for (name, value) in ours {
        writeln!(text, "{name} = '{}'", value.replace('\'', "''")).expect("writing to a String cannot fail");
    }
    check_all(operator)?;
    for line in operator {
        text.push_str(line);
        text.push('\n');
    }
    Ok(text)
}

/// How a start after a crash makes sure that all files are on disk. Opening and syncing each takes about a millisecond a file, and
/// tenants bring files; one `syncfs` takes what there is to write. From Linux 5.8 on it reports errors as well (`sync(2)`).
fn recovery_sync() -> &'static str {
    if syncs_whole() { "syncfs" } else { "fsync" }
}

/// Whether one `syncfs` says that all files of a file system are on disk, errors included.
pub(super) fn syncs_whole() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers =
        release.split(|letter: char| !letter.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (5, 8)
}

/// An element of a list setting, quoted as PostgreSQL's `SplitDirectoriesString` reads it.
fn quoted_in_list(element: &str) -> String {
    format!("\"{}\"", element.replace('"', "\"\""))
}

/// Refuses the first of the operator's lines that cannot be passed on.
///
/// # Errors
/// Names the line and why.
pub fn check_all(lines: &[String]) -> Result<(), SettingError> {
    lines.iter().try_for_each(|line| check(line))
}

/// Refuses an operator's line that loses data, or that sets what is ours.
fn check(line: &str) -> Result<(), SettingError> {
    let malformed = || SettingError::Malformed { line: line.to_owned() };
    let content = line.trim();
    if line.contains(['\n', '\r', '\0']) {
        return Err(malformed());
    }
    if content.is_empty() || content.starts_with('#') {
        return Ok(());
    }
    let end = content.find(|letter: char| letter == '=' || letter.is_whitespace()).ok_or_else(malformed)?;
    let setting = content[..end].to_ascii_lowercase();
    if setting.is_empty()
        || !setting.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.$".contains(letter))
    {
        return Err(malformed());
    }
    if OURS.contains(&setting.as_str()) {
        return Err(SettingError::Ours { setting });
    }
    let Some((_, allowed)) = GUARDED.iter().find(|(name, _)| *name == setting) else { return Ok(()) };
    // Only the plainest spelling of a value passes: PostgreSQL reads more (`of` is off), and a guard must not guess.
    let value =
        content[end..].trim_start_matches(|letter: char| letter == '=' || letter.is_whitespace()).trim_end();
    let bare = value
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''))
        .unwrap_or(value)
        .to_ascii_lowercase();
    if allowed.contains(&bare.as_str()) {
        return Ok(());
    }
    Err(SettingError::LosesData { setting, value: value.to_owned(), allowed: allowed.join(", ") })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn conf(lines: &[&str]) -> Result<String, SettingError> {
        let layout = Layout {
            data: PathBuf::from("/data/o'neill"),
            socket: PathBuf::from("/data/a,b"),
            socket_is_elsewhere: false,
        };
        let sizes = Sizes { shared_buffers_mb: 64, max_connections: 50, max_locks_per_transaction: 1024 };
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        postgresql_conf(&layout, sizes, OpenTo::Owner, &lines)
    }

    #[test]
    fn quotes_paths_and_puts_the_operator_last() {
        let text = conf(&["work_mem = '8MB'"]).expect("a harmless line");
        assert!(text.contains("data_directory = '/data/o''neill/cluster'\n"), "{text}");
        assert!(text.contains("unix_socket_directories = '\"/data/a,b\"'\n"), "{text}");
        assert!(text.ends_with("work_mem = '8MB'\n"), "{text}");
    }

    #[test]
    fn refuses_what_loses_data_in_any_spelling() {
        let refused = [
            "fsync = off",
            "fsync off",
            "FSYNC=OFF",
            "fsync='off'",
            "fsync = of",
            "fsync = on # off",
            "full_page_writes = no",
            "synchronous_commit = off",
            "wal_level = replica",
            "zero_damaged_pages = on",
            "data_sync_retry 1",
        ];
        for line in refused {
            assert!(matches!(conf(&[line]), Err(SettingError::LosesData { .. })), "{line}");
        }
    }

    #[test]
    fn refuses_what_is_ours_or_unreadable() {
        for line in ["listen_addresses = '*'", "include 'x.conf'", "PORT = 1", "hba_file='/x'"] {
            assert!(matches!(conf(&[line]), Err(SettingError::Ours { .. })), "{line}");
        }
        for line in ["work_mem = 1\nfsync = off", "fsync", "= off", "'fsync' = off"] {
            assert!(matches!(conf(&[line]), Err(SettingError::Malformed { .. })), "{line:?}");
        }
    }

    #[test]
    fn passes_what_is_harmless() {
        for line in [
            "# fsync = off",
            "",
            "fsync = on",
            "wal_level='logical'",
            "synchronous_commit = remote_apply",
            "pg_stat.x = 1",
        ] {
            assert!(conf(&[line]).is_ok(), "{line}");
        }
    }
}
