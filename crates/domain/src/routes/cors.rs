//! Which pages of other origins may call a service from a browser (CORS, Fetch §3.2). What is allowed stands in the catalogue; a
//! browser asks first (a preflight), and the gateway answers in the service's place.

use serde::{Deserialize, Serialize};

/// Origins of one service; headers of one list.
const ENTRIES_MAX: usize = 32;

/// What pages of other origins may do with a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Origins as browsers say them (`https://app.example.com`), or `*` alone for all, 1 to 32.
    pub origins: Vec<String>,
    /// Request headers that a page may set, at most 32, besides those that every page may (Fetch §2.2.2).
    #[serde(default = "usual_headers")]
    pub headers: Vec<String>,
    /// Answer headers that a page may read, at most 32, besides those that every page may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<String>,
    /// Whether a page may send cookies and client certificates; not with `*`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub credentials: bool,
    /// How long a browser may remember what it was told, 0 to 86,400 s.
    #[serde(default = "usual_age")]
    pub max_age_s: u32,
}

fn usual_headers() -> Vec<String> {
    ["authorization", "content-type", "idempotency-key", "x-api-key"].map(str::to_owned).to_vec()
}

fn usual_age() -> u32 {
    600
}

impl Cors {
    /// Finds what is wrong with it: the field, and what it should be.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let all = self.origins == ["*"];
        let names = |list: &[String]| list.len() <= ENTRIES_MAX && list.iter().all(|name| is_name(name));
        match () {
            () if !(1..=ENTRIES_MAX).contains(&self.origins.len()) => Err(("origins", "1 to 32 origins")),
            () if !all && !self.origins.iter().all(|own| is_origin(own)) => {
                Err(("origins", "scheme, host and port as in https://app.example.com, or `*` alone"))
            }
            () if all && self.credentials => Err(("credentials", "not for every origin there is")),
            () if !names(&self.headers) => Err(("headers", "at most 32 names in lower case")),
            () if !names(&self.expose) => Err(("expose", "at most 32 names in lower case")),
            () if self.max_age_s > 86_400 => Err(("max_age_s", "0 to 86,400 s")),
            () => Ok(()),
        }
    }

    /// Whether pages of this origin may call the service. Origins are compared to the byte: browsers write them in one form.
    pub fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|own| own == "*" || own == origin)
    }

    /// Whether what is allowed is the same for all origins.
    pub fn allows_all(&self) -> bool {
        self.origins == ["*"]
    }
}

/// A header's name as browsers send it in `Access-Control-Request-Headers`.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

/// `https://host`, `http://host:port`, in lower case and with nothing behind it (RFC 6454 §6.2): the one form that browsers write, which
/// leaves out the port that the scheme has anyway. `null` is every sandbox's.
fn is_origin(text: &str) -> bool {
    let (rest, usual_port) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (rest, "443"),
        (None, Some(rest)) => (rest, "80"),
        (None, None) => return false,
    };
    let (host, port) = rest.rsplit_once(':').unwrap_or((rest, "1"));
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    (1..=253).contains(&host.len())
        && host.bytes().all(fits)
        && port != usual_port
        && !port.starts_with('0')
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        let text = serde_json::json!({ "origins": origins });
        serde_json::from_value(text).expect("well-formed")
    }

    #[test]
    fn what_is_declared_is_checked() {
        for (origins, sound) in [
            (&["https://app.example.com"][..], true),
            (&["http://localhost:3000", "https://app.example.com:8443"], true),
            (&["*"], true),
            (&["*", "https://app.example.com"], false),
            (&["https://app.example.com/"], false),
            (&["https://App.example.com"], false),
            (&["https://*.example.com"], false),
            (&["app.example.com"], false),
            (&["https://app.example.com:0"], false),
            (&["https://app.example.com:443"], false),
            (&["http://app.example.com:80"], false),
            (&["https://app.example.com:+1"], false),
            (&["https://"], false),
            (&["null"], false),
            (&[], false),
        ] {
            assert_eq!(cors(origins).check().is_ok(), sound, "{origins:?}");
        }
        assert_eq!(
            Cors { credentials: true, ..cors(&["*"]) }.check().map_err(|(field, _)| field),
            Err("credentials")
        );
        let loud = Cors { headers: vec!["X-Mine".to_owned()], ..cors(&["*"]) };
        assert_eq!(loud.check().map_err(|(field, _)| field), Err("headers"));
        let long = Cors { max_age_s: 86_401, ..cors(&["*"]) };
        assert_eq!(long.check().map_err(|(field, _)| field), Err("max_age_s"));
    }

    #[test]
    fn origins_are_compared_to_the_byte() {
        let own = cors(&["https://app.example.com"]);
        for other in [
            "https://app.example.com.evil.test",
            "http://app.example.com",
            "https://app.example.com:443",
            "null",
            "",
        ] {
            assert!(!own.allows(other), "{other}");
        }
        assert!(own.allows("https://app.example.com"));
        assert!(cors(&["*"]).allows("https://anything.test"));
    }
}
