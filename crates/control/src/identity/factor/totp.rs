//! Authenticator programs (RFC 6238).

use qrcode::QrCode;
use qrcode::render::svg;
use rowhouse_domain::id::{FactorId, UserId};
use rowhouse_domain::identity::{TotpSecret, totp_match};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;

use super::queries::{self, FactorRow};
use crate::Control;
use crate::tenancy::Seal;

const PURPOSE: &str = "identity/totp/v1";
const LABEL_MAX: usize = 60;

/// What a person needs to set their program up; told once.
#[derive(Debug)]
pub struct Enrolment {
    pub factor: FactorId,
    /// Base 32.
    pub secret: String,
    /// `otpauth://`, for programs.
    pub uri: String,
    /// The same as a picture.
    pub qr_svg: String,
}

/// Begins an enrolment; one that was begun before and not confirmed is void.
///
/// # Errors
/// 422 for a label that is too long.
pub async fn enrol(
    control: &Control,
    transaction: &Transaction,
    (user, account): (UserId, &str),
    label: &str,
) -> Result<Enrolment, Refusal> {
    let label = label.trim();
    if label.chars().count() > LABEL_MAX || label.chars().any(char::is_control) {
        let refusal = Refusal::new(&kind::INVALID, "The label is not well-formed.");
        return Err(refusal.field("/label", "malformed", "at most 60 characters"));
    }
    let now = control.clock().now();
    let id = FactorId(control.entropy().uuid_v7(now.as_microsecond()));
    let secret = TotpSecret::new(control.entropy().bytes());
    let sealed = seal(control).seal(control.entropy(), &[&id.to_string(), &user.to_string()], secret.bytes());
    let label = if label.is_empty() { "Authenticator" } else { label };
    queries::insert(transaction, (user, id), ("totp", label, &sealed), now).await?;
    shown(control, id, account, &secret)
}

fn shown(
    control: &Control,
    factor: FactorId,
    account: &str,
    secret: &TotpSecret,
) -> Result<Enrolment, Refusal> {
    let uri = secret.uri(control.messages.brand(), account);
    let code =
        QrCode::new(&uri).map_err(|_| Refusal::new(&kind::INTERNAL, "The picture could not be drawn."))?;
    let qr_svg = code.render::<svg::Color<'_>>().min_dimensions(220, 220).build();
    Ok(Enrolment { factor, secret: secret.text(), uri, qr_svg })
}

/// An enrolment that was begun and waits for its first code, for who has mistyped it; none if there is no such one.
///
/// # Errors
/// 503 for a secret that cannot be read; and if the database fails.
pub async fn begun(
    control: &Control,
    transaction: &Transaction,
    (user, account): (UserId, &str),
    id: FactorId,
) -> Result<Option<Enrolment>, Refusal> {
    match queries::find(transaction, (user, id), ("totp", "pending")).await? {
        Some(pending) => shown(control, id, account, &open(control, user, &pending)?).map(Some),
        None => Ok(None),
    }
}

/// Confirms an enrolment with its first code, which is used up by it.
///
/// # Errors
/// 404 for one that was not begun; 401 `identity.code_wrong`.
pub async fn confirm(
    control: &Control,
    transaction: &Transaction,
    (user, id): (UserId, FactorId),
    code: &str,
) -> Result<(), Refusal> {
    let pending = queries::find(transaction, (user, id), ("totp", "pending")).await?;
    let pending = pending.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such enrolment."))?;
    take(control, transaction, (user, &pending), code, 1).await
}

/// Takes a code of a person's program.
///
/// # Errors
/// 401 `identity.code_wrong`, 401 `identity.code_used`.
pub async fn take_code(
    control: &Control,
    transaction: &Transaction,
    (user, id): (UserId, FactorId),
    (code, around): (&str, i64),
) -> Result<(), Refusal> {
    let active = queries::find(transaction, (user, id), ("totp", "active")).await?.ok_or_else(wrong)?;
    take(control, transaction, (user, &active), code, around).await
}

async fn take(
    control: &Control,
    transaction: &Transaction,
    (user, factor): (UserId, &FactorRow),
    code: &str,
    around: i64,
) -> Result<(), Refusal> {
    let now = control.clock().now();
    let secret = open(control, user, factor)?;
    let Some(step) = totp_match(&secret, code, now.as_second(), around, factor.last_step) else {
        let was_right = totp_match(&secret, code, now.as_second(), around, 0).is_some();
        return Err(if was_right { used() } else { wrong() });
    };
    match queries::take_step(transaction, (user, factor.id), (&factor.state, step), now).await? {
        true => Ok(()),
        // Somebody else was quicker with the same code.
        false => Err(used()),
    }
}

fn open(control: &Control, user: UserId, factor: &FactorRow) -> Result<TotpSecret, Refusal> {
    let sealed = factor.sealed.as_deref().unwrap_or_default();
    let plain = seal(control).open(&[&factor.id.to_string(), &user.to_string()], sealed).ok();
    let secret: Option<[u8; 20]> = plain.and_then(|plain| plain.try_into().ok());
    secret.map(TotpSecret::new).ok_or_else(|| {
        Refusal::new(&kind::UNAVAILABLE, "The factor cannot be read.")
            .private("a sealed secret does not open")
    })
}

fn seal(control: &Control) -> Seal {
    Seal::new(&control.settings.sealing_key, PURPOSE)
}

fn wrong() -> Refusal {
    Refusal::new(&kind::CODE_WRONG, "The code is wrong.")
}

fn used() -> Refusal {
    Refusal::new(&kind::CODE_USED, "The code was used already.")
}
