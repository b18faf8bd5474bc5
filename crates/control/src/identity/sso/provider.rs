//! What is asked of a provider: its documents, the tokens for a code, and more about a person.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use rowhouse_domain::access::Permit;
use rowhouse_domain::identity::issuer::{KEY_SET_BYTES_MAX, SigningAlgorithm, read_keys};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::connection::{ConnectionRow, Discovery};
use super::queries;
use crate::Control;
use crate::identity::form;
use crate::outbound::check_url;

const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;
/// Documents that are older are fetched anew before somebody is signed in by them.
const FRESH: SignedDuration = SignedDuration::from_mins(10);
/// A provider is asked for its keys at most this often, whatever tokens name.
const AT_MOST_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// How long the last good documents of a provider that is away are believed.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Its documents as they are published now, found to be sound: what it says of itself, and its keys.
///
/// # Errors
/// What is wrong with them, fit to be told to who connects it.
pub async fn documents(control: &Control, issuer: &str) -> Result<(Discovery, String), String> {
    let place = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let document = control.outbound.fetch(&place, DOCUMENT_BYTES_MAX).await;
    let document = document.map_err(|error| format!("fetching {place}: {error}"))?;
    let found: Discovery = serde_json::from_slice(&document)
        .map_err(|_| format!("{place} is no discovery document of a provider that people sign in at"))?;
    if found.issuer != issuer {
        let said: String = found.issuer.chars().take(200).collect();
        return Err(format!("the discovery document is of the issuer `{said}`, not of `{issuer}`"));
    }
    let places =
        [Some(&found.authorization_endpoint), Some(&found.token_endpoint), found.userinfo_endpoint.as_ref()];
    for own in places.into_iter().flatten() {
        // Plain HTTP only where the provider itself is spoken with so, which only the operator's own networks are.
        let is_kept = own.starts_with("https://") || issuer.starts_with("http://");
        if check_url(own).is_err() || !is_kept {
            let own: String = own.chars().take(200).collect();
            return Err(format!("the provider names `{own}`, which is no https address"));
        }
    }
    let keys = control.outbound.fetch(&found.jwks_uri, KEY_SET_BYTES_MAX).await;
    let keys = keys.map_err(|error| format!("fetching {}: {error}", found.jwks_uri))?;
    read_keys(&keys, &SigningAlgorithm::ALL).map_err(|fault| format!("its key set is not taken: {fault}"))?;
    Ok((found, String::from_utf8_lossy(&keys).into_owned()))
}

/// The connection with documents that are fresh, or with the last good ones of a day. With `missed` a key was named that they do not have.
///
/// # Errors
/// 502 `identity.sso_provider` if they are older than a day.
pub async fn refreshed(
    control: &Control,
    mut row: ConnectionRow,
    missed: bool,
) -> Result<ConnectionRow, Refusal> {
    let now = control.clock().now();
    let age = if missed { AT_MOST_EVERY } else { FRESH };
    if now.duration_since(row.fetched_at) < age {
        return Ok(row);
    }
    let permit = Permit::for_system(None, "the documents of a provider");
    let transaction = control.store.write(&permit).await?;
    let claimed = queries::claim(&transaction, row.id, (now - AT_MOST_EVERY, now)).await?;
    // That somebody has begun to ask is no change of anything.
    transaction.commit_telemetry().await?;
    if claimed {
        match documents(control, &row.issuer).await {
            Ok((discovery, keys)) => {
                (row.discovery, row.key_set, row.fetched_at, row.last_problem) = (discovery, keys, now, None);
            }
            Err(problem) => {
                tracing::warn!(connection = %row.id, tenant = %row.tenant, problem, "a provider's documents were not fetched");
                row.last_problem = Some(problem);
            }
        }
        let transaction = control.store.write(&permit).await?;
        queries::fetched(&transaction, &row).await?;
        transaction.commit_telemetry().await?;
    } else {
        // Somebody else does.
        let transaction = control.store.read(&permit).await?;
        let found = queries::find(&transaction, row.id).await?;
        transaction.finish().await?;
        row = found.ok_or_else(|| provider("The connection is gone."))?;
    }
    match now.duration_since(row.fetched_at) < KEPT {
        true => Ok(row),
        false => Err(provider("The provider has not answered for a day.")),
    }
}

/// What comes for a code (RFC 6749 §4.1.4, OpenID Connect Core §3.1.3.3).
#[derive(Debug, Deserialize)]
pub struct Tokens {
    pub id_token: String,
    #[serde(default)]
    pub access_token: Option<String>,
}

/// Exchanges a code.
///
/// # Errors
/// 502 `identity.sso_provider`.
pub async fn tokens(
    control: &Control,
    row: &ConnectionRow,
    (code, verifier): (&str, &str),
) -> Result<Tokens, Refusal> {
    let redirect_uri = row.redirect_uri(control);
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", redirect_uri.as_str()),
        ("code_verifier", verifier),
    ];
    let secret = row.open(control)?;
    let takes = |method: &str| match &row.discovery.token_endpoint_auth_methods_supported {
        Some(all) => all.iter().any(|own| own == method),
        // What is taken if nothing is said (OpenID Connect Discovery §3).
        None => method == "client_secret_basic",
    };
    let basic = secret.as_ref().filter(|_| takes("client_secret_basic")).map(|secret| {
        let pair = format!("{}:{}", form::escape(&row.client_id), form::escape(secret));
        format!("Basic {}", STANDARD.encode(pair))
    });
    if basic.is_none() {
        fields.push(("client_id", &row.client_id));
        fields.extend(secret.as_deref().map(|secret| ("client_secret", secret)));
    }
    let place = &row.discovery.token_endpoint;
    let sent =
        control.outbound.send_form(place, basic.as_deref(), form::write(&fields), DOCUMENT_BYTES_MAX).await;
    let (status, body) = sent.map_err(|error| provider(format!("Its token endpoint: {error}.")))?;
    if status != axum::http::StatusCode::OK {
        let told: Option<Value> = serde_json::from_slice(&body).ok();
        let error =
            told.as_ref().and_then(|told| told.get("error")).and_then(Value::as_str).unwrap_or("nothing");
        return Err(provider(format!(
            "Its token endpoint answered {} and said `{}`.",
            status.as_u16(),
            plain(error)
        )));
    }
    serde_json::from_slice(&body).map_err(|_| provider("Its token endpoint gave no ID token."))
}

/// What it says of the person beyond the ID token; nothing if it has no such place. It must be about `subject` (OpenID Connect Core §5.3.2).
///
/// # Errors
/// 502 `identity.sso_provider`.
pub async fn more_about(
    control: &Control,
    row: &ConnectionRow,
    (subject, access_token): (&str, &str),
) -> Result<Map<String, Value>, Refusal> {
    let Some(place) = &row.discovery.userinfo_endpoint else { return Ok(Map::new()) };
    let shown = format!("Bearer {access_token}");
    if !access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(provider("Its access token is none."));
    }
    let document = control.outbound.fetch_as(place, &shown, DOCUMENT_BYTES_MAX).await;
    let document = document.map_err(|error| provider(format!("Its userinfo endpoint: {error}.")))?;
    let told: Map<String, Value> =
        serde_json::from_slice(&document).map_err(|_| provider("Its userinfo endpoint gave no JSON."))?;
    match told.get("sub").and_then(Value::as_str) == Some(subject) {
        true => Ok(told),
        false => Err(provider("Its userinfo endpoint spoke of somebody else.")),
    }
}

/// What a stranger says, as it may stand in a sentence of ours.
pub fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect()
}

/// 502 `identity.sso_provider`.
pub fn provider(detail: impl Into<String>) -> Refusal {
    Refusal::new(&kind::SSO_PROVIDER, detail)
}
