//! What follows what was shown: the pure rule decides, this does it.

use jiff::SignedDuration;
use rowhouse_domain::access::{Principal, PrincipalKind};
use rowhouse_domain::id::{TenantId, UserId};
use rowhouse_domain::identity::{Evidence, Next, ProofKind, SignInPolicy, SingleSignOn, next};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde_json::json;

use super::attempt::Told;
use super::progress::{Choice, Done, Offer, Progress};
use super::queries::{self, FlowRow};
use super::{devices, policy, throttle};
use crate::identity::session::{Entrance, begin};
use crate::identity::{factor, may_enter, token};
use crate::{Control, access, tenancy};

/// What the step that led here leaves behind.
#[derive(Debug, Default)]
pub struct Left {
    pub changes: Vec<Change>,
    pub recovery_codes: Vec<String>,
}

/// Goes on with a sign-in, and commits.
///
/// # Errors
/// 403 `identity.entry_refused`.
pub async fn advance(
    control: &Control,
    transaction: Transaction,
    mut flow: FlowRow,
    told: &Told<'_>,
    left: Left,
) -> Result<Progress, Refusal> {
    let tenants = queries::tenants_of(&transaction, flow.user).await?;
    let tenant = match (flow.wanted, tenants.as_slice()) {
        (Some(wanted), _) => wanted,
        (None, []) => return Err(refused()),
        (None, [only]) => *only,
        (None, several) => {
            let choices = choices(&transaction, several).await?;
            wait(transaction, &flow, left.changes).await?;
            return Ok(Progress::Choose(choices));
        }
    };
    flow.wanted = Some(tenant);
    let entry = may_enter(control, &transaction, tenant, flow.user).await?;
    if !entry.is_some_and(|entry| entry.may_go_on()) {
        return Err(refused());
    }
    let in_force = policy::in_force(&transaction, tenant).await?;
    if !admitted(&transaction, (tenant, flow.user), &in_force.policy, &flow.evidence).await? {
        return Err(Refusal::new(&kind::SSO_REQUIRED, "The tenant is entered by single sign-on only."));
    }
    let owned = factor::owned(&transaction, flow.user).await?;
    let now = control.clock().now();
    let grace_until = in_force.grace_until(&transaction, (tenant, flow.user)).await?;
    let in_grace = grace_until.is_some_and(|until| now < until);
    match next(&in_force.policy, owned, &flow.evidence, in_grace) {
        Next::Enter { enrol } => {
            let enrol_until = grace_until.filter(|_| enrol);
            let entered = Entered { tenant, policy: &in_force.policy };
            let mut done = enter(control, transaction, &flow, told, entered, left).await?;
            done.enrol_until = enrol_until;
            Ok(Progress::Done(Box::new(done)))
        }
        Next::Show(kinds) => {
            let offers = offers(&transaction, flow.user, &kinds).await?;
            wait(transaction, &flow, left.changes).await?;
            Ok(Progress::Show(offers))
        }
        Next::Enrol => {
            wait(transaction, &flow, left.changes).await?;
            Ok(Progress::Enrol(in_force.policy.enrollable()))
        }
    }
}

/// Whether `evidence` is of a kind that lets in where single sign-on may be enforced. The transaction must see the platform.
pub async fn admitted(
    transaction: &Transaction,
    (tenant, user): (TenantId, UserId),
    policy: &SignInPolicy,
    evidence: &Evidence,
) -> Result<bool, Refusal> {
    if policy.admits(evidence, false) {
        return Ok(true);
    }
    let is_administrator = access::administrators(transaction, tenant).await?.contains(&user);
    Ok(policy.admits(evidence, is_administrator))
}

struct Entered<'a> {
    tenant: TenantId,
    policy: &'a SignInPolicy,
}

async fn enter(
    control: &Control,
    transaction: Transaction,
    flow: &FlowRow,
    told: &Told<'_>,
    Entered { tenant, policy }: Entered<'_>,
    left: Left,
) -> Result<Done, Refusal> {
    let ip = told.source.ip();
    let entrance = Entrance {
        user: flow.user,
        tenant,
        evidence: flow.evidence.clone(),
        policy,
        ip: &ip,
        agent: &told.source.agent,
        by_cookie: told.by_cookie,
        application: None,
        request_id: told.request_id,
    };
    let (begun, changes) = begin(control, &transaction, entrance).await?.ok_or_else(refused)?;
    throttle::clear(&transaction, &flow.throttle).await?;
    queries::close(&transaction, &flow.digest).await?;
    let device = match told.trust_device && policy.trusted_device_days > 0 {
        true => {
            Some(trust(control, &transaction, (tenant, flow.user), told, policy.trusted_device_days).await?)
        }
        false => None,
    };
    let mut changes = changes;
    if policy.single_sign_on == SingleSignOn::Enforced && !flow.evidence.is_by_provider() {
        let actor = Principal { kind: PrincipalKind::User, id: flow.user.0 };
        let bypassed = Change::new(tenant, "identity.sso_bypassed", "create", actor).on("user", flow.user);
        changes.push(
            bypassed.details(json!({ "session": begun.session.id.to_string() })).request(told.request_id),
        );
    }
    let record = tenancy::get(&transaction, tenant).await?;
    let tenant_code = record.map(|record| record.tenant.code).unwrap_or_default();
    transaction.commit_all(left.changes.into_iter().chain(changes).collect()).await?;
    Ok(Done { begun, tenant_code, enrol_until: None, device, recovery_codes: left.recovery_codes })
}

async fn trust(
    control: &Control,
    transaction: &Transaction,
    whose: (TenantId, UserId),
    told: &Told<'_>,
    days: i64,
) -> Result<String, Refusal> {
    let now = control.clock().now();
    let (text, digest) = token::make(control, "device");
    let until = now + SignedDuration::from_hours(24 * days);
    devices::put(transaction, &digest, whose, &told.source.agent, (now, until)).await?;
    Ok(text)
}

/// Keeps what was shown. A sign-in under way is nobody's change yet.
async fn wait(transaction: Transaction, flow: &FlowRow, changes: Vec<Change>) -> Result<(), Refusal> {
    queries::update(&transaction, flow).await?;
    match changes.is_empty() {
        true => transaction.commit_telemetry().await?,
        false => transaction.commit_all(changes).await?,
    }
    Ok(())
}

async fn choices(transaction: &Transaction, tenants: &[TenantId]) -> Result<Vec<Choice>, Refusal> {
    let mut all = Vec::new();
    for tenant in tenants {
        if let Some(record) = tenancy::get(transaction, *tenant).await? {
            all.push(Choice { tenant: *tenant, code: record.tenant.code, name: record.tenant.company_name });
        }
    }
    Ok(all)
}

async fn offers(transaction: &Transaction, user: UserId, kinds: &[ProofKind]) -> Result<Vec<Offer>, Refusal> {
    let mut all = Vec::new();
    for kind in kinds {
        match kind {
            ProofKind::Totp => {
                let own =
                    factor::active(transaction, user).await?.into_iter().filter(|row| row.kind == "totp");
                all.extend(own.map(|row| Offer { kind: *kind, factor: Some(row.id), label: row.label }));
            }
            ProofKind::EmailCode => {
                all.push(Offer { kind: *kind, factor: None, label: "A code by e-mail".into() })
            }
            ProofKind::SmsCode => {
                let own =
                    factor::active(transaction, user).await?.into_iter().find(|row| row.kind == "sms_code");
                let to = own.map(|row| row.label).unwrap_or_default();
                all.push(Offer {
                    kind: *kind,
                    factor: None,
                    label: format!("A code by text message to {to}"),
                })
            }
            ProofKind::RecoveryCode => {
                all.push(Offer { kind: *kind, factor: None, label: "A recovery code".into() })
            }
            ProofKind::SecurityKey => {
                all.push(Offer { kind: *kind, factor: None, label: "A security key or passkey".into() })
            }
            ProofKind::Password
            | ProofKind::Passkey
            | ProofKind::SingleSignOn
            | ProofKind::SingleSignOnMfa => {}
        }
    }
    Ok(all)
}

fn refused() -> Refusal {
    Refusal::new(&kind::ENTRY_REFUSED, "The tenant cannot be entered.")
}
