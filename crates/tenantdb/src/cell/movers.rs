//! Who reads and writes services' tables for the platform: moves, backups, exports, erasures, sizes.
//!
//! Checks, generated columns, casts, domains and indexes call functions of a service's author, as whoever touches the rows, and whoever
//! holds several services' rights in one session hands them all to each: a function may say `SET ROLE` and `RESET ROLE`. So each service
//! has a mover of its own in each cluster, a login that passes policies and is a member of that service's owner alone, and what concerns
//! several services is done by as many sessions.
//!
//! Movers are numbered, because the ident maps of PostgreSQL 15 must name each role that may log in
//! (`rowhouse_store::server`, `admission`).

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::{Cell, CellError, while_doing};
use crate::connect::Connected;

/// The group of all movers; it can connect to tenants' databases and rest triggers, and owns nothing.
pub(crate) const MOVERS: &str = "rh_mover";
/// Most services in a cluster.
pub(crate) const MOVERS_MAX: u32 = 128;

const OF_SCHEMAS: &str = "SELECT n.nspname::text, m.rolname::text
   FROM pg_namespace n JOIN pg_auth_members a ON a.roleid = n.nspowner JOIN pg_roles m ON m.oid = a.member
  WHERE n.nspname = ANY ($1) AND m.rolname ~ '^rh_mover_[0-9]+$'";

/// Open sessions in one database, one for each service that was asked for.
pub(crate) struct Movers {
    mover_of: BTreeMap<String, String>,
    sessions: BTreeMap<String, Connected>,
}

impl Movers {
    /// Opens the sessions of the services whose `schemas` lie in `database`, and says `begin` in each. `admin` is connected there.
    ///
    /// # Errors
    /// If the server is away, or a schema has no mover because it is no service's.
    pub async fn open(
        cell: &Cell,
        admin: &Client,
        (database, schemas): (&str, &[String]),
        begin: &str,
    ) -> Result<Movers, CellError> {
        let rows = admin.query(OF_SCHEMAS, &[&schemas]).await.map_err(while_doing("looking for movers"))?;
        let mover_of: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let mut sessions = BTreeMap::new();
        for mover in mover_of.values() {
            if sessions.contains_key(mover) {
                continue;
            }
            let session = cell.connect_as(mover, database).await?;
            session.batch_execute(begin).await.map_err(while_doing("preparing a mover"))?;
            sessions.insert(mover.clone(), session);
        }
        Ok(Movers { mover_of, sessions })
    }

    /// The session in which tables of `schema` may be touched.
    ///
    /// # Errors
    /// If it is none of those that were opened.
    pub fn of(&self, schema: &str) -> Result<&Client, CellError> {
        let session = self.mover_of.get(schema).and_then(|mover| self.sessions.get(mover));
        session.map(|session| &**session).ok_or_else(|| CellError::NoMover { schema: schema.to_owned() })
    }

    /// Says the same in every session, one after the other.
    ///
    /// # Errors
    /// With the first that is refused; the rest have not heard it.
    pub async fn each(&self, doing: &'static str, sql: &str) -> Result<(), CellError> {
        for session in self.sessions.values() {
            session.batch_execute(sql).await.map_err(while_doing(doing))?;
        }
        Ok(())
    }

    /// Ends the sessions; what was not committed is gone.
    pub async fn close(self) {
        for session in self.sessions.into_values() {
            session.close().await;
        }
    }
}
