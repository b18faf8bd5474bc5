//! The steps after the password: a second factor, its enrolment, the choice of a tenant.

use jiff::SignedDuration;
use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{FactorId, OPERATOR_TENANT, TenantId, UserId};
use rowhouse_domain::identity::{Next, ProofKind, lack, next};
use rowhouse_domain::messages::template;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde_json::json;
use subtle::ConstantTimeEq;

use super::advance::{Left, advance};
use super::attempt::Told;
use super::flow;
use super::mail_code::{Way, code_digest};
use super::progress::Progress;
use super::queries::{self, FlowRow};
use super::throttle::{self, Window};
use super::{policy, text_code};
use crate::Control;
use crate::identity::factor::{self, Enrolment};
use crate::identity::{queries as people, token};
use crate::messages::{NewMessage, To, queue};

/// Wrong codes that a sign-in may have.
const GUESSES_MAX: i32 = 5;
/// Wrong codes that a person may have in a day, over all factors: 3 × 30 of a million is below one in 10,000.
const GUESSES: Window =
    Window { most: 30, within: SignedDuration::from_hours(24), apart: SignedDuration::ZERO };

/// Shows a code: `factor` is the id of an authenticator program (or of one that is being enrolled), `email_code`,
/// `sms_code` or `recovery_code`.
///
/// # Errors
/// 401 `identity.code_wrong`, 401 `identity.code_used`; 410 `identity.flow_over`; 429 `identity.too_many_attempts`.
pub async fn show_factor(
    control: &Control,
    told: &Told<'_>,
    factor: &str,
    code: &str,
) -> Result<Progress, Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a code that is shown")).await?;
    let mut flow = under_way(control, &transaction, told.flow).await?;
    may_guess(control, &transaction, flow.user).await?;
    match take(control, &transaction, &mut flow, factor, code).await {
        Ok(left) => advance(control, transaction, flow, told, left).await,
        Err(refusal) if refusal.status() == 401 => {
            transaction.rollback().await?;
            control.sign_in_sources.failed(told.source);
            guessed(control, told).await?;
            Err(refusal)
        }
        Err(refusal) => Err(refusal),
    }
}

async fn take(
    control: &Control,
    transaction: &Transaction,
    flow: &mut FlowRow,
    factor: &str,
    code: &str,
) -> Result<Left, Refusal> {
    let now = control.clock().now();
    let user = flow.user;
    let mut left = Left::default();
    let kind = match factor {
        "email_code" => {
            take_sent(control, Way::Mail, flow, code)?;
            ProofKind::EmailCode
        }
        "sms_code" => {
            let digest = take_sent(control, Way::Text, flow, code)?;
            text_code::proven(control, transaction, user, &digest).await?;
            ProofKind::SmsCode
        }
        "recovery_code" => {
            take_recovery(control, transaction, user, code).await?;
            ProofKind::RecoveryCode
        }
        id => {
            let id: FactorId = id.parse().map_err(|_| wrong())?;
            let is_pending = factor::list(transaction, user)
                .await?
                .iter()
                .any(|row| row.id == id && row.state == "pending");
            match is_pending {
                // Enrolled on the way in.
                true => {
                    asks_for(control, transaction, flow, ProofKind::Totp).await?;
                    factor::confirm(control, transaction, (user, id), code).await?;
                    left.recovery_codes = factor::make_codes(control, transaction, user).await?;
                    left.changes.push(enrolled(user, id, "totp"));
                }
                false => {
                    factor::take_code(
                        control,
                        transaction,
                        (user, id),
                        (code, around(transaction, flow).await?),
                    )
                    .await?
                }
            }
            ProofKind::Totp
        }
    };
    flow.evidence = flow.evidence.clone().with(kind, now.as_second());
    Ok(left)
}

/// Uses a recovery code up, and tells its owner.
///
/// # Errors
/// 401 `identity.code_wrong`.
pub async fn take_recovery(
    control: &Control,
    transaction: &Transaction,
    user: UserId,
    code: &str,
) -> Result<(), Refusal> {
    let now = control.clock().now();
    let rest = factor::use_code(control, transaction, user, code).await?;
    let key = format!("{user}/{now}/{rest}");
    let told = NewMessage::new(&template::RECOVERY_CODE_USED, OPERATOR_TENANT, To::User(user), key);
    queue(control, transaction, told.value("at", now).value("left", rest)).await?;
    Ok(())
}

/// The event of a factor that is in use from now on.
pub fn enrolled(user: UserId, factor: FactorId, kind: &str) -> Change {
    let actor = Principal { kind: PrincipalKind::User, id: user.0 };
    Change::new(OPERATOR_TENANT, "identity.mfa_enabled", "create", actor)
        .on("user", user)
        .on("factor", factor)
        .details(json!({ "kind": kind }))
}

async fn around(transaction: &Transaction, flow: &FlowRow) -> Result<i64, Refusal> {
    Ok(match flow.wanted {
        Some(tenant) => policy::in_force(transaction, tenant).await?.policy.totp_steps,
        None => 1,
    })
}

fn take_sent(control: &Control, way: Way, flow: &mut FlowRow, code: &str) -> Result<Vec<u8>, Refusal> {
    let digits: String = code.chars().filter(|c| !c.is_whitespace()).take(16).collect();
    let shown = code_digest(control, way, &flow.digest, &digits);
    let open = flow.code_until.is_some_and(|until| control.clock().now() < until);
    let kept = flow.code_digest.take().filter(|_| open).ok_or_else(wrong)?;
    flow.code_until = None;
    match bool::from(kept.ct_eq(&shown)) {
        true => Ok(kept),
        false => Err(wrong()),
    }
}

/// Refuses a person's guess beyond those of a day.
pub async fn may_guess(control: &Control, transaction: &Transaction, user: UserId) -> Result<(), Refusal> {
    let now = control.clock().now();
    let (failed, until) = throttle::spent(transaction, &guesses_key(control, user)).await?;
    match until.filter(|until| failed >= GUESSES.most && *until > now) {
        None => Ok(()),
        Some(until) => {
            let seconds = u32::try_from(until.duration_since(now).as_secs() + 1).unwrap_or(u32::MAX);
            Err(Refusal::new(&kind::TOO_MANY_ATTEMPTS, "Too many wrong codes today.").retry_after(seconds))
        }
    }
}

/// Counts a wrong code, on the sign-in and on the person.
pub async fn guessed(control: &Control, told: &Told<'_>) -> Result<(), Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a code that was wrong")).await?;
    let mut flow = under_way(control, &transaction, told.flow).await?;
    flow.guesses += 1;
    queries::update(&transaction, &flow).await?;
    if flow.guesses >= GUESSES_MAX {
        queries::close(&transaction, &flow.digest).await?;
    }
    spend_guess(control, &transaction, flow.user).await?;
    let actor = Principal { kind: PrincipalKind::User, id: flow.user.0 };
    let mut change =
        Change::new(flow.wanted.unwrap_or(OPERATOR_TENANT), "identity.login_failed", "create", actor)
            .on("user", flow.user)
            .details(json!({ "step": "factor" }))
            .request(told.request_id);
    change.result = "failure".to_owned();
    change.code = Some(kind::CODE_WRONG.code.to_owned());
    transaction.commit(change).await?;
    Ok(())
}

async fn spend_guess(control: &Control, transaction: &Transaction, user: UserId) -> Result<(), Refusal> {
    let key = guesses_key(control, user);
    let _ = throttle::spend(transaction, &key, GUESSES, control.clock().now()).await?;
    Ok(())
}

/// Counts a wrong code that was shown outside a sign-in.
pub async fn count_guess(control: &Control, user: UserId) -> Result<(), Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a code that was wrong")).await?;
    spend_guess(control, &transaction, user).await?;
    transaction.commit_telemetry().await?;
    Ok(())
}

/// The counter of a person's wrong codes.
fn guesses_key(control: &Control, user: UserId) -> Vec<u8> {
    token::digest(control, "throttle/codes", &user.to_string())
}

/// Begins the enrolment of an authenticator program in a sign-in that asks for it.
///
/// # Errors
/// 409 `identity.factor_wrong_state` if it is not asked for; 410 `identity.flow_over`.
pub async fn begin_enrolment(control: &Control, told: &Told<'_>) -> Result<Enrolment, Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a factor that is enrolled")).await?;
    let flow = under_way(control, &transaction, told.flow).await?;
    asks_for(control, &transaction, &flow, ProofKind::Totp).await?;
    let account =
        people::find_user(&transaction, flow.user).await?.and_then(|row| row.email).unwrap_or_default();
    let enrolment = factor::enrol(control, &transaction, (flow.user, &account), "").await?;
    transaction.commit_telemetry().await?;
    Ok(enrolment)
}

/// The enrolment in a sign-in that waits for its first code; none if `factor` is none that does.
pub async fn begun_enrolment(
    control: &Control,
    told: &Told<'_>,
    factor: &str,
) -> Result<Option<Enrolment>, Refusal> {
    let Ok(id) = factor.parse::<FactorId>() else { return Ok(None) };
    let transaction = control.store.write(&Permit::for_system(None, "a factor that is enrolled")).await?;
    let flow = under_way(control, &transaction, told.flow).await?;
    asks_for(control, &transaction, &flow, ProofKind::Totp).await?;
    let account =
        people::find_user(&transaction, flow.user).await?.and_then(|row| row.email).unwrap_or_default();
    let enrolment = factor::begun(control, &transaction, (flow.user, &account), id).await?;
    transaction.rollback().await?;
    Ok(enrolment)
}

/// Refuses the enrolment of a factor that the sign-in does not ask for.
pub async fn asks_for(
    control: &Control,
    transaction: &Transaction,
    flow: &FlowRow,
    kind: ProofKind,
) -> Result<(), Refusal> {
    let owned = factor::owned(transaction, flow.user).await?;
    let tenant = flow.wanted.ok_or_else(not_asked)?;
    let in_force = policy::in_force(transaction, tenant).await?;
    let in_grace = in_force.in_grace(transaction, tenant, flow.user, control.clock().now()).await?;
    let follows = next(&in_force.policy, owned, &flow.evidence, in_grace);
    if follows != Next::Enrol || !in_force.policy.enrollable().contains(&kind) {
        return Err(not_asked());
    }
    // What is enrolled opens all tenants of the person, so it is not this one's policy alone that says what must be shown for it. A
    // sign-in is over before anything in it is stale.
    let all = policy::of_all(transaction, Some(flow.user)).await?;
    match lack(&flow.evidence, owned, policy::elsewhere(&all, tenant), i64::MIN) {
        None => Ok(()),
        Some(_) => {
            let words = "Add a factor on your account's page, signed in with something of your own.";
            Err(Refusal::new(&kind::ENTRY_REFUSED, words))
        }
    }
}

/// Says which tenant is meant.
///
/// # Errors
/// 403 `identity.entry_refused`; 410 `identity.flow_over`.
pub async fn choose_tenant(
    control: &Control,
    told: &Told<'_>,
    tenant: TenantId,
) -> Result<Progress, Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a tenant that is chosen")).await?;
    let mut flow = under_way(control, &transaction, told.flow).await?;
    if flow.wanted.is_some() {
        return Err(Refusal::new(&kind::FACTOR_WRONG_STATE, "The tenant is chosen already."));
    }
    flow.wanted = Some(tenant);
    advance(control, transaction, flow, told, Left::default()).await
}

/// The sign-in, held against others.
pub async fn under_way(control: &Control, transaction: &Transaction, text: &str) -> Result<FlowRow, Refusal> {
    let digest = flow::digest(control, text);
    queries::lock(transaction, &digest, control.clock().now()).await?.ok_or_else(flow::over)
}

fn wrong() -> Refusal {
    Refusal::new(&kind::CODE_WRONG, "The code is wrong.")
}

fn not_asked() -> Refusal {
    Refusal::new(&kind::FACTOR_WRONG_STATE, "No enrolment is asked for here.")
}
