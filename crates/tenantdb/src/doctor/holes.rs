//! The known holes in row-level security, tried out: a version string says what a server should be, this says what it is.
//! Both are executed in a scratch database, as a role that is made for it, and leave nothing behind.

use crate::cell::{Cell, CellError, LOCK_CLUSTER, while_doing};

const DOING: &str = "trying known holes of a server";

/// Which holes are open in a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holes {
    /// `DROP OWNED BY` takes a role out of restrictive policies on tables that it does not own (CVE-2026-116311).
    pub drop_owned: bool,
    /// The WHERE of `ON CONFLICT DO UPDATE` is evaluated on a row that is hidden (CVE-2026-120154).
    pub upsert: bool,
}

impl Holes {
    /// Whether any is open.
    pub fn any(self) -> bool {
        self.drop_owned || self.upsert
    }

    /// Names of those that are open.
    pub fn names(self) -> Vec<&'static str> {
        let all = [
            (self.drop_owned, "CVE-2026-116311 (DROP OWNED)"),
            (self.upsert, "CVE-2026-120154 (ON CONFLICT … WHERE)"),
        ];
        all.into_iter().filter(|(open, _)| *open).map(|(_, name)| name).collect()
    }
}

/// Tables with a row that the role must not see. The second policy of `owned` is bound to the role, as ours never are: that
/// is what the hole takes away.
const SETTING: &str = "
CREATE TABLE kept (id int PRIMARY KEY, owner text, secret text);
INSERT INTO kept VALUES (1, 'other', 'secret');
ALTER TABLE kept ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON kept TO PUBLIC USING (owner = 'own');
CREATE TABLE owned (id int);
INSERT INTO owned VALUES (1);
ALTER TABLE owned ENABLE ROW LEVEL SECURITY;
CREATE POLICY open ON owned TO PUBLIC USING (true);
CREATE POLICY shut ON owned AS RESTRICTIVE TO rh_probe, rh_app USING (false);
GRANT SELECT, INSERT, UPDATE ON kept, owned TO rh_probe;
";

/// Tries the known holes of `cell`, which must be prepared.
///
/// # Errors
/// If the server is away or the administrator may not.
pub async fn try_holes(cell: &Cell) -> Result<Holes, CellError> {
    let server = cell.connect("postgres").await?;
    // One at a time in a cluster; for the session, because CREATE DATABASE runs in no transaction.
    let lock = "SELECT pg_advisory_lock(7240, 4)";
    server.batch_execute(lock).await.map_err(while_doing(DOING))?;
    forget(&server).await?;
    server
        .batch_execute("CREATE DATABASE rh_probe CONNECTION LIMIT 0 TEMPLATE template0")
        .await
        .map_err(while_doing(DOING))?;
    server
        .batch_execute(&format!("BEGIN; {LOCK_CLUSTER}; CREATE ROLE rh_probe NOLOGIN NOINHERIT; COMMIT"))
        .await
        .map_err(while_doing(DOING))?;
    let found = tried(cell).await;
    forget(&server).await?;
    server.close().await;
    found
}

async fn forget(server: &tokio_postgres::Client) -> Result<(), CellError> {
    server
        .batch_execute("DROP DATABASE IF EXISTS rh_probe WITH (FORCE)")
        .await
        .map_err(while_doing(DOING))?;
    let role = format!("BEGIN; {LOCK_CLUSTER}; DROP ROLE IF EXISTS rh_probe; COMMIT");
    server.batch_execute(&role).await.map_err(while_doing(DOING))
}

async fn tried(cell: &Cell) -> Result<Holes, CellError> {
    let scratch = cell.connect("rh_probe").await?;
    let failed = || while_doing(DOING);
    scratch.batch_execute(SETTING).await.map_err(failed())?;
    scratch.batch_execute("SET SESSION AUTHORIZATION rh_probe").await.map_err(failed())?;
    let upsert = scratch
        .batch_execute("INSERT INTO kept VALUES (1, 'own', '') ON CONFLICT (id) DO UPDATE SET secret = '' WHERE kept.secret::int = 0")
        .await;
    // The cast of the hidden value fails only where it is evaluated; else the policy refuses first.
    let upsert = upsert.is_err_and(|problem| problem.code().is_some_and(|code| code.code() == "22P02"));
    // It may refuse, or do what it should; what counts is whether the policy still binds the role.
    let _ = scratch.batch_execute("DROP OWNED BY rh_probe").await;
    scratch
        .batch_execute("RESET SESSION AUTHORIZATION; GRANT SELECT ON owned TO rh_probe; SET SESSION AUTHORIZATION rh_probe")
        .await
        .map_err(failed())?;
    let seen = scratch.query("SELECT id FROM owned", &[]).await.map_err(failed())?;
    scratch.batch_execute("RESET SESSION AUTHORIZATION; DROP OWNED BY rh_probe").await.map_err(failed())?;
    scratch.close().await;
    Ok(Holes { drop_owned: !seen.is_empty(), upsert })
}
