//! The lock on a password: whose it is, and how its owner opens it.

use jiff::Timestamp;
use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{OPERATOR_TENANT, RequestId};
use rowhouse_domain::messages::Address;
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::{Change, StoreError, Transaction};
use serde_json::json;

use super::{policy, queries, throttle};
use crate::Control;
use crate::identity::accept::link_used;
use crate::identity::hashing::Hashed;
use crate::identity::{queries as people, token};

/// The counter of a name, whether or not somebody has it.
pub fn name_key(control: &Control, name: &str) -> Vec<u8> {
    let normal = Address::parse(name).map_or_else(|_| name.to_lowercase(), |address| address.key());
    token::digest(control, "throttle/name", &normal)
}

/// Whether the password of an address is not looked at just now.
pub async fn is_locked(
    control: &Control,
    transaction: &Transaction,
    email: &str,
) -> Result<bool, StoreError> {
    let standing = throttle::standing(transaction, &name_key(control, email)).await?;
    Ok(Lock::of(standing, control.clock().now()).is_some())
}

/// A lock on a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// It opens by itself then.
    Until(Timestamp),
    /// It stays until the password is set anew, or somebody opens it.
    ForGood,
}

impl Lock {
    fn of((consecutive, until): (i32, Option<Timestamp>), now: Timestamp) -> Option<Lock> {
        match consecutive >= throttle::CONSECUTIVE_MAX {
            true => Some(Lock::ForGood),
            false => until.filter(|until| *until > now).map(Lock::Until),
        }
    }
}

/// The locks on passwords of these addresses, in their order.
pub async fn locks(
    control: &Control,
    transaction: &Transaction,
    emails: &[&str],
) -> Result<Vec<Option<Lock>>, StoreError> {
    let keys: Vec<Vec<u8>> = emails.iter().map(|email| name_key(control, email)).collect();
    let found = throttle::standings(transaction, &keys).await?;
    let now = control.clock().now();
    Ok(keys.iter().map(|key| found.get(key).and_then(|own| Lock::of(*own, now))).collect())
}

/// Opens the lock by a mailed link.
///
/// # Errors
/// 410 `identity.link_used`.
pub async fn unlock(control: &Control, text: &str, request_id: RequestId) -> Result<(), Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a lock that its owner opens")).await?;
    let digest = token::digest(control, "unlock", text);
    let user = queries::take_link(&transaction, "unlock", &digest, control.clock().now()).await?;
    let user = user.ok_or_else(link_used)?;
    let row = people::find_user(&transaction, user).await?;
    if let Some(email) = row.and_then(|row| row.email) {
        throttle::unlock(&transaction, &name_key(control, &email)).await?;
    }
    let actor = Principal { kind: PrincipalKind::User, id: user.0 };
    let change = Change::new(OPERATOR_TENANT, "identity.user_unlocked", "update", actor).on("user", user);
    transaction.commit(change.details(json!({})).request(request_id)).await?;
    Ok(())
}

/// The password of a person that may be compared with just now; the try is counted.
pub async fn counted_password(
    transaction: &Transaction,
    user: rowhouse_domain::id::UserId,
    key: &[u8],
    now: Timestamp,
) -> Result<Option<Hashed>, StoreError> {
    let lockout = policy::lockout_of(transaction, Some(user)).await?;
    let tried = throttle::attempt(transaction, key, lockout, now).await?;
    let stored = queries::password(transaction, user).await?.map(|(hashed, _)| hashed);
    Ok(stored.filter(|_| tried != throttle::Try::Locked))
}
