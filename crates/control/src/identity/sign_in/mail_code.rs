//! Codes by e-mail: six digits, for one sign-in, ten minutes; a new one voids the one before.

use jiff::SignedDuration;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OPERATOR_TENANT, SessionId, TenantId, UserId};
use rowhouse_domain::messages::{Address, template};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;

use super::attempt::Told;
use super::factor_step::under_way;
use super::queries;
use super::throttle::{self, Window};
use crate::Control;
use crate::identity::{factor, queries as people, token};
use crate::messages::{NewMessage, To, queue};

pub(super) const LIFE: SignedDuration = SignedDuration::from_mins(10);
/// To one address, whatever tenants ask for it.
pub(super) const PACE: Window =
    Window { most: 5, within: SignedDuration::from_hours(1), apart: SignedDuration::from_secs(30) };

/// Mails a code.
///
/// # Errors
/// 410 `identity.flow_over`; 429 `identity.too_many_attempts` for one within 30 seconds, or more than five an hour.
pub async fn mail_code(control: &Control, told: &Told<'_>) -> Result<(), Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a code that is mailed")).await?;
    let mut flow = under_way(control, &transaction, told.flow).await?;
    let code = send(control, &transaction, flow.user, flow.wanted.unwrap_or(OPERATOR_TENANT)).await?;
    flow.code_digest = Some(code_digest(control, Way::Mail, &flow.digest, &code));
    flow.code_until = Some(control.clock().now() + LIFE);
    queries::update(&transaction, &flow).await?;
    transaction.commit_telemetry().await?;
    Ok(())
}

/// Mails a code to who is signed in, to show once more who they are. It is good in that session for one answer, right or wrong.
///
/// # Errors
/// 409 `identity.factor_wrong_state` without an address that is proven, and for who has a second factor, for which a mailed code does not
/// stand in; 429 `identity.too_many_attempts`.
pub async fn mail_own_code(
    control: &Control,
    (tenant, user): (TenantId, UserId),
    session: SessionId,
) -> Result<(), Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a code that is mailed")).await?;
    if factor::owned(&transaction, user).await?.any() {
        let detail = "A mailed code is less than the second factor that you have: show that, or a recovery code (`POST /v1/me/step_up`).";
        return Err(Refusal::new(&kind::FACTOR_WRONG_STATE, detail));
    }
    let code = send(control, &transaction, user, tenant).await?;
    let bound = session.0.as_bytes();
    let until = control.clock().now() + LIFE;
    let digest = code_digest(control, Way::Mail, bound, &code);
    factor::put_challenge(&transaction, (bound, "email_code"), &digest, until).await?;
    transaction.commit_telemetry().await?;
    Ok(())
}

/// Mails a new code to the proven address of a person.
async fn send(
    control: &Control,
    transaction: &Transaction,
    user: UserId,
    tenant: TenantId,
) -> Result<String, Refusal> {
    let now = control.clock().now();
    let found = people::find_user(transaction, user).await?.filter(|user| user.email_verified_at.is_some());
    let email = found.and_then(|user| user.email).and_then(|email| Address::parse(&email).ok());
    let email = email
        .ok_or_else(|| Refusal::new(&kind::FACTOR_WRONG_STATE, "There is no address that is proven."))?;
    let paced = token::digest(control, "throttle/mail", &email.key());
    if let Err(seconds) = throttle::spend(transaction, &paced, PACE, now).await? {
        let refusal = Refusal::new(&kind::TOO_MANY_ATTEMPTS, "A code was sent a moment ago.");
        return Err(refusal.retry_after(u32::try_from(seconds).unwrap_or(3_600)));
    }
    let code = six_digits(control);
    let key = format!("{user}/{}", control.entropy().uuid_v7(now.as_microsecond()));
    let new = NewMessage::new(&template::EMAIL_CODE, tenant, To::Address(email), key)
        .value("code", &code)
        .value("expires", now + LIFE)
        .useless_after(now + LIFE);
    queue(control, transaction, new).await?;
    Ok(code)
}

/// How a code reaches its person: one that came one way does not prove the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Mail,
    Text,
}

/// The hash of a code in one sign-in.
pub fn code_digest(control: &Control, way: Way, flow: &[u8], code: &str) -> Vec<u8> {
    let flow: String = flow.iter().map(|byte| format!("{byte:02x}")).collect();
    let purpose = match way {
        Way::Mail => "email_code",
        Way::Text => "sms_code",
    };
    token::digest(control, purpose, &format!("{flow}/{code}"))
}

/// Each code as likely as the other.
pub(super) fn six_digits(control: &Control) -> String {
    loop {
        let drawn = u32::from_be_bytes(control.entropy().bytes());
        // The largest multiple of a million below 2^32.
        if drawn < 4_294_000_000 {
            return format!("{:06}", drawn % 1_000_000);
        }
    }
}
