//! Numbers that codes are sent to. One is in use at a time; it is kept sealed, and shown by its first and last digits.

use rowhouse_domain::id::{FactorId, UserId};
use rowhouse_domain::messages::Number;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;

use super::queries::{self, FactorRow};
use crate::Control;
use crate::tenancy::Seal;

const PURPOSE: &str = "identity/number/v1";

/// Stores a number that is not proven yet; an enrolment that was begun before is void.
pub async fn begin_number(
    control: &Control,
    transaction: &Transaction,
    user: UserId,
    number: &Number,
) -> Result<FactorId, Refusal> {
    let now = control.clock().now();
    let id = FactorId(control.entropy().uuid_v7(now.as_microsecond()));
    let bound = [id.to_string(), user.to_string()];
    let bound = [bound[0].as_str(), &bound[1]];
    let sealed = seal(control).seal(control.entropy(), &bound, number.as_str().as_bytes());
    queries::insert(transaction, (user, id), ("sms_code", &number.hint(), &sealed), now).await?;
    Ok(id)
}

/// The number that a person has in use.
///
/// # Errors
/// 503 if it cannot be read.
pub async fn number_of(
    control: &Control,
    transaction: &Transaction,
    user: UserId,
) -> Result<Option<Number>, Refusal> {
    let all = queries::active(transaction, user).await?;
    all.iter().find(|row| row.kind == "sms_code").map(|row| open(control, user, row)).transpose()
}

fn open(control: &Control, user: UserId, row: &FactorRow) -> Result<Number, Refusal> {
    let bound = [row.id.to_string(), user.to_string()];
    let bound = [bound[0].as_str(), &bound[1]];
    let plain = seal(control).open(&bound, row.sealed.as_deref().unwrap_or_default()).ok();
    let number = plain.and_then(|plain| Number::parse(&String::from_utf8(plain).ok()?).ok());
    number.ok_or_else(|| {
        Refusal::new(&kind::UNAVAILABLE, "The number cannot be read.")
            .private("a sealed number does not open")
    })
}

fn seal(control: &Control) -> Seal {
    Seal::new(&control.settings.sealing_key, PURPOSE)
}
