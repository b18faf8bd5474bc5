//! Changing a key that is in use, and giving it a longer life.

use jiff::Timestamp;
use rowhouse_domain::id::KeyId;
use rowhouse_domain::keys::{KeyLimitDefinition, KeyState, ThingPattern};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, Transaction};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::bounds;
use super::narrow::Narrow;
use super::queries;
use super::record::KeyRecord;
use crate::access::{Authority, Rules};
use crate::api::{Caller, IfMatch};

/// What to change (RFC 7396); what is absent stays, `null` clears.
#[derive(Debug, Default, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeyEdit {
    /// 1 to 100 characters.
    pub name: Option<String>,
    /// At most 500 characters.
    pub description: Option<String>,
    /// At most 16 roles.
    pub roles: Option<Vec<String>>,
    /// At most 256 permissions and patterns.
    pub permissions: Option<Vec<String>>,
    /// Only for these services; `null` is all.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    pub services: Option<Option<Vec<String>>>,
    /// Only from these addresses and networks.
    pub allowed_ips: Option<Vec<String>>,
    /// Only for these things.
    #[schema(value_type = Option<Vec<Object>>)]
    pub resources: Option<Vec<ThingPattern>>,
    /// Limits of its own.
    #[schema(value_type = Option<Vec<Object>>)]
    pub limits: Option<Vec<KeyLimitDefinition>>,
    /// At most 20 words for finding it.
    pub tags: Option<Vec<String>>,
    /// The tenant's own, in place of what was there.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Value>,
}

/// `null` is something that was said.
fn given<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl KeyEdit {
    fn applied(self, key: &KeyRecord) -> KeyRecord {
        let narrow = Narrow {
            services: self.services.unwrap_or_else(|| key.narrow.services.clone()),
            allowed_ips: self.allowed_ips.unwrap_or_else(|| key.narrow.allowed_ips.clone()),
            resources: self.resources.unwrap_or_else(|| key.narrow.resources.clone()),
            limits: self.limits.unwrap_or_else(|| key.narrow.limits.clone()),
        };
        KeyRecord {
            name: self.name.unwrap_or_else(|| key.name.clone()),
            description: self.description.unwrap_or_else(|| key.description.clone()),
            roles: self.roles.unwrap_or_else(|| key.roles.clone()),
            permissions: self.permissions.unwrap_or_else(|| key.permissions.clone()),
            tags: self.tags.unwrap_or_else(|| key.tags.clone()),
            metadata: self.metadata.unwrap_or_else(|| key.metadata.clone()),
            narrow,
            ..key.clone()
        }
    }
}

/// Changes a key within `transaction`. `None` if there is no such key; no change if it is so already.
///
/// # Errors
/// 412 `api.changed_meanwhile`; 409 `keys.wrong_state` for a key that has ended; 422 `keys.invalid_field`,
/// `access.unknown_role`, `access.unknown_permission`; 403 `access.escalation` for more than the caller or the owner
/// holds, or than the caller's own key is for.
pub async fn edit(
    transaction: &Transaction,
    id: KeyId,
    edit: KeyEdit,
    caller: &Caller,
    seen: &IfMatch,
) -> Result<Option<(KeyRecord, Option<Change>)>, Refusal> {
    let Some(old) = queries::one(transaction, id, true).await? else { return Ok(None) };
    seen.check(old.version)?;
    refuse_ended(&old, transaction.store().clock().now())?;
    let new = edit.applied(&old);
    if new == old {
        return Ok(Some((old, None)));
    }
    bounds::check_record(&new)?;
    bounds::within_maker(caller, new.environment, &new.narrow)?;
    let has_other_rights = (&new.roles, &new.permissions) != (&old.roles, &old.permissions);
    if has_other_rights || new.narrow != old.narrow {
        let mut added = new.roles.iter().filter(|role| !old.roles.contains(role));
        added.try_for_each(|role| Rules::refuse_operators_role(new.tenant, role))?;
        let rules = Rules::load(transaction).await?;
        let rights = rules.of_key(&new.roles, &new.permissions)?;
        // Who opens a key to more networks or things gives what it may do to whoever holds it there.
        rules.refuse_escalation(&Authority::of_key_maker(caller, new.tenant), &rights)?;
        if has_other_rights {
            rules.refuse_beyond_owner(transaction, (new.tenant, new.owner), &rights).await?;
        }
    }
    queries::update(transaction, &new).await?;
    let new = KeyRecord { version: old.version + 1, ..new };
    let change = Change::new(new.tenant, "keys.key_changed", "update", transaction.principal())
        .on("api_key", new.id)
        .details(json!({ "public_id": new.public_id, "fields": changed(&old, &new) }))
        .notify(Notice::tenant(new.tenant));
    Ok(Some((new, Some(change))))
}

fn changed(old: &KeyRecord, new: &KeyRecord) -> Vec<&'static str> {
    let fields = [
        ("name", old.name != new.name),
        ("description", old.description != new.description),
        ("roles", old.roles != new.roles),
        ("permissions", old.permissions != new.permissions),
        ("services", old.narrow.services != new.narrow.services),
        ("allowed_ips", old.narrow.allowed_ips != new.narrow.allowed_ips),
        ("resources", old.narrow.resources != new.narrow.resources),
        ("limits", old.narrow.limits != new.narrow.limits),
        ("tags", old.tags != new.tags),
        ("metadata", old.metadata != new.metadata),
    ];
    fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// Moves the end of a key, at most to `LIFE_MAX` from now and to the end of the key it is done with.
///
/// # Errors
/// 409 `keys.wrong_state` for a key that has ended or was rotated; 422 `keys.bad_expiry`; 403 `access.escalation`.
pub async fn renew(
    transaction: &Transaction,
    id: KeyId,
    expires_at: Timestamp,
    maker_ends: Option<Timestamp>,
    caller: &Caller,
) -> Result<Option<(KeyRecord, Change)>, Refusal> {
    let Some(old) = queries::one(transaction, id, true).await? else { return Ok(None) };
    let now = transaction.store().clock().now();
    refuse_ended(&old, now)?;
    if old.replaced_by.is_some() {
        return Err(Refusal::new(&kind::KEY_WRONG_STATE, "The key was replaced; renew the new one."));
    }
    let ends = bounds::expiry((old.not_before, Some(expires_at)), now, maker_ends)?;
    let rules = Rules::load(transaction).await?;
    let rights = rules.of_key(&old.roles, &old.permissions)?;
    rules.refuse_escalation(&Authority::of_key_maker(caller, old.tenant), &rights)?;
    bounds::within_maker(caller, old.environment, &old.narrow)?;
    queries::set_end(transaction, id, ends).await?;
    let change = Change::new(old.tenant, "keys.key_renewed", "update", transaction.principal())
        .on("api_key", old.id)
        .details(json!({
            "public_id": old.public_id,
            "old_expires_at_us": old.expires_at.map(|time| time.as_microsecond()),
            "expires_at_us": ends.as_microsecond(),
        }))
        .notify(Notice::tenant(old.tenant));
    Ok(Some((KeyRecord { expires_at: Some(ends), version: old.version + 1, ..old }, change)))
}

fn refuse_ended(key: &KeyRecord, now: Timestamp) -> Result<(), Refusal> {
    let state = key.shown_state(now.as_microsecond());
    match key.state == KeyState::Revoked || state == "expired" {
        true => Err(Refusal::new(&kind::KEY_WRONG_STATE, format!("The key is {state}; that is final."))),
        false => Ok(()),
    }
}
