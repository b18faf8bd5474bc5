//! One transaction of the control database, made with a permit and bound to its tenant.
//!
//! The permit is the first lock; the second is row-level security by `rowhouse.scope` and `rowhouse.tenant`,
//! which are set in the same round trip as BEGIN. A transaction that is dropped before its end closes its
//! connection: nothing of it is left for the next borrower.

use std::sync::Arc;

use deadpool_postgres::Object;
use rowhouse_domain::access::{Permit, Principal};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};

use crate::change::{Change, Notice};
use crate::lines::Place;
use crate::pool::{Store, StoreError};
use crate::turns;
use crate::wake::{Topic, Touched};

const ROLLBACK: &str = "ROLLBACK";
/// Commits without waiting for the disk.
const COMMIT_SEEN: &str = "SET LOCAL synchronous_commit = off; COMMIT";
/// A transaction of its own whose record in the write-ahead log is empty: whoever has waited for it has waited for all before it.
/// (`synchronous_commit`, PostgreSQL manual 20.5.1: the log is written in its order.)
const UNTIL_ON_DISK: &str = "SELECT pg_logical_emit_message(true, '', '')";

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// The database role that a transaction works as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    App,
    Sequencer,
}

/// An open transaction.
pub struct Transaction {
    client: Option<Object>,
    /// Given back after the connection.
    _turn: Option<Arc<Place>>,
    store: Store,
    principal: Principal,
    touched: Touched,
}

impl Transaction {
    pub(crate) async fn begin(
        (client, turn): (Object, Option<Arc<Place>>),
        store: Store,
        permit: &Permit,
        role: Role,
        begin: &str,
    ) -> Result<Self, StoreError> {
        let role = match role {
            Role::App => "rowhouse_app",
            Role::Sequencer => "rowhouse_sequencer",
        };
        let (scope, tenant) = match permit.tenant() {
            Some(tenant) => ("tenant", tenant.0.to_string()),
            None => ("platform", String::new()),
        };
        let open = Transaction {
            client: Some(client),
            _turn: turn,
            store,
            principal: permit.principal(),
            touched: Touched::default(),
        };
        // Nothing here comes from a caller: a constant, a constant and a UUID of our own type.
        let batch = format!(
            "{begin}; SET LOCAL ROLE {role}; SET LOCAL rowhouse.scope = '{scope}'; \
             SET LOCAL rowhouse.tenant = '{tenant}'"
        );
        open.client().batch_execute(&batch).await?;
        Ok(open)
    }

    fn client(&self) -> &Object {
        self.client.as_ref().expect("taken only when the transaction ends")
    }

    /// Who acts.
    pub fn principal(&self) -> Principal {
        self.principal
    }

    /// The store it belongs to, for its clock and entropy.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Says that those who wait for `topic` must look once this is committed.
    pub fn touch(&self, topic: Topic) {
        self.touched.add(topic);
    }

    /// All rows of `sql`.
    pub async fn query(&self, sql: &'static str, parameters: Parameters<'_>) -> Result<Vec<Row>, StoreError> {
        let statement = self.client().prepare_cached(sql).await?;
        Ok(self.client().query(&statement, parameters).await?)
    }

    /// The only row of `sql`, or none. More than one is an error.
    pub async fn query_opt(
        &self,
        sql: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Option<Row>, StoreError> {
        let statement = self.client().prepare_cached(sql).await?;
        Ok(self.client().query_opt(&statement, parameters).await?)
    }

    /// The only row of `sql`.
    pub async fn query_one(&self, sql: &'static str, parameters: Parameters<'_>) -> Result<Row, StoreError> {
        let statement = self.client().prepare_cached(sql).await?;
        Ok(self.client().query_one(&statement, parameters).await?)
    }

    /// Runs `sql`; the number of rows it touched.
    pub async fn execute(&self, sql: &'static str, parameters: Parameters<'_>) -> Result<u64, StoreError> {
        let statement = self.client().prepare_cached(sql).await?;
        Ok(self.client().execute(&statement, parameters).await?)
    }

    /// Ends the transaction with its change: the audit event and the notices are in the same database
    /// transaction, so none of the three exists without the others.
    pub async fn commit(self, change: Change) -> Result<(), StoreError> {
        self.commit_all(vec![change]).await
    }

    /// The same for a change that more than one log must tell. `changes` must not be empty.
    pub async fn commit_all(self, changes: Vec<Change>) -> Result<(), StoreError> {
        assert!(!changes.is_empty(), "a change has at least one event");
        self.tell(&changes).await?;
        let store = self.store.clone();
        self.end("COMMIT").await?;
        store.announce();
        Ok(())
    }

    /// The same as [`commit`](Self::commit), for a change that a saga goes on with: those who go on see it before it is on disk, and
    /// whoever asked for it is answered when it is. What they make of it meanwhile can only reach the disk after it.
    pub async fn commit_seen_first(mut self, change: Change) -> Result<(), StoreError> {
        self.tell(std::slice::from_ref(&change)).await?;
        self.client().batch_execute(COMMIT_SEEN).await?;
        self.touched.announce(self.store.bells());
        self.store.announce();
        self.client().batch_execute(UNTIL_ON_DISK).await?;
        drop(self.client.take());
        Ok(())
    }

    /// Waits until all that others had committed is on disk, and ends the transaction without having written anything.
    pub async fn wait_for_disk(mut self) -> Result<(), StoreError> {
        self.client().batch_execute(ROLLBACK).await?;
        self.client().batch_execute(UNTIL_ON_DISK).await?;
        drop(self.client.take());
        Ok(())
    }

    /// Events and notices of `changes`, sent without waiting in between.
    async fn tell(&self, changes: &[Change]) -> Result<(), StoreError> {
        let notices: Vec<&Notice> = changes.iter().flat_map(|change| &change.notices).collect();
        tokio::try_join!(self.record(changes), self.post(&notices))?;
        Ok(())
    }

    /// Notices become visible in the order of their ids, so that nobody who reads on from an id misses one: who has the lock has it
    /// until the end, and no id is given out before it.
    async fn post(&self, notices: &[&Notice]) -> Result<(), StoreError> {
        if notices.is_empty() {
            return Ok(());
        }
        self.touch(Topic::Notices);
        let topics: Vec<&str> = notices.iter().map(|notice| notice.topic).collect();
        let tenants: Vec<_> = notices.iter().map(|notice| notice.tenant.map(|tenant| tenant.0)).collect();
        let subjects: Vec<_> = notices.iter().map(|notice| notice.subject.as_deref()).collect();
        self.execute(
            "WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(7241)) \
             INSERT INTO api.notices (topic, tenant_id, subject, at) \
             SELECT n.topic, n.tenant, n.subject, $4 \
               FROM turn, unnest($1::text[], $2::uuid[], $3::text[]) WITH ORDINALITY AS n (topic, tenant, subject, place) \
              ORDER BY n.place",
            &[&topics, &tenants, &subjects, &self.store.clock().now()],
        )
        .await?;
        Ok(())
    }

    async fn record(&self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let now = self.store.clock().now();
        self.touch(Topic::Outbox);
        let new_id = |_| self.store.entropy().uuid_v7(now.as_microsecond());
        let ids: Vec<_> = changes.iter().map(new_id).collect();
        let logs: Vec<_> = changes.iter().map(|change| change.log.0).collect();
        let application = turns::application();
        let drafts: Vec<_> = changes.iter().map(|change| Json(change.through(application))).collect();
        self.execute(
            "INSERT INTO audit.outbox (event_id, tenant_id, draft, at) \
             SELECT e.id, e.log, e.draft, $4 \
               FROM unnest($1::uuid[], $2::uuid[], $3::jsonb[]) WITH ORDINALITY AS e (id, log, draft, place) \
              ORDER BY e.place",
            &[&ids, &logs, &drafts, &now],
        )
        .await?;
        Ok(())
    }

    /// Ends a transaction that only appended telemetry (usage, positions, logs of work): no event.
    pub async fn commit_telemetry(self) -> Result<(), StoreError> {
        self.commit_telemetry_with(&[]).await
    }

    /// The same, for telemetry that others must look at, such as usage that nears a quota.
    pub async fn commit_telemetry_with(self, notices: &[Notice]) -> Result<(), StoreError> {
        self.post(&notices.iter().collect::<Vec<_>>()).await?;
        let store = self.store.clone();
        self.end("COMMIT").await?;
        store.announce();
        Ok(())
    }

    /// Ends a transaction that wrote the log of a saga, and what its steps changed. `is_synced` waits for the disk; without it, a
    /// crash of the server may take the last moments of these, and never one that was written before a commit that did
    /// wait: for a record whose loss only means that what it tells is done again.
    pub(crate) async fn commit_steps(self, changes: &[Change], is_synced: bool) -> Result<(), StoreError> {
        self.tell(changes).await?;
        let store = self.store.clone();
        self.commit_log(is_synced).await?;
        if !changes.is_empty() {
            store.announce();
        }
        Ok(())
    }

    /// Ends a transaction that only wrote the log of a saga.
    pub(crate) async fn commit_log(self, is_synced: bool) -> Result<(), StoreError> {
        self.end(if is_synced { "COMMIT" } else { COMMIT_SEEN }).await
    }

    /// Ends a transaction that only read.
    pub async fn finish(self) -> Result<(), StoreError> {
        self.end("COMMIT").await
    }

    /// Ends the transaction and undoes it.
    pub async fn rollback(self) -> Result<(), StoreError> {
        self.end(ROLLBACK).await
    }

    async fn end(mut self, statement: &'static str) -> Result<(), StoreError> {
        self.client().batch_execute(statement).await?;
        drop(self.client.take());
        if statement != ROLLBACK {
            self.touched.announce(self.store.bells());
        }
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // Not ended: the connection is taken out of the pool and closed, and the server rolls back.
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}
