//! Configuration items of tenants: JSON values by category and key. A sensitive one lies sealed: it is answered as
//! `null` with a fingerprint, and opened by a call of its own that leaves an event.
//!
//! The seal's key is derived for each tenant; tenant, category, key and version are bound to the value, so that no sealed
//! value stands in the place of another or of a later one. Values are in no event and no log.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{RequestId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::Status;
use rowhouse_domain::tenancy::features::Audience;
use rowhouse_store::{Change, Transaction};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::configuration_queries::{self as rows, Item, Stored};
use super::queries;
use super::seal::{Seal, SealBroken};
use crate::Control;
use crate::api::IfMatch;

/// Longest value, as JSON.
const VALUE_MAX: usize = 64 * 1024;
/// Most items of a tenant.
const ITEMS_MAX: i64 = 500;
/// All values of a tenant together, as JSON.
const ALL_MAX: i64 = 1024 * 1024;
/// Longest description, in characters.
const DESCRIPTION_MAX: usize = 1_000;

/// An item to set. What is absent stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewItem {
    /// Any JSON but `null`, at most 64 KiB. Without it the value stays.
    #[schema(value_type = Option<Object>)]
    pub value: Option<Value>,
    /// For people, at most 1,000 characters.
    pub description: Option<String>,
    /// Whether the value is sealed. Turning it off needs a new value.
    pub is_sensitive: Option<bool>,
    /// `services` (if nothing was said), `gateway`, `portal` or `none`.
    #[schema(value_type = Option<String>)]
    pub audience: Option<Audience>,
}

/// The name of an item.
#[derive(Debug, Clone, Copy)]
pub struct Name<'a> {
    /// Whose.
    pub tenant: TenantId,
    /// As in `branding`.
    pub category: &'a str,
    /// As in `accent`.
    pub key: &'a str,
}

impl Name<'_> {
    fn none(&self) -> Refusal {
        Refusal::new(
            &kind::NOT_FOUND,
            format!("There is no configuration item `{}/{}`.", self.category, self.key),
        )
    }

    fn seal(&self, control: &Control) -> Seal {
        Seal::new(&control.settings.sealing_key, &format!("config/v1/{}", self.tenant))
    }

    /// Seals `plain` as this item's version.
    fn close(&self, control: &Control, version: i64, plain: &str) -> Stored {
        let names = [&self.tenant.to_string(), self.category, self.key, &version.to_string()];
        Stored::Sealed {
            sealed: self.seal(control).seal(control.entropy(), &names, plain.as_bytes()),
            fingerprint: self.fingerprint(control, plain),
        }
    }

    /// The first 8 hexadecimal digits of a keyed hash. Equal values of one tenant have equal ones.
    fn fingerprint(&self, control: &Control, plain: &str) -> String {
        let purpose = format!("config/fingerprint/v1/{}", self.tenant);
        let keyed = |key: &[u8], text: &[u8]| {
            let mut mac =
                <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
            mac.update(text);
            mac.finalize().into_bytes()
        };
        let key = keyed(&control.settings.sealing_key, purpose.as_bytes());
        keyed(&key, plain.as_bytes())[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The value of an item, opened if it is sealed.
    fn open(&self, control: &Control, item: &Item) -> Result<Value, SealBroken> {
        match &item.stored {
            Stored::Plain(value) => Ok(value.clone()),
            Stored::Sealed { sealed, .. } => {
                let names = [&self.tenant.to_string(), self.category, self.key, &item.version.to_string()];
                let plain = self.seal(control).open(&names, sealed)?;
                serde_json::from_slice(&plain).map_err(|_| SealBroken)
            }
        }
    }
}

fn unavailable(broken: SealBroken) -> Refusal {
    Refusal::new(&kind::SEALED_UNAVAILABLE, "This sealed value cannot be opened just now.")
        .private(broken.to_string())
}

/// The items of a tenant, of one category if it is named.
pub(super) async fn list(
    control: &Control,
    permit: &Permit,
    tenant: TenantId,
    category: Option<&str>,
) -> Result<Vec<Item>, Refusal> {
    let transaction = control.store.read(permit).await?;
    let items = rows::list(&transaction, tenant, category).await?;
    transaction.finish().await?;
    Ok(items)
}

/// Which items there are in which version: changes whenever one of them does.
pub(super) fn tag(items: &[Item]) -> String {
    let mut hash = Sha256::new();
    for item in items {
        hash.update(format!("{}/{}/{}\n", item.category, item.key, item.version));
    }
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What services are told of a tenant's items: category → key → value. Sealed ones are left out.
pub(super) async fn for_services(
    transaction: &Transaction,
    tenant: TenantId,
) -> Result<BTreeMap<String, BTreeMap<String, Value>>, Refusal> {
    let mut told: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for item in rows::list(transaction, tenant, None).await? {
        if let (Audience::Services, Stored::Plain(value)) = (item.audience, item.stored) {
            told.entry(item.category).or_default().insert(item.key, value);
        }
    }
    Ok(told)
}

/// One item.
///
/// # Errors
/// 404 if there is none.
pub(super) async fn get(control: &Control, permit: &Permit, name: Name<'_>) -> Result<Item, Refusal> {
    let transaction = control.store.read(permit).await?;
    let item = rows::get(&transaction, name).await?;
    transaction.finish().await?;
    item.ok_or_else(|| name.none())
}

/// Sets an item; what it is then, and whether it is new. Setting what is there changes nothing.
///
/// # Errors
/// 412 if it was changed meanwhile, 422 with every wrong field, 503 if a sealed value that is to stay cannot be opened.
pub(super) async fn put(
    control: &Control,
    permit: &Permit,
    name: Name<'_>,
    (if_match, new): (&IfMatch, NewItem),
    request_id: RequestId,
) -> Result<(Item, bool), Refusal> {
    let transaction = control.store.write(permit).await?;
    lock(&transaction, name.tenant).await?;
    let before = rows::get(&transaction, name).await?;
    if_match.check(before.as_ref().map_or(0, |item| item.version))?;
    check(name, &new, before.as_ref())?;
    let sensitive = new.is_sensitive.unwrap_or_else(|| before.as_ref().is_some_and(Item::is_sensitive));
    let was = before.as_ref().map(|item| name.open(control, item));
    let value = match (new.value, &was) {
        (Some(value), _) => value,
        (None, Some(Ok(value))) => value.clone(),
        (None, Some(Err(broken))) => return Err(unavailable(*broken)),
        (None, None) => unreachable!("a new item without a value is refused above"),
    };
    let description =
        new.description.or_else(|| Some(before.as_ref()?.description.clone())).unwrap_or_default();
    let audience = new.audience.or_else(|| Some(before.as_ref()?.audience)).unwrap_or_default();
    let value_stays = matches!(&was, Some(Ok(was)) if *was == value);
    if let Some(before) = before.as_ref().filter(|_| value_stays)
        && (before.is_sensitive(), &before.description, before.audience)
            == (sensitive, &description, audience)
    {
        let before = before.clone();
        transaction.rollback().await?;
        return Ok((before, false));
    }
    let version = match &before {
        Some(before) => before.version + 1,
        None => rows::last_version(&transaction, name).await? + 1,
    };
    let plain = value.to_string();
    let now = control.clock().now();
    let item = Item {
        category: name.category.to_owned(),
        key: name.key.to_owned(),
        stored: if sensitive { name.close(control, version, &plain) } else { Stored::Plain(value) },
        bytes: plain.len() as i32,
        description,
        audience,
        version,
        created_at: before.as_ref().map_or(now, |before| before.created_at),
        updated_at: now,
        updated_by: permit.principal().to_string(),
    };
    rows::put(&transaction, name.tenant, &item).await?;
    refuse_too_much(&transaction, name.tenant).await?;
    let action = if before.is_some() { "update" } else { "create" };
    let details = json!({ "version": version, "is_sensitive": sensitive, "audience": audience,
        "value_changed": !value_stays });
    let change = Change::new(name.tenant, "tenancy.configuration_changed", action, permit.principal());
    transaction.commit(on(change, name).details(details).request(request_id)).await?;
    Ok((item, before.is_none()))
}

fn on(change: Change, name: Name<'_>) -> Change {
    change.on("configuration", format!("{}/{}", name.category, name.key))
}

/// Removes an item.
///
/// # Errors
/// 404 if there is none, 412 if it was changed meanwhile.
pub(super) async fn delete(
    control: &Control,
    permit: &Permit,
    name: Name<'_>,
    if_match: &IfMatch,
    request_id: RequestId,
) -> Result<(), Refusal> {
    let transaction = control.store.write(permit).await?;
    lock(&transaction, name.tenant).await?;
    let before = rows::get(&transaction, name).await?.ok_or_else(|| name.none())?;
    if_match.check(before.version)?;
    rows::delete(&transaction, name, before.version).await?;
    let change = Change::new(name.tenant, "tenancy.configuration_changed", "delete", permit.principal());
    let details = json!({ "version": before.version, "is_sensitive": before.is_sensitive() });
    transaction.commit(on(change, name).details(details).request(request_id)).await?;
    Ok(())
}

/// Opens an item. The event is committed before the value is given out.
///
/// # Errors
/// 404 if there is none, 503 if it cannot be opened.
pub(super) async fn reveal(
    control: &Control,
    permit: &Permit,
    name: Name<'_>,
    request_id: RequestId,
) -> Result<(Item, Value), Refusal> {
    let transaction = control.store.write(permit).await?;
    let item = rows::get(&transaction, name).await?.ok_or_else(|| name.none())?;
    let value = name.open(control, &item).map_err(unavailable)?;
    let change = Change::new(name.tenant, "tenancy.configuration_revealed", "read", permit.principal());
    let details = json!({ "version": item.version, "is_sensitive": item.is_sensitive() });
    transaction.commit(on(change, name).details(details).request(request_id)).await?;
    Ok((item, value))
}

/// Nobody else changes the tenant's items until the transaction ends.
async fn lock(transaction: &Transaction, tenant: TenantId) -> Result<(), Refusal> {
    let record = queries::lock(transaction, tenant).await?;
    match record {
        Some(record) if record.tenant.status != Status::Terminated => Ok(()),
        _ => Err(Refusal::new(&kind::NOT_FOUND, "There is no such tenant.")),
    }
}

fn check(name: Name<'_>, new: &NewItem, before: Option<&Item>) -> Result<(), Refusal> {
    let mut refusal = Refusal::new(&kind::CONFIGURATION_INVALID, "The configuration item is wrong.");
    for (field, word) in [("/category", name.category), ("/key", name.key)] {
        if !well_formed(word) {
            refusal = refusal.field(field, "malformed", "[a-z][a-z0-9_.-]{0,99}");
        }
    }
    if name.category == "features" {
        refusal = refusal.field("/category", "reserved", "flags are set with PUT /v1/features/{name}");
    }
    if new.value.as_ref().is_some_and(|value| value.to_string().len() > VALUE_MAX) {
        refusal = refusal.field("/value", "too_large", "at most 64 KiB as JSON");
    }
    let unsealing = new.is_sensitive == Some(false) && before.is_some_and(Item::is_sensitive);
    if new.value.is_none() && before.is_none() {
        refusal = refusal.field("/value", "missing", "a new item needs a value that is not null");
    } else if new.value.is_none() && unsealing {
        refusal = refusal.field("/value", "missing", "an item that is no longer sensitive needs a new value");
    }
    if new.description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION_MAX) {
        refusal = refusal.field("/description", "too_long", "at most 1,000 characters");
    }
    if refusal.errors().is_empty() { Ok(()) } else { Err(refusal) }
}

fn well_formed(word: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b);
    (1..=100).contains(&word.len()) && word.as_bytes()[0].is_ascii_lowercase() && word.bytes().all(plain)
}

async fn refuse_too_much(transaction: &Transaction, tenant: TenantId) -> Result<(), Refusal> {
    let (items, bytes) = rows::sum(transaction, tenant).await?;
    if items <= ITEMS_MAX && bytes <= ALL_MAX {
        return Ok(());
    }
    let refusal = Refusal::new(&kind::CONFIGURATION_INVALID, "The tenant's configuration is full.");
    Err(refusal.field("/value", "too_many", "at most 500 items and 1 MiB of values in a tenant"))
}
