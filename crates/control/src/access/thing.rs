//! Things of the operator's services: registered with what holds them, moved, forgotten. A grant on a thing reaches what it holds,
//! so who moves a thing gives, to whoever was granted something on its new holder, and needs to hold that on the thing himself. What is
//! said of a thing is asked for by conditions: nobody says it who holds something under such a condition himself.

use rowhouse_domain::access::{GrantEffect, Handed, Resource, ResourceName};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, Transaction};
use serde_json::json;

use super::administrators::take;
use super::stored::{Stored, of_one};
use super::{Authority, Rules, resource_queries};

/// At most so many registered things in a tenant.
const THINGS_MAX: i64 = 1_000_000;
/// At most so many links from a thing to its outermost holder.
const LINKS_MAX: usize = 16;
/// At most so many bytes of attributes, as JSON.
const ATTRIBUTES_MAX: usize = 4 * 1024;
/// At most so many bytes of an id.
const ID_MAX: usize = 256;

/// Registers things of `tenant`, or what holds them now; what to commit it with, `None` if all of them were so already.
///
/// # Errors
/// 422 for an unknown type, a malformed id, a parent of another type than declared, a chain that is too long, or too many; 409
/// `access.cycle`; 403 `access.escalation`. None is stored then.
pub(super) async fn put_all(
    transaction: &Transaction,
    tenant: TenantId,
    things: &[Resource],
    authority: &Authority,
) -> Result<Option<Change>, Refusal> {
    let version = take(transaction, tenant).await?;
    let rules = Rules::load_for(transaction, tenant).await?;
    let stored = of_one(transaction, tenant, &rules).await?;
    let now = transaction.store().clock().now();
    let (mut new, mut changed) = (0, Vec::new());
    for thing in things {
        check(&rules, thing)?;
        let before = resource_queries::one(transaction, tenant, &thing.name).await?;
        if before.as_ref() == Some(thing) {
            continue;
        }
        new += i64::from(before.is_none());
        changed.push(&thing.name);
        let was = above(transaction, tenant, &thing.name).await?;
        resource_queries::put(transaction, tenant, (thing, now)).await?;
        let is = above(transaction, tenant, &thing.name).await?;
        refuse_chain(transaction, tenant, (&thing.name, &is)).await?;
        refuse_move(&rules, authority, (&thing.name, &stored), (&was, &is))?;
        let told_before = before.map(|before| before.attributes).unwrap_or_default();
        if told_before != thing.attributes {
            refuse_own_conditions(&rules, authority, (&thing.name, &stored))?;
        }
    }
    if changed.is_empty() {
        return Ok(None);
    }
    if new > 0 && resource_queries::count(transaction, tenant).await? > THINGS_MAX {
        let detail = format!("A tenant registers at most {THINGS_MAX} things.");
        return Err(Refusal::new(&kind::ACCESS_TOO_MANY, detail));
    }
    Ok(Some(change(transaction, tenant, &changed, ("update", version))))
}

/// Forgets a thing; what it held is held by nothing then. `None` if it is not registered.
///
/// # Errors
/// 403 `access.escalation` if what held it denied more than `authority` holds.
pub(super) async fn remove(
    transaction: &Transaction,
    tenant: TenantId,
    name: &ResourceName,
    authority: &Authority,
) -> Result<Option<Change>, Refusal> {
    let version = take(transaction, tenant).await?;
    let Some(thing) = resource_queries::one(transaction, tenant, name).await? else { return Ok(None) };
    let rules = Rules::load_for(transaction, tenant).await?;
    let stored = of_one(transaction, tenant, &rules).await?;
    let was = above(transaction, tenant, name).await?;
    refuse_move(&rules, authority, (name, &stored), (&was, &[]))?;
    if !thing.attributes.is_empty() {
        refuse_own_conditions(&rules, authority, (name, &stored))?;
    }
    resource_queries::remove(transaction, tenant, name).await?;
    Ok(Some(change(transaction, tenant, &[name], ("delete", version))))
}

/// 422 for a type that no service declares.
pub(super) fn refuse_unknown_type(rules: &Rules, name: &ResourceName) -> Result<(), Refusal> {
    let declared =
        !name.kind.contains('*') && rules.permissions.matching(&format!("{}:*", name.kind)).is_some();
    let refusal = Refusal::new(&kind::INVALID, "The resource is not well-formed.");
    match () {
        () if !declared => Err(refusal.field("/resource/type", "unknown", "a declared resource type")),
        () if name.id.is_empty() || name.id.len() > ID_MAX || name.id.contains('\0') => {
            Err(refusal.field("/resource/id", "out_of_bounds", "1 to 256 bytes"))
        }
        () => Ok(()),
    }
}

fn check(rules: &Rules, thing: &Resource) -> Result<(), Refusal> {
    refuse_unknown_type(rules, &thing.name)?;
    check_attributes(rules, thing)?;
    let Some(parent) = &thing.parent else { return Ok(()) };
    refuse_unknown_type(rules, parent)?;
    match rules.parent_type(&thing.name.kind) == Some(parent.kind.as_str()) {
        true => Ok(()),
        false => Err(Refusal::new(&kind::INVALID, "The resource is not well-formed.").field(
            "/parent/type",
            "unknown",
            "the type that the resource type declares as its parent",
        )),
    }
}

/// What a service says of a thing: as its type declares it, all that is required, and nothing else.
fn check_attributes(rules: &Rules, thing: &Resource) -> Result<(), Refusal> {
    let bytes = serde_json::to_vec(&thing.attributes).map_or(usize::MAX, |bytes| bytes.len());
    let wrong = |field: &str, detail: &str| {
        let refusal = Refusal::new(&kind::INVALID, "The resource is not well-formed.");
        Err(refusal.field(format!("/attributes{field}"), "invalid", detail))
    };
    if bytes > ATTRIBUTES_MAX {
        return wrong("", "at most 4 KiB");
    }
    let declared = rules.attributes(&thing.name.kind);
    for (name, value) in &thing.attributes {
        match declared.iter().find(|own| own.name == *name) {
            None => return wrong(&format!("/{name}"), "an attribute that the resource type declares"),
            Some(own) if !own.kind.fits(value) => return wrong(&format!("/{name}"), own.kind.word()),
            Some(_) => {}
        }
    }
    // A thing that says nothing is known by its place alone.
    let missing = declared.iter().find(|own| own.required && !thing.attributes.contains_key(&own.name));
    match missing.filter(|_| !thing.attributes.is_empty()) {
        Some(own) => wrong(&format!("/{}", own.name), "the resource type requires it"),
        None => Ok(()),
    }
}

/// What holds a thing, inside out.
async fn above(
    transaction: &Transaction,
    tenant: TenantId,
    name: &ResourceName,
) -> Result<Vec<ResourceName>, Refusal> {
    let chain = resource_queries::chain(transaction, tenant, name).await?;
    Ok(chain.into_iter().filter_map(|resource| resource.parent).collect())
}

async fn refuse_chain(
    transaction: &Transaction,
    tenant: TenantId,
    (name, above): (&ResourceName, &[ResourceName]),
) -> Result<(), Refusal> {
    if above.contains(name) {
        let detail = format!("{} `{}` would hold itself.", name.kind, name.id);
        return Err(Refusal::new(&kind::ACCESS_CYCLE, detail));
    }
    let below = resource_queries::depth_below(transaction, tenant, name).await?;
    match above.len() + below as usize <= LINKS_MAX {
        true => Ok(()),
        false => Err(Refusal::new(
            &kind::ACCESS_TOO_MANY,
            format!("A thing is held over at most {LINKS_MAX} links."),
        )),
    }
}

/// What is granted on what is above it now reaches it; what was denied there does not any more.
fn refuse_move(
    rules: &Rules,
    authority: &Authority,
    (name, stored): (&ResourceName, &Stored),
    (was, is): (&[ResourceName], &[ResourceName]),
) -> Result<(), Refusal> {
    let only = |these: &[ResourceName], others: &[ResourceName]| -> Vec<ResourceName> {
        these.iter().filter(|one| !others.contains(one)).cloned().collect()
    };
    let model = stored.model(rules);
    let of = |above: &[ResourceName], effect: GrantEffect| -> Vec<Handed> {
        let mut handed = model.handed_on(name, above);
        handed.retain(|one| one.effect == effect);
        handed
    };
    let (gained, lost) = (only(is, was), only(was, is));
    rules.refuse_handing(authority, &of(&gained, GrantEffect::Allow))?;
    rules.refuse_handing(authority, &of(&lost, GrantEffect::Deny))
}

/// Nobody says of a thing what decides over himself: who holds something under conditions that ask for what is known of things changes
/// that only if he holds the same on the thing without one, and lifts denials. Others, as the service that the things are of, do.
fn refuse_own_conditions(
    rules: &Rules,
    authority: &Authority,
    (name, stored): (&ResourceName, &Stored),
) -> Result<(), Refusal> {
    let Some((principal, now_us)) = authority.holder() else { return Ok(()) };
    let kind = rules.permission(&format!("{}:*", name.kind))?;
    let own = stored.model(rules).of_its_own_under_conditions(principal, &kind, now_us);
    let here = |one: Handed| Handed { thing: Some(name.clone()), condition: None, ..one };
    rules.refuse_handing(authority, &own.into_iter().map(here).collect::<Vec<_>>())
}

fn change(
    transaction: &Transaction,
    tenant: TenantId,
    things: &[&ResourceName],
    (action, version): (&str, i64),
) -> Change {
    const NAMED_MAX: usize = 100;
    let named: Vec<_> =
        things.iter().take(NAMED_MAX).map(|one| json!({ "type": one.kind, "id": one.id })).collect();
    let change = Change::new(tenant, "access.resource_changed", action, transaction.principal());
    let change = things.iter().take(1).fold(change, |change, one| change.on("resource", &one.id));
    change
        .details(json!({ "access_version": version, "count": things.len(), "resources": named }))
        .notify(Notice::tenant(tenant))
}
