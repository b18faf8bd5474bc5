//! One normal form of a path: what is matched is what is forwarded.

use std::borrow::Cow;

/// The path cannot be normalised safely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Does not start with `/`.
    #[error("the path does not start with a slash")]
    NotAbsolute,
    /// `%` without two hexadecimal digits, a backslash or a control character, escaped or not.
    #[error("the path has a broken escape, a backslash or a control character")]
    Malformed,
    /// A dot segment for whoever reads `%2F` as a separator, or cuts `;…` off a segment.
    #[error("the path hides a dot segment, so that it can be read in two ways")]
    TwoReadings,
    /// `..` would leave the root.
    #[error("the path leads above the root")]
    AboveRoot,
}

/// Decodes escapes of unreserved characters (RFC 3986 §6.2.2.2), resolves dot segments, merges double
/// slashes. `%2f` stays as it is and never becomes a separator; a path in which that would make a difference to
/// where it leads is refused. Borrowed when nothing changes.
pub fn normalise(path: &str) -> Result<Cow<'_, str>, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if path.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'\\' || !b.is_ascii()) {
        return Err(PathError::Malformed);
    }
    let plain = !path.contains("//") && !path.contains("/.") && !path.contains('%');
    if !plain && !begins_plainly(path) {
        return Err(PathError::TwoReadings);
    }
    if plain { Ok(Cow::Borrowed(path)) } else { rewrite(path).map(Cow::Owned) }
}

/// What a router that decodes each segment of `path` by itself and resolves nothing takes it for: its normal form, with everything plain
/// that a segment may hold plainly, so that one thing has one path. `None` where the normal form leads elsewhere than such a router does.
pub fn one_reading(path: &str) -> Option<String> {
    let normal = normalise(path).ok()?;
    let same_shape = |a: &str, b: &str| {
        a.matches('/').count() == b.matches('/').count() && a.ends_with('/') == b.ends_with('/')
    };
    if !same_shape(path, &normal) {
        return None;
    }
    let mut pieces = normal.split('%');
    let mut out = pieces.next()?.to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        match u8::from_str_radix(digits, 16).ok()? {
            own @ b'!'..=b'~' if !matches!(own, b'/' | b'%' | b'?' | b'#') => out.push(char::from(own)),
            _ => {
                out.push('%');
                out.push_str(digits);
            }
        }
        out.push_str(rest);
    }
    Some(out)
}

fn rewrite(path: &str) -> Result<String, PathError> {
    let decoded = decode_unreserved(path)?;
    let mut segments: Vec<&str> = Vec::new();
    let ends_open = decoded.ends_with('/') || decoded.ends_with("/.") || decoded.ends_with("/..");
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            // Never out of the tenant that the path names.
            ".." if segments.len() <= 2 && segments.first() == Some(&"t") => {
                return Err(PathError::TwoReadings);
            }
            ".." => {
                segments.pop().ok_or(PathError::AboveRoot)?;
            }
            other if hides_dots(other) => return Err(PathError::TwoReadings),
            other => segments.push(other),
        }
    }
    let mut out = String::with_capacity(decoded.len());
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    if ends_open || out.is_empty() {
        out.push('/');
    }
    Ok(out)
}

/// The first two segments may name the tenant: in them is no dot segment, and no escaped slash, backslash, dot or NUL.
fn begins_plainly(path: &str) -> bool {
    let mut first = path.split('/').filter(|segment| !segment.is_empty()).take(2);
    first.all(|segment| {
        let lower = segment.to_ascii_lowercase();
        let escaped = ["%2f", "%5c", "%2e", "%00"].iter().any(|escape| lower.contains(escape));
        !escaped && segment != "." && segment != ".."
    })
}

/// Some servers decode `%2F` before they split a path, and some take `..;x` for `..`. What they would see must not
/// lead elsewhere than what was matched here.
fn hides_dots(segment: &str) -> bool {
    segment.split("%2F").any(|piece| {
        let name = piece.split(';').next().unwrap_or_default().split("%3B").next().unwrap_or_default();
        name == "." || name == ".."
    })
}

fn decode_unreserved(path: &str) -> Result<String, PathError> {
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(path.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'%' {
            out.push(bytes[at] as char);
            at += 1;
            continue;
        }
        let digits = path.get(at + 1..at + 3).ok_or(PathError::Malformed)?;
        let value = u8::from_str_radix(digits, 16).map_err(|_| PathError::Malformed)?;
        match value {
            0..b' ' | 0x7f | b'\\' => return Err(PathError::Malformed),
            b'-' | b'.' | b'_' | b'~' => out.push(value as char),
            value if value.is_ascii_alphanumeric() => out.push(value as char),
            _ => {
                out.push('%');
                out.push_str(&digits.to_ascii_uppercase());
            }
        }
        at += 3;
    }
    Ok(out)
}

/// What a segment of a normalised path says, its escapes decoded; `None` for what is no text, and for one with parameters (`;`),
/// which some servers cut off.
pub(super) fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    if segment.contains(';') {
        return None;
    }
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment));
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_that_resolves_nothing_reads_a_path_in_one_way() {
        for (path, read) in [
            ("/v1/users/user_x", Some("/v1/users/user_x")),
            ("/v1/users/%75ser_x", Some("/v1/users/user_x")),
            ("/v1/%75%73ers/user%5Fx", Some("/v1/users/user_x")),
            ("/v1/x/a%3ab", Some("/v1/x/a:b")),
            ("/v1/x/a:b", Some("/v1/x/a:b")),
            ("/v1/x/%7b%40%7d", Some("/v1/x/{@}")),
            ("/v1/x/a%2fb%25%3f%c3%a4", Some("/v1/x/a%2Fb%25%3F%C3%A4")),
            ("/v1/x/", Some("/v1/x/")),
            ("/", Some("/")),
            ("/v1/x/.", None),
            ("/v1/x/%2e", None),
            ("/v1/x/./y", None),
            ("/v1/x//y", None),
            ("/v1/x/..", None),
            ("/v1/x%00", None),
            ("v1", None),
        ] {
            assert_eq!(one_reading(path).as_deref(), read, "{path}");
        }
    }

    #[test]
    fn a_segment_says_one_thing_or_nothing() {
        let rows = [
            ("d1", Some("d1")),
            ("a%2Fb", Some("a/b")),
            ("%C3%A9", Some("é")),
            ("d1;v=2", None),
            ("%FF", None),
            ("%2", None),
        ];
        for (segment, expected) in rows {
            assert_eq!(decoded(segment).as_deref(), expected, "{segment}");
        }
    }

    #[test]
    fn one_form_for_each_path() {
        let rows = [
            ("/v1/stamps", "/v1/stamps"),
            ("/v1//stamps/", "/v1/stamps/"),
            ("/v1/stamps/./1", "/v1/stamps/1"),
            ("/v1/x/../stamps", "/v1/stamps"),
            ("/v1/%73tamps", "/v1/stamps"),
            ("/v1/x/%2e%2e/admin", "/v1/admin"),
            ("/v1/x/a%2fb", "/v1/x/a%2Fb"),
            ("/", "/"),
            ("/v1/x/../..", "/"),
            ("/t/acme/v1/../v2", "/t/acme/v2"),
            ("/v1/a;b=c/d%2Fe.;f", "/v1/a;b=c/d%2Fe.;f"),
        ];
        for (path, expected) in rows {
            assert_eq!(normalise(path).as_deref(), Ok(expected), "{path}");
            assert_eq!(normalise(expected).as_deref(), Ok(expected), "normal forms stay");
        }
        for bad in [
            "",
            "v1",
            "/a%",
            "/a%zz",
            "/a\\b",
            "/a%00",
            "/a%0d%0aB: c",
            "/a%7f",
            "/a%5c",
            "/..",
            "/a b",
            "/ä",
        ] {
            assert!(normalise(bad).is_err(), "{bad}");
        }
        for hidden in [
            "/t/acme/../bolt",
            "/t/acme/x/../../../bolt",
            "/t/./acme",
            "/t%2facme/x",
            "/t/a%2e",
            "/../t",
            "//./t",
        ] {
            assert_eq!(normalise(hidden), Err(PathError::TwoReadings), "{hidden}");
        }
        for hidden in
            ["/a/..;/b", "/a/..;x=y", "/a/..%2fb", "/a/b%2f..%2fc", "/a/%2e%2e%2fb", "/a/.;", "/a/..%3b/b"]
        {
            assert_eq!(normalise(hidden), Err(PathError::TwoReadings), "{hidden}");
        }
    }
}
