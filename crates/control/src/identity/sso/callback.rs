//! The answer of a provider.

use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{ConnectionId, RequestId, TenantId, UserId};
use rowhouse_domain::identity::issuer::{Expected, IdClaims, IdTokenFault, verify_id_token};
use rowhouse_domain::identity::{Evidence, ProofKind};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use super::attempt::{Attempt, LIFE, Purpose};
use super::connection::ConnectionRow;
use super::person::{self, Found, Said};
use super::provider::{self, plain, provider};
use super::queries;
use crate::Control;
use crate::identity::sign_in::{Begun, Progress, Source, Told, begin_proven};
use crate::identity::token;

const CODE_MAX: usize = 4_096;
/// How far the provider's clock may be behind ours when it says when it asked somebody, in seconds.
const LEEWAY_S: i64 = 60;

/// What came with the browser.
#[derive(Debug, Default, Deserialize)]
pub struct Answered {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    iss: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

/// How it comes.
#[derive(Debug)]
pub struct Came<'a> {
    pub connection: ConnectionId,
    /// The browser's cookie of the attempt.
    pub attempt: Option<&'a str>,
    /// Who is signed in in this browser, where, with a fresh proof of their own.
    pub present: Option<(TenantId, UserId)>,
    pub source: &'a Source,
    pub request_id: RequestId,
}

/// What became of it.
#[derive(Debug)]
pub enum Outcome {
    /// A sign-in that has its first proof: the text that goes on with it, and where it stands.
    SignIn(String, Progress),
    /// A test, and what it found.
    Tested(Value),
    /// The person is connected.
    Linked,
}

/// Takes it.
///
/// # Errors
/// 410 `identity.flow_over` for an answer that this browser did not ask for, or that was taken; 502 `identity.sso_provider`; 403
/// `identity.sso_refused`, `identity.entry_refused`; 429 `identity.too_many_attempts`.
pub async fn answered(control: &Control, came: &Came<'_>, answer: &Answered) -> Result<Outcome, Refusal> {
    control.sign_in_sources.admit(came.source, "", control.clock().now_us())?;
    let outcome = taken(control, came, answer).await;
    if outcome.is_err() {
        control.sign_in_sources.failed(came.source);
    }
    outcome
}

async fn taken(control: &Control, came: &Came<'_>, answer: &Answered) -> Result<Outcome, Refusal> {
    let attempt = came.attempt.and_then(|text| Attempt::open(control, text)).ok_or_else(not_asked)?;
    let is_state = bool::from(attempt.state.as_bytes().ct_eq(answer.state.as_bytes()));
    if attempt.connection != came.connection || !is_state {
        return Err(not_asked());
    }
    let row = look(control, &attempt, answer).await?;
    let row = provider::refreshed(control, row, false).await?;
    let outcome = match ask(control, row.clone(), &attempt, answer).await {
        Ok(said) => settle(control, came, (&row, &attempt), said).await,
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = &outcome {
        note(control, came, (&row, &attempt), refusal).await?;
    }
    outcome
}

fn not_asked() -> Refusal {
    Refusal::new(&kind::FLOW_OVER, "This browser has not asked for that, or too long ago. Begin anew.")
}

/// The connection, if it is the one that speaks. The answer is taken: no other try gets as far, on any replica.
async fn look(control: &Control, attempt: &Attempt, answer: &Answered) -> Result<ConnectionRow, Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a provider's answer")).await?;
    let row = queries::find(&transaction, attempt.connection).await?.ok_or_else(not_asked)?;
    let may_be_off = matches!(attempt.purpose, Purpose::Test { .. });
    if !row.is_active && !may_be_off {
        return Err(not_asked());
    }
    // Before anything is sent to anybody (RFC 9207 §2.4).
    match &answer.iss {
        Some(said) if *said != row.issuer => return Err(provider("The answer is of another provider.")),
        None if row.discovery.authorization_response_iss_parameter_supported => {
            return Err(provider("The answer does not say of which provider it is."));
        }
        _ => {}
    }
    let digest = token::digest(control, "sso/answer", &attempt.state);
    if !queries::take_answer(&transaction, &digest, attempt.began + LIFE + LIFE).await? {
        return Err(not_asked());
    }
    transaction.commit_telemetry().await?;
    if let Some(error) = &answer.error {
        return Err(provider(format!("The provider said `{}`.", plain(error))));
    }
    match (1..=CODE_MAX).contains(&answer.code.len()) {
        true => Ok(row),
        false => Err(provider("The provider sent no code.")),
    }
}

struct Proven {
    said: Said,
    evidence: Evidence,
    methods: Vec<String>,
}

/// Asks the provider who it is.
async fn ask(
    control: &Control,
    row: ConnectionRow,
    attempt: &Attempt,
    answer: &Answered,
) -> Result<Proven, Refusal> {
    let tokens = provider::tokens(control, &row, (&answer.code, &attempt.verifier)).await?;
    let access_token = tokens.access_token.as_deref();
    let claims = match believed(control, &row, attempt, (&tokens.id_token, access_token)) {
        Err(IdTokenFault::UnknownKey) => {
            let row = provider::refreshed(control, row.clone(), true).await?;
            believed(control, &row, attempt, (&tokens.id_token, access_token))
        }
        claims => claims,
    };
    let claims =
        claims.map_err(|fault| provider(format!("The provider's ID token is not taken: {fault}.")))?;
    let IdClaims { subject, auth_time, methods, mut all } = claims;
    let lacks = |name: &String| !all.contains_key(name);
    let wanted = ["email".to_owned()].into_iter().chain(row.role_claim.clone());
    if let (true, Some(access_token)) = (wanted.into_iter().any(|name| lacks(&name)), access_token) {
        let mut more = provider::more_about(control, &row, (&subject, access_token)).await?;
        if all.get("email").is_some_and(|own| more.get("email") != Some(own)) {
            // It is about another address.
            more.remove("email_verified");
        }
        for (name, value) in more {
            // What was signed stands.
            all.entry(name).or_insert(value);
        }
    }
    let now_s = control.clock().now_s();
    let is_again = matches!(attempt.purpose, Purpose::Link { .. });
    let began_s = attempt.began.as_second();
    if is_again && auth_time.is_none_or(|at| at < began_s - LEEWAY_S) {
        return Err(provider("The provider did not ask you again, or does not say so (`auth_time`)."));
    }
    let at = if is_again { now_s } else { auth_time.unwrap_or(now_s).min(now_s) };
    let is_mfa = row.proves_mfa && methods.iter().any(|own| own == "mfa" || own == "hwk");
    let kind = if is_mfa { ProofKind::SingleSignOnMfa } else { ProofKind::SingleSignOn };
    let said = Said { subject, claims: all };
    Ok(Proven { said, evidence: Evidence::default().with(kind, at), methods })
}

fn believed(
    control: &Control,
    row: &ConnectionRow,
    attempt: &Attempt,
    (token, access_token): (&str, Option<&str>),
) -> Result<IdClaims, IdTokenFault> {
    let keys = row.keys();
    let expected = Expected {
        issuer: &row.issuer,
        client_id: &row.client_id,
        nonce: &attempt.nonce,
        access_token,
        keys: &keys,
        now_s: control.clock().now_s(),
    };
    verify_id_token(token, &expected)
}

async fn settle(
    control: &Control,
    came: &Came<'_>,
    (row, attempt): (&ConnectionRow, &Attempt),
    proven: Proven,
) -> Result<Outcome, Refusal> {
    match attempt.purpose {
        Purpose::SignIn => {
            let transaction =
                control.store.write(&Permit::for_system(None, "a person of a provider")).await?;
            let held = as_asked(&transaction, row).await?;
            let found = person::find(&transaction, &held, &proven.said).await?;
            let (user, changes) =
                person::settle(control, &transaction, &held, (&proven.said, &found)).await?;
            let told = Told {
                flow: "",
                source: came.source,
                by_cookie: true,
                trust_device: false,
                request_id: came.request_id,
            };
            let begun = Begun { user, tenant: held.tenant, evidence: proven.evidence };
            let (text, progress) = begin_proven(control, transaction, begun, &told, changes).await?;
            Ok(Outcome::SignIn(text, progress))
        }
        Purpose::Test { version } => {
            Ok(Outcome::Tested(tested(control, came, (row, version), proven).await?))
        }
        Purpose::Link { user } => {
            if came.present != Some((row.tenant, user)) {
                return Err(Refusal::new(&kind::SESSION_ENDED, "You are not signed in here any more."));
            }
            let transaction = control.store.write(&Permit::for_system(None, "a person who connects")).await?;
            let held = as_asked(&transaction, row).await?;
            person::refuse_stranger(&transaction, held.tenant, user).await?;
            let now = control.clock().now();
            let change = person::link(&transaction, &held, (&proven.said.subject, user), now).await?;
            transaction.commit(change.request(came.request_id)).await?;
            Ok(Outcome::Linked)
        }
    }
}

/// The connection, held, if it is the one that was asked: turned off or changed meanwhile it may be another provider's, with whom the same
/// subject is somebody else.
async fn as_asked(transaction: &Transaction, row: &ConnectionRow) -> Result<ConnectionRow, Refusal> {
    let held = queries::lock(transaction, row.id).await?;
    held.filter(|own| own.is_active && own.version == row.version).ok_or_else(not_asked)
}

/// What a sign-in would have come to; only that is kept.
async fn tested(
    control: &Control,
    came: &Came<'_>,
    (row, version): (&ConnectionRow, i64),
    proven: Proven,
) -> Result<Value, Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a connection that is tested")).await?;
    let row = queries::lock(&transaction, row.id).await?.filter(|own| own.version == version);
    let row =
        row.ok_or_else(|| Refusal::new(&kind::CHANGED_MEANWHILE, "The connection was changed meanwhile."))?;
    let found = person::find(&transaction, &row, &proven.said).await;
    let mut warnings = Vec::new();
    if row.proves_mfa && proven.methods.is_empty() {
        warnings.push("The provider does not say how it asked (`amr`): nothing counts as a second factor.");
    }
    if row.role_claim.as_ref().is_some_and(|name| !proven.said.claims.contains_key(name)) {
        warnings.push("The provider does not send the claim that roles are read from.");
    }
    let refused = found.as_ref().err().map(|refusal| refusal.detail().to_owned());
    let hidden = ["nonce", "at_hash", "c_hash", "sid", "jti"];
    let claims: serde_json::Map<String, Value> = proven
        .said
        .claims
        .iter()
        .filter(|(name, _)| !hidden.contains(&name.as_str()))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    let result = json!({
        "ok": found.is_ok(),
        "at": control.clock().now().to_string(),
        "version": version,
        "user": found.as_ref().ok().map(Found::word),
        "roles": row.roles_for(&proven.said.claims),
        "second_factor": proven.evidence.has(ProofKind::SingleSignOnMfa),
        "claims": claims,
        "warnings": warnings,
        "refused_because": refused,
    });
    queries::tested(&transaction, &row, (found.is_ok(), &result)).await?;
    let nobody = Principal { kind: PrincipalKind::Anonymous, id: uuid::Uuid::nil() };
    let change = Change::new(row.tenant, "identity.connection_tested", "update", nobody)
        .on("connection", row.id)
        .details(json!({ "ok": found.is_ok(), "version": version }))
        .request(came.request_id);
    transaction.commit(change).await?;
    Ok(result)
}

/// Tells the tenant what was refused, and a test what went wrong.
async fn note(
    control: &Control,
    came: &Came<'_>,
    (row, attempt): (&ConnectionRow, &Attempt),
    refusal: &Refusal,
) -> Result<(), Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a sign-in that was refused")).await?;
    if let Purpose::Test { version } = attempt.purpose {
        let result = json!({ "ok": false, "at": control.clock().now().to_string(), "version": version,
            "refused_because": refusal.detail() });
        queries::tested(&transaction, &ConnectionRow { version, ..row.clone() }, (false, &result)).await?;
    }
    let nobody = Principal { kind: PrincipalKind::Anonymous, id: uuid::Uuid::nil() };
    let mut change = Change::new(row.tenant, "identity.sso_refused", "create", nobody)
        .on("connection", row.id)
        .details(json!({ "because": refusal.detail() }))
        .request(came.request_id);
    change.result = "failure".to_owned();
    change.code = Some(refusal.code().to_owned());
    transaction.commit(change).await?;
    Ok(())
}
