//! Accepting an invitation: the person becomes a member, with the roles it gives. Whoever has the link has the mailbox it was
//! sent to: a new person's address is proven by it, and somebody who has that address already becomes a member as who they are.
//! No session begins here; a password is set only for a new person.

use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{RequestId, TenantId, UserId};
use rowhouse_domain::identity::check_password;
use rowhouse_domain::messages::Address;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, Transaction};
use serde_json::json;

use super::hashing::{Busy, Hashed};
use super::invitation::{PURPOSE, refuse_beyond_quota};
use super::invitation_queries::{self as rows, InvitationRow};
use super::queries::{self, MembershipStatus, UserRow, UserStatus};
use super::token;
use crate::access::{self, Authority, NewGrant, Rules};
use crate::{Control, tenancy};

/// Fewest characters of a password that may be the only proof.
pub(super) const LENGTH_MIN: usize = 15;
const NAME_MAX: usize = 200;

/// What a person sends.
#[derive(Debug)]
pub struct Acceptance {
    pub token: String,
    pub full_name: Option<String>,
    pub password: Option<String>,
}

/// What became of it.
#[derive(Debug)]
pub struct Accepted {
    pub user: UserId,
    pub tenant: TenantId,
    pub tenant_code: String,
    /// What the tenant calls itself.
    pub tenant_name: String,
    /// Whether the person is new here.
    pub is_new: bool,
}

/// Whether there is an open invitation with this token. Nothing is used up.
///
/// # Errors
/// 410 `identity.link_used` for a link that is used, replaced, taken back or too old, or never was; if the database fails.
pub async fn look(control: &Control, token: &str) -> Result<(), Refusal> {
    let digest = token::digest(control, PURPOSE, token);
    let permit = Permit::for_system(None, "an invitation's link that is opened");
    let transaction = control.store.read(&permit).await?;
    let row = rows::look(&transaction, &digest, control.clock().now()).await?;
    transaction.finish().await?;
    row.map(drop).ok_or_else(link_used)
}

/// Accepts an invitation.
///
/// # Errors
/// 410 `identity.link_used` for a link that is used, replaced, taken back or too old; 422 `identity.password_weak`; 403
/// `access.escalation` if the inviter may no longer give what it gives; 422 `access.unknown_role` if the tenant has removed a role of it; 409
/// `access.sod_violation`, `access.too_many_members` or `access.missing_prerequisite` for roles that the person cannot have; 429 if the tenant is full; 503 `identity.busy`.
pub async fn accept(control: &Control, wish: Acceptance, request_id: RequestId) -> Result<Accepted, Refusal> {
    let digest = token::digest(control, PURPOSE, &wish.token);
    let (row, password) = prepare(control, &digest, &wish).await?;
    let permit = Permit::for_system(None, "an invitation that is accepted");
    let transaction = control.store.write(&permit).await?;
    let now = control.clock().now();
    tenancy::lock(&transaction, row.tenant).await?;
    let row = rows::take(&transaction, &digest, now).await?.ok_or_else(link_used)?;
    let record = tenancy::get(&transaction, row.tenant).await?.ok_or_else(link_used)?;
    recheck(&transaction, &row).await?;
    let email = Address::parse(&row.email).map_err(|_| link_used())?;
    let mut changes = Vec::new();
    let known = queries::find_user_by_email(&transaction, &email).await?;
    let is_new = known.is_none();
    let user = match known {
        Some(user) => as_they_are(user)?,
        None => {
            let name = wish.full_name.as_deref().unwrap_or(&row.full_name);
            let user = create(control, &transaction, &email, name, password.as_ref()).await?;
            changes.push(told(&row, user, "identity.user_created", "create"));
            user
        }
    };
    join(control, &transaction, &row, user).await?;
    rows::accepted_by(&transaction, row.id, user).await?;
    changes.push(told(&row, user, "identity.invitation_accepted", "update").on("invitation", row.id));
    changes.push(told(&row, user, "identity.member_added", "create").notify(Notice::tenant(row.tenant)));
    changes.extend(give(&transaction, &row, user).await?);
    let changes = changes.into_iter().map(|change| change.request(request_id)).collect();
    transaction.commit_all(changes).await?;
    Ok(Accepted {
        user,
        tenant: row.tenant,
        tenant_code: record.tenant.code,
        tenant_name: record.tenant.company_name,
        is_new,
    })
}

/// Looks at the invitation and hashes the password, before anything is held.
async fn prepare(
    control: &Control,
    digest: &[u8],
    wish: &Acceptance,
) -> Result<(InvitationRow, Option<Hashed>), Refusal> {
    let transaction =
        control.store.read(&Permit::for_system(None, "an invitation that is looked at")).await?;
    let row = rows::look(&transaction, digest, control.clock().now()).await?.ok_or_else(link_used)?;
    let email = Address::parse(&row.email).map_err(|_| link_used())?;
    let known = queries::find_user_by_email(&transaction, &email).await?;
    let record = tenancy::get(&transaction, row.tenant).await?;
    transaction.finish().await?;
    if known.is_some() {
        return Ok((row, None));
    }
    let name = wish.full_name.clone().unwrap_or_else(|| row.full_name.clone());
    if name.trim().is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        let refusal = Refusal::new(&kind::INVALID, "The name is not well-formed.");
        return Err(refusal.field("/full_name", "malformed", "1 to 200 characters"));
    }
    let missing = || {
        Refusal::new(&kind::INVALID, "A new person needs a password.").field(
            "/password",
            "missing",
            "a password",
        )
    };
    let password = wish.password.as_ref().ok_or_else(missing)?;
    let tenant_names =
        record.map(|record| (record.tenant.company_name, record.tenant.code)).unwrap_or_default();
    let brand = control.messages.brand();
    let known = [email.local(), email.domain(), &name, &tenant_names.0, &tenant_names.1, brand];
    refuse_weak(password, LENGTH_MIN, &known)?;
    let hashed = control.hashing.hash(&pepper(control), control.entropy().bytes(), password).await?;
    Ok((row, Some(hashed)))
}

/// 422 `identity.password_weak`, with every reason.
pub(super) fn refuse_weak(password: &str, length_min: usize, known: &[&str]) -> Result<(), Refusal> {
    let Err(faults) = check_password(password, length_min, known) else { return Ok(()) };
    let refusal = Refusal::new(&kind::PASSWORD_WEAK, "The password is too easy to guess.");
    Err(faults
        .into_iter()
        .fold(refusal, |refusal, fault| refusal.field("/password", "weak", fault.to_string())))
}

/// What passwords are keyed with.
pub(super) fn pepper(control: &Control) -> [u8; 32] {
    let digest = token::digest(control, "password", "");
    digest.try_into().expect("a digest of 32 bytes")
}

impl From<Busy> for Refusal {
    fn from(_: Busy) -> Self {
        Refusal::new(&kind::IDENTITY_BUSY, "Too many people sign in at once.").retry_after(2)
    }
}

/// What the invitation gives must still be the inviter's to give, and alone: a role of the tenant's own as it is now.
async fn recheck(transaction: &Transaction, row: &InvitationRow) -> Result<(), Refusal> {
    let Some((home, principal)) = row.inviter else { return Ok(()) };
    let rules = Rules::load_for(transaction, row.tenant).await.map_err(Refusal::from)?;
    let given = rules.of_roles(row.tenant, &row.roles)?;
    rules.refuse_beyond_owner(transaction, (home, principal), &given).await?;
    access::refuse_sensitive(transaction, row.tenant, (&rules, &given)).await
}

fn as_they_are(user: UserRow) -> Result<UserId, Refusal> {
    match user.status {
        UserStatus::Active => Ok(user.id),
        UserStatus::Disabled | UserStatus::Erased => Err(link_used()),
    }
}

async fn create(
    control: &Control,
    transaction: &Transaction,
    email: &Address,
    full_name: &str,
    password: Option<&Hashed>,
) -> Result<UserId, Refusal> {
    let now = control.clock().now();
    let user = UserId(control.entropy().uuid_v7(now.as_microsecond()));
    // Somebody with this address came meanwhile: the next try finds them.
    let (true, Some(password)) =
        (queries::insert_user(transaction, user, email, full_name.trim(), now).await?, password)
    else {
        return Err(Refusal::new(&kind::RATE_LIMITED, "The person was entered meanwhile.").retry_after(1));
    };
    queries::put_password(transaction, user, password, now).await?;
    Ok(user)
}

async fn join(
    control: &Control,
    transaction: &Transaction,
    row: &InvitationRow,
    user: UserId,
) -> Result<(), Refusal> {
    let present = queries::count_members(transaction, row.tenant).await?;
    let member = queries::find_member(transaction, row.tenant, user).await?;
    match member.map(|member| member.status) {
        Some(MembershipStatus::Active) => Ok(()),
        Some(MembershipStatus::Suspended) => Err(link_used()),
        Some(MembershipStatus::Removed) | None => {
            refuse_beyond_quota(control, row.tenant, present)?;
            let now = control.clock().now();
            queries::put_member(transaction, (row.tenant, user), "invitation", now).await?;
            Ok(())
        }
    }
}

/// The roles that the person does not have yet.
async fn give(transaction: &Transaction, row: &InvitationRow, user: UserId) -> Result<Vec<Change>, Refusal> {
    let principal = Principal { kind: PrincipalKind::User, id: user.0 };
    let held = access::grants_of(transaction, row.tenant, user.0).await?;
    let mut changes = Vec::new();
    for role in &row.roles {
        let new = NewGrant::role(principal, role, "By invitation.");
        if held.iter().any(|(_, grant)| grant.target == new.target && grant.effect == new.effect) {
            continue;
        }
        let (_, _, change) = access::grant(transaction, row.tenant, new, &Authority::System).await?;
        changes.push(change);
    }
    Ok(changes)
}

fn told(row: &InvitationRow, user: UserId, event: &str, action: &str) -> Change {
    let actor = Principal { kind: PrincipalKind::User, id: user.0 };
    Change::new(row.tenant, event, action, actor).on("user", user).details(json!({}))
}

/// 503 `identity.busy`.
pub(super) fn busy(busy: Busy) -> Refusal {
    busy.into()
}

pub(super) fn link_used() -> Refusal {
    Refusal::new(&kind::LINK_USED, "The link is used up, replaced or too old.")
}
