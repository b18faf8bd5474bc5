//! Names of databases, schemas, logins and tables. Every identifier that reaches SQL text passes through
//! [`quote`], which refuses what is not a plain name; nothing of a tenant's own choosing ever becomes one.

/// A text that is not a plain SQL name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a plain name: a lower-case letter, then up to 62 lower-case letters, digits and underscores"
)]
pub struct NameError(pub String);

/// Whether `text` is `^[a-z][a-z0-9_]{0,62}$` (PostgreSQL cuts identifiers at 63 bytes).
pub fn is_plain(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 63
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// `name` in double quotes, ready for SQL text. The only way from a value to an identifier.
///
/// # Errors
/// If it is not a plain name.
pub fn quote(name: &str) -> Result<String, NameError> {
    if is_plain(name) { Ok(format!("\"{name}\"")) } else { Err(NameError(name.to_owned())) }
}

/// The schema that a service has on the levels `shared`, `database` and `instance`: its name, hyphens as underscores.
pub fn schema_of_service(service: &str) -> String {
    service.replace('-', "_")
}

/// The login `t_<16 hex>` made of 8 random bytes.
pub fn login_of(random: [u8; 8]) -> String {
    format!("t_{:016x}", u64::from_be_bytes(random))
}

/// Whether `login` is a tenant's own, as [`login_of`] makes them.
pub fn is_tenant_login(login: &str) -> bool {
    login.len() == 18
        && login.starts_with("t_")
        && login[2..].bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_quoted() {
        for good in ["a", "rh_app", "t_00ff", &"a".repeat(63)] {
            assert_eq!(quote(good), Ok(format!("\"{good}\"")));
        }
        for bad in ["", "A", "1a", "_a", "a-b", "a b", "a\"b", "a;b", "ä", &"a".repeat(64)] {
            assert_eq!(quote(bad), Err(NameError(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn tenant_logins_are_told_from_others() {
        assert_eq!(login_of([0, 0, 0, 0, 0, 0, 1, 255]), "t_00000000000001ff");
        assert!(is_tenant_login(&login_of([0xab; 8])));
        for other in ["rh_app", "t_short", "t_00000000000001fg", "t_00000000000001ff_w"] {
            assert!(!is_tenant_login(other), "{other}");
        }
    }
}
