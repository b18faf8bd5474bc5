//! What a route changes in requests on their way to the service, and in answers on their way back: headers, query
//! parameters and the path. What frames a message, what is for one connection only, and what the gateway alone says
//! (the signed context first of all) can be neither set nor taken away: a declaration that tries is refused.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::conditions::decoded;
use super::tree::Pattern;

/// Changes that one list may have.
const EDITS_MAX: usize = 32;

/// Changes of named values, in this order: renamed, removed, set, added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Edits {
    /// From the old name to the new one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
    /// All values of these go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// In place of all values that are there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Beside the values that are there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<String, String>,
}

/// What is changed in a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequestTransform {
    /// In its headers.
    #[serde(skip_serializing_if = "Edits::is_empty")]
    pub headers: Edits,
    /// In its query.
    #[serde(skip_serializing_if = "Edits::is_empty")]
    pub query: Edits,
    /// The path that the service sees, as `/internal/{stamp_id}`; the places of the route's own path, and `{rest}` for
    /// what stands in the place of `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// What is changed in an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerTransform {
    /// In its headers.
    #[serde(skip_serializing_if = "Edits::is_empty")]
    pub headers: Edits,
}

/// A route that will go away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deprecation {
    /// From when on nobody should use it: `Deprecation` (RFC 9745).
    pub since: Timestamp,
    /// When it stops to answer, as far as is known: `Sunset` (RFC 8594). Not before `since`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sunset: Option<Timestamp>,
    /// Where people read what to do instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// Why something cannot be changed so: the field, and in words.
pub type BadTransform = (String, String);

impl Edits {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        *self == Edits::default()
    }

    /// All names, old and new.
    fn names(&self) -> impl Iterator<Item = &String> {
        let renamed = self.rename.iter().flat_map(|(old, new)| [old, new]);
        renamed.chain(&self.remove).chain(self.set.keys()).chain(self.add.keys())
    }

    fn check_headers(&self, at: &str, is_reserved: impl Fn(&str) -> bool) -> Result<(), BadTransform> {
        let of_a_name =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
        self.check_size(at)?;
        for name in self.names() {
            if name.is_empty() || name.len() > 100 || !name.bytes().all(of_a_name) {
                return Err((at.to_owned(), format!("`{name}` is no name of a header in lower case")));
            }
            if is_reserved(name) {
                return Err((at.to_owned(), format!("`{name}` is not a route's to change")));
            }
        }
        for value in self.set.values().chain(self.add.values()) {
            let fits = value.bytes().all(|b| (b' '..=b'~').contains(&b)) && value.trim() == value;
            if !fits || value.len() > 1_000 {
                return Err((at.to_owned(), format!("`{value}` is no value of a header")));
            }
        }
        Ok(())
    }

    fn check_query(&self, at: &str) -> Result<(), BadTransform> {
        self.check_size(at)?;
        let texts = self.names().chain(self.set.values()).chain(self.add.values());
        for text in texts {
            if text.len() > 1_000 || text.chars().any(char::is_control) {
                return Err((
                    at.to_owned(),
                    "a name or value has a control character or is too long".to_owned(),
                ));
            }
        }
        match self.names().any(String::is_empty) {
            true => Err((at.to_owned(), "a parameter has a name".to_owned())),
            false => Ok(()),
        }
    }

    fn check_size(&self, at: &str) -> Result<(), BadTransform> {
        let longest = [self.rename.len(), self.remove.len(), self.set.len(), self.add.len()];
        match longest.into_iter().any(|count| count > EDITS_MAX) {
            true => Err((at.to_owned(), format!("at most {EDITS_MAX} of each kind"))),
            false => Ok(()),
        }
    }
}

/// What frames a message or is for one connection only (RFC 9110 §7.6.1), and what routes it.
fn of_the_message(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "content-length"
            | "connection"
            | "transfer-encoding"
            | "keep-alive"
            | "upgrade"
            | "te"
            | "trailer"
            | "expect"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
    ) || name.starts_with("sec-websocket-")
}

/// What only the gateway says. Services that learn of headers as CGI variables cannot tell `_` from `-`.
fn of_the_gateway(name: &str) -> bool {
    let name = name.replace('_', "-");
    let ours = ["rowhouse-", "x-tenant-", "x-forwarded-", "x-request-id", "x-api-key"];
    ours.iter().any(|ours| name.starts_with(ours))
        || matches!(name.as_str(), "forwarded" | "traceparent" | "tracestate")
}

/// A request's header that no route changes.
pub fn is_reserved_in_requests(name: &str) -> bool {
    of_the_message(name) || of_the_gateway(name)
}

/// An answer's header that no route changes: what is told of limits and deprecation is the gateway's too.
pub fn is_reserved_in_answers(name: &str) -> bool {
    let told = ["ratelimit", "x-ratelimit-"];
    of_the_message(name)
        || of_the_gateway(name)
        || told.iter().any(|ours| name.starts_with(ours))
        || matches!(name, "retry-after" | "www-authenticate" | "date" | "deprecation" | "sunset")
}

impl RequestTransform {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        *self == RequestTransform::default()
    }

    /// The first thing that cannot be so.
    pub(super) fn check(&self, pattern: &Pattern) -> Result<(), BadTransform> {
        self.headers.check_headers("request/headers", is_reserved_in_requests)?;
        self.query.check_query("request/query")?;
        match self.path.as_deref().map(|path| Rewrite::parse(path, pattern)) {
            Some(Err(detail)) => Err(("request/path".to_owned(), detail)),
            _ => Ok(()),
        }
    }
}

impl AnswerTransform {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        *self == AnswerTransform::default()
    }

    /// The first thing that cannot be so.
    pub(super) fn check(&self) -> Result<(), BadTransform> {
        self.headers.check_headers("answer/headers", is_reserved_in_answers)
    }
}

impl Deprecation {
    /// The first thing that cannot be so.
    pub(super) fn check(&self) -> Result<(), BadTransform> {
        let bad = |field: &str, words: &str| Err((format!("deprecated/{field}"), words.to_owned()));
        let in_a_link = |b: u8| (b'!'..=b'~').contains(&b) && !b"<>\"".contains(&b);
        if self.sunset.is_some_and(|sunset| sunset < self.since) {
            return bad("sunset", "a route does not end before it is deprecated (RFC 9745 §4)");
        }
        if self
            .link
            .as_deref()
            .is_some_and(|link| !link.starts_with("https://") || !link.bytes().all(in_a_link))
        {
            return bad("link", "a link is of the form https://…");
        }
        Ok(())
    }

    /// `Deprecation`, `Sunset` and `Link` as an answer carries them.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![("deprecation", format!("@{}", self.since.as_second()))];
        headers.extend(self.sunset.map(|sunset| ("sunset", http_date(sunset))));
        // RFC 9745 §3: the relation type of what explains it.
        headers.extend(self.link.as_ref().map(|link| ("link", format!("<{link}>; rel=\"deprecation\""))));
        headers
    }
}

/// RFC 9110 §5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A path made of others' captures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Capture(Box<str>),
}

impl Rewrite {
    /// Reads a template whose places are those of `pattern`.
    pub(super) fn parse(template: &str, pattern: &Pattern) -> Result<Self, String> {
        let of_a_path = |b: u8| (b'!'..=b'~').contains(&b) && !b"?#{}\\\"<>^`|".contains(&b);
        if !template.starts_with('/') || template.starts_with("//") {
            return Err("a path begins with one slash".to_owned());
        }
        let mut pieces = Vec::new();
        let mut left = template;
        while let Some(open) = left.find('{') {
            let close = left[open..].find('}').ok_or("a place ends with `}`")? + open;
            let name = &left[open + 1..close];
            if !pattern.has(name) {
                return Err(format!("the route's path has no `{{{name}}}`"));
            }
            pieces.push(Piece::Text(left[..open].into()));
            pieces.push(Piece::Capture(name.into()));
            left = &left[close + 1..];
        }
        pieces.push(Piece::Text(left.into()));
        let text = |piece: &Piece| matches!(piece, Piece::Text(text) if !text.bytes().all(of_a_path));
        if pieces.iter().any(text) {
            return Err("a path has no spaces, query or fragment".to_owned());
        }
        if template.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err("a path has no `.` and `..`".to_owned());
        }
        Ok(Rewrite(pieces))
    }

    /// The path for one that was matched.
    pub(super) fn apply(&self, pattern: &Pattern, path: &str) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.to_string(),
            Piece::Capture(name) => pattern.capture(name, path).unwrap_or_default().to_owned(),
        };
        self.0.iter().map(piece).collect()
    }
}

impl Edits {
    /// The query with the changes made; what is not named stays as it was written. Names are compared decoded, so that
    /// another spelling of one is the same.
    pub fn of_query(&self, query: &str) -> String {
        let named = |pair: &str| decoded(pair.split('=').next().unwrap_or(pair));
        let mut pairs: Vec<String> =
            query.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
        for pair in &mut pairs {
            let name = named(pair);
            if let Some((_, new)) = self.rename.iter().find(|(old, _)| old.as_bytes() == name) {
                let value = pair.find('=').map_or("", |at| &pair[at..]);
                *pair = format!("{}{value}", encoded(new));
            }
        }
        let goes = |name: &[u8]| {
            self.remove.iter().any(|own| own.as_bytes() == name)
                || self.set.keys().any(|own| own.as_bytes() == name)
        };
        pairs.retain(|pair| !goes(&named(pair)));
        let put = self.set.iter().chain(&self.add);
        pairs.extend(put.map(|(name, value)| format!("{}={}", encoded(name), encoded(value))));
        pairs.join("&")
    }
}

fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(rename: &[(&str, &str)], remove: &[&str], set: &[(&str, &str)], add: &[(&str, &str)]) -> Edits {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let remove = remove.iter().map(|name| (*name).to_owned()).collect();
        Edits { rename: map(rename), remove, set: map(set), add: map(add) }
    }

    #[test]
    fn a_query_is_renamed_cleared_set_and_added_to() {
        for (own, query, expected) in [
            (edits(&[("a", "b c")], &[], &[], &[]), "a=1&x=%41&a", "b%20c=1&x=%41&b%20c"),
            (edits(&[], &["a"], &[], &[]), "a=1&%61=2&aa=3&a", "aa=3"),
            (edits(&[], &[], &[("a", "1&2")], &[]), "a=9&b=1", "b=1&a=1%262"),
            (edits(&[], &[], &[], &[("a", "2")]), "a=1", "a=1&a=2"),
            (edits(&[("a", "b")], &["b"], &[], &[]), "a=1&b=2&c", "c"),
            (edits(&[], &["a"], &[], &[]), "", ""),
            (edits(&[], &[], &[("a", "1")], &[]), "", "a=1"),
        ] {
            assert_eq!(own.of_query(query), expected, "{own:?} {query}");
        }
    }

    #[test]
    fn a_path_is_rewritten_from_captures() {
        for (own, path, template, expected) in [
            ("/v1/stamps/{id}", "/v1/stamps/7", "/internal/{id}.json", Ok("/internal/7.json")),
            ("/v1/files/*", "/v1/files/a/b%2Fc", "/store/{rest}", Ok("/store/a/b%2Fc")),
            ("/v1/files/*", "/v1/files/", "/store/{rest}", Ok("/store/")),
            ("/*", "/a/b", "/x/{rest}", Ok("/x/a/b")),
            ("/v1/{a}", "/v1/x", "/{b}", Err(())),
            ("/v1/{a}", "/v1/x", "/{a", Err(())),
            ("/v1/{a}", "/v1/x", "a", Err(())),
            ("/v1/{a}", "/v1/x", "//evil/{a}", Err(())),
            ("/v1/{a}", "/v1/x", "/b?{a}", Err(())),
            ("/v1/{a}", "/v1/x", "/b/../{a}", Err(())),
            ("/v1/{a}", "/v1/x", "/b c", Err(())),
        ] {
            let pattern = Pattern::parse(own).expect(own);
            let made = Rewrite::parse(template, &pattern).map(|rewrite| rewrite.apply(&pattern, path));
            assert_eq!(made.as_deref().map_err(|_| ()), expected, "{own} {template}");
        }
    }

    #[test]
    fn what_is_not_a_routes_to_change() {
        let reserved = [
            "rowhouse-context",
            "rowhouse_context",
            "rowhouse-anything",
            "x-tenant-id",
            "x_tenant_id",
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "te",
            "upgrade",
            "expect",
            "x-forwarded-for",
            "forwarded",
            "x-request-id",
            "x-api-key",
            "traceparent",
            "sec-websocket-key",
            "proxy-authorization",
        ];
        for name in reserved {
            for own in [
                edits(&[], &[name], &[], &[]),
                edits(&[], &[], &[(name, "1")], &[]),
                edits(&[], &[], &[], &[(name, "1")]),
                edits(&[("x", name)], &[], &[], &[]),
                edits(&[(name, "x")], &[], &[], &[]),
            ] {
                assert!(own.check_headers("h", is_reserved_in_requests).is_err(), "{own:?}");
                assert!(own.check_headers("h", is_reserved_in_answers).is_err(), "{own:?}");
            }
        }
        for name in ["X-A", "x a", "x:a", "x\r\na", ""] {
            assert!(edits(&[], &[], &[(name, "1")], &[]).check_headers("h", |_| false).is_err(), "{name}");
        }
        for value in ["a\r\nb: 1", "\0", "é", " a"] {
            assert!(edits(&[], &[], &[("a", value)], &[]).check_headers("h", |_| false).is_err(), "{value}");
        }
        assert!(
            edits(&[("x-a", "x-b")], &["cookie"], &[("authorization", "Basic x")], &[])
                .check_headers("h", is_reserved_in_requests)
                .is_ok()
        );
    }

    #[test]
    fn deprecation_is_told_as_the_standards_have_it() {
        let at = |text: &str| text.parse().expect("a time");
        let own = Deprecation {
            since: at("2026-11-01T00:00:00Z"),
            sunset: Some(at("2027-05-01T12:30:00Z")),
            link: Some("https://docs.example.com/v2".into()),
        };
        assert_eq!(own.check(), Ok(()));
        assert_eq!(
            own.headers(),
            [
                ("deprecation", "@1793491200".to_owned()),
                ("sunset", "Sat, 01 May 2027 12:30:00 GMT".to_owned()),
                ("link", "<https://docs.example.com/v2>; rel=\"deprecation\"".to_owned()),
            ]
        );
        assert!(Deprecation { sunset: Some(at("2026-10-01T00:00:00Z")), ..own.clone() }.check().is_err());
        assert!(Deprecation { link: Some("https://x\"y".into()), ..own }.check().is_err());
    }
}
