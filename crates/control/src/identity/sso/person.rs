//! Whom a provider means: first who it is, without changing anything; then the link, the membership and the roles.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rowhouse_domain::access::{Principal, PrincipalKind};
use rowhouse_domain::id::{TenantId, UserId};
use rowhouse_domain::messages::Address;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, StoreError, Transaction};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::connection::ConnectionRow;
use super::queries::{self, LinkRow};
use crate::Control;
use crate::access::{self, Authority, NewGrant, Rules};
use crate::identity::invitation::refuse_beyond_quota;
use crate::identity::queries::{self as people, MembershipStatus, UserRow, UserStatus};
use crate::identity::sign_in::{standing_elsewhere, standing_of};
use crate::tenancy;

/// What a provider says of a person.
#[derive(Debug)]
pub struct Said {
    pub subject: String,
    pub claims: Map<String, Value>,
}

/// Who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Somebody who came this way before, or was connected.
    Linked(UserId),
    /// A person of this tenant alone, who has the address.
    Known(UserId),
    /// Nobody yet, with this address.
    New(Address),
}

impl Found {
    /// As a test tells it.
    pub fn word(&self) -> &'static str {
        match self {
            Found::Linked(_) => "linked",
            Found::Known(_) => "known",
            Found::New(_) => "new",
        }
    }
}

fn refused(detail: impl Into<String>) -> Refusal {
    Refusal::new(&kind::SSO_REFUSED, detail)
}

/// Whom the provider means; nothing is changed. The transaction must see the platform.
///
/// # Errors
/// 403 `identity.sso_refused`, with what the person or an administrator can do about it.
pub async fn find(transaction: &Transaction, row: &ConnectionRow, said: &Said) -> Result<Found, Refusal> {
    if let Some(link) = queries::link_of(transaction, row.id, &said.subject).await? {
        return Ok(Found::Linked(link.user));
    }
    let address = address(transaction, row, &said.claims).await?;
    let Some(user) = people::find_user_by_email(transaction, &address).await? else {
        return match row.creates_members {
            true => Ok(Found::New(address)),
            false => Err(refused(
                "You have no account here yet. Ask an administrator of your organisation to invite you.",
            )),
        };
    };
    if user.status != UserStatus::Active {
        return Err(refused("Your account is disabled."));
    }
    let tenants = standing_of(transaction, user.id).await?;
    if tenants.iter().any(|tenant| *tenant != row.tenant) {
        return Err(refused(
            "You have an account here that other organisations know too. Sign in as you do there, then connect it on your \
             account's page.",
        ));
    }
    if !queries::links(transaction, (Some(user.id), Some(row.id))).await?.is_empty() {
        return Err(refused(
            "Your account here is connected with another one of your provider. Ask an administrator.",
        ));
    }
    Ok(Found::Known(user.id))
}

/// The address that the provider vouches for, if it may.
async fn address(
    transaction: &Transaction,
    row: &ConnectionRow,
    claims: &Map<String, Value>,
) -> Result<Address, Refusal> {
    let said = claims.get("email").and_then(Value::as_str);
    let said = said.ok_or_else(|| refused("The provider did not tell your e-mail address."))?;
    let address =
        Address::parse(said).map_err(|_| refused("The provider told no e-mail address that is one."))?;
    let is_verified = match claims.get("email_verified") {
        Some(Value::Bool(said)) => *said,
        Some(_) => false,
        None => row.assumes_verified,
    };
    if !is_verified {
        return Err(refused("The provider does not say that your e-mail address is verified."));
    }
    let domain = address.domain().to_ascii_lowercase();
    let is_listed = row.domains.contains(&domain);
    if !is_listed || tenancy::tenant_of_host(transaction, &domain).await? != Some(row.tenant) {
        return Err(refused(format!(
            "Addresses of `{domain}` do not come in by this provider: the organisation has not proven that the domain is its own."
        )));
    }
    Ok(address)
}

/// Who of these people of a tenant would not come in if its providers were the only way: they have no link, none is made by their address
/// ([`find`]), and they are no administrator with a passkey. The transaction must see the platform.
pub async fn shut_out(
    transaction: &Transaction,
    tenant: TenantId,
    (people, recovering): (&[UserRow], &BTreeSet<UserId>),
) -> Result<Vec<UserId>, StoreError> {
    let linked = queries::linked(transaction, tenant).await?;
    let domains = proven(transaction, tenant).await?;
    let is_ours = |own: &UserRow| {
        let domain = own.email.as_deref().and_then(|own| own.rsplit_once('@')).map(|(_, domain)| domain);
        domain.is_some_and(|own| domains.contains(&own.to_ascii_lowercase()))
    };
    let strangers = people.iter().filter(|own| !linked.contains(&own.id) && !recovering.contains(&own.id));
    let (ours, mut out): (Vec<&UserRow>, Vec<&UserRow>) = strangers.partition(|own| is_ours(own));
    let ids: Vec<Uuid> = ours.iter().map(|own| own.id.0).collect();
    let elsewhere = standing_elsewhere(transaction, tenant, &ids).await?;
    out.extend(ours.into_iter().filter(|own| elsewhere.contains(&own.id)));
    Ok(out.into_iter().map(|own| own.id).collect())
}

/// Domains whose addresses come in by an active connection: it names them, and the tenant has proven them.
async fn proven(transaction: &Transaction, tenant: TenantId) -> Result<BTreeSet<String>, StoreError> {
    let mut proven = BTreeSet::new();
    for domain in queries::active_of(transaction, tenant).await?.into_iter().flat_map(|row| row.domains) {
        if tenancy::tenant_of_host(transaction, &domain).await? == Some(tenant) {
            proven.insert(domain);
        }
    }
    Ok(proven)
}

/// Makes the person one who may enter: the user, the membership, the link, the roles. What is to be committed comes back.
///
/// # Errors
/// 403 `identity.sso_refused`; 429 `resources.quota_exceeded`.
pub async fn settle(
    control: &Control,
    transaction: &Transaction,
    row: &ConnectionRow,
    (said, found): (&Said, &Found),
) -> Result<(UserId, Vec<Change>), Refusal> {
    let now = control.clock().now();
    let mut changes = Vec::new();
    let user = match found {
        Found::Linked(user) | Found::Known(user) => *user,
        Found::New(address) => {
            let user = UserId(control.entropy().uuid_v7(now.as_microsecond()));
            if !people::insert_user(transaction, user, address, &name_of(&said.claims, address), now).await? {
                return Err(Refusal::new(&kind::RATE_LIMITED, "You were entered meanwhile.").retry_after(1));
            }
            changes.push(told(row, user, "identity.user_created", "create"));
            user
        }
    };
    changes.extend(join(control, transaction, row, user).await?);
    if !matches!(found, Found::Linked(_)) {
        changes.push(link(transaction, row, (&said.subject, user), now).await?);
    }
    changes.extend(give(transaction, row, (user, said), now).await?);
    Ok((user, changes))
}

async fn join(
    control: &Control,
    transaction: &Transaction,
    row: &ConnectionRow,
    user: UserId,
) -> Result<Option<Change>, Refusal> {
    let member = people::find_member(transaction, row.tenant, user).await?;
    match member.map(|member| member.status) {
        Some(MembershipStatus::Active) => Ok(None),
        Some(MembershipStatus::Suspended) => Err(refused("Your membership is suspended.")),
        // Who was removed here is not brought back by a provider that has not heard of it.
        Some(MembershipStatus::Removed) => {
            Err(refused("You were removed from the organisation. Ask an administrator to invite you."))
        }
        None if !row.creates_members => {
            Err(refused("You do not belong to the organisation. Ask an administrator to invite you."))
        }
        None => {
            tenancy::lock(transaction, row.tenant).await?;
            let present = people::count_members(transaction, row.tenant).await?;
            refuse_beyond_quota(control, row.tenant, present)?;
            let now = control.clock().now();
            people::put_member(transaction, (row.tenant, user), "sso", now).await?;
            Ok(Some(told(row, user, "identity.member_added", "create").notify(Notice::tenant(row.tenant))))
        }
    }
}

/// Links a provider's person with one of ours.
///
/// # Errors
/// 403 `identity.sso_refused` if either has a link already.
pub async fn link(
    transaction: &Transaction,
    row: &ConnectionRow,
    (subject, user): (&str, UserId),
    now: Timestamp,
) -> Result<Change, Refusal> {
    let new = LinkRow {
        connection: row.id,
        tenant: row.tenant,
        subject: subject.to_owned(),
        user,
        roles: Vec::new(),
        linked_at: now,
        last_used_at: now,
    };
    match queries::put_link(transaction, &new).await? {
        true => Ok(told(row, user, "identity.sso_linked", "create").on("connection", row.id)),
        false => Err(refused(
            "That account of your provider is connected with somebody already, or you are with another.",
        )),
    }
}

/// Gives the roles that the provider's word means now, and takes back those that the connection gave and that it means no more.
async fn give(
    transaction: &Transaction,
    row: &ConnectionRow,
    (user, said): (UserId, &Said),
    now: Timestamp,
) -> Result<Vec<Change>, Refusal> {
    let wanted = row.roles_for(&said.claims);
    let Some(mut link) = queries::link_of(transaction, row.id, &said.subject).await? else {
        return Ok(Vec::new());
    };
    let principal = Principal { kind: PrincipalKind::User, id: user.0 };
    let held = access::grants_of(transaction, row.tenant, user.0).await?;
    let grant_of = |role: &str| {
        let new = NewGrant::role(principal, role, "By single sign-on.");
        let own = held.iter().find(|(_, grant)| grant.target == new.target && grant.effect == new.effect);
        (new, own.map(|(id, _)| *id))
    };
    let mut changes = Vec::new();
    for role in &wanted {
        let (new, present) = grant_of(role);
        // One that was connected before these roles were kept from tenants.
        let is_operators = Rules::refuse_operators_role(row.tenant, role).is_err();
        if present.is_none() && !is_operators {
            let (_, _, change) = access::grant(transaction, row.tenant, new, &Authority::System).await?;
            changes.push(change);
            link.roles.push(role.clone());
        }
    }
    let mut kept = Vec::new();
    for role in link.roles {
        let (_, present) = grant_of(&role);
        match present.filter(|_| !wanted.contains(&role)) {
            // The last administrator stays one, whatever a provider says.
            Some(_) if access::refuse_last_administrator(transaction, row.tenant, user).await.is_err() => {
                kept.push(role);
            }
            Some(id) => {
                changes.extend(access::remove(transaction, id).await?.map(|(_, change)| change));
            }
            None if wanted.contains(&role) => kept.push(role),
            None => {}
        }
    }
    link.roles = kept;
    queries::use_link(transaction, &link, now).await?;
    Ok(changes)
}

/// Connections of one tenant that its member may be connected with, and whether they are. To connect with another tenant's they sign in there.
///
/// # Errors
/// If the database fails.
pub async fn links_of(
    transaction: &Transaction,
    (tenant, user): (TenantId, UserId),
) -> Result<Vec<(ConnectionRow, bool)>, StoreError> {
    let linked = queries::links(transaction, (Some(user), None)).await?;
    let rows = queries::active_of(transaction, tenant).await?;
    let is_linked = |row: &ConnectionRow| linked.iter().any(|link| link.connection == row.id);
    Ok(rows.into_iter().map(|row| (is_linked(&row), row)).map(|(linked, row)| (row, linked)).collect())
}

fn name_of(claims: &Map<String, Value>, address: &Address) -> String {
    let said = claims.get("name").and_then(Value::as_str).unwrap_or_default();
    let name: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
    let name = name.trim();
    if name.is_empty() { address.local().chars().take(200).collect() } else { name.to_owned() }
}

fn told(row: &ConnectionRow, user: UserId, event: &str, action: &str) -> Change {
    let actor = Principal { kind: PrincipalKind::User, id: user.0 };
    Change::new(row.tenant, event, action, actor)
        .on("user", user)
        .details(json!({ "connection": row.id.to_string() }))
}

/// Whether the person belongs to the tenant, as who connects must.
///
/// # Errors
/// 403 `identity.sso_refused`.
pub async fn refuse_stranger(
    transaction: &Transaction,
    tenant: TenantId,
    user: UserId,
) -> Result<(), Refusal> {
    match people::is_member(transaction, tenant, user).await? {
        true => Ok(()),
        false => Err(refused("You do not belong to the organisation. Ask an administrator to invite you.")),
    }
}
