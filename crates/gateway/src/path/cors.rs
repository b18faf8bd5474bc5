//! Pages of other origins (CORS, Fetch §3.2): a browser's question whether a page may ask is answered here, in the service's place,
//! and whatever is answered to a page that may carries what lets it read. It stands before the credential is looked at: a question
//! carries none, and a page learns too why it was refused.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderMap, ORIGIN,
    VARY,
};
use http::{HeaderValue, Method};
use rowhouse_domain::refusal::kind;
use rowhouse_domain::routes::{Cors, Match};

use super::authenticate::find;
use super::headers::only;
use super::resolve::Resolved;
use super::{Recording, Stop};
use crate::view::View;

/// What pages of a service may do, as headers.
pub(crate) struct CorsView {
    expose: Option<HeaderValue>,
    credentials: bool,
    all: bool,
}

impl CorsView {
    pub(crate) fn new(cors: &Cors) -> Self {
        let expose = (!cors.expose.is_empty()).then(|| HeaderValue::try_from(cors.expose.join(", ")).ok());
        CorsView { expose: expose.flatten(), credentials: cors.credentials, all: cors.allows_all() }
    }

    /// Says that a page of `origin` may read; `None` where it may not, or where no page asks. Whatever the service says of it does
    /// not count, and a cache keeps what it was told for one origin from others, those too that say none.
    fn apply(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        let said = |name: &&http::HeaderName| name.as_str().starts_with("access-control-");
        while let Some(name) = headers.keys().find(said).cloned() {
            headers.remove(name);
        }
        if !self.all {
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = origin else { return };
        let allowed = if self.all { HeaderValue::from_static("*") } else { origin.clone() };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(expose) = &self.expose {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }
}

/// Puts into an answer what pages may do with it.
pub(crate) fn tell(headers: &mut HeaderMap, recording: &Recording) {
    let view = &recording.view;
    let of_route = || recording.route.map(|route| (view.directory.routes.routes()[route].service, &None));
    let page = recording.page.as_ref().map(|(service, origin)| (*service, origin));
    let Some((service, origin)) = page.or_else(of_route) else { return };
    if let Some(cors) = &view.services[service].cors {
        cors.apply(headers, origin.as_ref());
    }
}

/// Finds whether a page asks, and which service it asks.
///
/// # Errors
/// Ends a preflight: with what is allowed, or with 403 for an origin that is not. Where the service declares nothing, it answers
/// itself.
pub(crate) fn ask(view: &View, resolved: &Resolved<'_, '_>, recording: &mut Recording) -> Result<(), Stop> {
    if !view.has_cors {
        return Ok(());
    }
    let parts = resolved.sound.parts;
    let Some(origin) = parts.headers.get(ORIGIN) else { return Ok(()) };
    let wanted =
        only(&parts.headers, "access-control-request-method").and_then(|own| std::str::from_utf8(own).ok());
    let preflight = wanted.filter(|_| parts.method == Method::OPTIONS);
    let Match::Found(matched) = find(view, resolved, preflight.unwrap_or(parts.method.as_str())) else {
        return Ok(());
    };
    let service = matched.route.service;
    let Some(cors) = &view.directory.services[service].cors else { return Ok(()) };
    let once = parts.headers.get_all(ORIGIN).iter().count() == 1;
    let allowed = once && origin.to_str().is_ok_and(|origin| cors.allows(origin));
    recording.page = Some((service, allowed.then(|| origin.clone())));
    match preflight {
        None => Ok(()),
        Some(method) if allowed => Err(Stop::preflight(permission(cors, method))),
        Some(_) => Err(Stop::new(&kind::CORS_REFUSED, "Pages of this origin may not call the service.")),
    }
}

/// What a page may ask, beside what every answer says.
fn permission(cors: &Cors, method: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut say = |name, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    say(ACCESS_CONTROL_ALLOW_METHODS, method.to_owned());
    say(ACCESS_CONTROL_ALLOW_HEADERS, cors.headers.join(", "));
    say(ACCESS_CONTROL_MAX_AGE, cors.max_age_s.to_string());
    headers
}
