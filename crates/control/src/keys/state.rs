//! Switching keys off and on, and ending them for ever.

use rowhouse_domain::id::KeyId;
use rowhouse_domain::keys::KeyState;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, Transaction};
use serde_json::json;

use super::queries;
use super::record::KeyRecord;

/// What is done to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Refused until it is enabled.
    Disable,
    /// Accepted again.
    Enable,
    /// Refused for ever, for this reason (1 to 500 characters).
    Revoke(String),
}

/// Turns a key within `transaction`. `None` if there is no such key; no change if it is so already: twice is once.
///
/// # Errors
/// 409 `keys.wrong_state` for a revoked key that is to be disabled or enabled; 422 for a reason out of bounds.
pub async fn turn(
    transaction: &Transaction,
    id: KeyId,
    turn: Turn,
) -> Result<Option<(KeyRecord, Option<Change>)>, Refusal> {
    check(&turn)?;
    let Some(key) = queries::one(transaction, id, true).await? else { return Ok(None) };
    let (state, event, action) = match turn {
        Turn::Disable => (KeyState::Disabled, "keys.key_disabled", "update"),
        Turn::Enable => (KeyState::Active, "keys.key_enabled", "update"),
        Turn::Revoke(_) => (KeyState::Revoked, "keys.key_revoked", "revoke"),
    };
    if key.state == state {
        return Ok(Some((key, None)));
    }
    if key.state == KeyState::Revoked {
        return Err(Refusal::new(&kind::KEY_WRONG_STATE, "The key was revoked; that is final."));
    }
    let now = transaction.store().clock().now();
    let revoked = match &turn {
        Turn::Revoke(reason) => Some((now, reason.as_str())),
        _ => None,
    };
    queries::set_state(transaction, id, state, revoked).await?;
    let reason = revoked.map(|(_, reason)| reason.to_owned());
    let key = KeyRecord { state, revoked_reason: reason.clone(), version: key.version + 1, ..key };
    let change = Change::new(key.tenant, event, action, transaction.principal())
        .on("api_key", key.id)
        .details(json!({ "public_id": key.public_id, "reason": reason }))
        .notify(Notice::tenant(key.tenant));
    Ok(Some((key, Some(change))))
}

fn check(turn: &Turn) -> Result<(), Refusal> {
    let Turn::Revoke(reason) = turn else { return Ok(()) };
    if (1..=500).contains(&reason.trim().chars().count()) && reason.chars().count() <= 500 {
        return Ok(());
    }
    Err(Refusal::new(&kind::KEY_INVALID_FIELD, "A revocation has a reason.").field(
        "/reason",
        "out_of_bounds",
        "1 to 500 characters",
    ))
}
