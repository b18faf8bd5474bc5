//! Files that no relation of their database owns. PostgreSQL (to 15 at least) leaves them behind when it is killed in a
//! transaction that was making or rewriting a table: nothing reads them again, nothing removes them, and what was copied into
//! them stays readable on the disk.
//!
//! A file is an orphan if the catalog names no relation for it, and nobody who is still at work can have made it: it is older
//! than the oldest transaction that runs. Who made it has ended, then, and either the catalog knows it or nobody will.
//!
//! ```text
//! t0  when did the oldest running transaction begin?        → whoever made a file before that has ended by t0
//! t1  which files were made before that, and some?          (a file's time is a clock tick behind its maker's)
//! t2  which of those does the catalog not know?             → made by who had ended before t0, and not kept
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio_postgres::Client;

use super::PlaceError;
use crate::cell::{CellError, while_doing};

/// What a file's time may be behind the clock, with much to spare.
const TICK: Duration = Duration::from_secs(1);

/// Removes the orphans of the database that `admin` is connected to; how many. Nothing if its files cannot be reached from
/// here.
///
/// # Errors
/// If the server is away, or there are files that nobody owns and that somebody who is at work may have made: try again.
pub(super) async fn remove(admin: &Client) -> Result<usize, PlaceError> {
    let row = admin
        .query_one(
            "SELECT least((SELECT min(xact_start) FROM pg_stat_activity WHERE pid <> pg_backend_pid()),
                       (SELECT min(prepared) FROM pg_prepared_xacts), clock_timestamp()),
                    current_setting('data_directory') || '/base/' || oid
               FROM pg_database WHERE datname = current_database()",
            &[],
        )
        .await
        .map_err(while_doing("looking for the oldest transaction"))?;
    let (oldest, folder): (SystemTime, String) = (row.get(0), row.get(1));
    let Some(files) = numbered(PathBuf::from(folder)).await else { return Ok(0) };
    let numbers: Vec<u32> = files.keys().copied().collect();
    // Without a relation in the database's own tablespace.
    let sql = "SELECT number FROM unnest($1::oid[]) AS number WHERE pg_filenode_relation(0, number) IS NULL";
    let rows =
        admin.query(sql, &[&numbers]).await.map_err(while_doing("looking for files that nobody owns"))?;
    let (mut removed, mut young) = (0, 0);
    for path in rows.iter().filter_map(|row| files.get(&row.get::<_, u32>(0))).flatten() {
        match made_at(path) {
            Some(at) if at + TICK < oldest => {
                tracing::info!(file = %path.display(), "a file that no table owns is removed");
                // Gone meanwhile is as good.
                removed += usize::from(std::fs::remove_file(path).is_ok());
            }
            Some(_) => young += 1,
            None => {}
        }
    }
    match young {
        0 => Ok(removed),
        files => Err(CellError::Unowned { files }.into()),
    }
}

/// Removes the folders of databases that were never finished: PostgreSQL leaves them behind when it is killed while it makes one.
/// They hold a copy of the template. Those that somebody who is at work may have made are left for the next time; how many
/// those are.
///
/// # Errors
/// If the server is away.
pub(crate) async fn remove_databases(server: &Client) -> Result<usize, CellError> {
    let row = server
        .query_one(
            "SELECT least((SELECT min(xact_start) FROM pg_stat_activity WHERE pid <> pg_backend_pid()), clock_timestamp()),
                    current_setting('data_directory') || '/base'",
            &[],
        )
        .await
        .map_err(while_doing("looking for the oldest transaction"))?;
    let (oldest, folder): (SystemTime, String) = (row.get(0), row.get(1));
    let Some(folders) = numbered(PathBuf::from(folder)).await else { return Ok(0) };
    let numbers: Vec<u32> = folders.keys().copied().collect();
    let sql = "SELECT number FROM unnest($1::oid[]) AS number WHERE NOT EXISTS (SELECT FROM pg_database WHERE oid = number)";
    let rows =
        server.query(sql, &[&numbers]).await.map_err(while_doing("looking for folders of no database"))?;
    let mut young = 0;
    for path in rows.iter().filter_map(|row| folders.get(&row.get::<_, u32>(0))).flatten() {
        let made_at = std::fs::metadata(path).and_then(|found| found.created());
        match made_at {
            Ok(at) if path.is_dir() && at + TICK < oldest => {
                tracing::info!(folder = %path.display(), "the folder of a database that was never finished is removed");
                // Gone meanwhile is as good.
                let _ = std::fs::remove_dir_all(path);
            }
            Ok(_) => young += usize::from(path.is_dir()),
            Err(_) => {}
        }
    }
    Ok(young)
}

/// When a file was made, if it is there, holds something, and the file system knows.
fn made_at(path: &Path) -> Option<SystemTime> {
    let found = std::fs::metadata(path).ok().filter(|found| found.len() > 0)?;
    found.created().ok()
}

/// The files of a database, by the number that relations know them by: `16384`, `16384.1`, `16384_fsm`. `None` if they
/// cannot be reached.
async fn numbered(folder: PathBuf) -> Option<BTreeMap<u32, Vec<PathBuf>>> {
    tokio::task::spawn_blocking(move || {
        let mut files: BTreeMap<u32, Vec<PathBuf>> = BTreeMap::new();
        for entry in std::fs::read_dir(folder).ok()?.flatten() {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.split(['.', '_']).next()?.parse().ok());
            if let Some(number) = number {
                files.entry(number).or_default().push(entry.path());
            }
        }
        Some(files)
    })
    .await
    .ok()?
}
