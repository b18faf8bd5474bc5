//! A code becomes a session (RFC 6749 §4.1.3, RFC 7636 §4.5). Each code is shown once: a wrong try uses it up, and a second right one
//! ends what the first got.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{ApplicationId, RequestId, SessionId};
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::{Change, Transaction};
use serde_json::json;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::queries::{self, ApplicationRow, CodeRow};
use crate::Control;
use crate::identity::session::{self, Begun, Entrance, ForApplication};
use crate::identity::sign_in::{Source, policy};
use crate::identity::{may_enter, queries as people, token};

/// Purposes of texts that are kept as hashes.
pub const CODE: &str = "authorization_code";
pub const SECRET: &str = "application_secret";
/// How long an ID token is good, in seconds.
const ID_TOKEN_S: i64 = 600;

/// What an application shows.
#[derive(Debug)]
pub struct Exchange<'a> {
    pub client_id: &'a str,
    pub secret: Option<&'a str>,
    pub code: &'a str,
    pub redirect_uri: &'a str,
    pub verifier: &'a str,
    pub source: &'a Source,
    pub request_id: RequestId,
}

/// Why there is no session, in the words of RFC 6749 §5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum No {
    InvalidClient,
    InvalidGrant,
}

/// What an application gets.
#[derive(Debug)]
pub struct Given {
    pub begun: Begun,
    /// Where `openid` was asked for.
    pub id_token: Option<String>,
    pub scope: String,
}

/// A session for a code.
///
/// # Errors
/// If the database fails.
pub async fn exchange(control: &Control, shown: &Exchange<'_>) -> Result<Result<Given, No>, Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a code that is shown")).await?;
    let Some(application) = client(control, &transaction, (shown.client_id, shown.secret)).await? else {
        return Ok(Err(No::InvalidClient));
    };
    let digest = token::digest(control, CODE, shown.code);
    let Some(code) = queries::lock_code(&transaction, &digest).await? else {
        return Ok(Err(No::InvalidGrant));
    };
    if code.application != application.id {
        // Another's code stays another's.
        return Ok(Err(No::InvalidGrant));
    }
    if let Some(session) = code.used_for {
        shown_again(transaction, &code, session, shown.request_id).await?;
        return Ok(Err(No::InvalidGrant));
    }
    let fits = code.expires_at > control.clock().now()
        && code.redirect_uri == shown.redirect_uri
        && proves(shown.verifier, &code.challenge);
    if !fits || !is_welcome(control, &transaction, &code).await? {
        queries::use_code(&transaction, &digest, SessionId(uuid::Uuid::nil())).await?;
        transaction.commit_telemetry().await?;
        return Ok(Err(No::InvalidGrant));
    }
    let in_force = policy::in_force(&transaction, code.tenant).await?;
    let (ip, agent) = (shown.source.ip(), format!("{} (application)", application.name));
    let entrance = Entrance {
        user: code.user,
        tenant: code.tenant,
        evidence: code.evidence.clone(),
        policy: &in_force.policy,
        ip: &ip,
        agent: &agent,
        by_cookie: false,
        application: Some(ForApplication { id: application.id, scope: code.scope.clone() }),
        request_id: shown.request_id,
    };
    let Some((begun, changes)) = session::begin(control, &transaction, entrance).await? else {
        queries::use_code(&transaction, &digest, SessionId(uuid::Uuid::nil())).await?;
        transaction.commit_telemetry().await?;
        return Ok(Err(No::InvalidGrant));
    };
    queries::use_code(&transaction, &digest, begun.session.id).await?;
    let id_token = match code.scope.split(' ').any(|own| own == "openid") {
        true => Some(id_token(control, &transaction, &begun, &code).await?),
        false => None,
    };
    transaction.commit_all(changes).await?;
    Ok(Ok(Given { begun, id_token, scope: code.scope }))
}

/// Who has signed in, for the application alone (OpenID Connect Core §2).
async fn id_token(
    control: &Control,
    transaction: &Transaction,
    begun: &Begun,
    code: &CodeRow,
) -> Result<String, Refusal> {
    let session = &begun.session;
    let now_s = control.clock().now_s();
    let mut claims = json!({
        "iss": control.settings.public_url,
        "sub": code.user.to_string(),
        "aud": code.application.to_string(),
        "iat": now_s,
        "exp": now_s + ID_TOKEN_S,
        "auth_time": session.auth_time.as_second(),
        "acr": session.assurance.to_string(),
        "amr": session.evidence.methods(),
        "sid": session.id.to_string(),
        "tenant": session.tenant.to_string(),
    });
    if !code.nonce.is_empty() {
        claims["nonce"] = json!(code.nonce);
    }
    if let Some(user) = people::find_user(transaction, code.user).await? {
        let asked = |scope: &str| code.scope.split(' ').any(|own| own == scope);
        if asked("email") {
            claims["email"] = json!(user.email);
            claims["email_verified"] = json!(user.email_verified_at.is_some());
        }
        if asked("profile") {
            claims["name"] = json!(user.full_name);
        }
    }
    let ring = session::ring(control, transaction).await?;
    Ok(ring.signer(now_s).sign_id(&claims))
}

/// Whether this client may show a refresh token: of an application's session only that application, with its secret if it has one (RFC
/// 6749 §6). Of others, and of unknown ones, it is decided elsewhere.
///
/// # Errors
/// If the database fails.
pub async fn may_refresh(
    control: &Control,
    refresh_token: &str,
    (id, secret): (&str, Option<&str>),
) -> Result<bool, Refusal> {
    let transaction = control.store.read(&Permit::for_system(None, "whose refresh token it is")).await?;
    let of = session::application_of(control, &transaction, refresh_token).await?;
    let may = match of {
        None => true,
        Some(application) => {
            let found = client(control, &transaction, (id, secret)).await?;
            found.is_some_and(|own| own.id == application)
        }
    };
    transaction.finish().await?;
    Ok(may)
}

/// The application that shows it, if it is the one: by its secret where it has one.
async fn client(
    control: &Control,
    transaction: &Transaction,
    (id, secret): (&str, Option<&str>),
) -> Result<Option<ApplicationRow>, Refusal> {
    let Ok(id) = id.parse::<ApplicationId>() else { return Ok(None) };
    let found = queries::one(transaction, id).await?;
    Ok(found.filter(|own| match (&own.secret, secret) {
        (None, None) => true,
        (Some(kept), Some(secret)) => bool::from(kept.ct_eq(&token::digest(control, SECRET, secret))),
        _ => false,
    }))
}

/// RFC 7636 §4.6: S256 and nothing else.
fn proves(verifier: &str, challenge: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let fits = (43..=128).contains(&verifier.len()) && verifier.bytes().all(letter);
    let own = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    fits && bool::from(own.as_bytes().ct_eq(challenge.as_bytes()))
}

/// Whether the browser's session is still there, and the person may still enter.
async fn is_welcome(control: &Control, transaction: &Transaction, code: &CodeRow) -> Result<bool, Refusal> {
    let now = control.clock().now();
    people::hold_member(transaction, code.tenant, code.user).await?;
    let parent = session::queries::lock(transaction, code.session).await?;
    let entry = may_enter(control, transaction, code.tenant, code.user).await?;
    Ok(parent.is_some_and(|own| !own.is_over(now)) && entry.is_some_and(|entry| entry.may_go_on()))
}

async fn shown_again(
    transaction: Transaction,
    code: &CodeRow,
    session: SessionId,
    request_id: RequestId,
) -> Result<(), Refusal> {
    let actor = Principal { kind: PrincipalKind::User, id: code.user.0 };
    let ended = session::end_one(&transaction, (code.tenant, session), "code_reused", actor).await?;
    let mut changes: Vec<Change> = ended.into_iter().collect();
    let told = Change::new(code.tenant, "identity.authorization_code_reused", "update", actor);
    changes.push(told.on("application", code.application).details(json!({})).request(request_id));
    transaction.commit_all(changes).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636 Appendix B.
    #[test]
    fn a_verifier_proves_its_challenge_alone() {
        let (verifier, challenge) =
            ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!(proves(verifier, challenge));
        assert!(!proves(challenge, challenge), "plain");
        assert!(!proves(&verifier[..42], challenge));
        assert!(!proves("", ""));
        let short = "short";
        assert!(!proves(short, &URL_SAFE_NO_PAD.encode(Sha256::digest(short))));
    }
}
