//! gRPC over HTTP/2: a refusal is told as a status of its own, and the caller's deadline is kept. All else passes as it is,
//! streams and trailers too.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, Version};
use rowhouse_domain::refusal::Refusal;

use crate::body::AnswerBody;

/// Whether a request is gRPC's own: not gRPC-Web, which is not read as such.
pub(super) fn is_grpc(version: Version, headers: &HeaderMap) -> bool {
    version == Version::HTTP_2
        && headers.get(CONTENT_TYPE).is_some_and(|own| {
            let rest = own.as_bytes().strip_prefix(b"application/grpc");
            rest.is_some_and(|rest| rest.first().is_none_or(|byte| matches!(byte, b'+' | b';')))
        })
}

/// The status that callers know for one of HTTP.
fn status(http: u16) -> u8 {
    match http {
        400 | 422 => 3,        // INVALID_ARGUMENT
        401 => 16,             // UNAUTHENTICATED
        402 | 413 | 429 => 8,  // RESOURCE_EXHAUSTED
        403 => 7,              // PERMISSION_DENIED
        404 | 405 | 501 => 12, // UNIMPLEMENTED
        409 | 412 => 9,        // FAILED_PRECONDITION
        502 | 503 => 14,       // UNAVAILABLE
        504 => 4,              // DEADLINE_EXCEEDED
        500..=599 => 13,       // INTERNAL
        _ => 2,                // UNKNOWN
    }
}

/// A refusal without a body: its headers are the trailers (Trailers-Only).
pub(super) fn refused(refusal: &Refusal) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Whole(None));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(u16::from(status(refusal.status()))));
    let message = encoded(&format!("{}: {}", refusal.code(), refusal.detail()));
    headers.extend(HeaderValue::try_from(message).ok().map(|message| (GRPC_MESSAGE.clone(), message)));
    response
}

static GRPC_MESSAGE: http::HeaderName = http::HeaderName::from_static("grpc-message");

/// As gRPC over HTTP/2 has messages: all but visible ASCII and the space in percents, and the percent itself.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'%';
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// How long the caller waits, as `grpc-timeout` says it: up to eight digits and a unit.
pub(super) fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_and_nonsense_is_none() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_static(text));
            deadline(&headers)
        };
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("100m", Some(Duration::from_millis(100))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("100000000m", None),
            ("m", None),
            ("", None),
            ("-1S", None),
            ("1s", None),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
        assert_eq!(deadline(&HeaderMap::new()), None);
    }

    #[test]
    fn only_grpc_over_http_2_is_grpc() {
        let of = |version, text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(text));
            is_grpc(version, &headers)
        };
        for (text, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=1", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(of(Version::HTTP_2, text), expected, "{text}");
            assert!(!of(Version::HTTP_11, text));
        }
        assert_eq!(encoded("a%b\u{e9}\n"), "a%25b%C3%A9%0A");
    }
}
