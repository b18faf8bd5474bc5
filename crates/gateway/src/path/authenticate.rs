//! Step 3: who. An API key, checked without a database: grammar, region, look-up, digest in constant time, state.
//! Until the digest is known to be right, every failure looks the same from outside.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use rowhouse_domain::access::{Principal, PrincipalKind, PrincipalRights};
use rowhouse_domain::directory::{Directory, Key, Tenant};
use rowhouse_domain::keys::{Environment, Presented, bearer, refuse_other_service};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::routes::{Match, Matched};

use super::resolve::Resolved;
use super::{Recording, Stop};
use crate::core::Core;
use crate::view::View;

/// `X-API-Key`.
pub(crate) static API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The credential, of which there may be one.
pub(crate) fn presented<'r, 'v>(
    headers: &'r HeaderMap,
    directory: &'v Directory,
) -> Result<Option<Presented<'r, 'v>>, Refusal> {
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
        _ => return Err(Refusal::new(&kind::AMBIGUOUS_CREDENTIALS, "Send one credential, once.")),
    };
    // What is no text is no key either.
    let text = std::str::from_utf8(sent).unwrap_or_default();
    Ok(Some(Presented::read(directory, text)))
}

/// Whether a header is a credential of ours, which no service gets to see.
pub(crate) fn is_bearer(value: &http::HeaderValue) -> bool {
    bearer(value.as_bytes()).is_some()
}

/// Proof that the caller is known, or that the route asks nobody's name.
pub(crate) struct Known<'r, 'v> {
    pub(crate) resolved: Resolved<'r, 'v>,
    pub(crate) key: Option<&'v Arc<Key>>,
    /// What the key's owner may do.
    pub(crate) owner: Option<&'v PrincipalRights>,
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
        self.key
            .map_or(Principal { kind: PrincipalKind::Anonymous, id: uuid::Uuid::nil() }, |key| acting(key))
    }

    /// Whether its usage counts: a test key's does not.
    pub(crate) fn counts(&self) -> bool {
        self.key.is_none_or(|key| key.environment == Environment::Live)
    }
}

/// Who acts with a key.
fn acting(key: &Key) -> Principal {
    Principal { kind: PrincipalKind::ApiKey, id: key.id.0 }
}

/// What the owner of the key that is claimed may do, looked up before the key is verified: verifying takes about as
/// long as fetching from memory what is known of one caller among many, so both are done at once. Nothing is believed
/// by it, and it is the tenant's own table that is looked into.
fn owner_ahead<'v>(core: &Core, resolved: &Resolved<'_, 'v>) -> Option<&'v PrincipalRights> {
    let (key, tenant) = (resolved.presented.as_ref()?.claims()?, resolved.tenant?);
    core.contexts.touch(tenant.id, acting(key));
    let rights = tenant.access.rights(&key.owner)?;
    rights.touch();
    Some(rights)
}

/// Verifies the credential and finds the route.
pub(crate) fn authenticate<'r, 'v>(
    core: &Core,
    view: &'v View,
    resolved: Resolved<'r, 'v>,
    recording: &mut Recording,
) -> Result<Known<'r, 'v>, Stop> {
    let method = resolved.sound.parts.method.as_str();
    let owner = owner_ahead(core, &resolved);
    let key = match &resolved.presented {
        Some(presented) => Some(presented.verify(&core.shared.peppers, recording.started_at_us)?),
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
    match resolved.tenant {
        Some(tenant) => may_be_served(tenant, method, key.is_some())?,
        None if public => {}
        None => return Err(Stop::new(&kind::TENANT_UNRESOLVED, "Nothing in the request names a tenant.")),
    }
    if let (Some(key), Destination::Route(matched)) = (key, &destination) {
        refuse_other_service(key, &matched.route.definition.service)?;
    }
    Ok(Known { resolved, key, owner, destination })
}

fn may_be_served(tenant: &Tenant, method: &str, by_key: bool) -> Result<(), Refusal> {
    tenant.service.admit(method)?;
    if by_key && !tenant.api_access {
        return Err(Refusal::new(&kind::KEY_NOT_IN_TIER, "The tenant's tier has no API access."));
    }
    Ok(())
}
