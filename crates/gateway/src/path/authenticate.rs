//! Step 3: who. An API key, checked without a database: grammar, region, look-up, digest in constant time, state.
//! Until the digest is known to be right, every failure looks the same from outside.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use rowhouse_domain::access::{Principal, PrincipalKind};
use rowhouse_domain::directory::{Directory, Key, Tenant};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::keys::{Environment, KeyText, PublicId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::routes::{Match, Matched};

use super::resolve::Resolved;
use super::{Recording, Stop};
use crate::core::Core;
use crate::view::View;

/// `X-API-Key`.
pub(crate) static API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A credential as it was sent.
pub(crate) struct Presented<'r, 'v> {
    text: &'r str,
    parsed: Option<KeyText<'r>>,
    pub(crate) key: Option<&'v Arc<Key>>,
}

impl<'r, 'v> Presented<'r, 'v> {
    /// Reads the credential, of which there may be one.
    pub(crate) fn read(headers: &'r HeaderMap, directory: &'v Directory) -> Result<Option<Self>, Refusal> {
        let mut bearers = headers.get_all(AUTHORIZATION).iter();
        let mut keys = headers.get_all(&API_KEY).iter();
        let sent = match (bearers.next(), keys.next(), bearers.next().is_some() || keys.next().is_some()) {
            (None, None, _) => return Ok(None),
            (Some(header), None, false) => {
                // Another scheme is not a credential of ours.
                let Some(token) = bearer(header.as_bytes()) else { return Ok(None) };
                token
            }
            (None, Some(key), false) => key.as_bytes(),
            _ => {
                return Err(Refusal::new(&kind::AMBIGUOUS_CREDENTIALS, "Send one credential, once."));
            }
        };
        // What is no text is no key either.
        let text = std::str::from_utf8(sent).unwrap_or_default();
        let parsed = KeyText::parse(text).ok();
        let key = parsed.and_then(|parsed| directory.keys.get(&parsed.public_id));
        Ok(Some(Presented { text, parsed, key }))
    }

    /// The part of it that may be shown.
    pub(crate) fn public_id(&self) -> Option<PublicId> {
        self.parsed.map(|parsed| parsed.public_id)
    }

    /// The tenant that it claims to be of.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        self.key.map(|key| key.tenant)
    }
}

/// The token of `Bearer <token>`; the scheme is compared without case (RFC 9110 §11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(6)?;
    let separated = token.first().is_none_or(|byte| *byte == b' ');
    (scheme.eq_ignore_ascii_case(b"bearer") && separated).then(|| token.trim_ascii())
}

/// Whether a header is a credential of ours, which no service gets to see.
pub(crate) fn is_bearer(value: &http::HeaderValue) -> bool {
    bearer(value.as_bytes()).is_some()
}

/// Proof that the caller is known, or that the route asks nobody's name.
pub(crate) struct Known<'r, 'v> {
    pub(crate) resolved: Resolved<'r, 'v>,
    pub(crate) key: Option<&'v Arc<Key>>,
    pub(crate) destination: Destination<'r, 'v>,
}

/// Where a request would go. Whether there is such a place is told only to those who are let in.
pub(crate) enum Destination<'r, 'v> {
    /// To this route.
    Route(Matched<'v, 'r>),
    /// Nowhere with this method.
    OtherMethods(Vec<&'v str>),
    /// Nowhere.
    Nothing,
}

impl Known<'_, '_> {
    /// Who acts.
    pub(crate) fn principal(&self) -> Principal {
        self.key.map_or(Principal { kind: PrincipalKind::Anonymous, id: uuid::Uuid::nil() }, |key| {
            Principal { kind: PrincipalKind::ApiKey, id: key.id.0 }
        })
    }
}

impl Known<'_, '_> {
    /// Whether its usage counts: a test key's does not.
    pub(crate) fn counts(&self) -> bool {
        self.key.is_none_or(|key| key.environment == Environment::Live)
    }
}

/// Verifies the credential and finds the route.
pub(crate) fn authenticate<'r, 'v>(
    core: &Core,
    view: &'v View,
    resolved: Resolved<'r, 'v>,
    recording: &mut Recording,
) -> Result<Known<'r, 'v>, Stop> {
    let method = resolved.sound.parts.method.as_str();
    let key = match &resolved.presented {
        Some(presented) => Some(verify(core, view, presented, recording.started_at_us)?),
        None => None,
    };
    if let Some(key) = key {
        recording.key = Some(key.id);
    }
    let destination = match view.directory.routes.find(method, resolved.path) {
        Match::Found(matched) => Destination::Route(matched),
        Match::OtherMethods(methods) => Destination::OtherMethods(methods),
        Match::Nothing => Destination::Nothing,
    };
    let mut public = false;
    if let Destination::Route(matched) = &destination {
        recording.route = Some(matched.index);
        public = matched.route.definition.public;
        if key.is_none() && !public && resolved.tenant.is_some() {
            return Err(Stop::new(&kind::NO_CREDENTIALS, "This needs a credential."));
        }
    }
    match &resolved.tenant {
        Some(tenant) => may_be_served(tenant, method, key.is_some())?,
        None if public => {}
        None => return Err(Stop::new(&kind::TENANT_UNRESOLVED, "Nothing in the request names a tenant.")),
    }
    if let (Some(key), Destination::Route(matched)) = (key, &destination) {
        is_for_service(key, &matched.route.definition.service)?;
    }
    Ok(Known { resolved, key, destination })
}

/// The key, if what was presented is one and may be used now.
pub(crate) fn verify<'v>(
    core: &Core,
    view: &'v View,
    presented: &Presented<'_, 'v>,
    now_us: i64,
) -> Result<&'v Arc<Key>, Refusal> {
    let Some(parsed) = presented.parsed else { return Err(invalid("malformed")) };
    if parsed.region != view.directory.naming.region {
        return Err(Refusal::new(
            &kind::KEY_WRONG_REGION,
            format!("The key is of the region `{}`, not of this one.", parsed.region),
        ));
    }
    let peppers = &core.shared.peppers;
    let Some(key) = presented.key else {
        peppers.waste(presented.text);
        return Err(invalid("not_found"));
    };
    if !peppers.matches(presented.text, key.pepper, &key.digest) {
        return Err(invalid("wrong_secret"));
    }
    match key.standing.refuses(now_us) {
        Some(refused) => Err(Refusal::new(refused, format!("{}.", refused.title))),
        None => Ok(key),
    }
}

fn invalid(private: &str) -> Refusal {
    Refusal::new(&kind::KEY_INVALID, "The API key is not valid here.").private(private)
}

fn may_be_served(tenant: &Tenant, method: &str, by_key: bool) -> Result<(), Refusal> {
    tenant.service.admit(method)?;
    if by_key && !tenant.api_access {
        return Err(Refusal::new(&kind::KEY_NOT_IN_TIER, "The tenant's tier has no API access."));
    }
    Ok(())
}

fn is_for_service(key: &Key, service: &str) -> Result<(), Refusal> {
    match &key.services {
        Some(services) if !services.iter().any(|own| &**own == service) => Err(Refusal::new(
            &kind::KEY_WRONG_SERVICE,
            format!("The key is not for the service `{service}`."),
        )),
        _ => Ok(()),
    }
}
