//! Security keys and passkeys: what browsers are asked, and what their answers do. The rules are the domain's.
//!
//! A challenge is taken in a transaction of its own before its answer is looked at, so that each has one answer, right or wrong.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{FactorId, OPERATOR_TENANT, UserId};
use rowhouse_domain::identity::ProofKind;
use rowhouse_domain::identity::webauthn::cose::Algorithm;
use rowhouse_domain::identity::webauthn::{
    Assertion, CHALLENGE_LIFE_S, Expected, Known, Registration, RelyingParty, WebauthnFault,
    verify_assertion, verify_registration,
};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde_json::{Value, json};

use super::credential_queries::{self as rows, CredentialRow};
use super::credential_wire::CredentialBody;
use crate::Control;
use crate::identity::queries::UserRow;

const LABEL_MAX: usize = 60;
/// Credentials that a person may have.
const MOST: usize = 20;

/// A kind of credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Beside a password.
    SecurityKey,
    /// Alone: found by the authenticator itself, and given out only to the person.
    Passkey,
}

impl KeyKind {
    pub fn as_str(self) -> &'static str {
        match self {
            KeyKind::SecurityKey => "security_key",
            KeyKind::Passkey => "passkey",
        }
    }

    pub fn proof(self) -> ProofKind {
        match self {
            KeyKind::SecurityKey => ProofKind::SecurityKey,
            KeyKind::Passkey => ProofKind::Passkey,
        }
    }
}

/// What an answer proves.
#[derive(Debug, Clone, Copy)]
pub struct Proven {
    pub user: UserId,
    pub kind: ProofKind,
}

/// Who may answer.
#[derive(Debug, Clone, Copy)]
pub enum Whom {
    /// This person.
    Person(UserId),
    /// Whoever the credential's owner is, with a passkey that names them.
    Anybody,
}

/// Who we are to authenticators.
///
/// # Errors
/// 503 where the address of the sign-in pages has no host.
pub fn relying_party(control: &Control) -> Result<RelyingParty, Refusal> {
    RelyingParty::of(&control.settings.public_url).ok_or_else(|| {
        Refusal::new(&kind::UNAVAILABLE, "Keys are not set up here.").private("public_url has no host")
    })
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn descriptor(row: &CredentialRow) -> Value {
    json!({ "type": "public-key", "id": text(&row.id), "transports": row.transports })
}

/// What a browser is asked to enrol a credential (`PublicKeyCredentialCreationOptionsJSON`, §5.1.9).
///
/// # Errors
/// 409 `identity.factor_wrong_state` for more than twenty.
pub async fn creation_options(
    control: &Control,
    transaction: &Transaction,
    user: &UserRow,
    (bound, kind): (&[u8], KeyKind),
) -> Result<Value, Refusal> {
    let party = relying_party(control)?;
    let present = rows::of_user(transaction, user.id).await?;
    if present.len() >= MOST {
        return Err(Refusal::new(
            &kind::FACTOR_WRONG_STATE,
            "There are twenty keys already: take one away first.",
        ));
    }
    let challenge = give_challenge(control, transaction, (bound, kind.as_str())).await?;
    let email = user.email.clone().unwrap_or_default();
    let name = if user.full_name.is_empty() { &email } else { &user.full_name };
    let algorithms = Algorithm::ALL.map(|own| json!({ "type": "public-key", "alg": own.number() }));
    let is_passkey = kind == KeyKind::Passkey;
    Ok(json!({
        "rp": { "id": party.id, "name": control.messages.brand() },
        "user": { "id": text(user.id.0.as_bytes()), "name": email, "displayName": name },
        "challenge": text(&challenge),
        "pubKeyCredParams": algorithms,
        "timeout": CHALLENGE_LIFE_S * 1_000,
        "excludeCredentials": present.iter().map(descriptor).collect::<Vec<_>>(),
        "authenticatorSelection": {
            "residentKey": if is_passkey { "required" } else { "discouraged" },
            "requireResidentKey": is_passkey,
            "userVerification": if is_passkey { "required" } else { "discouraged" },
        },
        "attestation": "none",
    }))
}

/// What a browser is asked to sign in (`PublicKeyCredentialRequestOptionsJSON`, §5.1.10). Without `allowed` the person chooses among
/// the passkeys that the authenticator has for us.
pub fn request_options(
    control: &Control,
    challenge: &[u8],
    allowed: &[CredentialRow],
) -> Result<Value, Refusal> {
    let party = relying_party(control)?;
    // Of a passkey among them its verification is wanted, so that it counts as one.
    let verification = match allowed {
        [] => "required",
        _ if allowed.iter().any(|row| row.kind == "passkey") => "preferred",
        _ => "discouraged",
    };
    Ok(json!({
        "rpId": party.id,
        "challenge": text(challenge),
        "timeout": CHALLENGE_LIFE_S * 1_000,
        "allowCredentials": allowed.iter().map(descriptor).collect::<Vec<_>>(),
        "userVerification": verification,
    }))
}

/// The same for one person, bound to a sign-in or a session.
///
/// # Errors
/// 409 `identity.factor_wrong_state` without any.
pub async fn own_request_options(
    control: &Control,
    transaction: &Transaction,
    user: UserId,
    bound: &[u8],
) -> Result<Value, Refusal> {
    let allowed = rows::of_user(transaction, user).await?;
    if allowed.is_empty() {
        return Err(Refusal::new(&kind::FACTOR_WRONG_STATE, "There is no security key and no passkey."));
    }
    let challenge = give_challenge(control, transaction, (bound, "get")).await?;
    request_options(control, &challenge, &allowed)
}

async fn give_challenge(
    control: &Control,
    transaction: &Transaction,
    of: (&[u8], &str),
) -> Result<[u8; 32], Refusal> {
    let challenge: [u8; 32] = control.entropy().bytes();
    let until = control.clock().now() + SignedDuration::from_secs(CHALLENGE_LIFE_S);
    rows::put_challenge(transaction, of, &challenge, until).await?;
    Ok(challenge)
}

/// Takes the open challenge of a sign-in or a session; none if there is none, or not any more.
pub async fn take_challenge(
    control: &Control,
    bound: &[u8],
    purpose: &str,
) -> Result<Option<Vec<u8>>, Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a challenge that is answered")).await?;
    let taken = rows::take_challenge(&transaction, (bound, purpose), control.clock().now()).await?;
    transaction.commit_telemetry().await?;
    Ok(taken)
}

/// Enrols what answers `challenge`.
///
/// # Errors
/// 401 `identity.code_wrong` for everything that is wrong with it; 422 for the label; 409 `identity.factor_wrong_state` for one that is
/// enrolled already.
pub async fn register(
    control: &Control,
    transaction: &Transaction,
    (user, kind_of): (UserId, KeyKind),
    (sent, label): (&CredentialBody, &str),
    challenge: Option<&[u8]>,
) -> Result<FactorId, Refusal> {
    let label = label.trim();
    if label.chars().count() > LABEL_MAX || label.chars().any(char::is_control) {
        let refusal = Refusal::new(&kind::INVALID, "The label is not well-formed.");
        return Err(refusal.field("/label", "malformed", "at most 60 characters"));
    }
    let party = relying_party(control)?;
    let sent_parts = sent.registration().ok_or_else(|| wrong(WebauthnFault::Malformed))?;
    let registration =
        Registration { client_data: &sent_parts.client_data, attestation: &sent_parts.attestation };
    let challenge = challenge.ok_or_else(|| wrong(WebauthnFault::WrongChallenge))?;
    let made =
        verify_registration(registration, &party, challenge, kind_of == KeyKind::Passkey).map_err(wrong)?;
    if sent_parts.id != made.id {
        return Err(wrong(WebauthnFault::WrongCredential));
    }
    let now = control.clock().now();
    let id = FactorId(control.entropy().uuid_v7(now.as_microsecond()));
    let named = match (label.is_empty(), kind_of) {
        (false, _) => label,
        (true, KeyKind::Passkey) => "Passkey",
        (true, KeyKind::SecurityKey) => "Security key",
    };
    let what = (kind_of.as_str(), named);
    match rows::insert(transaction, (user, id), what, (&made, &sent_parts.transports), now).await? {
        true => Ok(id),
        false => Err(Refusal::new(&kind::FACTOR_WRONG_STATE, "This key is enrolled already.")),
    }
}

/// Takes an answer to `challenge`: whose it is, and what it proves. Nothing has changed if it is refused.
///
/// # Errors
/// What is wrong with it.
pub async fn take(
    control: &Control,
    transaction: &Transaction,
    whom: Whom,
    sent: &CredentialBody,
    challenge: Option<&[u8]>,
) -> Result<Result<Proven, (WebauthnFault, Option<UserId>)>, Refusal> {
    let party = relying_party(control)?;
    let Some(parts) = sent.assertion() else { return Ok(Err((WebauthnFault::Malformed, None))) };
    let Some(challenge) = challenge else { return Ok(Err((WebauthnFault::WrongChallenge, None))) };
    let found = rows::lock(transaction, &parts.id).await?;
    let fits = |row: &CredentialRow| match whom {
        Whom::Person(user) => row.user == user,
        Whom::Anybody => row.kind == "passkey",
    };
    let Some(row) = found.filter(fits) else { return Ok(Err((WebauthnFault::WrongCredential, None))) };
    let begins = matches!(whom, Whom::Anybody);
    let expected =
        Expected { challenge, user_handle: row.user.0.as_bytes(), names_user: begins, verification: begins };
    let known = Known {
        id: &row.id,
        key: &row.public_key,
        sign_count: u32::try_from(row.sign_count).unwrap_or(u32::MAX),
        backup_eligible: row.backup_eligible,
    };
    let assertion = Assertion {
        id: &parts.id,
        client_data: &parts.client_data,
        authenticator_data: &parts.authenticator_data,
        signature: &parts.signature,
        user_handle: parts.user_handle.as_deref(),
    };
    let asserted = match verify_assertion(assertion, &party, expected, known) {
        Ok(asserted) => asserted,
        Err(fault) => return Ok(Err((fault, Some(row.user)))),
    };
    let used = (asserted.sign_count, asserted.backed_up);
    rows::used(transaction, row.factor, used, control.clock().now()).await?;
    let is_passkey = row.kind == "passkey" && asserted.user_verified;
    let kind = if is_passkey { ProofKind::Passkey } else { ProofKind::SecurityKey };
    Ok(Ok(Proven { user: row.user, kind }))
}

/// Tells of a key that may have been copied, in a transaction of its own.
pub async fn note(control: &Control, (fault, user): (WebauthnFault, Option<UserId>)) -> Result<(), Refusal> {
    let (WebauthnFault::CounterBack, Some(user)) = (fault, user) else { return Ok(()) };
    let transaction =
        control.store.write(&Permit::for_system(None, "a key that may have been copied")).await?;
    let actor = Principal { kind: PrincipalKind::User, id: user.0 };
    let change = Change::new(OPERATOR_TENANT, "identity.key_counter_went_back", "update", actor);
    transaction.commit(change.on("user", user).details(json!({}))).await?;
    Ok(())
}

/// 401 `identity.code_wrong`; why is private.
pub fn wrong(fault: WebauthnFault) -> Refusal {
    Refusal::new(&kind::CODE_WRONG, "The answer of the key is not right. Try again.").private(fault.as_str())
}
