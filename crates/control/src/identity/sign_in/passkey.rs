//! Security keys and passkeys in a sign-in: a passkey begins it alone, either is a second factor behind a password, and one is enrolled
//! where the tenant asks for it.

use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{OPERATOR_TENANT, UserId};
use rowhouse_domain::identity::Evidence;
use rowhouse_domain::identity::webauthn::WebauthnFault;
use rowhouse_domain::messages::Address;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde_json::{Value, json};

use super::advance::{Left, advance};
use super::attempt::Told;
use super::factor_step::{asks_for, enrolled, guessed, under_way};
use super::flow;
use super::progress::Progress;
use super::queries::{self, FlowRow};
use crate::Control;
use crate::identity::factor::{self, CredentialBody, KeyKind, Proven, Whom};
use crate::identity::queries::{self as people, UserStatus};

/// What a browser is to ask an authenticator: whichever passkey of ours it has if the sign-in has had no proof, else one of the person's
/// keys. The first is the same for everybody and stores nothing.
///
/// # Errors
/// 410 `identity.flow_over`; 409 `identity.factor_wrong_state` for a person without a key.
pub async fn key_options(control: &Control, told: &Told<'_>) -> Result<Value, Refusal> {
    let opened = flow::open(control, told.flow)?;
    let digest = flow::digest(control, told.flow);
    let transaction = control.store.write(&Permit::for_system(None, "a key that is asked for")).await?;
    if queries::is_begun(&transaction, &digest).await? {
        let flow = under_way(control, &transaction, told.flow).await?;
        let options = factor::own_request_options(control, &transaction, flow.user, &digest).await?;
        transaction.commit_telemetry().await?;
        return Ok(options);
    }
    transaction.rollback().await?;
    let challenge = flow::challenge(control, told.flow, &opened).ok_or_else(flow::over)?;
    factor::request_options(control, &challenge, &[])
}

/// Takes the answer.
///
/// # Errors
/// 401 `identity.credentials_wrong` for everything that is against a first proof, 401 `identity.code_wrong` against a second; 410
/// `identity.flow_over`; 429 `identity.too_many_attempts`.
pub async fn show_key(
    control: &Control,
    told: &Told<'_>,
    sent: &CredentialBody,
) -> Result<Progress, Refusal> {
    flow::open(control, told.flow)?;
    let digest = flow::digest(control, told.flow);
    let transaction = control.store.read(&Permit::for_system(None, "a key that is shown")).await?;
    let is_begun = queries::is_begun(&transaction, &digest).await?;
    transaction.finish().await?;
    match is_begun {
        true => second(control, told, sent, &digest).await,
        false => first(control, told, sent, digest).await,
    }
}

async fn second(
    control: &Control,
    told: &Told<'_>,
    sent: &CredentialBody,
    digest: &[u8],
) -> Result<Progress, Refusal> {
    let challenge = factor::take_challenge(control, digest, "get").await?;
    let transaction = control.store.write(&Permit::for_system(None, "a key that is shown")).await?;
    let mut flow = under_way(control, &transaction, told.flow).await?;
    let whom = Whom::Person(flow.user);
    match factor::take(control, &transaction, whom, sent, challenge.as_deref()).await? {
        Ok(proven) => {
            flow.evidence = flow.evidence.clone().with(proven.kind, control.clock().now_s());
            advance(control, transaction, flow, told, Left::default()).await
        }
        Err(fault) => {
            transaction.rollback().await?;
            control.sign_in_sources.failed(told.source);
            factor::note(control, fault).await?;
            guessed(control, told).await?;
            Err(factor::wrong(fault.0))
        }
    }
}

async fn first(
    control: &Control,
    told: &Told<'_>,
    sent: &CredentialBody,
    digest: Vec<u8>,
) -> Result<Progress, Refusal> {
    let opened = flow::open(control, told.flow)?;
    control.sign_in_sources.admit(told.source, &opened.name, control.clock().now_us())?;
    let challenge = flow::challenge(control, told.flow, &opened).ok_or_else(flow::over)?;
    let transaction = control.store.write(&Permit::for_system(None, "a passkey that is shown")).await?;
    let proven = match factor::take(control, &transaction, Whom::Anybody, sent, Some(&challenge)).await? {
        Ok(proven) => is_welcome(&transaction, proven, &opened.name).await?,
        Err(fault) => Err(fault),
    };
    let proven = match proven {
        Ok(proven) => proven,
        Err(fault) => {
            transaction.rollback().await?;
            factor::note(control, fault).await?;
            return Err(failed(control, told, fault).await?);
        }
    };
    let now = control.clock().now();
    let flow = FlowRow {
        digest,
        user: proven.user,
        wanted: opened.tenant,
        evidence: Evidence::default().with(proven.kind, now.as_second()),
        guesses: 0,
        code_digest: None,
        code_until: None,
        // Nobody's: a passkey opens no lock of a password.
        throttle: Vec::new(),
        expires_at: opened.until,
    };
    if !queries::put_first(&transaction, &flow, (&told.source.ip(), &told.source.agent), now).await? {
        return Err(flow::over());
    }
    advance(control, transaction, flow, told, Left::default()).await
}

/// Whether the person may sign in, and is the one whose name was entered, if one was.
async fn is_welcome(
    transaction: &Transaction,
    proven: Proven,
    name: &str,
) -> Result<Result<Proven, (WebauthnFault, Option<UserId>)>, Refusal> {
    let user = people::find_user(transaction, proven.user).await?;
    let is_named = |email: &Option<String>| {
        let key = |text: &str| Address::parse(text).ok().map(|address| address.key());
        name.is_empty() || email.as_deref().and_then(key).is_some_and(|own| Some(own) == key(name))
    };
    let fits = user.filter(|user| user.status == UserStatus::Active && is_named(&user.email)).is_some();
    Ok(if fits { Ok(proven) } else { Err((WebauthnFault::WrongUser, Some(proven.user))) })
}

async fn failed(
    control: &Control,
    told: &Told<'_>,
    (fault, user): (WebauthnFault, Option<UserId>),
) -> Result<Refusal, Refusal> {
    control.sign_in_sources.failed(told.source);
    let transaction = control.store.write(&Permit::for_system(None, "a passkey that was wrong")).await?;
    let nobody = Principal { kind: PrincipalKind::Anonymous, id: uuid::Uuid::nil() };
    let mut change = Change::new(OPERATOR_TENANT, "identity.login_failed", "create", nobody);
    change.result = "failure".to_owned();
    change.code = Some(kind::CREDENTIALS_WRONG.code.to_owned());
    let change = match user {
        Some(user) => change.on("user", user),
        None => change,
    };
    let details = json!({ "step": "passkey", "fault": fault.as_str() });
    transaction.commit(change.details(details).request(told.request_id)).await?;
    Ok(Refusal::new(&kind::CREDENTIALS_WRONG, "The passkey is not right.").private(fault.as_str()))
}

/// Begins the enrolment of a key in a sign-in that asks for it.
///
/// # Errors
/// 409 `identity.factor_wrong_state` if it is not asked for; 410 `identity.flow_over`.
pub async fn begin_key_enrolment(
    control: &Control,
    told: &Told<'_>,
    kind: KeyKind,
) -> Result<Value, Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a key that is enrolled")).await?;
    let flow = under_way(control, &transaction, told.flow).await?;
    asks_for(control, &transaction, &flow, kind.proof()).await?;
    let user = people::find_user(&transaction, flow.user).await?.ok_or_else(flow::over)?;
    let options = factor::creation_options(control, &transaction, &user, (&flow.digest, kind)).await?;
    transaction.commit_telemetry().await?;
    Ok(options)
}

/// Enrols it, which is its first proof too.
///
/// # Errors
/// 401 `identity.code_wrong`; 409 `identity.factor_wrong_state`; 410 `identity.flow_over`.
pub async fn enrol_key(
    control: &Control,
    told: &Told<'_>,
    (kind, sent): (KeyKind, &CredentialBody),
) -> Result<Progress, Refusal> {
    let digest = flow::digest(control, told.flow);
    let challenge = factor::take_challenge(control, &digest, kind.as_str()).await?;
    let transaction = control.store.write(&Permit::for_system(None, "a key that is enrolled")).await?;
    let mut flow = under_way(control, &transaction, told.flow).await?;
    asks_for(control, &transaction, &flow, kind.proof()).await?;
    let whose = (flow.user, kind);
    let id = factor::register(control, &transaction, whose, (sent, ""), challenge.as_deref()).await?;
    let mut left = Left::default();
    if !factor::owned(&transaction, flow.user).await?.recovery_codes {
        left.recovery_codes = factor::make_codes(control, &transaction, flow.user).await?;
    }
    left.changes.push(enrolled(flow.user, id, kind.as_str()).request(told.request_id));
    flow.evidence = flow.evidence.clone().with(kind.proof(), control.clock().now_s());
    advance(control, transaction, flow, told, left).await
}
