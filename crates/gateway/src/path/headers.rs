//! Which headers pass, and which are ours alone.

use http::HeaderValue;
use http::header::{CONNECTION, HeaderMap, HeaderName};

/// Takes out what is meant for one connection only (RFC 9110 §7.6.1), and what only the gateway says: nobody
/// else's word on it counts. `also` names what else goes.
pub(crate) fn strip(headers: &mut HeaderMap, also: impl Fn(&str) -> bool) {
    if headers.contains_key(CONNECTION) {
        strip_named_by_connection(headers);
    }
    let goes = |name: &&HeaderName| {
        let name = name.as_str();
        of_the_hop(name) || ours(name) || also(name)
    };
    // Mostly nothing goes, so looking at each name once is cheaper than asking for each of ours.
    while let Some(name) = headers.keys().find(goes).cloned() {
        headers.remove(name);
    }
}

/// The value of a header that was sent exactly once.
pub(super) fn only<'r>(headers: &'r HeaderMap, name: &str) -> Option<&'r [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first.as_bytes())
}

pub(super) fn of_the_hop(name: &str) -> bool {
    matches!(
        name,
        "transfer-encoding"
            | "keep-alive"
            | "upgrade"
            | "te"
            | "trailer"
            | "expect"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
    )
}

/// Services that learn of headers as CGI variables (RFC 3875 §4.1.18) cannot tell `_` from `-`, so that what only
/// differs by it is ours too.
pub(super) fn ours(name: &str) -> bool {
    let begins = |ours: &str| {
        let same = |(byte, own): (u8, u8)| byte == own || (byte == b'_' && own == b'-');
        name.len() >= ours.len() && name.bytes().zip(ours.bytes()).all(same)
    };
    let told = ["x-forwarded-", "x-request-id", "x-api-key", "client-cert"];
    begins("rowhouse-") || begins("x-tenant-") || (name.contains('_') && told.into_iter().any(begins))
}

fn strip_named_by_connection(headers: &mut HeaderMap) {
    for name in named_by_connection(headers) {
        headers.remove(name);
    }
    headers.remove(CONNECTION);
}

/// What `Connection` says is meant for one connection only.
pub(super) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    if only_the_usual(headers) {
        return Vec::new();
    }
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        // Naming what frames or routes the message would let a client take it away from the service.
        .filter(|name| !matches!(name.as_str(), "host" | "content-length" | "content-type"))
        .collect()
}

/// Whether `Connection` says only what it nearly always says. `Keep-Alive` goes anyway; a header named `Close`
/// would stay, and means nothing to anybody.
fn only_the_usual(headers: &HeaderMap) -> bool {
    let usual = |value: &HeaderValue| {
        let value = value.as_bytes();
        value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
    };
    headers.get_all(CONNECTION).iter().all(usual)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_connection_names_goes_and_the_rest_stays() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop , content-length"),
            ("x-hop", "1"),
            ("content-length", "3"),
            ("te", "trailers"),
            ("x-end", "2"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        strip(&mut headers, |_| false);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["content-length", "x-end"]);
    }

    #[test]
    fn our_names_are_nobody_elses() {
        let mut headers = HeaderMap::new();
        let theirs = ["x-tenants", "rowhouse", "x-forwarded-for", "my_header"];
        let ours = [
            "rowhouse-tenant",
            "x-tenant-anything",
            "rowhouse_tenant",
            "x_tenant-code",
            "x_forwarded_for",
            "also",
        ];
        for name in theirs.into_iter().chain(ours) {
            headers.append(name, HeaderValue::from_static("1"));
            headers.append(name, HeaderValue::from_static("2"));
        }
        strip(&mut headers, |name| name == "also");
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["my_header", "rowhouse", "x-forwarded-for", "x-tenants"]);
    }
}
