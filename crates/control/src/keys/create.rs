//! Making keys, new ones and those that replace others.

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::access::Principal;
use rowhouse_domain::id::{KeyId, TenantId};
use rowhouse_domain::keys::{Environment, KeyState, generate};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, Transaction};
use serde_json::{Value, json};

use super::bounds::{self, ACCOUNT_KEYS_MAX, GRACE_MAX_S, TENANT_KEYS_MAX};
use super::narrow::Narrow;
use super::record::KeyRecord;
use super::{account, queries};
use crate::access::{Authority, Rules};
use crate::{Control, tenancy};

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// 1 to 100 characters.
    pub name: String,
    /// At most 500 characters.
    pub description: String,
    /// Who owns it: a service account of the tenant.
    pub owner: Principal,
    /// Live or test.
    pub environment: Environment,
    /// At most 16 roles.
    pub roles: Vec<String>,
    /// At most 256 permissions and patterns.
    pub permissions: Vec<String>,
    /// What narrows it further.
    pub narrow: Narrow,
    /// At most 20.
    pub tags: Vec<String>,
    /// An object of at most 4 KiB.
    pub metadata: Value,
    /// Not before.
    pub not_before: Option<Timestamp>,
    /// Not at or after; 365 days from now if not said.
    pub expires_at: Option<Timestamp>,
    /// When the key ends that it is made with: it cannot outlive that one.
    pub maker_ends: Option<Timestamp>,
}

impl NewKey {
    /// A live key with these roles, for a year.
    pub fn new(name: &str, owner: Principal, roles: &[&str]) -> Self {
        NewKey {
            name: name.to_owned(),
            description: String::new(),
            owner,
            environment: Environment::Live,
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            permissions: Vec::new(),
            narrow: Narrow::default(),
            tags: Vec::new(),
            metadata: json!({}),
            not_before: None,
            expires_at: None,
            maker_ends: None,
        }
    }
}

/// A key that was just made. Its text exists only here.
pub struct Created {
    /// Everything that is kept.
    pub key: KeyRecord,
    /// What the caller is shown, once.
    pub text: String,
}

impl std::fmt::Debug for Created {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Created({})", self.key.id)
    }
}

/// Makes a key in `tenant` within `transaction`; what to commit it with comes back beside it.
///
/// # Errors
/// 422 `keys.invalid_field`, `keys.bad_expiry`, `keys.too_many`, `access.unknown_role`, `access.unknown_permission`;
/// 403 `keys.not_in_tier`; 403 `access.escalation` for more than `authority` or the owner holds; 404 for an owner of
/// another tenant.
pub async fn create(
    control: &Control,
    transaction: &Transaction,
    tenant: TenantId,
    new: NewKey,
    authority: &Authority,
) -> Result<(Created, Change), Refusal> {
    let now = transaction.store().clock().now();
    bounds::check(&new)?;
    let expires_at = bounds::expiry((new.not_before, new.expires_at), now, new.maker_ends)?;
    refuse_without_api_access(transaction, tenant).await?;
    let account = account::service_account_of(transaction, tenant, new.owner.id).await?;
    if account.disabled {
        return Err(Refusal::new(&kind::KEY_WRONG_STATE, "The service account is disabled."));
    }
    new.roles.iter().try_for_each(|role| Rules::refuse_operators_role(tenant, role))?;
    let rules = Rules::load(transaction).await?;
    let rights = rules.of_key(&new.roles, &new.permissions)?;
    rules.refuse_escalation(authority, &rights)?;
    rules.refuse_beyond_owner(transaction, (tenant, new.owner), &rights).await?;
    refuse_too_many(transaction, (tenant, new.owner), 1).await?;
    let id = KeyId(transaction.store().entropy().uuid_v7(now.as_microsecond()));
    let key = KeyRecord {
        id,
        tenant,
        public_id: String::new(),
        hint: String::new(),
        name: new.name,
        description: new.description,
        owner: new.owner,
        environment: new.environment,
        roles: new.roles,
        permissions: new.permissions,
        narrow: new.narrow,
        tags: new.tags,
        metadata: new.metadata,
        state: KeyState::Active,
        not_before: new.not_before,
        expires_at: Some(expires_at),
        family: id,
        replaces: None,
        replaced_by: None,
        created_by: transaction.principal().to_string(),
        created_at: now,
        revoked_reason: None,
        last_use: None,
        version: 1,
    };
    let created = store(control, transaction, key).await?;
    let change = Change::new(tenant, "keys.key_created", "create", transaction.principal())
        .on("api_key", created.key.id)
        .on(created.key.owner.kind.as_str(), created.key.owner)
        .details(json!({ "public_id": created.key.public_id, "environment": new.environment.as_str() }))
        .notify(Notice::tenant(tenant));
    Ok((created, change))
}

/// Draws text and digest, and stores the key.
async fn store(control: &Control, transaction: &Transaction, key: KeyRecord) -> Result<Created, Refusal> {
    let region = &control.settings.region;
    let (text, public_id) = generate(key.environment, region, transaction.store().entropy());
    let public_id = public_id.as_str().to_owned();
    let hint = format!("{}…", &text[..text.len() - 38]);
    let key = KeyRecord { public_id, hint, ..key };
    let pepper = control.peppers.current();
    queries::insert(transaction, &key, &pepper.digest(&text), pepper.version()).await?;
    Ok(Created { key, text })
}

async fn refuse_without_api_access(transaction: &Transaction, tenant: TenantId) -> Result<(), Refusal> {
    let rows = tenancy::load_tenants(transaction, Some(tenant)).await?;
    let row = rows.first().ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?;
    let standing = tenancy::features::Standing::load(transaction, tenant).await.map_err(Refusal::from)?;
    if standing.is_some_and(|standing| standing.is_on("api_access")) {
        return Ok(());
    }
    Err(Refusal::new(&kind::KEY_NOT_IN_TIER, format!("The tier `{}` has no API access.", row.tier)))
}

async fn refuse_too_many(
    transaction: &Transaction,
    (tenant, owner): (TenantId, Principal),
    times: i64,
) -> Result<(), Refusal> {
    queries::one_at_a_time(transaction, tenant).await?;
    let (tenant_max, owner_max) = (times * TENANT_KEYS_MAX, times * ACCOUNT_KEYS_MAX);
    let (of_tenant, of_owner) = queries::count(transaction, tenant, owner).await?;
    if of_tenant < tenant_max && of_owner < owner_max {
        return Ok(());
    }
    let words = format!("At most {tenant_max} keys in a tenant and {owner_max} of one account.");
    Err(Refusal::new(&kind::KEY_TOO_MANY, words))
}

/// Replaces a key by a new one with the same settings and family, which gets a full life, but not beyond the end of
/// the key that it is made with. The old one goes on for
/// `grace_s` seconds, but not beyond its own end; 0 stops it at once. `None` if there is no such key.
///
/// # Errors
/// 409 `keys.wrong_state` unless the key is in use and was not replaced before; 403 `access.escalation` for rights
/// that `authority` does not hold; 422 for a grace out of bounds, and `keys.too_many` when all keys could have been
/// rotated and more are in their grace.
pub async fn rotate(
    control: &Control,
    transaction: &Transaction,
    id: KeyId,
    (grace_s, maker_ends): (i64, Option<Timestamp>),
    authority: impl FnOnce(TenantId) -> Authority,
) -> Result<Option<(Created, Timestamp, Change)>, Refusal> {
    if !(0..=GRACE_MAX_S).contains(&grace_s) {
        return Err(Refusal::new(&kind::KEY_INVALID_FIELD, "The grace is out of bounds.").field(
            "/grace_seconds",
            "out_of_bounds",
            format!("0 to {GRACE_MAX_S}"),
        ));
    }
    let Some(old) = queries::one(transaction, id, true).await? else { return Ok(None) };
    let now = transaction.store().clock().now();
    let state = old.shown_state(now.as_microsecond());
    if state != "active" {
        return Err(Refusal::new(
            &kind::KEY_WRONG_STATE,
            format!("The key is {state}; it cannot be rotated."),
        ));
    }
    let rules = Rules::load(transaction).await?;
    let rights = rules.of_key(&old.roles, &old.permissions)?;
    rules.refuse_escalation(&authority(old.tenant), &rights)?;
    refuse_too_many(transaction, (old.tenant, old.owner), 2).await?;
    let ends = now + SignedDuration::from_secs(grace_s);
    let ends = old.expires_at.map_or(ends, |own| own.min(ends));
    let new = KeyRecord {
        id: KeyId(transaction.store().entropy().uuid_v7(now.as_microsecond())),
        replaces: Some(old.id),
        not_before: None,
        expires_at: Some(bounds::expiry((None, None), now, maker_ends)?),
        created_by: transaction.principal().to_string(),
        created_at: now,
        last_use: None,
        version: 1,
        ..old.clone()
    };
    let created = store(control, transaction, new).await?;
    queries::set_replaced(transaction, old.id, created.key.id, ends).await?;
    let change = Change::new(old.tenant, "keys.key_rotated", "create", transaction.principal())
        .on("api_key", old.id)
        .on("api_key", created.key.id)
        .details(json!({
            "old_expires_at_us": old.expires_at.map(|time| time.as_microsecond()),
            "old_ends_at_us": ends.as_microsecond(),
            "public_id": created.key.public_id,
        }))
        .notify(Notice::tenant(old.tenant));
    Ok(Some((created, ends, change)))
}
