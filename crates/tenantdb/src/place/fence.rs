//! Closing a place for writers and waiting until the last has ended: what a move copies after that is complete.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Place, PlaceError, set_rights};
use crate::Rights;
use crate::cell::{Cell, CellError, while_doing};

/// How often the last writers are looked for.
const LOOK: Duration = Duration::from_millis(10);

/// Takes from `place` all rights but reading, or all if `reading` is not to be left either, and waits until no
/// transaction that could write is under way. Writers that come meanwhile get RH002, so that they ask again where the
/// tenant lies; [`set_rights`] lets them in again. Whether the last writer ended within `patience`; the rights are
/// taken in either case. Twice is once.
///
/// # Errors
/// If there is no such place, or the server is away.
pub async fn fence(
    cell: &Cell,
    place: &Place,
    reading: bool,
    patience: Duration,
) -> Result<bool, PlaceError> {
    set_rights(cell, place, if reading { Rights::ReadOnly } else { Rights::None }).await?;
    let deadline = Instant::now() + patience;
    let admin = cell.connect(&place.database).await?;
    let writers = loop {
        let writers = writers(&admin, place).await?;
        if !writers || Instant::now() >= deadline {
            break writers;
        }
        sleep(LOOK).await;
    };
    admin.close().await;
    Ok(!writers)
}

/// Writers hold the shared half of the tenant's lock from `rh.enter` on. A tenant's own login is also seen by what it
/// has written, should something have written without entering.
async fn writers(admin: &tokio_postgres::Client, place: &Place) -> Result<bool, CellError> {
    let row = admin
        .query_one(
            "SELECT NOT pg_try_advisory_xact_lock(hashtextextended($1::uuid::text, 7240)) \
                 OR EXISTS (SELECT FROM pg_stat_activity \
                      WHERE usename = $2 AND datname = $3 AND backend_xid IS NOT NULL AND $2 <> 'rh_app')",
            &[&place.tenant.0, &place.login, &place.database],
        )
        .await
        .map_err(while_doing("looking for a tenant's writers"))?;
    Ok(row.get(0))
}

/// Waits until no transaction is under way that began before this call and could be reading in `place`. On `shared` all
/// tenants' transactions are waited for, as the server does not tell whose they are. Those that are left after `patience`
/// are ended: nobody goes on who could have entered the place as it was. How often a session was told to end.
///
/// # Errors
/// If the server is away.
pub async fn wait_for_readers(cell: &Cell, place: &Place, patience: Duration) -> Result<usize, PlaceError> {
    let doing = "looking for a tenant's readers";
    let deadline = Instant::now() + patience;
    let admin = cell.connect("postgres").await?;
    let now = admin.query_one("SELECT clock_timestamp()::text", &[]).await.map_err(while_doing(doing))?;
    let now: String = now.get(0);
    let sql = "SELECT CASE WHEN $4 THEN pg_terminate_backend(pid) END FROM pg_stat_activity \
         WHERE usename = $1 AND datname = $2 AND xact_start < $3::text::timestamptz";
    let mut ended = 0;
    loop {
        let is_over = Instant::now() >= deadline;
        let readers = admin.query(sql, &[&place.login, &place.database, &now, &is_over]).await;
        let readers = readers.map_err(while_doing(doing))?;
        if readers.is_empty() {
            break;
        }
        ended += if is_over { readers.len() } else { 0 };
        sleep(LOOK).await;
    }
    admin.close().await;
    Ok(ended)
}

/// Ends the sessions of writers that hold a fenced place up. How many there were.
///
/// # Errors
/// If the server is away.
pub async fn end_writers(cell: &Cell, place: &Place) -> Result<i64, PlaceError> {
    let admin = cell.connect(&place.database).await?;
    let row = admin
        .query_one(
            "WITH key AS (SELECT hashtextextended($1::uuid::text, 7240) AS whole), \
                  writers AS (SELECT l.pid FROM pg_locks l, key \
                     WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
                       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                       AND (l.classid::bigint << 32) | l.objid::bigint = key.whole AND l.pid <> pg_backend_pid() \
                   UNION SELECT pid FROM pg_stat_activity \
                     WHERE usename = $2 AND datname = $3 AND backend_xid IS NOT NULL AND $2 <> 'rh_app') \
             SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM writers",
            &[&place.tenant.0, &place.login, &place.database],
        )
        .await
        .map_err(while_doing("ending a tenant's writers"))?;
    admin.close().await;
    Ok(row.get(0))
}
