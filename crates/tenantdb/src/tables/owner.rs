//! Who owns a service's tables: a role of the service's own in each cluster. What the author of its migrations has written (migrations,
//! functions in checks, defaults, views) runs as that role, which can do nothing in another service's schema.
//!
//! The administrator says nothing that could call the author's functions in its own name. A plain `SET ROLE` would not do: a function may
//! say `RESET ROLE`. So what may call them runs inside [`run_as`].

use sha2::{Digest, Sha256};
use tokio_postgres::{GenericClient, Transaction};

use super::install::{InstallError, Target, server, session};
use super::manifest::hexadecimal;
use crate::cell::movers::{MOVERS, MOVERS_MAX};
use crate::cell::{Cell, LOCK_CLUSTER};
use crate::name::quote;

/// Half of a digest tells the services of one operator apart.
const DIGITS: usize = 16;

/// The role that owns the tables of `service`: `rh_s_<16 hex>`, because a service's name may be as long as a role's.
pub(crate) fn owner_of(service: &str) -> String {
    format!("rh_s_{}", &hexadecimal(&Sha256::digest(service))[..DIGITS])
}

/// Makes the owner of `service` and its mover ([`Movers`](crate::cell::Movers)) if they are not there. `client` is connected to any database of `cell`.
pub(super) async fn ensure(
    cell: &Cell,
    client: &impl GenericClient,
    service: &str,
) -> Result<(), InstallError> {
    let doing = "making the owner of a service's tables";
    let owner = owner_of(service);
    let sql = "SELECT FROM pg_auth_members a JOIN pg_roles o ON o.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
                WHERE o.rolname = $1 AND m.rolname ~ '^rh_mover_[0-9]+$'";
    let found = client.query_opt(sql, &[&owner]).await;
    if found.map_err(server(doing))?.is_some() {
        return Ok(());
    }
    let cluster = cell.borrow("postgres").await?;
    let sql = format!(
        "BEGIN; {LOCK_CLUSTER};
         DO $$
         DECLARE
           mover text;
         BEGIN
           IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{owner}') THEN
             CREATE ROLE {owner} NOLOGIN INHERIT;
             GRANT rh_owner TO {owner};
             GRANT {owner} TO rh_migrator;
           END IF;
           IF NOT EXISTS (SELECT FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member
                           WHERE a.roleid = '{owner}'::regrole AND m.rolname ~ '^rh_mover_[0-9]+$') THEN
             SELECT 'rh_mover_' || n INTO mover FROM generate_series(1, {MOVERS_MAX}) n
              WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rh_mover_' || n) ORDER BY n LIMIT 1;
             IF mover IS NULL THEN
               RAISE EXCEPTION USING ERRCODE = '54000', MESSAGE = 'rowhouse: a server has room for {MOVERS_MAX} services';
             END IF;
             EXECUTE format('CREATE ROLE %I LOGIN INHERIT BYPASSRLS', mover);
             EXECUTE format('GRANT {MOVERS}, {owner} TO %I', mover);
           END IF;
         END $$;
         COMMIT"
    );
    cluster.batch_execute(&sql).await.map_err(server(doing))?;
    cluster.give_back().await;
    Ok(())
}

/// What is run as an owner: it decides which commands are let through (`cell/migrating.sql`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// The author's.
    Migration,
    /// Ours, which may call the author's functions.
    Generated,
}

/// Runs `sql` as the owner of the service, inside a SECURITY DEFINER function, which no text leaves: neither the role nor the
/// transaction. The function is made anew each time, because its owner might have changed it. Triggers that wait for the commit
/// would run there, as the administrator: they run here, and what is still put off then [`nothing_pending`] finds. What can be left
/// behind in the session to be run later as the administrator, cursors and settings, is cleared before anything else is said.
pub(super) async fn run_as(
    transaction: &Transaction<'_>,
    target: &Target<'_>,
    owner: &str,
    (kind, sql): (Text, &str),
) -> Result<Result<(), tokio_postgres::Error>, InstallError> {
    let owner = quote(owner)?;
    let function = format!(
        "CREATE OR REPLACE FUNCTION pg_temp.rh_run(sql text) RETURNS void VOLATILE SECURITY DEFINER LANGUAGE plpgsql AS \
         $$ BEGIN EXECUTE sql; SET CONSTRAINTS ALL IMMEDIATE; END $$;
         REVOKE ALL ON FUNCTION pg_temp.rh_run(text) FROM PUBLIC;
         ALTER FUNCTION pg_temp.rh_run(text) OWNER TO {owner}"
    );
    transaction.batch_execute(&function).await.map_err(server("preparing to work as a service's owner"))?;
    transaction
        .execute(
            "INSERT INTO rh.migrating (schema, generating) VALUES ($1, $2)",
            &[&target.schema, &(kind == Text::Generated)],
        )
        .await
        .map_err(server("beginning to work as a service's owner"))?;
    if let Err(refused) = transaction.execute("SELECT pg_temp.rh_run($1)", &[&sql]).await {
        return Ok(Err(refused));
    }
    let clear = format!(
        "CLOSE ALL; RESET ALL; {}; DELETE FROM rh.migrating; DROP FUNCTION pg_temp.rh_run(text)",
        session(target)?
    );
    transaction.batch_execute(&clear).await.map_err(server("clearing up after a service's owner"))?;
    Ok(Ok(()))
}

/// The server refuses any ALTER TABLE while rows of the table have triggers pending, which would run at the commit as the
/// administrator. This one changes nothing and calls nothing.
pub(super) async fn nothing_pending(
    transaction: &Transaction<'_>,
    target: &Target<'_>,
    owner: &str,
) -> Result<(), InstallError> {
    let doing = "looking for triggers that wait";
    let rows = transaction
        .query(
            "SELECT format('ALTER TABLE %I.%I OWNER TO %I', n.nspname, c.relname, $2::text)
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')",
            &[&target.schema, &owner],
        )
        .await
        .map_err(server(doing))?;
    let sql: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    transaction.batch_execute(&sql.join(";\n")).await.map_err(server(doing))
}
