//! Changes of a person's own account. Each needs a fresh proof, is told in the log and mailed to the person.

use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{FactorId, OPERATOR_TENANT, RequestId, SessionId, UserId};
use rowhouse_domain::identity::{Lack, ProofKind, SignInPolicy, lack};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde_json::{Value, json};

use crate::Control;
use crate::identity::accept::{busy, pepper};
use crate::identity::factor::{self, CredentialBody, Enrolment, KeyKind};
use crate::identity::queries::{self as people, UserRow};
use crate::identity::session::{self, SessionRow, end_every};
use crate::identity::sign_in::{self, policy};

/// Who changes, in which session, by which request.
#[derive(Debug, Clone, Copy)]
pub struct Whose {
    pub user: UserId,
    pub session: SessionId,
    pub request_id: RequestId,
}

impl Whose {
    fn actor(self) -> Principal {
        Principal { kind: PrincipalKind::User, id: self.user.0 }
    }

    pub(in crate::identity) fn change(self, event: &str, action: &str) -> Change {
        Change::new(OPERATOR_TENANT, event, action, self.actor())
            .on("user", self.user)
            .request(self.request_id)
    }
}

pub(in crate::identity) async fn begin(control: &Control) -> Result<Transaction, Refusal> {
    Ok(control.store.write(&Permit::for_system(None, "a person's own account")).await?)
}

/// The session of who may change how they sign in; held against others.
///
/// # Errors
/// 401 `identity.step_up_required`, with what is to be shown: see [`lack`].
pub(in crate::identity) async fn entitled(
    control: &Control,
    transaction: &Transaction,
    whose: Whose,
) -> Result<SessionRow, Refusal> {
    let session = session::queries::lock(transaction, whose.session).await?;
    let session = session.filter(|own| own.user == whose.user);
    let session = session.ok_or_else(|| Refusal::new(&kind::SESSION_ENDED, "The session has ended."))?;
    // A token that was made before tokens said so is as much an application's.
    session.refuse_application()?;
    let owned = factor::owned(transaction, whose.user).await?;
    let all = policy::of_all(transaction, Some(whose.user)).await?;
    let minutes = all.iter().map(|(_, policy)| policy.step_up_min).min();
    let minutes = minutes.unwrap_or_else(|| SignInPolicy::default().step_up_min);
    let since = control.clock().now_s() - minutes * 60;
    let what = match lack(&session.evidence, owned, policy::elsewhere(&all, session.tenant), since) {
        None => return Ok(session),
        Some(Lack::Factor) => "your second factor",
        Some(Lack::MailedCode) => "a code that is mailed to you (`POST /v1/me/step_up/code`)",
        Some(Lack::Own) => {
            "something of your own, which a provider's word is not: your password, or a code that is mailed to you (`POST /v1/me/step_up/code`)"
        }
        Some(Lack::Fresh) => "who you are",
    };
    let detail = format!("Show {what}: a proof of the last {minutes} minutes is needed.");
    Err(Refusal::new(&kind::STEP_UP_REQUIRED, detail))
}

/// What was enrolled is shown thereby.
pub(super) async fn shown(
    control: &Control,
    transaction: &Transaction,
    mut session: SessionRow,
    kind: ProofKind,
) -> Result<(), Refusal> {
    let now = control.clock().now();
    let asked = policy::in_force(transaction, session.tenant).await?.policy;
    session.evidence = session.evidence.with(kind, now.as_second());
    session.assurance = i16::from(asked.assurance(&session.evidence));
    session.auth_time = now;
    session::queries::raise(transaction, &session, None).await?;
    Ok(())
}

/// Whether a mailed code is what the person is to show before anything is changed.
pub async fn wants_mailed_code(control: &Control, whose: Whose) -> Result<bool, Refusal> {
    let transaction = begin(control).await?;
    let owned = factor::owned(&transaction, whose.user).await?;
    transaction.rollback().await?;
    Ok(owned.address && !owned.any())
}

/// The person's own row.
pub async fn own_row(transaction: &Transaction, user: UserId) -> Result<UserRow, Refusal> {
    let row = people::find_user(transaction, user).await?;
    row.ok_or_else(|| Refusal::new(&kind::SESSION_ENDED, "The session has ended."))
}

/// Begins the enrolment of an authenticator program.
pub async fn add_factor(control: &Control, whose: Whose, label: &str) -> Result<Enrolment, Refusal> {
    let transaction = begin(control).await?;
    entitled(control, &transaction, whose).await?;
    let row = own_row(&transaction, whose.user).await?;
    let account = row.email.unwrap_or_default();
    let enrolment = factor::enrol(control, &transaction, (whose.user, &account), label).await?;
    // Until it is confirmed it is nothing yet.
    transaction.commit_telemetry().await?;
    Ok(enrolment)
}

/// The enrolment of an authenticator program that waits for its first code; none if it does not.
pub async fn begun_factor(
    control: &Control,
    whose: Whose,
    id: FactorId,
) -> Result<Option<Enrolment>, Refusal> {
    let transaction = begin(control).await?;
    entitled(control, &transaction, whose).await?;
    let account = own_row(&transaction, whose.user).await?.email.unwrap_or_default();
    let enrolment = factor::begun(control, &transaction, (whose.user, &account), id).await?;
    transaction.rollback().await?;
    Ok(enrolment)
}

/// Confirms it with its first code; recovery codes, if the person has none.
///
/// # Errors
/// 401 `identity.code_wrong`, 401 `identity.code_used`; 404.
pub async fn confirm_factor(
    control: &Control,
    whose: Whose,
    id: FactorId,
    code: &str,
) -> Result<Vec<String>, Refusal> {
    let transaction = begin(control).await?;
    let session = entitled(control, &transaction, whose).await?;
    factor::confirm(control, &transaction, (whose.user, id), code).await?;
    let has_codes = factor::owned(&transaction, whose.user).await?.recovery_codes;
    let codes = match has_codes {
        true => Vec::new(),
        false => factor::make_codes(control, &transaction, whose.user).await?,
    };
    shown(control, &transaction, session, ProofKind::Totp).await?;
    sign_in::told(control, &transaction, whose.user, "An authenticator program was added.").await?;
    let change =
        whose.change("identity.mfa_enabled", "create").on("factor", id).details(json!({ "kind": "totp" }));
    transaction.commit(change).await?;
    Ok(codes)
}

fn bound(whose: Whose) -> Vec<u8> {
    whose.session.0.as_bytes().to_vec()
}

/// What a browser is asked, to enrol a security key or passkey.
pub async fn key_options(control: &Control, whose: Whose, kind: KeyKind) -> Result<Value, Refusal> {
    let transaction = begin(control).await?;
    entitled(control, &transaction, whose).await?;
    let row = own_row(&transaction, whose.user).await?;
    let options = factor::creation_options(control, &transaction, &row, (&bound(whose), kind)).await?;
    transaction.commit_telemetry().await?;
    Ok(options)
}

/// Enrols it; recovery codes, if the person has none.
///
/// # Errors
/// 401 `identity.code_wrong`; 409 `identity.factor_wrong_state` for one that is enrolled already.
pub async fn add_key(
    control: &Control,
    whose: Whose,
    kind: KeyKind,
    (sent, label): (&CredentialBody, &str),
) -> Result<(FactorId, Vec<String>), Refusal> {
    let challenge = factor::take_challenge(control, &bound(whose), kind.as_str()).await?;
    let transaction = begin(control).await?;
    let session = entitled(control, &transaction, whose).await?;
    let owner = (whose.user, kind);
    let id = factor::register(control, &transaction, owner, (sent, label), challenge.as_deref()).await?;
    let codes = match factor::owned(&transaction, whose.user).await?.recovery_codes {
        true => Vec::new(),
        false => factor::make_codes(control, &transaction, whose.user).await?,
    };
    shown(control, &transaction, session, kind.proof()).await?;
    let what = if kind == KeyKind::Passkey { "A passkey was added." } else { "A security key was added." };
    sign_in::told(control, &transaction, whose.user, what).await?;
    let change = whose.change("identity.mfa_enabled", "create").on("factor", id);
    transaction.commit(change.details(json!({ "kind": kind.as_str() }))).await?;
    Ok((id, codes))
}

/// What a browser is asked, to show a key once more.
pub async fn step_up_options(control: &Control, whose: Whose) -> Result<Value, Refusal> {
    let transaction = begin(control).await?;
    let options = factor::own_request_options(control, &transaction, whose.user, &bound(whose)).await?;
    transaction.commit_telemetry().await?;
    Ok(options)
}

/// Takes a factor away; the sessions it proved end, but the present one.
///
/// # Errors
/// 409 `identity.last_factor` for the last that a tenant of the person asks for; 404.
pub async fn remove_factor(control: &Control, whose: Whose, id: FactorId) -> Result<(), Refusal> {
    let transaction = begin(control).await?;
    session::forget_flows(&transaction, whose.user).await?;
    entitled(control, &transaction, whose).await?;
    let all = factor::active(&transaction, whose.user).await?;
    let was_active = all.iter().any(|row| row.id == id);
    if !factor::revoke(&transaction, whose.user, id).await? {
        return Err(Refusal::new(&kind::NOT_FOUND, "There is no such factor."));
    }
    if was_active {
        refuse_last(&transaction, whose.user).await?;
    }
    let mut changes =
        end_every(&transaction, whose.user, Some(whose.session), "factor_removed", whose.actor()).await?;
    sign_in::told(control, &transaction, whose.user, "A second factor was taken away.").await?;
    changes.push(whose.change("identity.mfa_disabled", "delete").on("factor", id).details(json!({})));
    transaction.commit_all(changes).await?;
    Ok(())
}

/// Refuses if what is left is less than a tenant asks for.
async fn refuse_last(transaction: &Transaction, user: UserId) -> Result<(), Refusal> {
    let owned = factor::owned(transaction, user).await?;
    for (_, asked) in policy::of_all(transaction, Some(user)).await? {
        if asked.needed() > 1 && !owned.enrolled(&asked) {
            return Err(Refusal::new(
                &kind::LAST_FACTOR,
                "A tenant that you belong to asks for a second factor.",
            ));
        }
    }
    Ok(())
}

/// New recovery codes; those before are void.
///
/// # Errors
/// 409 `identity.factor_wrong_state` without a factor that they could stand in for.
pub async fn new_codes(control: &Control, whose: Whose) -> Result<Vec<String>, Refusal> {
    let transaction = begin(control).await?;
    entitled(control, &transaction, whose).await?;
    if !factor::owned(&transaction, whose.user).await?.any() {
        return Err(Refusal::new(&kind::FACTOR_WRONG_STATE, "Enrol a second factor first."));
    }
    let codes = factor::make_codes(control, &transaction, whose.user).await?;
    sign_in::told(control, &transaction, whose.user, "New recovery codes were made.").await?;
    let change = whose.change("identity.user_changed", "update").details(json!({ "what": "recovery_codes" }));
    transaction.commit(change).await?;
    Ok(codes)
}

/// Changes the password: the present one is shown, and a second factor by who owns one; other sessions end.
///
/// # Errors
/// 401 `identity.credentials_wrong`, 401 `identity.step_up_required`; 422 `identity.password_weak`; 429 `identity.too_many_attempts`.
pub async fn change_password(
    control: &Control,
    whose: Whose,
    (present, password): (&str, &str),
) -> Result<(), Refusal> {
    let transaction = begin(control).await?;
    if factor::owned(&transaction, whose.user).await?.any() {
        entitled(control, &transaction, whose).await?;
    }
    transaction.rollback().await?;
    check_password(control, whose.user, present).await?;
    let transaction = control.store.read(&Permit::for_system(None, "a password that is changed")).await?;
    let row = own_row(&transaction, whose.user).await?;
    let fit = sign_in::fit(control, &transaction, &row, password).await;
    transaction.finish().await?;
    let hashed = fit?;
    let transaction = begin(control).await?;
    let changes =
        sign_in::set(control, &transaction, &row, (&hashed, Some(whose.session)), whose.request_id).await?;
    transaction.commit_all(changes).await?;
    Ok(())
}

/// Whether this is the person's password; tries are counted with those of signing in.
///
/// # Errors
/// 401 `identity.credentials_wrong`, also while it is locked.
pub async fn check_password(control: &Control, user: UserId, password: &str) -> Result<(), Refusal> {
    let wrong = || Refusal::new(&kind::CREDENTIALS_WRONG, "The password is wrong.");
    if password.len() > 1_024 {
        return Err(wrong());
    }
    let transaction = begin(control).await?;
    let row = own_row(&transaction, user).await?;
    let key = sign_in::name_key(control, row.email.as_deref().unwrap_or_default());
    let stored = sign_in::counted_password(&transaction, user, &key, control.clock().now()).await?;
    transaction.commit_telemetry().await?;
    if !control.hashing.verify(&pepper(control), stored.as_ref(), password).await.map_err(busy)? {
        return Err(wrong());
    }
    let transaction = begin(control).await?;
    sign_in::cleared(&transaction, &key).await?;
    transaction.commit_telemetry().await?;
    Ok(())
}
