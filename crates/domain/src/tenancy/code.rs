//! A tenant's code: short, URL-safe, unique for ever; the label of its subdomain.

/// Labels that are nobody's code, because they lead elsewhere.
pub const RESERVED_LABELS: &[&str] = &[
    "www", "api", "admin", "app", "auth", "cdn", "console", "docs", "mail", "operator", "portal", "static",
    "status",
];

/// Why a text is not a tenant code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Not of the form `^[a-z][a-z0-9]*(-[a-z0-9]+)*$` with 2 to 50 characters.
    #[error("a code has 2 to 50 lower-case letters, digits and single hyphens, and starts with a letter")]
    Malformed,
    /// A label that leads elsewhere.
    #[error("this code is reserved")]
    Reserved,
}

/// Checks that `code` could be a tenant's.
pub fn check_code(code: &str) -> Result<(), CodeError> {
    let plain = code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let well_formed = (2..=50).contains(&code.len())
        && plain
        && code.as_bytes()[0].is_ascii_lowercase()
        && !code.ends_with('-')
        && !code.contains("--");
    match well_formed {
        false => Err(CodeError::Malformed),
        true if RESERVED_LABELS.contains(&code) => Err(CodeError::Reserved),
        true => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        for good in ["ac", "acme", "a1-b2", "acme-eu-1"] {
            assert_eq!(check_code(good), Ok(()), "{good}");
        }
        for bad in ["", "a", "1a", "-a", "a-", "a--b", "Acme", "a_b", "ä1", &"a".repeat(51)] {
            assert_eq!(check_code(bad), Err(CodeError::Malformed), "{bad}");
        }
        assert_eq!(check_code("api"), Err(CodeError::Reserved));
    }
}
