//! How a node becomes one: the operator admits a name and gets a token, the node uses it once. A node that lost the answer may
//! ask again with the same key.

use jiff::{Span, Timestamp};
use rowhouse_domain::access::Permit;
use rowhouse_domain::context::ContextKey;
use rowhouse_domain::id::OPERATOR_TENANT;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice};
use serde_json::json;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::queries::{self, NodeRow};
use super::raw_keys::PublicKey;
use super::wire::{Enrolment, TokenText, hex, is_node_name, unhex};
use crate::api::Caller;
use crate::tenancy::plane;
use crate::{Control, Shared};

/// Longest life of a token, in minutes: a week.
pub(super) const MINUTES_MAX: i64 = 7 * 24 * 60;

/// Admits a node called `name`; the token, which is shown once, and its end.
pub(super) async fn admit(
    control: &Shared,
    caller: &Caller,
    name: &str,
    minutes: i64,
) -> Result<(String, Timestamp), Refusal> {
    let permit = caller.permit("node:enrol", None)?;
    let Some(door) = control.nodes.door() else {
        let why = "This control plane has no door for nodes: set `server.node_listen`.";
        return Err(Refusal::new(&kind::NODE_MALFORMED, why));
    };
    if !is_node_name(name) {
        return Err(Refusal::new(&kind::NODE_MALFORMED, format!("`{name}` is not the name of a node.")));
    }
    if !(1..=MINUTES_MAX).contains(&minutes) {
        let why = format!("A token is good for 1 to {MINUTES_MAX} minutes.");
        return Err(Refusal::new(&kind::NODE_MALFORMED, why));
    }
    let taken = || Refusal::new(&kind::NODE_TAKEN, format!("`{name}` is or was a node."));
    if name == control.settings.node {
        return Err(taken());
    }
    let secret = control.entropy().bytes::<32>();
    let now = control.clock().now();
    let until = now.checked_add(Span::new().minutes(minutes)).map_err(|_| taken())?;
    let transaction = control.store.write(&permit).await?;
    let by = caller.principal().to_string();
    if !queries::admit(&transaction, (name, &by), &digest(&secret), (now, until)).await? {
        return Err(taken());
    }
    let change =
        Change::new(OPERATOR_TENANT, "deploy.node_admitted", "create", caller.principal()).on("node", name);
    transaction.commit(change.details(json!({ "minutes": minutes })).request(caller.request_id)).await?;
    Ok((TokenText { secret, door }.write(), until))
}

/// Enrols whoever proved `key`, if its token is good.
pub(super) async fn enrol(control: &Control, key: &PublicKey, asked: &Enrolment) -> Result<NodeRow, Refusal> {
    // One answer for all that can be wrong: who guesses learns nothing.
    let refused =
        || Refusal::new(&kind::ENROLMENT_REFUSED, "The token is wrong, used, over, or another node's.");
    let (secret, context) = unhex(&asked.secret).zip(unhex(&asked.context_key)).ok_or_else(refused)?;
    ContextKey::from_bytes("node", &context).ok_or_else(refused)?;
    let now = control.clock().now();
    let transaction = control.store.write(&Permit::for_system(None, "enrolment of a node")).await?;
    let row = queries::lock(&transaction, &asked.name).await?.ok_or_else(refused)?;
    let is_token = bool::from(row.token_digest.as_slice().ct_eq(&digest(&secret)));
    if !is_token || row.revoked_at.is_some() {
        return Err(refused());
    }
    if let Some(own) = &row.node_key {
        let is_same = own.as_slice() == key && row.context_key.as_deref() == Some(&context);
        return if is_same { Ok(row) } else { Err(refused()) };
    }
    if row.token_expires_at <= now {
        return Err(refused());
    }
    queries::enrol(&transaction, &row.name, (key, &context), now).await.map_err(|error| {
        match error.constraint() {
            Some("nodes_key_key") => refused(),
            _ => error.into(),
        }
    })?;
    plane::raise(&transaction).await?;
    let change = Change::new(OPERATOR_TENANT, "deploy.node_enrolled", "create", transaction.principal())
        .on("node", &row.name)
        .details(json!({ "key": hex(key) }))
        .notify(Notice::other("nodes"));
    let row = NodeRow { node_key: Some(key.to_vec()), enrolled_at: Some(now), ..row };
    transaction.commit(change).await?;
    tracing::info!(node = row.name, "a node was enrolled");
    Ok(row)
}

/// Ends a node for ever: its streams, its calls, and what it signs.
pub(super) async fn revoke(control: &Shared, caller: &Caller, name: &str) -> Result<(), Refusal> {
    let permit = caller.permit("node:revoke", None)?;
    let transaction = control.store.write(&permit).await?;
    let none = || Refusal::new(&kind::NOT_FOUND, format!("There is no node `{name}`."));
    queries::lock(&transaction, name).await?.ok_or_else(none)?;
    if !queries::revoke(&transaction, name, control.clock().now()).await? {
        transaction.finish().await?;
        return Ok(());
    }
    plane::raise(&transaction).await?;
    let change = Change::new(OPERATOR_TENANT, "deploy.node_revoked", "delete", caller.principal())
        .on("node", name)
        .request(caller.request_id)
        .notify(Notice::other("nodes"));
    transaction.commit(change).await?;
    control.nodes.wanted_changed();
    control.projections.forget_node(name);
    Ok(())
}

fn digest(secret: &[u8; 32]) -> Vec<u8> {
    Sha256::digest(secret).to_vec()
}
