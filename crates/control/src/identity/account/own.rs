//! Changes of a person's own account. Each needs a fresh proof, is told in the log and mailed to the person.

use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{FactorId, OPERATOR_TENANT, RequestId, SessionId, UserId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde_json::{Value, json};

use crate::Control;
use crate::identity::accept::{busy, pepper};
use crate::identity::factor::{self, CredentialBody, Enrolment, KeyKind};
use crate::identity::queries::{self as people, UserRow};
use crate::identity::session::{self, end_every};
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

    fn change(self, event: &str, action: &str) -> Change {
        Change::new(OPERATOR_TENANT, event, action, self.actor())
            .on("user", self.user)
            .request(self.request_id)
    }
}

async fn begin(control: &Control) -> Result<Transaction, Refusal> {
    Ok(control.store.write(&Permit::for_system(None, "a person's own account")).await?)
}

/// Refuses who has shown nothing but a provider's word, and belongs to other tenants than that provider's: what they own opens those too.
async fn refuse_borrowed(transaction: &Transaction, whose: Whose) -> Result<(), Refusal> {
    let session = session::queries::lock(transaction, whose.session).await?;
    let session = session.ok_or_else(|| Refusal::new(&kind::SESSION_ENDED, "The session has ended."))?;
    if session.evidence.has_own() {
        return Ok(());
    }
    let tenants = sign_in::tenants_of(transaction, whose.user).await?;
    match tenants.iter().all(|tenant| *tenant == session.tenant) {
        true => Ok(()),
        false => Err(Refusal::new(
            &kind::STEP_UP_REQUIRED,
            "Show something of your own: you belong to other organisations too.",
        )),
    }
}

/// The person's own row.
pub async fn own_row(transaction: &Transaction, user: UserId) -> Result<UserRow, Refusal> {
    let row = people::find_user(transaction, user).await?;
    row.ok_or_else(|| Refusal::new(&kind::SESSION_ENDED, "The session has ended."))
}

/// Begins the enrolment of an authenticator program.
pub async fn add_factor(control: &Control, whose: Whose, label: &str) -> Result<Enrolment, Refusal> {
    let transaction = begin(control).await?;
    refuse_borrowed(&transaction, whose).await?;
    let row = own_row(&transaction, whose.user).await?;
    let account = row.email.unwrap_or_default();
    let enrolment = factor::enrol(control, &transaction, (whose.user, &account), label).await?;
    // Until it is confirmed it is nothing yet.
    transaction.commit_telemetry().await?;
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
    refuse_borrowed(&transaction, whose).await?;
    factor::confirm(control, &transaction, (whose.user, id), code).await?;
    let has_codes = factor::owned(&transaction, whose.user).await?.recovery_codes;
    let codes = match has_codes {
        true => Vec::new(),
        false => factor::make_codes(control, &transaction, whose.user).await?,
    };
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
    refuse_borrowed(&transaction, whose).await?;
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
    refuse_borrowed(&transaction, whose).await?;
    let owner = (whose.user, kind);
    let id = factor::register(control, &transaction, owner, (sent, label), challenge.as_deref()).await?;
    let codes = match factor::owned(&transaction, whose.user).await?.recovery_codes {
        true => Vec::new(),
        false => factor::make_codes(control, &transaction, whose.user).await?,
    };
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
    refuse_borrowed(&transaction, whose).await?;
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
    for tenant in sign_in::tenants_of(transaction, user).await? {
        let asked = policy::in_force(transaction, tenant).await?.policy;
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
    refuse_borrowed(&transaction, whose).await?;
    if !factor::owned(&transaction, whose.user).await?.any() {
        return Err(Refusal::new(&kind::FACTOR_WRONG_STATE, "Enrol a second factor first."));
    }
    let codes = factor::make_codes(control, &transaction, whose.user).await?;
    sign_in::told(control, &transaction, whose.user, "New recovery codes were made.").await?;
    let change = whose.change("identity.user_changed", "update").details(json!({ "what": "recovery_codes" }));
    transaction.commit(change).await?;
    Ok(codes)
}

/// Changes the password: the present one is shown, other sessions end.
///
/// # Errors
/// 401 `identity.credentials_wrong`; 422 `identity.password_weak`; 429 `identity.too_many_attempts`.
pub async fn change_password(
    control: &Control,
    whose: Whose,
    (present, password): (&str, &str),
) -> Result<(), Refusal> {
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
