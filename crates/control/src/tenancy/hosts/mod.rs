//! Domains of tenants' own, as in `portal.acme.com`. A tenant claims a name and proves it by a TXT record, which
//! resolvers are asked for that must agree; or the operator vouches for it. The first proof wins; a name that was
//! served is kept from strangers for a while after it has left.
//!
//! Certificates are not here: TLS is ended before Rowhouse.

mod api;
mod claim;
mod name;
mod proof;
mod queries;
mod record;
mod resolvers;
mod upkeep;
mod verify;

use std::net::SocketAddr;
use std::time::Duration;

pub use api::routes;
pub use queries::{load_hosts, quarantine_all, tenant_of};
pub use upkeep::{keep_up, run};

/// Settings of this part.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Resolvers that are asked for proofs: two or more, who must agree.
    pub resolvers: Vec<SocketAddr>,
    /// How long a name that was served is kept from other tenants; 30 days if not set.
    pub quarantine: Option<Duration>,
}

impl Settings {
    /// How long a name is kept from others, in µs.
    fn quarantine_us(&self) -> i64 {
        let set = self.quarantine.and_then(|span| i64::try_from(span.as_micros()).ok());
        set.unwrap_or(rowhouse_domain::tenancy::hosts::QUARANTINE_US)
    }
}
