//! The frame around every call: a request id, problems rendered in one place, headers that all answers have,
//! one log line for what was our fault.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rowhouse_domain::id::RequestId;
use rowhouse_domain::refusal::{MEDIA_TYPE, Problem, Refusal, kind};
use rowhouse_store::turns;

use crate::Shared;
use crate::api::pace::Pace;
use crate::api::{ApiError, client_address};

/// Put into an answer's extensions by routes whose standard has the caller's own request id come back, whatever it is.
#[derive(Debug, Clone)]
pub struct EchoedRequestId(pub HeaderValue);

/// Puts the frame around all routes.
pub fn assemble(routes: Router<Shared>, control: Shared) -> Router {
    routes
        .fallback(|| async { ApiError(Refusal::new(&kind::NOT_FOUND, "There is nothing at this path.")) })
        .method_not_allowed_fallback(|| async {
            ApiError(Refusal::new(&kind::METHOD_NOT_ALLOWED, "This path has no such method."))
        })
        .layer(axum::middleware::from_fn_with_state((control.clone(), Arc::new(Pace::default())), frame))
        .with_state(control)
}

/// The id of the running request: the caller's if it sent a UUID or one of our ids, else a new one.
pub fn request_id(headers: &HeaderMap, control: &Shared) -> RequestId {
    let given = headers.get("x-request-id").and_then(|value| value.to_str().ok());
    given
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| RequestId(control.entropy().uuid_v7(control.clock().now_us())))
}

/// A path as the log tells it. That of a sign-in names the sign-in, which whoever reads logs must not go on with.
fn told(path: &str) -> Cow<'_, str> {
    match path.strip_prefix("/v1/sign_in/").and_then(|rest| rest.split_once('/')) {
        Some((flow, step)) if flow.len() > 20 => format!("/v1/sign_in/…/{step}").into(),
        _ => path.into(),
    }
}

async fn frame(
    State((control, pace)): State<(Shared, Arc<Pace>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = request_id(request.headers(), &control);
    request.extensions_mut().insert(id);
    let line = format!("{} {}", request.method(), told(request.uri().path()));
    let mut response = match pace.admit(request.headers(), control.clock().now_us()) {
        Ok(paced) => {
            let (parts, body) = request.into_parts();
            let from = client_address(&parts, &control);
            let call = next.run(Request::from_parts(parts, body));
            let (response, tenant) = turns::within(from, call).await;
            paced.inspect(|paced| pace.learn(*paced, response.status(), tenant));
            response
        }
        Err(refusal) => ApiError(refusal).into_response(),
    };
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        log(&line, id, &refusal);
        let allow = response.headers_mut().remove(header::ALLOW);
        response = render(&refusal, &control, id);
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    let echoed = response.extensions_mut().remove::<EchoedRequestId>();
    let headers = response.headers_mut();
    let value = echoed.map_or_else(
        || HeaderValue::from_str(&id.0.to_string()).expect("a UUID is a header value"),
        |EchoedRequestId(given)| given,
    );
    headers.insert("x-request-id", value);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn log(line: &str, id: RequestId, refusal: &Refusal) {
    if refusal.status() >= 500 {
        let cause = refusal.private_detail().unwrap_or("");
        tracing::error!(request_id = %id, code = refusal.code(), cause, "{line} failed");
    }
}

fn render(refusal: &Refusal, control: &Shared, id: RequestId) -> Response {
    let problem = Problem::new(refusal, &control.settings.public_url, id.to_string());
    let status = axum::http::StatusCode::from_u16(refusal.status()).expect("the catalogue has real statuses");
    let mut response = (status, problem.to_json()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if let Some(challenge) = refusal.challenge() {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Some(seconds) = refusal.retry_after_s() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn the_log_tells_no_sign_in() {
        let flow = "v1.0123456789abcdefghij";
        assert_eq!(told(&format!("/v1/sign_in/{flow}/password")), "/v1/sign_in/…/password");
        for path in ["/v1/sign_in", "/v1/sign_in/reset/confirm", "/v1/users/user_01hx"] {
            assert_eq!(told(path), path);
        }
    }
}
