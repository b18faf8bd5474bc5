//! Step 2: which tenant. All that a request says about its tenant must agree; the credential's word is read here
//! and believed only when it has been verified.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use rowhouse_domain::directory::Tenant;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::Service;
use rowhouse_domain::tenancy::resolution::{Heard, Signals, hear, named_by_host};

use super::authenticate::{Credential, Who, acting, sent};
use super::examine::Sound;
use super::headers::only;
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
    /// It names one that is not there, and nobody has proven to know. It is told what a tenant that is there tells whom it does not know.
    pub(crate) names_nobody: bool,
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
    refuse_misdirected(view, recording.peer.shown.server_name.as_deref(), &heard)?;
    redirect_to_https(core, sound, &heard, recording)?;
    let presented = sent.map(|sent| sent.look_up(core, view));
    recording.presented(presented.as_ref());
    if let Some(key) = presented.as_ref().and_then(Credential::claimed_key) {
        // What will be told of it comes from memory while the tenant is found. Nothing is believed by it.
        core.contexts.touch(key.tenant, acting(key));
    }
    let heard = heard.with_credential_of(presented.as_ref().and_then(Credential::tenant));
    let path = heard.path;
    match heard.decide(&view.directory) {
        Ok(resolution) if resolution.tenant.service == Service::Unknown => {
            names_nobody((core, view), sound, (path, presented), recording)
        }
        Ok(resolution) => {
            resolution.tenant.touch();
            recording.tenant = Some(resolution.tenant.id);
            let (tenant, path) = (Some(resolution.tenant), resolution.path);
            Ok(Resolved { sound, tenant, names_nobody: false, path, presented })
        }
        Err(refusal) if refusal.code() == kind::TENANT_UNKNOWN.code => {
            names_nobody((core, view), sound, (path, presented), recording)
        }
        // Nothing names a tenant: a public route may still take the request; a credential is judged as such.
        Err(refusal) if refusal.code() == kind::TENANT_UNRESOLVED.code => {
            Ok(Resolved { sound, tenant: None, names_nobody: false, path: &sound.path, presented })
        }
        Err(refusal) if refusal.code() == kind::KEY_INVALID.code => {
            Err(wrong_tenant((core, view), presented.as_ref(), refusal, headers, recording))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// A connection that was opened for one tenant's host takes no request for another's (RFC 9110 §7.4): clients send requests for
/// several hosts over one when its certificate is good for all of them (RFC 9113 §9.1.1), and what was shown in the handshake was
/// shown to the one.
fn refuse_misdirected(view: &View, server_name: Option<&str>, heard: &Heard<'_, '_>) -> Result<(), Stop> {
    let Some(name) = server_name.filter(|name| heard.host.as_deref() != Some(*name)) else { return Ok(()) };
    // A host that cannot be read or is not served is refused as such.
    let Ok(by_host) = &heard.signals[0] else { return Ok(()) };
    let of_name = named_by_host(&view.directory, name);
    // Who is not there is nobody's neighbour: it is refused as one tenant's host is on another's connection.
    let is_same = match (by_host, of_name) {
        (None, None) => true,
        (Some((_, of_host)), Some(of_name)) => of_host.id().is_some() && of_host.id() == of_name.id(),
        _ => false,
    };
    match is_same {
        true => Ok(()),
        false => {
            Err(Stop::new(&kind::MISDIRECTED, "This connection was opened for the host of another tenant."))
        }
    }
}

/// Sends on to https what came in the clear, if that is wanted and no trusted proxy says that it ended TLS before. Only to hosts that
/// are served, so that nobody is sent to a place that the sender chose.
fn redirect_to_https(
    core: &Core,
    sound: &Sound<'_>,
    heard: &Heard<'_, '_>,
    recording: &Recording,
) -> Result<(), Stop> {
    let Some(port) = core.shared.config.https_redirect_port else { return Ok(()) };
    let parts = sound.parts;
    let ended_before =
        || recording.peer.trusted && only(&parts.headers, "x-forwarded-proto") == Some(b"https");
    let (Some(host), Ok(_)) = (&heard.host, &heard.signals[0]) else { return Ok(()) };
    if recording.peer.scheme == "https" || ended_before() {
        return Ok(());
    }
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let target = parts.uri.path_and_query().map_or("/", |own| own.as_str());
    let location = HeaderValue::try_from(format!("https://{host}{port}{target}"));
    let location = location.map_err(|_| Stop::malformed("The target cannot be written as a location."))?;
    let stop = Stop::new(&kind::HTTPS_ONLY, "This host is served over https alone.");
    Err(Stop { location: Some(location), ..stop })
}

/// The request names a tenant that is not there. Whether one is, is for those to know who belong to it: without a credential it goes on,
/// and is asked for one where a tenant would ask; with one it is answered as at the door of a tenant that is not the credential's.
#[cold]
fn names_nobody<'r, 'v>(
    (core, view): (&Core, &'v View),
    sound: &'r Sound<'r>,
    (path, presented): (&'r str, Option<Credential<'r, 'v>>),
    recording: &mut Recording,
) -> Result<Resolved<'r, 'v>, Stop> {
    let Some(credential) = &presented else {
        return Ok(Resolved { sound, tenant: None, names_nobody: true, path, presented });
    };
    credential.verify(core, view, None, None, recording.started_at_us)?;
    let own = credential.tenant().and_then(|own| view.directory.tenants.get(&own));
    match own.filter(|own| own.service != Service::Unknown) {
        Some(_) => {
            let refusal = Refusal::new(&kind::KEY_INVALID, "The API key is not valid here.");
            let headers = &sound.parts.headers;
            Err(wrong_tenant(
                (core, view),
                presented.as_ref(),
                refusal.private("wrong_tenant"),
                headers,
                recording,
            ))
        }
        // Its own is gone: that much is its to know.
        None => Err(Refusal::new(&kind::TENANT_UNKNOWN, "No tenant has this name.").into()),
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
    match presented.verify(core, view, None, None, recording.started_at_us) {
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
