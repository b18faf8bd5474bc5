//! Step 7: which copies of which service, and the request as it is sent there.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, TE};
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use rowhouse_domain::access::Principal;
use rowhouse_domain::directory::Tenant;
use rowhouse_domain::refusal::kind;

use super::authenticate::is_bearer;
use super::headers::strip;
use super::quota::Within;
use super::{Recording, Stop, traceparent};
use crate::body::{BodyWatch, UpstreamBody};
use crate::connection::Peer;
use crate::core::Core;
use crate::upstream::Upstream;
use crate::view::View;

static CONTEXT: HeaderName = HeaderName::from_static(rowhouse_domain::context::HEADER);
static TENANT: HeaderName = HeaderName::from_static("rowhouse-tenant");
static PRINCIPAL: HeaderName = HeaderName::from_static("rowhouse-principal");
static PERMISSION: HeaderName = HeaderName::from_static("rowhouse-permission");
pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static FORWARDED: HeaderName = HeaderName::from_static("forwarded");
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What is sent where. Nothing in it borrows from the request any more.
pub(crate) struct Chosen {
    service: usize,
    route: usize,
    tenant: Option<Arc<Tenant>>,
    principal: Principal,
    permission: Option<HeaderValue>,
    authority: HeaderValue,
    target: PathAndQuery,
    /// The copy whose turn it is, and the one to try if it does not answer the door.
    candidates: [Rc<Upstream>; 2],
}

/// A request ready to be sent.
pub(crate) struct Outgoing {
    pub(crate) request: Request<UpstreamBody>,
    pub(crate) candidates: [Rc<Upstream>; 2],
    pub(crate) connect_timeout: Duration,
    pub(crate) first_byte_timeout: Duration,
    pub(crate) whole_timeout: Duration,
    /// Whether the service's word on usage is believed.
    pub(crate) reports_usage: bool,
}

/// Chooses the copies: the tenant's own if it has some, else the shared ones, in turn.
pub(crate) fn choose(
    core: &Core,
    view: &View,
    within: Within<'_, '_>,
    recording: &mut Recording,
) -> Result<Chosen, Stop> {
    let Within { permitted } = within;
    let matched = permitted.matched();
    let (service, route) = (matched.route.service, matched.index);
    let known = &permitted.known;
    let resolved = &known.resolved;
    let candidates = candidates(core, view, service, resolved.tenant.as_deref())
        .ok_or_else(|| Stop::new(&kind::NO_UPSTREAM, "No copy of the service is running."))?;
    let principal = permitted.permit.as_ref().map_or_else(|| known.principal(), |permit| permit.principal());
    let sent = resolved.sound.parts.uri.path();
    recording.counts = known.counts();
    Ok(Chosen {
        service,
        route,
        principal,
        permission: recording.permission.and_then(|id| view.routes[route].permission_value(id)),
        authority: authority_value(resolved.sound.authority, &resolved.sound.parts.headers)?,
        target: target(&resolved.sound.parts.uri, resolved.path, resolved.path == sent)?,
        candidates,
        tenant: permitted.known.resolved.tenant,
    })
}

fn candidates(
    core: &Core,
    view: &View,
    service: usize,
    tenant: Option<&Tenant>,
) -> Option<[Rc<Upstream>; 2]> {
    let own = &view.services[service];
    let turn = own.turn.get();
    own.turn.set(turn.wrapping_add(1));
    if let Some(addresses) = tenant.and_then(|tenant| tenant.own_upstreams(service)) {
        let at = |turn: usize| addresses.get(turn % addresses.len().max(1));
        let pooled = |address: &Arc<str>| core.pools.upstream(address, own.http2);
        return Some([pooled(at(turn)?), pooled(at(turn.wrapping_add(1))?)]);
    }
    let at = |turn: usize| own.upstreams.get(turn % own.upstreams.len().max(1)).cloned();
    Some([at(turn)?, at(turn.wrapping_add(1))?])
}

fn authority_value(authority: &str, headers: &HeaderMap) -> Result<HeaderValue, Stop> {
    match headers.get(HOST) {
        Some(host) if host.as_bytes() == authority.as_bytes() => Ok(host.clone()),
        _ => HeaderValue::from_str(authority).map_err(|_| Stop::malformed("The Host is malformed.")),
    }
}

/// The path that was matched is the path that is sent.
fn target(uri: &Uri, path: &str, unchanged: bool) -> Result<PathAndQuery, Stop> {
    if unchanged && let Some(target) = uri.path_and_query() {
        return Ok(target.clone());
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let text = format!("{path}{query}");
    PathAndQuery::try_from(text).map_err(|_| Stop::malformed("The path cannot be used."))
}

/// Makes the request for the upstream.
pub(crate) fn prepare(
    core: &Core,
    peer: &Peer,
    chosen: Chosen,
    parts: Parts,
    body: Incoming,
    recording: &mut Recording,
) -> Result<Outgoing, Stop> {
    let view = recording.view.clone();
    let service = &view.directory.services[chosen.service];
    let route = &view.directory.routes.routes()[chosen.route].definition;
    let body = bounded(&parts.headers, body, route.body_max_bytes, recording)?;
    let http2 = view.services[chosen.service].http2;

    let mut headers = parts.headers;
    let trailers = http2 && headers.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    strip(&mut headers, |name| name == "x-api-key");
    strip_credential(&mut headers);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if parts.version == Version::HTTP_2 && !http2 {
        join_cookies(&mut headers);
    }
    tell_about_the_client(peer, &chosen.authority, &mut headers);
    if recording.trace_is_ours {
        traceparent::begin(&mut headers, recording.trace_id, &core.random);
    }
    headers.insert(REQUEST_ID.clone(), recording.request_id_text.clone());
    if let Some(tenant) = &chosen.tenant {
        let service = (chosen.service, &view.services[chosen.service].name);
        let told = core.contexts.told(service, tenant, chosen.principal, recording.started_at_s());
        headers.insert(CONTEXT.clone(), told.context);
        headers.insert(TENANT.clone(), told.tenant);
        headers.insert(PRINCIPAL.clone(), told.principal);
    }
    if let Some(permission) = chosen.permission {
        headers.insert(PERMISSION.clone(), permission);
    }

    let request = addressed(http2, parts.method, chosen.target, chosen.authority, headers, body)?;
    let millis = |ms: u32| Duration::from_millis(u64::from(ms));
    Ok(Outgoing {
        request,
        candidates: chosen.candidates,
        connect_timeout: millis(service.connect_timeout_ms),
        first_byte_timeout: millis(service.first_byte_timeout_ms),
        whole_timeout: route.timeout_ms.map_or(core.shared.config.whole_timeout, millis),
        reports_usage: service.reports_usage,
    })
}

/// The body, watched and bounded; refused at once if it says itself that it is too large.
fn bounded(
    headers: &HeaderMap,
    body: Incoming,
    max_bytes: u64,
    recording: &mut Recording,
) -> Result<UpstreamBody, Stop> {
    if body.is_end_stream() {
        return Ok(UpstreamBody::Empty);
    }
    let said = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|bytes| bytes > max_bytes) {
        return Err(too_large(max_bytes));
    }
    let watch = Rc::new(BodyWatch::default());
    recording.body = Some(watch.clone());
    Ok(UpstreamBody::Client { incoming: body, max_bytes, watch })
}

/// 413 with the bound.
pub(super) fn too_large(max_bytes: u64) -> Stop {
    let detail = format!("Here a body may have {max_bytes} bytes.");
    Stop { close: true, ..Stop::new(&kind::BODY_TOO_LARGE, detail) }
}

fn strip_credential(headers: &mut HeaderMap) {
    if headers.get(AUTHORIZATION).is_some_and(is_bearer) {
        headers.remove(AUTHORIZATION);
    }
}

/// HTTP/2 may cut a cookie into several fields; HTTP/1.1 wants one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().count() < 2 {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, whole);
    }
}

/// `Forwarded` (RFC 7239) and its older relatives. What the client said of itself counts only from a trusted
/// proxy, which is then added to.
fn tell_about_the_client(peer: &Peer, host: &HeaderValue, headers: &mut HeaderMap) {
    if peer.trusted && headers.contains_key(&FORWARDED_FOR) {
        let before = headers.get_all(&FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
        let chain: Vec<&[u8]> = before.chain([peer.address_text.as_bytes()]).collect();
        if let Ok(chain) = HeaderValue::from_bytes(&chain.join(&b", "[..])) {
            headers.insert(FORWARDED_FOR.clone(), chain);
        }
        headers.entry(&FORWARDED_HOST).or_insert_with(|| host.clone());
        headers.entry(&FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
        return;
    }
    headers.insert(FORWARDED_FOR.clone(), peer.address_text.clone());
    headers.insert(FORWARDED_HOST.clone(), host.clone());
    headers.insert(FORWARDED_PROTO.clone(), HeaderValue::from_static("http"));
    headers.insert(FORWARDED.clone(), forwarded(peer, host));
}

fn forwarded(peer: &Peer, host: &HeaderValue) -> HeaderValue {
    let client = peer.address_text.as_bytes();
    let mut text = Vec::with_capacity(client.len() + host.len() + 32);
    let (before, after): (&[u8], &[u8]) = match peer.address {
        std::net::IpAddr::V4(_) => (b"for=", b";host=\""),
        std::net::IpAddr::V6(_) => (b"for=\"[", b"]\";host=\""),
    };
    for part in [before, client, after] {
        text.extend_from_slice(part);
    }
    // A quoted string takes no quote of its own.
    for part in host.as_bytes().split(|byte| matches!(byte, b'"' | b'\\')) {
        text.extend_from_slice(part);
    }
    text.extend_from_slice(b"\";proto=http");
    HeaderValue::from_maybe_shared(Bytes::from(text)).expect("an address and the text of another header")
}

fn addressed(
    http2: bool,
    method: http::Method,
    target: PathAndQuery,
    authority: HeaderValue,
    mut headers: HeaderMap,
    body: UpstreamBody,
) -> Result<Request<UpstreamBody>, Stop> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    if http2 {
        headers.remove(HOST);
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority =
            Some(authority.as_bytes().try_into().map_err(|_| Stop::malformed("The Host is malformed."))?);
        uri.path_and_query = Some(target);
        *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Stop::malformed("The target is malformed."))?;
        *request.version_mut() = Version::HTTP_2;
    } else {
        headers.insert(HOST, authority);
        *request.uri_mut() = Uri::from(target);
    }
    *request.headers_mut() = headers;
    Ok(request)
}
