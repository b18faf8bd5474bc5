//! What an answer tells of the limits: `RateLimit-Policy`, `RateLimit` (RFC 9651 structured fields by
//! draft-ietf-httpapi-ratelimit-headers-11) and the older `X-RateLimit-*` triple.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use rowhouse_domain::limits::{Bucket, LimitDefinition};

static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static STATE: HeaderName = HeaderName::from_static("ratelimit");
static LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// How one visible limit stands after a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// Its place in the directory.
    pub(crate) limit: usize,
    pub(crate) bucket: Bucket,
    /// Units left.
    pub(crate) remaining: i64,
    /// When it is full again, or, if it refused, when to come back; whole seconds.
    pub(crate) reset_s: i64,
    /// Whether it is the one that refused.
    pub(crate) binds: bool,
}

/// Puts the five headers into an answer, in place of any that are there. One allocation holds all their text.
pub(crate) fn apply(headers: &mut HeaderMap, standings: &[Standing], limits: &[LimitDefinition], now_s: i64) {
    let Some(told) = standings.iter().find(|standing| standing.binds).or_else(|| least_left(standings))
    else {
        return;
    };
    let name = |standing: &Standing| limits[standing.limit].name.as_bytes();
    let mut text = Vec::with_capacity(64 * standings.len() + 128);
    for (index, standing) in standings.iter().enumerate() {
        let bucket = standing.bucket;
        text.extend_from_slice(if index == 0 { b"\"" } else { b", \"" });
        text.extend_from_slice(name(standing));
        text.extend_from_slice(b"\";q=");
        put_number(&mut text, bucket.burst());
        text.extend_from_slice(b";w=");
        put_number(&mut text, bucket.announced_window_s());
    }
    let mut ends = [text.len(); 5];
    text.push(b'"');
    text.extend_from_slice(name(told));
    text.extend_from_slice(b"\";r=");
    put_number(&mut text, told.remaining);
    text.extend_from_slice(b";t=");
    put_number(&mut text, told.reset_s);
    ends[1] = text.len();
    for (end, number) in ends[2..].iter_mut().zip([told.bucket.burst(), told.remaining, now_s + told.reset_s])
    {
        put_number(&mut text, number);
        *end = text.len();
    }
    let (text, mut start) = (Bytes::from(text), 0);
    for (name, end) in [&POLICY, &STATE, &LIMIT, &REMAINING, &RESET].into_iter().zip(ends) {
        let value = HeaderValue::from_maybe_shared(text.slice(start..end))
            .expect("names of limits and numbers are visible ASCII");
        headers.insert(name.clone(), value);
        start = end;
    }
}

/// Whether a header is one of these; a service's own word on limits does not pass.
pub(crate) fn tells_of_limits(name: &str) -> bool {
    matches!(
        name,
        "ratelimit-policy"
            | "ratelimit"
            | "x-ratelimit-limit"
            | "x-ratelimit-remaining"
            | "x-ratelimit-reset"
    )
}

/// The limit with the least share left.
fn least_left(standings: &[Standing]) -> Option<&Standing> {
    standings.iter().min_by_key(|standing| {
        // Shares are compared in millionths; nearer than that they are equal. Both numbers are at most 10⁹.
        standing.remaining * 1_000_000 / standing.bucket.burst()
    })
}

/// A number in decimal. The formatter of the standard library takes ten times as long.
fn put_number(text: &mut Vec<u8>, number: i64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        text.push(b'-');
    }
    text.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(name: &str) -> LimitDefinition {
        LimitDefinition {
            name: name.to_owned(),
            algorithm: "token_bucket".to_owned(),
            quota: 1,
            window_ms: 1000,
            burst: None,
            scope: rowhouse_domain::limits::LimitScope::Tenant,
            tiers: Default::default(),
            services: vec![],
            visible: true,
        }
    }

    fn standing(limit: usize, bucket: (i64, i64), remaining: i64, reset_s: i64) -> Standing {
        let bucket = Bucket::new(bucket.0, 1000, bucket.1).expect("in bounds");
        Standing { limit, bucket, remaining, reset_s, binds: false }
    }

    fn applied(standings: &[Standing]) -> HeaderMap {
        let limits = [definition("tenant-default"), definition("user-default")];
        let mut headers = HeaderMap::new();
        apply(&mut headers, standings, &limits, 1_795_251_600);
        headers
    }

    #[test]
    fn all_policies_are_named_and_the_tightest_is_told() {
        let headers = applied(&[standing(0, (100, 1000), 999, 1), standing(1, (10, 600), 12, 37)]);
        assert_eq!(headers["ratelimit-policy"], r#""tenant-default";q=1000;w=10, "user-default";q=600;w=60"#);
        assert_eq!(headers["ratelimit"], r#""user-default";r=12;t=37"#);
        assert_eq!(headers["x-ratelimit-limit"], "600");
        assert_eq!(headers["x-ratelimit-remaining"], "12");
        assert_eq!(headers["x-ratelimit-reset"], "1795251637");
        assert!(applied(&[]).is_empty());
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 10, 99, 1_000_000_000, i64::MAX, -1, i64::MIN] {
            let mut text = b"w=".to_vec();
            put_number(&mut text, number);
            assert_eq!(text, format!("w={number}").into_bytes());
        }
    }

    #[test]
    fn the_binding_limit_is_told_even_if_another_has_less() {
        let mut standings = [standing(0, (1, 10), 0, 3), standing(1, (1, 10), 0, 9)];
        standings[1].binds = true;
        assert_eq!(applied(&standings)["ratelimit"], r#""user-default";r=0;t=9"#);
    }
}
