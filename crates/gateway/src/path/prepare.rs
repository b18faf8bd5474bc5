//! Step 7: which copies of which service, and the request as it is sent there.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use http_body::Body;
use rowhouse_domain::directory::Tenant;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::routes::{Balancing, Matched, SplitCaller, is_idempotent};

use super::authorise::session;
use super::balance::{Candidates, Choosing};
use super::headers::only;
use super::onward::Onward;
use super::quota::Within;
use super::{Recording, Stop, grpc, traceparent};
use crate::body::{BodyWatch, UpstreamBody};
use crate::caller::Incoming;
use crate::connection::Peer;
use crate::context::Acting;
use crate::core::Core;
use crate::upstream::{Care, Message, Outbound, Security};
use crate::view::View;
use crate::websocket;

pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is sent where. Nothing in it borrows from the request any more.
pub(crate) struct Chosen<'v> {
    service: usize,
    route: usize,
    tenant: Option<&'v Tenant>,
    acting: Acting,
    permission: Option<HeaderValue>,
    authority: HeaderValue,
    target: PathAndQuery,
    candidates: Candidates,
    care: Rc<Care>,
}

/// A request ready to be sent.
pub(crate) struct Outgoing {
    pub(crate) message: Message,
    /// Bytes that its body may have.
    pub(crate) max_bytes: u64,
    pub(crate) candidates: Candidates,
    /// What is known of these copies.
    pub(crate) care: Rc<Care>,
    /// Whether it may be sent again although it may have been sent.
    pub(crate) idempotent: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) first_byte_timeout: Duration,
    pub(crate) whole_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    /// How long the caller waits, if that is shorter.
    pub(crate) called_off: Option<Duration>,
    /// Whether the service's word on usage is believed.
    pub(crate) reports_usage: bool,
    /// Whether it is kept how long copies take.
    pub(crate) measures: bool,
}

/// Chooses the copies: the tenant's own if it has some, else the shared ones, in turn.
pub(crate) fn choose<'v>(
    core: &Core,
    view: &View,
    within: Within<'_, 'v>,
    recording: &mut Recording,
) -> Result<Chosen<'v>, Stop> {
    let Within { permitted } = within;
    let matched = permitted.matched();
    let (service, route) = (matched.route.service, matched.index);
    let known = &permitted.known;
    let resolved = &known.resolved;
    let tenant = resolved.tenant.map(|tenant| &**tenant);
    let draw = || u64::from_le_bytes(core.random.bytes());
    let own = tenant.and_then(|tenant| Some((tenant.id, tenant.own_upstreams(service)?)));
    let release = match (&own, view.services[service].splits) {
        (None, true) => {
            let caller = SplitCaller {
                tenant: tenant.map(|tenant| (tenant.id, &*tenant.code)),
                user: known.user().map(|user| user.id),
                draw: draw(),
            };
            let headers = &resolved.sound.parts.headers;
            let traffic = view.directory.traffic(service);
            traffic.map_or(0, |traffic| traffic.release(caller, |name| only(headers, name)))
        }
        _ => 0,
    };
    recording.release = own.is_none().then_some(release);
    let (candidates, care) = copies(core, view, service, (tenant, own, release), recording.started_at_us)
        .ok_or_else(|| Stop::new(&kind::NO_UPSTREAM, "No copy of the service is running."))?;
    if let Err(wait_us) = care.circuit.borrow_mut().admit(recording.started_at_us) {
        return Err(left_alone(wait_us));
    }
    care.credit.pay_in();
    let principal = permitted.permit.as_ref().map_or_else(|| known.principal(), |permit| permit.principal());
    let sent = resolved.sound.parts.uri.path();
    recording.counts = known.counts();
    Ok(Chosen {
        service,
        route,
        acting: (principal, session(&known.who)),
        permission: recording.permission.and_then(|id| view.routes[route].permission_value(id)),
        authority: authority_value(resolved.sound.authority, &resolved.sound.parts.headers)?,
        target: match view.routes[route].rewrites {
            true => rewritten(matched, &resolved.sound.parts.uri)?,
            false => target(&resolved.sound.parts.uri, resolved.path, resolved.path == sent)?,
        },
        candidates,
        care,
        tenant,
    })
}

/// A tenant's own copies of a service.
type Own<'v> = Option<(TenantId, &'v [Arc<str>])>;

/// The copies to ask, best first, and what is known of them: the tenant's own if it has some, else those of the release.
fn copies(
    core: &Core,
    view: &View,
    service: usize,
    (tenant, own, release): (Option<&Tenant>, Own<'_>, usize),
    now_us: i64,
) -> Option<(Candidates, Rc<Care>)> {
    let service = &view.services[service];
    let turn = service.turn.get();
    service.turn.set(turn.wrapping_add(1));
    let release = &service.releases[release];
    let whose = Choosing {
        balancing: service.balancing,
        turn,
        turns: if own.is_some() { &[] } else { &release.turns },
        draw: match service.balancing {
            Balancing::PeakEwma => u64::from_le_bytes(core.random.bytes()),
            _ => 0,
        },
        tenant: tenant.map(|tenant| tenant.id),
        now_us,
    };
    match own {
        Some((tenant, addresses)) => {
            let pooled = addresses.iter().map(|address| core.pools.upstream(address, &service.speech));
            let candidates = whose.order(&pooled.collect::<Vec<_>>())?;
            Some((candidates, core.pools.care(&service.name, Some(tenant))))
        }
        None => Some((whose.order(&release.upstreams)?, release.care.clone())),
    }
}

#[cold]
fn left_alone(wait_us: i64) -> Stop {
    let seconds = u32::try_from(wait_us.div_euclid(1_000_000) + 1).unwrap_or(u32::MAX);
    Refusal::new(&kind::CIRCUIT_OPEN, "Too many requests to the service failed.").retry_after(seconds).into()
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

/// Another path or query than was matched, as the route says.
fn rewritten(matched: &Matched<'_, '_>, uri: &Uri) -> Result<PathAndQuery, Stop> {
    let path = matched.route.rewritten(matched.path);
    let query = matched.route.rewritten_query(uri.query());
    let path = path.as_deref().unwrap_or(matched.path);
    let query = query.as_deref().or(uri.query()).filter(|query| !query.is_empty());
    let text = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    PathAndQuery::try_from(text).map_err(|_| Stop::malformed("The path cannot be used."))
}

/// Makes the request for the upstream.
pub(crate) fn prepare(
    core: &Core,
    peer: &Peer,
    chosen: Chosen<'_>,
    parts: Parts,
    body: Incoming,
    recording: &mut Recording,
) -> Result<Outgoing, Stop> {
    let view = recording.view.clone();
    let service = &view.directory.services[chosen.service];
    let route = &view.directory.routes.routes()[chosen.route].definition;
    let body = bounded(&parts.headers, body, route.body_max_bytes, recording)?;
    let speech = &view.services[chosen.service].speech;
    let http2 = speech.http2;
    let scheme = if matches!(speech.security, Security::Plain) { Scheme::HTTP } else { Scheme::HTTPS };
    let becomes_websocket =
        route.websocket && !http2 && matches!(body, UpstreamBody::Empty) && websocket::is_asked(&parts);
    if becomes_websocket {
        let mut asked = parts.clone();
        asked.extensions.clear();
        recording.websocket = Some(Box::new(asked));
    }

    let told = chosen.tenant.map(|tenant| {
        let service = (chosen.service, &view.services[chosen.service].name);
        core.contexts.told(service, tenant, chosen.acting, recording.started_at_s())
    });
    let onward = Onward {
        headers: &parts.headers,
        peer,
        authority: &chosen.authority,
        request_id: &recording.request_id_text,
        trace: recording.trace_is_ours.then(|| traceparent::begin(recording.trace_id, &core.random)),
        told: told.as_deref(),
        permission: chosen.permission.as_ref(),
        edits: view.routes[chosen.route].request.as_ref(),
        http2,
        joins_cookies: !http2
            && parts.version == Version::HTTP_2
            && parts.headers.get_all(COOKIE).iter().nth(1).is_some(),
    };
    let message = match http2 {
        true => Message::Http2(Box::new(http2_request(&onward, &parts, (scheme, chosen.target), body)?)),
        false => {
            Message::Http1(Box::new(http1_request(&onward, &parts, &chosen.target, body, becomes_websocket)))
        }
    };
    let idempotent = is_idempotent(parts.method.as_str());
    let millis = |ms: u32| Duration::from_millis(u64::from(ms));
    let whole_timeout = route.timeout_ms.map_or(core.shared.config.whole_timeout, millis);
    // A gRPC caller says itself how long it waits.
    let called_off = recording.is_grpc.then(|| grpc::deadline(&parts.headers)).flatten();
    Ok(Outgoing {
        message,
        max_bytes: route.body_max_bytes,
        candidates: chosen.candidates,
        care: chosen.care,
        idempotent,
        connect_timeout: millis(service.connect_timeout_ms),
        first_byte_timeout: millis(service.first_byte_timeout_ms),
        whole_timeout,
        idle_timeout: route.idle_timeout_ms.map_or(core.shared.config.idle_timeout, millis),
        called_off: called_off.filter(|own| *own < whole_timeout),
        reports_usage: service.reports_usage,
        measures: service.balancing == Balancing::PeakEwma,
    })
}

/// The body, watched and bounded; refused at once if it says itself that it is too large.
fn bounded(
    headers: &HeaderMap,
    mut body: Incoming,
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
    if recording.is_grpc {
        body.may_rest();
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

/// A little more than most heads need.
const HEAD_BYTES_USUAL: usize = 2048;

fn http1_request(
    onward: &Onward<'_>,
    parts: &Parts,
    target: &PathAndQuery,
    body: UpstreamBody,
    becomes_websocket: bool,
) -> Outbound {
    let mut head = Vec::with_capacity(HEAD_BYTES_USUAL);
    let mut put = |pieces: [&[u8]; 4]| pieces.into_iter().for_each(|piece| head.extend_from_slice(piece));
    put([parts.method.as_str().as_bytes(), b" ", target.as_str().as_bytes(), b" HTTP/1.1\r\n"]);
    put([b"host", b": ", onward.authority.as_bytes(), b"\r\n"]);
    onward.each(|name, value| put([name.as_str().as_bytes(), b": ", value, b"\r\n"]));
    if becomes_websocket {
        head.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    }
    // RFC 9110 §8.6: methods that usually have a body say that there is none.
    let sized = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH)
        || parts.headers.contains_key(CONTENT_LENGTH);
    Outbound::new(head, body, parts.method == Method::HEAD, sized)
}

fn http2_request(
    onward: &Onward<'_>,
    parts: &Parts,
    (scheme, target): (Scheme, PathAndQuery),
    body: UpstreamBody,
) -> Result<Request<UpstreamBody>, Stop> {
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.version_mut() = Version::HTTP_2;
    let mut uri = http::uri::Parts::default();
    let authority = onward.authority.as_bytes().try_into();
    uri.scheme = Some(scheme);
    uri.authority = Some(authority.map_err(|_| Stop::malformed("The Host is malformed."))?);
    uri.path_and_query = Some(target);
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Stop::malformed("The target is malformed."))?;
    let headers = request.headers_mut();
    onward.each(|name, value| {
        let value = HeaderValue::from_bytes(value).expect("made of values of headers");
        headers.append(name, value);
    });
    if let Some(length) = parts.headers.get(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, length.clone());
    }
    Ok(request)
}
