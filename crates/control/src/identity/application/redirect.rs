//! Addresses that people are sent back to.

const BYTES_MAX: usize = 512;

/// Whether an application may be registered with it: `https`, or `http` on this machine's own loopback, or a scheme of a program's own
/// (with a dot in it, RFC 8252 §7.1); no fragment, no name or password, nothing that is not visible ASCII.
pub fn may_be_registered(text: &str) -> bool {
    let visible = text.bytes().all(|byte| {
        byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\' | b'*' | b'`')
    });
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    if !visible || text.len() > BYTES_MAX {
        return false;
    }
    let authority = rest.strip_prefix("//").and_then(|rest| rest.split(['/', '?']).next());
    let host = authority.filter(|own| !own.is_empty() && !own.contains('@')).map(host_of);
    match (scheme, host) {
        ("https", Some(_)) => true,
        ("http", Some(host)) => matches!(host, "127.0.0.1" | "[::1]" | "localhost"),
        ("https" | "http", None) => false,
        _ => {
            let own = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+')
            };
            scheme.contains('.') && scheme.bytes().all(own) && scheme.as_bytes()[0].is_ascii_lowercase()
        }
    }
}

fn host_of(authority: &str) -> &str {
    match authority.starts_with('[') {
        true => authority.split_inclusive(']').next().unwrap_or_default(),
        false => authority.split(':').next().unwrap_or_default(),
    }
}

/// The address with further parameters.
pub fn with(address: &str, parameters: &[(&str, &str)]) -> String {
    let mut text = address.to_owned();
    for (name, value) in parameters {
        text.push(if text.contains('?') { '&' } else { '?' });
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    text.push(char::from(byte))
                }
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    text
}

/// What a page's policy calls the place it leads to: its origin, or its scheme.
pub fn place(address: &str) -> String {
    match address.split_once("://") {
        Some((scheme @ ("https" | "http"), rest)) => {
            format!("{scheme}://{}", rest.split(['/', '?']).next().unwrap_or_default())
        }
        _ => format!("{}:", address.split(':').next().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_with_one_reading_are_registered() {
        for good in [
            "https://app.example/back",
            "https://app.example:8443/back?a=b",
            "http://127.0.0.1:5000/back",
            "http://[::1]:5000/",
            "http://localhost/back",
            "com.example.app:/back",
        ] {
            assert!(may_be_registered(good), "{good}");
        }
        for bad in [
            "",
            "/back",
            "//evil.example",
            "https:app.example",
            "https://",
            "https:///back",
            "https://a@b/",
            "https://app.example/#x",
            "https://*.example/",
            "https://app.example/a b",
            "https://app.example\\@evil.example",
            "http://app.example/",
            "http://127.0.0.1.evil.example/",
            "http://localhost.evil.example/",
            "javascript:alert(1)",
            "data:text/html,x",
            "JAVASCRIPT.x:y",
            "file:///etc/passwd",
            ".a:/x",
        ] {
            assert!(!may_be_registered(bad), "{bad}");
        }
        assert!(!may_be_registered(&format!("https://a.example/{}", "x".repeat(512))));
    }

    #[test]
    fn parameters_are_escaped() {
        assert_eq!(
            with("https://a/b", &[("s", "a&b=c d"), ("i", "é")]),
            "https://a/b?s=a%26b%3Dc%20d&i=%C3%A9"
        );
        assert_eq!(with("https://a/b?c=d", &[("s", "x")]), "https://a/b?c=d&s=x");
        assert_eq!(place("https://a.example:1/b?c"), "https://a.example:1");
        assert_eq!(place("com.example.app:/back"), "com.example.app:");
    }
}
