//! Showing once more who one is: the session is proven anew, with another secret, and at least as strongly as it was.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{FactorId, SessionId};
use rowhouse_domain::identity::ProofKind;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;
use subtle::ConstantTimeEq;

use super::own::{Whose, check_password};
use crate::Control;
use crate::identity::factor::{self, CredentialBody, Whom};
use crate::identity::session::{self, SessionRow};
use crate::identity::sign_in::{self, Way, policy};
use crate::identity::token;

/// What is shown.
#[derive(Debug)]
pub enum Shown<'a> {
    Password(&'a str),
    /// A code of an authenticator program.
    Code(FactorId, &'a str),
    /// A recovery code.
    Recovery(&'a str),
    /// A code that was mailed for this session.
    Mailed(&'a str),
    /// A code that was sent as a text for this session.
    Texted(&'a str),
    /// The answer of a security key or passkey.
    Key(&'a CredentialBody),
}

/// Raises the session; for a browser another cookie, else none.
///
/// # Errors
/// 401 for what is wrong; 409 `identity.factor_wrong_state` if a password or a mailed code is less than what the person owns; 401
/// `identity.session_ended`.
pub async fn step_up(
    control: &Control,
    whose: Whose,
    shown: Shown<'_>,
) -> Result<(SessionRow, Option<String>), Refusal> {
    if let Shown::Password(password) = shown {
        check_password(control, whose.user, password).await?;
    }
    let challenge = match shown {
        Shown::Key(_) => factor::take_challenge(control, whose.session.0.as_bytes(), "get").await?,
        Shown::Mailed(_) => factor::take_challenge(control, whose.session.0.as_bytes(), "email_code").await?,
        Shown::Texted(_) => factor::take_challenge(control, whose.session.0.as_bytes(), "sms_code").await?,
        Shown::Password(_) | Shown::Code(..) | Shown::Recovery(_) => None,
    };
    let transaction = control.store.write(&Permit::for_system(None, "a session that is raised")).await?;
    sign_in::may_guess(control, &transaction, whose.user).await?;
    let session = session::queries::lock(&transaction, whose.session).await?;
    let now = control.clock().now();
    let session = session.filter(|own| own.user == whose.user && !own.is_over(now));
    let mut session = session.ok_or_else(|| Refusal::new(&kind::SESSION_ENDED, "The session has ended."))?;
    session.refuse_application()?;
    let asked = policy::in_force(&transaction, session.tenant).await?.policy;
    let kind = match shown {
        Shown::Password(_) => {
            refuse_less(&transaction, whose).await?;
            ProofKind::Password
        }
        Shown::Mailed(code) => {
            refuse_less(&transaction, whose).await?;
            if sent_code(control, (Way::Mail, whose.session.0.as_bytes()), code, challenge).is_none() {
                transaction.rollback().await?;
                return Err(guessed_wrong(control, whose).await?);
            }
            ProofKind::EmailCode
        }
        Shown::Texted(code) => {
            match sent_code(control, (Way::Text, whose.session.0.as_bytes()), code, challenge) {
                Some(digest) => sign_in::text_proven(control, &transaction, whose.user, &digest).await?,
                None => {
                    transaction.rollback().await?;
                    return Err(guessed_wrong(control, whose).await?);
                }
            }
            ProofKind::SmsCode
        }
        Shown::Recovery(code) => {
            if let Err(refusal) = sign_in::take_recovery(control, &transaction, whose.user, code).await {
                transaction.rollback().await?;
                sign_in::count_guess(control, whose.user).await?;
                return Err(refusal);
            }
            ProofKind::RecoveryCode
        }
        Shown::Code(id, code) => {
            let taken =
                factor::take_code(control, &transaction, (whose.user, id), (code, asked.totp_steps)).await;
            if let Err(refusal) = taken {
                transaction.rollback().await?;
                sign_in::count_guess(control, whose.user).await?;
                return Err(refusal);
            }
            ProofKind::Totp
        }
        Shown::Key(sent) => {
            let whom = Whom::Person(whose.user);
            match factor::take(control, &transaction, whom, sent, challenge.as_deref()).await? {
                Ok(proven) => proven.kind,
                Err(fault) => {
                    transaction.rollback().await?;
                    factor::note(control, fault).await?;
                    sign_in::count_guess(control, whose.user).await?;
                    return Err(factor::wrong(fault.0));
                }
            }
        }
    };
    session.evidence = session.evidence.with(kind, now.as_second());
    session.assurance = i16::from(asked.assurance(&session.evidence));
    session.auth_time = now;
    let cookie = session.by_cookie.then(|| token::make(control, session::COOKIE));
    let digest = cookie.as_ref().map(|(_, digest)| digest.as_slice());
    session::queries::raise(&transaction, &session, digest).await?;
    transaction.commit_telemetry().await?;
    Ok((session, cookie.map(|(text, _)| text)))
}

/// The hash that was kept, if it is that of the code.
pub fn sent_code(
    control: &Control,
    (way, bound): (Way, &[u8]),
    code: &str,
    kept: Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let digits: String = code.chars().filter(|c| !c.is_whitespace()).take(16).collect();
    let sent = sign_in::code_digest(control, way, bound, &digits);
    kept.filter(|kept| bool::from(kept.ct_eq(&sent)))
}

/// Counts a wrong code; what is told.
pub async fn guessed_wrong(control: &Control, whose: Whose) -> Result<Refusal, Refusal> {
    sign_in::count_guess(control, whose.user).await?;
    Ok(Refusal::new(&kind::CODE_WRONG, "The code is wrong."))
}

/// Refuses what proves less than the second factor that the person owns.
async fn refuse_less(transaction: &Transaction, whose: Whose) -> Result<(), Refusal> {
    match factor::owned(transaction, whose.user).await?.any() {
        true => Err(Refusal::new(&kind::FACTOR_WRONG_STATE, "You have a second factor: show that.")),
        false => Ok(()),
    }
}

/// A new access token of a session that was raised.
pub async fn token_of(
    control: &Control,
    id: SessionId,
    session: &SessionRow,
) -> Result<(String, i64), Refusal> {
    debug_assert_eq!(id, session.id);
    let transaction = control.store.read(&Permit::for_system(None, "a token after a step up")).await?;
    let ring = session::ring(control, &transaction).await?;
    transaction.finish().await?;
    Ok(session::access_token(control, &ring, session))
}
