//! Inviting: by e-mail, with a link that works once, for a time. What an invitation gives is bounded by what its inviter may
//! do, when it is made and again when it is accepted.

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::access::{Permit, Principal};
use rowhouse_domain::id::{InvitationId, OPERATOR_TENANT, RequestId, TenantId};
use rowhouse_domain::messages::{Address, template};
use rowhouse_domain::metering::quantity::SCALE;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::invitation_queries::{self as rows, InvitationRow};
use super::{queries, token};
use crate::Control;
use crate::access::{self, Authority, Rules};
use crate::messages::{self, NewMessage, To};

/// Keeps these tokens apart from others.
pub(super) const PURPOSE: &str = "invitation";
/// How long an invitation is good, in days, if nothing is said; and at most.
pub(super) const DAYS: u32 = 7;
pub(super) const DAYS_MAX: u32 = 30;
const NAME_MAX: usize = 200;
const ROLES_MAX: usize = 20;
const SENDS_MAX: i32 = 10;
/// Invitations that a tenant sends within a day, taken back or not: to one address, and in all.
const A_DAY_MAX: (i64, i64) = (10, 1_000);

/// An invitation to be made.
#[derive(Debug)]
pub struct NewInvitation {
    pub tenant: TenantId,
    pub email: Address,
    pub roles: Vec<String>,
    pub days: u32,
    /// Whose rights bound it, and in which tenant they hold them.
    pub inviter: (TenantId, Principal),
}

/// The first administrator of a new tenant.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FirstAdministrator {
    /// Where the invitation goes.
    #[schema(value_type = String)]
    pub email: Address,
    /// At most 200 characters.
    #[serde(default)]
    pub full_name: String,
}

/// Makes an invitation and queues its message, in `transaction`; what to commit it with comes back beside it.
///
/// # Errors
/// 403 `access.escalation` for roles beyond the inviter's rights, 422 `access.unknown_role` for one that neither the catalogue nor the
/// tenant has, or that is the operator's own, 409 `access.approval_needed` for what takes two people, 409 for who belongs to the tenant or has an open
/// invitation, 429 `resources.quota_exceeded` if the tenant's quota of users is full, 429 `limits.exceeded` for too many within a day, 422 for wrong fields.
pub async fn invite(
    control: &Control,
    transaction: &Transaction,
    (permit, authority): (&Permit, &Authority),
    new: NewInvitation,
    request_id: RequestId,
) -> Result<(InvitationRow, Change), Refusal> {
    check(&new)?;
    let rules = Rules::load_for(transaction, new.tenant).await.map_err(Refusal::from)?;
    let given = rules.of_roles(new.tenant, &new.roles)?;
    rules.refuse_escalation(authority, &given)?;
    access::refuse_alone(transaction, new.tenant, (authority, &rules), &given).await?;
    // Nobody else counts or invites until this is over.
    crate::tenancy::lock(transaction, new.tenant).await?;
    refuse_member(transaction, &new).await?;
    refuse_full(control, transaction, new.tenant).await?;
    refuse_flood(control, transaction, &new).await?;
    let now = control.clock().now();
    let expires_at = now + SignedDuration::from_hours(24 * i64::from(new.days));
    let (text, digest) = token::make(control, PURPOSE);
    let row = InvitationRow {
        id: InvitationId(control.entropy().uuid_v7(now.as_microsecond())),
        tenant: new.tenant,
        email: new.email.as_str().to_owned(),
        full_name: String::new(),
        roles: new.roles,
        state: "pending".to_owned(),
        sends: 1,
        expires_at: Some(expires_at),
        inviter: Some(new.inviter),
        created_by: permit.principal().to_string(),
        created_at: now,
    };
    if !rows::insert(transaction, &row, &new.email, Some(&digest)).await? {
        return Err(Refusal::new(&kind::INVALID, "The address has an invitation already.").field(
            "/email",
            "invited",
            "send the open invitation again, or take it back",
        ));
    }
    send(control, transaction, &row, (&text, expires_at)).await?;
    let change = change(&row, "identity.invitation_created", "create", permit).request(request_id);
    Ok((row, change))
}

fn check(new: &NewInvitation) -> Result<(), Refusal> {
    let mut refusal = Refusal::new(&kind::INVALID, "The invitation is not well-formed.");
    if !(1..=DAYS_MAX).contains(&new.days) {
        refusal = refusal.field("/expires_days", "out_of_bounds", "1 to 30");
    }
    if new.roles.len() > ROLES_MAX {
        refusal = refusal.field("/roles", "too_many", "at most 20");
    }
    if refusal.errors().is_empty() { Ok(()) } else { Err(refusal) }
}

async fn refuse_member(transaction: &Transaction, new: &NewInvitation) -> Result<(), Refusal> {
    // Row-level security shows the inviter the tenant's people only: this tells nothing about others'.
    let Some(user) = queries::find_user_by_email(transaction, &new.email).await? else { return Ok(()) };
    if queries::is_member(transaction, new.tenant, user.id).await? {
        return Err(Refusal::new(&kind::ALREADY_MEMBER, "A member of the tenant has this address."));
    }
    Ok(())
}

/// 429 when so many were sent within a day that it is no inviting any more. The operator's own are not counted.
async fn refuse_flood(
    control: &Control,
    transaction: &Transaction,
    new: &NewInvitation,
) -> Result<(), Refusal> {
    let since = control.clock().now() - SignedDuration::from_hours(24);
    let (to_one, to_all) = rows::sent_since(transaction, new.tenant, &new.email, since).await?;
    if new.inviter.0 == OPERATOR_TENANT || (to_one < A_DAY_MAX.0 && to_all < A_DAY_MAX.1) {
        return Ok(());
    }
    let words = format!(
        "A tenant sends at most {} invitations to one address and {} in all within a day.",
        A_DAY_MAX.0, A_DAY_MAX.1
    );
    Err(Refusal::new(&kind::LIMIT_EXCEEDED, words).retry_after(3_600))
}

/// The tenant's quota of users bounds members and open invitations together.
async fn refuse_full(control: &Control, transaction: &Transaction, tenant: TenantId) -> Result<(), Refusal> {
    let now = control.clock().now();
    let members = queries::count_members(transaction, tenant).await?;
    let open = rows::count_open(transaction, tenant, now).await?;
    refuse_beyond_quota(control, tenant, members + open)
}

/// 429 unless one more than `present` fits the tenant's quota of users.
pub(super) fn refuse_beyond_quota(control: &Control, tenant: TenantId, present: u64) -> Result<(), Refusal> {
    let directory = control.directory.current();
    let quotas = directory.tenants.get(&tenant).map(|entry| entry.quotas.as_slice()).unwrap_or_default();
    let limit = quotas.iter().find(|quota| &*quota.meter == "users").and_then(|quota| quota.limit);
    match limit {
        Some(limit) if (i128::from(present) + 1) * SCALE > limit => {
            let detail = format!("Quota exceeded for users: {}/{}.", present + 1, limit / SCALE);
            Err(Refusal::new(&kind::QUOTA_EXCEEDED, detail))
        }
        _ => Ok(()),
    }
}

async fn send(
    control: &Control,
    transaction: &Transaction,
    row: &InvitationRow,
    (text, expires_at): (&str, Timestamp),
) -> Result<(), Refusal> {
    let Ok(address) = Address::parse(&row.email) else { return Ok(()) };
    let tenant = crate::tenancy::get(transaction, row.tenant).await?;
    let inviter = match inviter_name(transaction, row).await? {
        Some(name) => name,
        // Whom nobody knows by name: the operator's own, or a program of the tenant's.
        None if row.inviter.is_none_or(|(home, _)| home == OPERATOR_TENANT) => {
            control.messages.brand().to_owned()
        }
        None => tenant.map(|record| record.tenant.company_name).unwrap_or_default(),
    };
    let link = format!("{}/account/invitation?token={text}", control.settings.public_url);
    let key = format!("{}/{}", row.id, row.sends);
    let message = NewMessage::new(&template::INVITATION, row.tenant, To::Address(address), key)
        .value("inviter", inviter)
        .value("link", link)
        .value("expires", expires_at.strftime("%Y-%m-%d %H:%M UTC"))
        .useless_after(expires_at);
    messages::queue(control, transaction, message).await.map(drop)
}

async fn inviter_name(tx: &Transaction, row: &InvitationRow) -> Result<Option<String>, Refusal> {
    let Some((_, principal)) = row.inviter else { return Ok(None) };
    if principal.kind != rowhouse_domain::access::PrincipalKind::User {
        return Ok(None);
    }
    let user = queries::find_user(tx, rowhouse_domain::id::UserId(principal.id)).await?;
    Ok(user.and_then(|user| Some(user.full_name).filter(|name| !name.is_empty()).or(user.email)))
}

pub(super) fn change(row: &InvitationRow, event: &str, action: &str, permit: &Permit) -> Change {
    Change::new(row.tenant, event, action, permit.principal())
        .on("invitation", row.id)
        .details(json!({ "roles": row.roles, "sends": row.sends }))
}

/// Sends an open invitation again, with a new link; the old one is void.
///
/// # Errors
/// 404 for one that is not open; 422 after ten times.
pub async fn resend(
    control: &Control,
    permit: &Permit,
    id: InvitationId,
    request_id: RequestId,
) -> Result<InvitationRow, Refusal> {
    let transaction = control.store.write(permit).await?;
    let none = || Refusal::new(&kind::NOT_FOUND, "There is no open invitation with this id.");
    let row = rows::one(&transaction, id).await?.filter(|row| row.state == "pending").ok_or_else(none)?;
    if row.sends >= SENDS_MAX {
        return Err(Refusal::new(&kind::INVALID, "The invitation was sent ten times."));
    }
    let row = renew(control, &transaction, row, DAYS).await?.ok_or_else(none)?;
    transaction
        .commit(change(&row, "identity.invitation_resent", "update", permit).request(request_id))
        .await?;
    Ok(row)
}

async fn renew(
    control: &Control,
    transaction: &Transaction,
    row: InvitationRow,
    days: u32,
) -> Result<Option<InvitationRow>, Refusal> {
    let expires_at = control.clock().now() + SignedDuration::from_hours(24 * i64::from(days));
    let (text, digest) = token::make(control, PURPOSE);
    if !rows::renew(transaction, row.id, &digest, expires_at).await? {
        return Ok(None);
    }
    let row =
        InvitationRow { sends: row.sends + 1, expires_at: Some(expires_at), state: "pending".into(), ..row };
    send(control, transaction, &row, (&text, expires_at)).await?;
    Ok(Some(row))
}

/// Takes an open invitation back.
///
/// # Errors
/// 404 for one that is not open.
pub async fn revoke(
    control: &Control,
    permit: &Permit,
    id: InvitationId,
    request_id: RequestId,
) -> Result<(), Refusal> {
    let transaction = control.store.write(permit).await?;
    let none = || Refusal::new(&kind::NOT_FOUND, "There is no open invitation with this id.");
    let row = rows::one(&transaction, id).await?.ok_or_else(none)?;
    if !rows::revoke(&transaction, id, control.clock().now()).await? {
        return Err(none());
    }
    transaction
        .commit(change(&row, "identity.invitation_revoked", "delete", permit).request(request_id))
        .await?;
    Ok(())
}

/// Notes the first administrator of a tenant that is being made. Nobody is told yet: see [`invite_prepared`].
///
/// # Errors
/// 422 for a name that is too long.
pub async fn prepare_administrator(
    control: &Control,
    transaction: &Transaction,
    tenant: TenantId,
    first: &FirstAdministrator,
) -> Result<(), Refusal> {
    if first.full_name.chars().count() > NAME_MAX {
        let refusal = Refusal::new(&kind::INVALID, "The administrator is not well-formed.");
        return Err(refusal.field("/admin/full_name", "too_long", "at most 200 characters"));
    }
    let now = control.clock().now();
    let row = InvitationRow {
        id: InvitationId(control.entropy().uuid_v7(now.as_microsecond())),
        tenant,
        email: first.email.as_str().to_owned(),
        full_name: first.full_name.clone(),
        roles: vec!["tenant_admin".to_owned()],
        state: "prepared".to_owned(),
        sends: 0,
        expires_at: None,
        inviter: None,
        created_by: transaction.principal().to_string(),
        created_at: now,
    };
    rows::insert(transaction, &row, &first.email, None).await?;
    Ok(())
}

/// Sends the invitations that were prepared, now that the tenant is served; how many. Twice is once.
///
/// # Errors
/// If the database fails.
pub async fn invite_prepared(
    control: &Control,
    transaction: &Transaction,
    tenant: TenantId,
) -> Result<usize, Refusal> {
    let prepared = rows::list(transaction, Some(tenant), &["prepared".to_owned()], None, 100).await?;
    let mut sent = 0;
    for row in prepared {
        sent += usize::from(renew(control, transaction, row, DAYS).await?.is_some());
    }
    Ok(sent)
}

/// Forgets the invitations that were prepared, for a tenant that failed to be made.
///
/// # Errors
/// If the database fails.
pub async fn forget_prepared(
    transaction: &Transaction,
    tenant: TenantId,
) -> Result<u64, rowhouse_store::StoreError> {
    rows::forget_prepared(transaction, tenant).await
}
