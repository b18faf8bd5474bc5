//! A number of one's own, for codes by text message.

use rowhouse_domain::id::FactorId;
use rowhouse_domain::identity::ProofKind;
use rowhouse_domain::messages::Number;
use rowhouse_domain::refusal::{Refusal, kind};
use serde_json::json;

use super::own::{Whose, begin, entitled, shown};
use super::step_up::{guessed_wrong, sent_code};
use crate::Control;
use crate::identity::factor;
use crate::identity::sign_in::{self, Way};

/// Sends a code to a number, to prove that it is the person's. A number that is in use stays so until then.
///
/// # Errors
/// 401 `identity.step_up_required`; 409 `identity.factor_wrong_state` where no codes go; 422 for what is no number; 429
/// `identity.too_many_attempts`.
pub async fn add_number(
    control: &Control,
    whose: Whose,
    number: &str,
) -> Result<(FactorId, String), Refusal> {
    let number = Number::parse(number).map_err(|error| {
        let refusal = Refusal::new(&kind::INVALID, "The number is not well-formed.");
        refusal.field("/number", "malformed", error.to_string())
    })?;
    let transaction = begin(control).await?;
    let session = entitled(control, &transaction, whose).await?;
    let from = ((session.tenant, whose.user), whose.session);
    let id = sign_in::text_to_prove(control, &transaction, from, &number).await?;
    transaction.commit_telemetry().await?;
    Ok((id, number.hint()))
}

/// Proves it with the code that was sent; recovery codes, if the person has none. The code is good for one answer, right or wrong.
///
/// # Errors
/// 401 `identity.code_wrong`, 401 `identity.step_up_required`; 429 `identity.too_many_attempts`.
pub async fn confirm_number(
    control: &Control,
    whose: Whose,
    id: FactorId,
    code: &str,
) -> Result<Vec<String>, Refusal> {
    let transaction = begin(control).await?;
    sign_in::may_guess(control, &transaction, whose.user).await?;
    transaction.rollback().await?;
    let challenge = factor::take_challenge(control, whose.session.0.as_bytes(), "sms_enrol").await?;
    let transaction = begin(control).await?;
    let session = entitled(control, &transaction, whose).await?;
    let digest = sent_code(control, (Way::Text, id.0.as_bytes()), code, challenge);
    let now = control.clock().now();
    let (Some(digest), true) = (digest, factor::use_number(&transaction, (whose.user, id), now).await?)
    else {
        transaction.rollback().await?;
        return Err(guessed_wrong(control, whose).await?);
    };
    sign_in::text_proven(control, &transaction, whose.user, &digest).await?;
    let codes = match factor::owned(&transaction, whose.user).await?.recovery_codes {
        true => Vec::new(),
        false => factor::make_codes(control, &transaction, whose.user).await?,
    };
    shown(control, &transaction, session, ProofKind::SmsCode).await?;
    sign_in::told(control, &transaction, whose.user, "A number for codes by text message was added.").await?;
    let change = whose.change("identity.mfa_enabled", "create").on("factor", id);
    transaction.commit(change.details(json!({ "kind": "sms_code" }))).await?;
    Ok(codes)
}
