//! What an action gets to work with: its context, its saga, what earlier steps left behind, and the inventory.

use std::collections::BTreeMap;

use rowhouse_domain::access::Permit;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Saga, StepError};
use crate::pool::Store;
use crate::transaction::Transaction;

/// Kinds of things outside the control database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InventoryKind {
    /// A login of a cluster.
    Role,
    /// A schema.
    Schema,
    /// A database.
    Database,
    /// A PostgreSQL of a tenant's own.
    Server,
    /// A tenant's own process of a service.
    Process,
    /// A reserved port.
    Port,
    /// A row in a shared place.
    Rows,
}

impl InventoryKind {
    /// All kinds.
    pub const ALL: [InventoryKind; 7] = [
        InventoryKind::Role,
        InventoryKind::Schema,
        InventoryKind::Database,
        InventoryKind::Server,
        InventoryKind::Process,
        InventoryKind::Port,
        InventoryKind::Rows,
    ];

    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            InventoryKind::Role => "role",
            InventoryKind::Schema => "schema",
            InventoryKind::Database => "database",
            InventoryKind::Server => "server",
            InventoryKind::Process => "process",
            InventoryKind::Port => "port",
            InventoryKind::Rows => "rows",
        }
    }
}

/// One try of one action.
pub struct Run<'a, C> {
    /// What all steps share.
    pub context: &'a C,
    /// The saga.
    pub saga: &'a Saga,
    pub(super) store: &'a Store,
    pub(super) executor: uuid::Uuid,
    pub(super) step: &'static str,
    pub(super) outputs: &'a BTreeMap<String, Value>,
}

impl<C> Run<'_, C> {
    /// What the saga was started with.
    ///
    /// # Errors
    /// For good, if it has another shape than this code expects.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, StepError> {
        parse("the parameters", &self.saga.params)
    }

    /// What `step` left behind; `None` if it did not succeed.
    ///
    /// # Errors
    /// For good, if it has another shape than this code expects.
    pub fn output<T: DeserializeOwned>(&self, step: &str) -> Result<Option<T>, StepError> {
        self.outputs.get(step).map(|value| parse(step, value)).transpose()
    }

    /// The same where the order of the steps says that it must be there.
    ///
    /// # Errors
    /// For good, if it is not.
    pub fn expect_output<T: DeserializeOwned>(&self, step: &str) -> Result<T, StepError> {
        self.output(step)?.ok_or_else(|| {
            StepError::never("api.internal", format!("step `{step}` has left nothing for `{}`", self.step))
        })
    }

    /// Begins a transaction for the saga's tenant that only commits while this executor holds the saga.
    ///
    /// # Errors
    /// [`StepError::Lost`] if another one does.
    pub async fn write(&self) -> Result<Transaction, StepError> {
        let permit = Permit::for_system(self.saga.tenant, "step of a saga");
        let transaction = self.store.write(&permit).await?;
        match hold(&transaction, self.saga, self.executor).await? {
            Some(_) => Ok(transaction),
            None => Err(StepError::Lost),
        }
    }

    /// Enters a thing that is about to be made. To be called, and awaited, before it is made.
    ///
    /// # Errors
    /// If it could not be entered; then it may not be made.
    pub async fn intend(&self, kind: InventoryKind, external_id: &str) -> Result<(), StepError> {
        self.enter(kind, external_id, "intent").await
    }

    /// Says that the thing is there.
    ///
    /// # Errors
    /// If that could not be entered.
    pub async fn observed(&self, kind: InventoryKind, external_id: &str) -> Result<(), StepError> {
        self.enter(kind, external_id, "observed").await
    }

    /// Says that the thing is not there any more.
    ///
    /// # Errors
    /// If that could not be entered.
    pub async fn gone(&self, kind: InventoryKind, external_id: &str) -> Result<(), StepError> {
        self.enter(kind, external_id, "gone").await
    }

    /// What is in the inventory by this saga and not known to be gone, newest first: what an undo must remove.
    ///
    /// # Errors
    /// If the control database is away.
    pub async fn made(&self, kind: InventoryKind) -> Result<Vec<String>, StepError> {
        let permit = Permit::for_system(self.saga.tenant, "inventory of a saga");
        let transaction = self.store.read(&permit).await?;
        let rows = transaction
            .query(
                "SELECT external_id FROM lifecycle.inventory \
                 WHERE saga_id = $1 AND kind = $2 AND state <> 'gone' ORDER BY at DESC, external_id",
                &[&self.saga.id, &kind.as_str()],
            )
            .await?;
        transaction.finish().await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// What is in the inventory of the saga's tenant and not known to be gone, whichever saga made it.
    ///
    /// # Errors
    /// If the control database is away.
    pub async fn held(&self, kind: InventoryKind) -> Result<Vec<String>, StepError> {
        let tenant = self.saga.tenant.expect("only sagas of a tenant have an inventory");
        let permit = Permit::for_system(self.saga.tenant, "inventory of a tenant");
        let transaction = self.store.read(&permit).await?;
        let rows = transaction
            .query(
                "SELECT external_id FROM lifecycle.inventory \
                 WHERE tenant_id = $1 AND kind = $2 AND state <> 'gone' ORDER BY at DESC, external_id",
                &[&tenant.0, &kind.as_str()],
            )
            .await?;
        transaction.finish().await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn enter(&self, kind: InventoryKind, external_id: &str, state: &str) -> Result<(), StepError> {
        let transaction = self.write().await?;
        enter(&transaction, self.saga, self.step, (kind, external_id, state)).await?;
        Ok(transaction.commit_telemetry().await?)
    }
}

/// Says in the inventory how it stands with a thing. A name that is gone and comes again (a port, a process) is made by the
/// saga that makes it now; one that is there stays with the saga that made it, so that no other one's undo takes it away.
pub(super) async fn enter(
    transaction: &Transaction,
    saga: &Saga,
    step: &str,
    (kind, external_id, state): (InventoryKind, &str, &str),
) -> Result<(), crate::StoreError> {
    let tenant = saga.tenant.expect("only sagas of a tenant make things");
    transaction
        .execute(
            "INSERT INTO lifecycle.inventory (tenant_id, kind, external_id, saga_id, step, state, at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (tenant_id, kind, external_id) DO UPDATE SET state = excluded.state, at = excluded.at, \
               saga_id = CASE WHEN inventory.state = 'gone' THEN excluded.saga_id ELSE inventory.saga_id END, \
               step = CASE WHEN inventory.state = 'gone' THEN excluded.step ELSE inventory.step END",
            &[
                &tenant.0,
                &kind.as_str(),
                &external_id,
                &saga.id,
                &step,
                &state,
                &transaction.store().clock().now(),
            ],
        )
        .await?;
    Ok(())
}

/// A saga that is ours.
pub(super) struct Held {
    /// Why it is to turn back, if somebody wants that.
    pub cancelled: Option<Value>,
}

/// Renews the lease, and keeps every other claim out until `transaction` ends, if the saga is still ours.
pub(super) async fn hold(
    transaction: &Transaction,
    saga: &Saga,
    executor: uuid::Uuid,
) -> Result<Option<Held>, crate::StoreError> {
    let until = transaction.store().clock().now() + super::engine::LEASE;
    let held = transaction
        .query_opt(
            "UPDATE lifecycle.sagas SET lease_until = $4 WHERE saga_id = $1 AND generation = $2 AND executor = $3 \
               AND state IN ('running', 'unwinding') RETURNING cancelled",
            &[&saga.id, &saga.generation, &executor, &until],
        )
        .await?;
    Ok(held.map(|row| Held { cancelled: row.get(0) }))
}

fn parse<T: DeserializeOwned>(what: &str, value: &Value) -> Result<T, StepError> {
    serde_json::from_value(value.clone()).map_err(|error| {
        StepError::never(
            "api.internal",
            format!("{what} of this saga has another shape than expected: {error}"),
        )
    })
}
