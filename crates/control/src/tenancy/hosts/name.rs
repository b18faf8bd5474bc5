//! Which names can be a tenant's.

use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::resolution::canonical_host;

/// The answer about a name that cannot be had.
pub(super) fn not_allowed(detail: impl Into<String>) -> Refusal {
    Refusal::new(&kind::HOST_NOT_ALLOWED, detail)
}

/// The canonical form of a name that can be a tenant's: two labels or more, no address, not ours, not one under which
/// anybody registers names (the public suffix list), so that nobody holds a part of the Internet.
pub(super) fn check(name: &str, base_domains: &[String]) -> Result<String, Refusal> {
    let canonical = canonical_host(name).ok().filter(|_| !name.contains(':'));
    let canonical = canonical.ok_or_else(|| not_allowed(format!("`{name}` is no host name in A-labels.")))?;
    let ours = base_domains.iter().any(|base| canonical == *base || canonical.ends_with(&format!(".{base}")));
    let is_address = canonical.parse::<std::net::IpAddr>().is_ok();
    match () {
        () if ours => Err(not_allowed(format!("`{canonical}` lies under a domain of the platform."))),
        () if is_address => Err(not_allowed("An address is no host name.")),
        () if !canonical.contains('.') => Err(not_allowed("A host name has two labels or more.")),
        () if canonical.starts_with("_") => Err(not_allowed("A host name begins with a letter or digit.")),
        () if psl::suffix_str(&canonical) == Some(&*canonical) => {
            Err(not_allowed(format!("`{canonical}` is a public suffix: anybody can have names under it.")))
        }
        () => Ok(canonical.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tenants() {
        let ours = ["example.com".to_owned()];
        for good in ["Portal.Acme.ORG.", "acme.co.uk", "acme.github.io", "portal.acme.example"] {
            let canonical = good.to_ascii_lowercase();
            assert_eq!(check(good, &ours).as_deref(), Ok(canonical.trim_end_matches('.')), "{good}");
        }
        for bad in [
            "localhost",
            "127.0.0.1",
            "a.example.com",
            "example.com",
            "x.org:80",
            "ä.org",
            "a..b",
            "",
            "co.uk",
            "github.io",
            "GITHUB.IO.",
            "s3.amazonaws.com",
            "*.acme.org",
            "_rowhouse.acme.org",
        ] {
            assert!(check(bad, &ours).is_err(), "{bad}");
        }
    }
}
