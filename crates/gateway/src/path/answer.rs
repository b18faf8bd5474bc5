//! Step 9: the answer, and the record of it. A refusal is recorded before it leaves; an upstream's answer when
//! its last frame has been read and before it is handed on.

use std::time::Instant;

use bytes::Bytes;
use http::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE,
};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use rowhouse_domain::id::RequestId;
use rowhouse_domain::refusal::{MEDIA_TYPE, Problem, Refusal, kind};

use super::forward::Answered;
use super::headers::strip;
use super::prepare::REQUEST_ID;
use super::usage::reported;
use super::{Recording, Stop, cors, grpc};
use crate::body::{AnswerBody, AnswerSource};
use crate::limits;
use crate::websocket::Tunnel;

/// An answer, and what only the gateway tells in it.
pub(crate) struct Answer {
    pub(crate) parts: Parts,
    pub(crate) body: AnswerBody,
    pub(crate) ours: Ours,
}

/// Headers that only the gateway tells. None of these names is among an answer's own.
pub(crate) struct Ours {
    request_id: HeaderValue,
    limits: Option<limits::Told>,
}

impl Ours {
    fn of(recording: &Recording) -> Self {
        let view = &recording.view;
        let (standings, limits) = (&recording.standings, &view.directory.limits);
        let limits = limits::Told::of(standings, &view.policies, limits, recording.counted_at_s());
        Ours { request_id: recording.request_id_text.clone(), limits }
    }

    /// Tells each.
    pub(crate) fn each(&self, mut tell: impl FnMut(&HeaderName, &[u8])) {
        tell(&REQUEST_ID, self.request_id.as_bytes());
        if let Some(limits) = &self.limits {
            limits.each(tell);
        }
    }

    fn put(self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID.clone(), self.request_id);
        if let Some(limits) = self.limits {
            limits.put(headers);
        }
    }
}

impl Answer {
    fn of(response: Response<AnswerBody>, ours: Ours) -> Self {
        let (parts, body) = response.into_parts();
        Answer { parts, body, ours }
    }

    /// With all headers in one place.
    pub(crate) fn into_response(self) -> Response<AnswerBody> {
        let mut response = Response::from_parts(self.parts, self.body);
        self.ours.put(response.headers_mut());
        response
    }
}

/// Whether a service's own word on it does not pass.
fn is_ours(name: &str) -> bool {
    name == REQUEST_ID.as_str() || limits::tells_of_limits(name)
}

/// Passes an upstream's answer on.
pub(super) fn forwarded(answered: Answered, mut recording: Box<Recording>) -> Answer {
    let Answered { response, source, until, idle_timeout, reports_usage, care } = answered;
    let (mut parts, ()) = response.into_parts();
    if reports_usage {
        recording.reported = reported(recording.service(), &parts.headers);
    }
    strip(&mut parts.headers, is_ours);
    let route = recording.route.map(|route| &recording.view.routes[route]);
    if let Some(edits) = route.and_then(|route| route.answer.as_ref()) {
        edits.apply(&mut parts.headers);
    }
    tell_pages(&mut parts.headers, &recording);
    let ours = Ours::of(&recording);
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Answer::of(switched(parts, source, until, recording), ours);
    }
    // The version is the connection's, not the message's (RFC 9112 §2.3).
    parts.version = Version::HTTP_11;
    let body = AnswerBody::passing(source, recording, (until.into(), idle_timeout), care);
    Answer { parts, body, ours }
}

/// A request that becomes a WebSocket: once the answer has left, the connection carries it, and its record.
fn switched(
    mut answer: Parts,
    source: AnswerSource,
    until: Instant,
    mut recording: Box<Recording>,
) -> Response<AnswerBody> {
    answer.version = Version::HTTP_11;
    answer.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let (AnswerSource::Http1(exchange, _), Some(parts)) = (source, recording.websocket.take()) {
        let (upstream, arrived) = exchange.into_stream();
        let (peer, idle) = (recording.peer.clone(), until.saturating_duration_since(recording.started));
        peer.tunnel.replace(Some(Tunnel { upstream, arrived, recording, parts: *parts, idle }));
    }
    Response::from_parts(answer, AnswerBody::Whole(None))
}

/// Answers a refusal as a problem (RFC 9457).
pub(super) async fn refused(stop: Stop, mut recording: Box<Recording>) -> Answer {
    if let Some(headers) = stop.preflight {
        recording.answered(StatusCode::NO_CONTENT.as_u16());
        let mut response = Response::new(AnswerBody::Whole(None));
        *response.status_mut() = StatusCode::NO_CONTENT;
        tell_pages(response.headers_mut(), &recording);
        response.headers_mut().extend(*headers);
        return Answer::of(response, Ours::of(&recording));
    }
    let body = problem(&stop.refusal, &recording);
    recording.bytes_out = if recording.is_grpc { 0 } else { body.len() as u64 };
    let written = recording.refused(&stop.refusal);
    if stop.synchronous {
        let safe = match written {
            Ok(sequence) => {
                let synced = recording.core.lane.borrow().synced(sequence);
                synced.await.is_ok()
            }
            Err(_) => false,
        };
        if !safe {
            let refusal = Refusal::new(&kind::JOURNAL_UNAVAILABLE, "The request cannot be recorded.");
            let body = problem(&refusal, &recording);
            return answer(&refusal.into(), body, &recording);
        }
    }
    answer(&stop, body, &recording)
}

/// Answers a caller who waits no longer for a service that works, or whose request broke off; the record waits for the service.
pub(super) fn called_off(stop: &Stop, recording: &Recording) -> Answer {
    answer(stop, problem(&stop.refusal, recording), recording)
}

fn problem(refusal: &Refusal, recording: &Recording) -> Bytes {
    let id = RequestId(recording.request_id).to_string();
    Problem::new(refusal, &recording.core.shared.config.docs_url, id).to_json().into()
}

fn answer(stop: &Stop, body: Bytes, recording: &Recording) -> Answer {
    let refusal = &stop.refusal;
    let mut response = match recording.is_grpc {
        true => grpc::refused(refusal),
        false => told(refusal, body),
    };
    let headers = response.headers_mut();
    tell_pages(headers, recording);
    if let Some(challenge) = refusal.challenge() {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Some(seconds) = refusal.retry_after_s() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(allow) = &stop.allow {
        headers.insert(ALLOW, allow.clone());
    }
    if let Some(location) = &stop.location {
        headers.insert(LOCATION, location.clone());
    }
    if stop.close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Answer::of(response, Ours::of(recording))
}

fn told(refusal: &Refusal, body: Bytes) -> Response<AnswerBody> {
    let length = body.len();
    let mut response = Response::new(AnswerBody::Whole(Some(body)));
    *response.status_mut() =
        StatusCode::from_u16(refusal.status()).expect("the catalogue has statuses of 308 to 599");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// What pages of other origins may read (CORS).
fn tell_pages(headers: &mut HeaderMap, recording: &Recording) {
    if recording.view.has_cors {
        cors::tell(headers, recording);
    }
}
