//! TLS towards a service's copies: by which name and by whose word they are believed, and what the gateway shows of itself.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

/// Bytes of the authorities of one service.
const AUTHORITIES_BYTES_MAX: usize = 64 * 1024;

/// How copies of a service are spoken to in TLS (1.2 or 1.3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// The name that their certificates must be good for; the host of each address if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Certificates of the authorities that are believed, in PEM, instead of those that the gateway's system believes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<String>,
    /// The certificate that the gateway shows, by the name of its files; it shows none if not said. Keys are no part of a catalogue:
    /// they lie where the gateway runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

impl UpstreamTls {
    /// The first field that is wrong, and what it should be.
    ///
    /// # Errors
    /// The fault.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let is_name = |name: &String| rustls_pki_types::ServerName::try_from(name.as_str()).is_ok();
        let is_file = |name: &String| {
            let fits =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
            (1..=63).contains(&name.len()) && name.bytes().all(fits)
        };
        match () {
            () if !self.name.as_ref().is_none_or(is_name) => Err(("name", "a host's name or an address")),
            () if self.authorities.is_some() && self.believed().is_none() => {
                Err(("authorities", "one certificate or several in PEM, at most 64 KiB"))
            }
            () if !self.client.as_ref().is_none_or(is_file) => {
                Err(("client", "1 to 63 lower-case letters, digits, hyphens and underscores"))
            }
            () => Ok(()),
        }
    }

    /// The certificates of the authorities; none if they are not said, or cannot be read.
    pub fn believed(&self) -> Option<Vec<CertificateDer<'static>>> {
        let pem = self.authorities.as_ref().filter(|pem| pem.len() <= AUTHORITIES_BYTES_MAX)?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        all.ok().filter(|all| !all.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_is_checked() {
        let fault = |own: UpstreamTls| own.check().err().map(|(field, _)| field);
        let some = |text: &str| Some(text.to_owned());
        for (name, expected) in [
            ("stamping.internal", None),
            ("10.0.0.1", None),
            ("::1", None),
            ("a b", Some("name")),
            ("", Some("name")),
        ] {
            assert_eq!(fault(UpstreamTls { name: some(name), ..UpstreamTls::default() }), expected, "{name}");
        }
        for (client, expected) in [("gateway-1", None), ("../key", Some("client")), ("", Some("client"))] {
            assert_eq!(
                fault(UpstreamTls { client: some(client), ..UpstreamTls::default() }),
                expected,
                "{client}"
            );
        }
        for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n"] {
            let own = UpstreamTls { authorities: some(pem), ..UpstreamTls::default() };
            assert_eq!(fault(own), Some("authorities"), "{pem}");
        }
    }
}
