//! Taking a node out of service in good order, and back. It is asked, and told over its stream; it says so on its health endpoint,
//! takes no new connections, finishes what runs, sends what it recorded to the end, and says that it has. What is asked of it
//! outlives its process: who starts it anew finds it drained until it is asked back.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::OPERATOR_TENANT;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice};
use serde_json::json;

use super::queries::{self, NodeRow};
use crate::Shared;
use crate::api::Caller;

/// Asks the node `name` to take no more requests. Asked already, nothing changes.
pub(super) async fn ask(control: &Shared, caller: &Caller, name: &str) -> Result<NodeRow, Refusal> {
    let permit = caller.permit("node:drain", None)?;
    let transaction = control.store.write(&permit).await?;
    let row = queries::lock(&transaction, name).await?.ok_or_else(|| no_node(name))?;
    refuse_revoked(&row)?;
    let (by, now) = (caller.principal().to_string(), control.clock().now());
    let Some(number) = queries::ask_to_drain(&transaction, (name, &by), now).await? else {
        transaction.finish().await?;
        return Ok(row);
    };
    let change = Change::new(OPERATOR_TENANT, "deploy.node_drain_asked", "update", caller.principal())
        .on("node", name)
        .details(json!({ "drain": number }))
        .request(caller.request_id)
        .notify(Notice::other("nodes"));
    let row = NodeRow {
        drains: number,
        drain_asked_at: Some(now),
        drain_asked_by: Some(by),
        drained_at: None,
        ..row
    };
    transaction.commit(change).await?;
    control.nodes.wanted_changed();
    Ok(row)
}

/// Asks the node `name` back. If it takes requests, nothing changes.
pub(super) async fn resume(control: &Shared, caller: &Caller, name: &str) -> Result<NodeRow, Refusal> {
    let permit = caller.permit("node:drain", None)?;
    let transaction = control.store.write(&permit).await?;
    let row = queries::lock(&transaction, name).await?.ok_or_else(|| no_node(name))?;
    refuse_revoked(&row)?;
    if !queries::resume(&transaction, name).await? {
        transaction.finish().await?;
        return Ok(row);
    }
    let change = Change::new(OPERATOR_TENANT, "deploy.node_resumed", "update", caller.principal())
        .on("node", name)
        .details(json!({ "drain": row.drains }))
        .request(caller.request_id)
        .notify(Notice::other("nodes"));
    transaction.commit(change).await?;
    control.nodes.wanted_changed();
    Ok(NodeRow { drain_asked_at: None, drain_asked_by: None, drained_at: None, ..row })
}

/// The node has ended the drain of this number. Said twice, or of one that is not asked any more, nothing changes.
pub(super) async fn ended(control: &Shared, node: &NodeRow, number: i64) -> Result<(), Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a node is drained")).await?;
    if !queries::drained(&transaction, (&node.name, number), control.clock().now()).await? {
        transaction.finish().await?;
        return Ok(());
    }
    let change = Change::new(OPERATOR_TENANT, "deploy.node_drained", "update", transaction.principal())
        .on("node", &node.name)
        .details(json!({ "drain": number }))
        .notify(Notice::other("nodes"));
    transaction.commit(change).await?;
    tracing::info!(node = node.name, number, "a node is drained");
    Ok(())
}

fn no_node(name: &str) -> Refusal {
    Refusal::new(&kind::NOT_FOUND, format!("There is no node `{name}`."))
}

fn refuse_revoked(row: &NodeRow) -> Result<(), Refusal> {
    match row.revoked_at {
        None => Ok(()),
        Some(_) => Err(Refusal::new(&kind::NODE_REVOKED, format!("`{}` was revoked.", row.name))),
    }
}
