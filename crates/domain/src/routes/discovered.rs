//! Addresses of copies that DNS says: what stands in a service's list instead of one address.

/// A name that stands for copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovered<'a> {
    /// `dns:host:port`: each A and AAAA record of the host is a copy at this port.
    Hosts {
        /// The host.
        host: &'a str,
        /// The port.
        port: u16,
    },
    /// `srv:_service._tcp.host`: each SRV record of the name is a copy, those of the lowest priority (RFC 2782).
    Services {
        /// The name.
        name: &'a str,
    },
}

impl<'a> Discovered<'a> {
    /// What an address says, if it is such a name; nothing for a plain `host:port`.
    pub fn parse(address: &'a str) -> Option<Self> {
        let is_name = |name: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            (1..=253).contains(&name.len())
                && name.bytes().all(fits)
                && !name.starts_with('.')
                && !name.contains("..")
        };
        if let Some(rest) = address.strip_prefix("dns:") {
            let (host, port) = rest.rsplit_once(':')?;
            let port = port.parse().ok().filter(|port| *port > 0)?;
            return is_name(host).then_some(Discovered::Hosts { host, port });
        }
        let name = address.strip_prefix("srv:")?;
        (is_name(name) && name.starts_with('_')).then_some(Discovered::Services { name })
    }

    /// Whether an address is meant to be such a name, well-formed or not.
    pub fn is_meant(address: &str) -> bool {
        address.starts_with("dns:") || address.starts_with("srv:")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_addresses() {
        let hosts = |host, port| Some(Discovered::Hosts { host, port });
        for (address, expected) in [
            ("dns:stamping.internal:8080", hosts("stamping.internal", 8080)),
            ("dns:stamping:1", hosts("stamping", 1)),
            (
                "srv:_http._tcp.stamping.internal",
                Some(Discovered::Services { name: "_http._tcp.stamping.internal" }),
            ),
            ("srv:stamping.internal", None),
            ("dns:stamping.internal", None),
            ("dns:stamping.internal:0", None),
            ("dns::80", None),
            ("dns:a..b:80", None),
            ("dns:a b:80", None),
            ("stamping.internal:8080", None),
        ] {
            assert_eq!(Discovered::parse(address), expected, "{address}");
        }
        assert!(Discovered::is_meant("srv:x") && !Discovered::is_meant("srv.example:80"));
    }
}
