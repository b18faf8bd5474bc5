//! What an issuer must be, and where its keys come from.

use rowhouse_domain::identity::issuer::{IssuerKey, KEY_SET_BYTES_MAX, SigningAlgorithm, read_keys};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::Control;
use crate::outbound::{FetchError, check_url};

/// Issuers of one tenant.
pub(super) const ISSUERS_MAX: i64 = 20;
/// Bytes of a discovery document.
const DISCOVERY_BYTES_MAX: usize = 1024 * 1024;

/// An issuer to be registered.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewIssuer {
    /// 1 to 100 characters.
    pub name: String,
    /// `iss` of its tokens, to the byte: an https address.
    pub issuer: String,
    /// Where its keys lie. Without it, its discovery document says: `<issuer>/.well-known/openid-configuration`.
    pub jwks_uri: Option<String>,
    /// For whom its tokens may be meant, 1 to 10 of at most 255 characters.
    pub audiences: Vec<String>,
    /// How it may sign: `RS256`, `PS256`, `ES256`, `EdDSA`. A key that does not say what it is for gets the first that fits.
    #[serde(default = "usual_algorithms")]
    pub algorithms: Vec<String>,
    /// The claim that says who, `sub` if not said.
    #[serde(default = "usual_claim")]
    pub subject_claim: String,
}

fn usual_algorithms() -> Vec<String> {
    SigningAlgorithm::ALL.iter().map(|own| own.as_str().to_owned()).collect()
}

fn usual_claim() -> String {
    "sub".to_owned()
}

/// Its algorithms, if all of it is well-formed.
pub(super) fn check(new: &NewIssuer) -> Result<Vec<SigningAlgorithm>, Refusal> {
    let short = |text: &str, most: usize| {
        (1..=most).contains(&text.chars().count())
            && !text.chars().any(char::is_control)
            && text.trim() == text
    };
    let algorithms: Option<Vec<SigningAlgorithm>> =
        new.algorithms.iter().map(|own| SigningAlgorithm::parse(own)).collect();
    let algorithms = algorithms.filter(|own| (1..=4).contains(&own.len()));
    let places = [Some(&new.issuer), new.jwks_uri.as_ref()];
    let faults = [
        (short(&new.name, 100), "/name", "1 to 100 characters"),
        (
            check_url(&new.issuer).is_ok() && !new.issuer.contains('?'),
            "/issuer",
            "an address as in https://login.example.com, as its tokens say it",
        ),
        (
            places[1].is_none_or(|place| check_url(place).is_ok()),
            "/jwks_uri",
            "an address as in https://login.example.com/keys",
        ),
        (
            (1..=10).contains(&new.audiences.len()) && new.audiences.iter().all(|own| short(own, 255)),
            "/audiences",
            "1 to 10, of 1 to 255 characters each",
        ),
        (algorithms.is_some(), "/algorithms", "some of RS256, PS256, ES256, EdDSA"),
        (short(&new.subject_claim, 100), "/subject_claim", "the name of a claim"),
    ];
    let refusal = Refusal::new(&kind::ISSUER_INVALID, "The issuer is not well-formed.");
    let wrong: Vec<_> = faults.iter().filter(|(sound, ..)| !sound).collect();
    match algorithms.filter(|_| wrong.is_empty()) {
        Some(algorithms) => Ok(algorithms),
        None => {
            Err(wrong.iter().fold(refusal, |refusal, (_, at, what)| refusal.field(*at, "invalid", *what)))
        }
    }
}

/// Why keys were not taken; fit to be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysError {
    /// A document could not be fetched.
    #[error("fetching {0}: {1}")]
    Fetch(String, #[source] FetchError),
    /// The discovery document is none.
    #[error("{0} is no discovery document with `issuer` and `jwks_uri`")]
    Discovery(String),
    /// It is another's (OpenID Connect Discovery §4.3: to the byte).
    #[error("the discovery document is of the issuer `{0}`")]
    OtherIssuer(String),
    /// The keys are not sound.
    #[error("the key set at {0} is not taken: {1}")]
    KeySet(String, #[source] rowhouse_domain::identity::issuer::KeySetFault),
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// The key set of an issuer as it is published now, which was found to be sound.
pub(super) async fn fetch_keys(
    control: &Control,
    issuer: &str,
    jwks_uri: Option<&str>,
    allowed: &[SigningAlgorithm],
) -> Result<String, KeysError> {
    let place = match jwks_uri {
        Some(own) => own.to_owned(),
        None => discover(control, issuer).await?,
    };
    let document = control.outbound.fetch(&place, KEY_SET_BYTES_MAX).await;
    let document = document.map_err(|error| KeysError::Fetch(place.clone(), error))?;
    read_keys(&document, allowed).map_err(|fault| KeysError::KeySet(place, fault))?;
    // What was read as JSON is UTF-8.
    Ok(String::from_utf8_lossy(&document).into_owned())
}

async fn discover(control: &Control, issuer: &str) -> Result<String, KeysError> {
    let place = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let document = control.outbound.fetch(&place, DISCOVERY_BYTES_MAX).await;
    let document = document.map_err(|error| KeysError::Fetch(place.clone(), error))?;
    let found: Discovery =
        serde_json::from_slice(&document).map_err(|_| KeysError::Discovery(place.clone()))?;
    match found.issuer == issuer {
        true => Ok(found.jwks_uri),
        false => Err(KeysError::OtherIssuer(found.issuer.chars().take(200).collect())),
    }
}

/// The keys of a stored set. It was sound when it was stored.
pub(super) fn stored_keys(key_set: Option<&str>, allowed: &[SigningAlgorithm]) -> Vec<IssuerKey> {
    key_set.and_then(|set| read_keys(set.as_bytes(), allowed).ok()).unwrap_or_default()
}
