//! Step 2: which tenant. All that a request says about its tenant must agree; the credential's word is read here
//! and believed only when it has been verified.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use rowhouse_domain::directory::Tenant;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::Service;
use rowhouse_domain::tenancy::resolution::{Signals, hear};

use super::authenticate::{Credential, Who, acting, sent};
use super::examine::Sound;
use super::{Recording, Stop};
use crate::core::Core;
use crate::view::View;

static TENANT_ID: HeaderName = HeaderName::from_static("x-tenant-id");
static TENANT_CODE: HeaderName = HeaderName::from_static("x-tenant-code");

/// Proof that a request belongs to at most one tenant.
pub(crate) struct Resolved<'r, 'v> {
    pub(crate) sound: &'r Sound<'r>,
    /// None for a request that names no tenant; only public routes take it.
    pub(crate) tenant: Option<&'v Arc<Tenant>>,
    /// The path without the tenant's prefix.
    pub(crate) path: &'r str,
    /// The credential, not yet verified.
    pub(crate) presented: Option<Credential<'r, 'v>>,
}

/// Finds the tenant.
pub(crate) fn resolve<'r, 'v>(
    core: &Core,
    view: &'v View,
    sound: &'r Sound<'r>,
    recording: &mut Recording,
) -> Result<Resolved<'r, 'v>, Stop> {
    let headers = &sound.parts.headers;
    let sent = sent(headers)?;
    let signals = Signals {
        authority: (!sound.authority.is_empty()).then_some(sound.authority),
        header_id: one(headers, &TENANT_ID)?,
        header_code: one(headers, &TENANT_CODE)?,
        path: &sound.path,
        token_tenant: None,
    };
    // Tenant and key are looked up right after each other and before anything is read of either: what is known of one
    // among many comes from memory, and so it comes at once.
    let heard = hear(&view.directory, &signals);
    let presented = sent.map(|sent| sent.look_up(core, view));
    recording.presented(presented.as_ref());
    if let Some(key) = presented.as_ref().and_then(Credential::claimed_key) {
        // What will be told of it comes from memory while the tenant is found. Nothing is believed by it.
        core.contexts.touch(key.tenant, acting(key));
    }
    let heard = heard.with_credential_of(presented.as_ref().and_then(Credential::tenant));
    match heard.decide(&view.directory) {
        Ok(resolution) if resolution.tenant.service == Service::Unknown => {
            Err(Refusal::new(&kind::TENANT_UNKNOWN, "No tenant has this name.").into())
        }
        Ok(resolution) => {
            resolution.tenant.touch();
            recording.tenant = Some(resolution.tenant.id);
            Ok(Resolved { sound, tenant: Some(resolution.tenant), path: resolution.path, presented })
        }
        // Nothing names a tenant: a public route may still take the request; a credential is judged as such.
        Err(refusal) if refusal.code() == kind::TENANT_UNRESOLVED.code => {
            Ok(Resolved { sound, tenant: None, path: &sound.path, presented })
        }
        Err(refusal) if refusal.code() == kind::KEY_INVALID.code => {
            Err(wrong_tenant((core, view), presented.as_ref(), refusal, headers, recording))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// A credential of another tenant: answered as the credential's own failure, and kept as what it is only if the
/// credential is genuine.
fn wrong_tenant(
    (core, view): (&Core, &View),
    presented: Option<&Credential<'_, '_>>,
    refusal: Refusal,
    headers: &HeaderMap,
    recording: &mut Recording,
) -> Stop {
    let Some(presented) = presented else { return refusal.into() };
    let Some(own) = presented.tenant() else { return refusal.into() };
    match presented.verify(core, view, None, recording.started_at_us) {
        Err(own_failure) => own_failure.into(),
        Ok(who) => {
            recording.wrong_tenant(own, &who, headers);
            let refusal = match who {
                Who::Token(_) => Refusal::new(&kind::TOKEN_INVALID, "The access token is not valid here.")
                    .private("wrong_tenant"),
                _ => refusal,
            };
            Stop { synchronous: true, ..refusal.into() }
        }
    }
}

fn one<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Result<Option<&'r str>, Stop> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Stop::new(&kind::CONFLICTING_SIGNALS, format!("`{name}` was sent more than once.")));
    }
    let text = first.map(|value| value.to_str());
    text.transpose().map_err(|_| Stop::malformed("A header that names the tenant is malformed."))
}
