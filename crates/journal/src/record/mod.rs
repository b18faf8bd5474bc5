//! What one request leaves behind.
//!
//! One borrowed struct serves both ways: the gateway fills it with references into its own state and encodes it into
//! the journal without allocating; a reader decodes it as references into the frame it holds.

mod decode;
mod encode;
mod kinds;
#[cfg(test)]
mod tests;
mod usage;

pub use decode::DecodeError;
pub use kinds::{Fault, Outcome, PrincipalKind, Protocol};
pub use usage::{USAGE_PAIRS_MAX, UsageFull, UsagePairs};

/// Version of the record's layout, its first byte.
pub(crate) const RECORD_VERSION: u8 = 1;
/// Most bytes kept of a string that comes from configuration; what is longer is cut at a character.
pub(crate) const NAME_BYTES_MAX: usize = 1024;
/// Most bytes kept of the user agent.
pub(crate) const USER_AGENT_BYTES_MAX: usize = 256;
/// Most bytes kept of the method, which is the client's to choose.
pub(crate) const METHOD_BYTES_MAX: usize = 32;

/// The record of one request, refused ones included.
///
/// An empty string means "not known" or "none". Strings longer than 1,024 bytes (user agent 256, method 32) are cut
/// at a character when written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestRecord<'a> {
    /// The request's id, a UUIDv7 as a number.
    pub request_id: u128,
    /// Wall-clock start of what it tells of, microseconds since 1970-01-01 UTC.
    pub started_at_us: i64,
    /// The wall clock had stepped backwards: `started_at_us` is the last value seen before.
    pub clock_stepped: bool,
    /// It tells of a part of a request that went on: a later record with the same id tells what came after it, and nothing twice.
    pub continues: bool,
    /// Monotonic time from arrival to the end of the answer.
    pub duration_us: u64,
    /// The part of it spent in the upstream.
    pub upstream_us: u64,
    /// Version of the directory that decided.
    pub directory_version: u64,
    pub tenant: Option<u128>,
    pub principal_kind: PrincipalKind,
    pub principal: Option<u128>,
    /// Public id of the API key, at most 10 bytes.
    pub api_key: &'a str,
    pub service: &'a str,
    pub route: &'a str,
    /// Method and path template (`GET /v1/stamps/{id}`), never the raw path.
    pub endpoint: &'a str,
    /// Address of the upstream that served it.
    pub upstream: &'a str,
    pub release: &'a str,
    pub protocol: Protocol,
    pub method: &'a str,
    pub status: u16,
    pub outcome: Outcome,
    pub fault: Fault,
    /// Stable code of the refusal, if it was refused.
    pub refusal: &'a str,
    /// The permission it needed.
    pub permission: &'a str,
    /// The limit that refused it, or was nearest.
    pub limit_hit: &'a str,
    pub limit_remaining: i64,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Body bytes to the client.
    pub bytes_out: u64,
    pub usage: UsagePairs<'a>,
    /// The client's address as the tenant's policy lets it be kept.
    pub client_ip: &'a str,
    pub user_agent: &'a str,
    /// W3C trace id.
    pub trace_id: Option<u128>,
    pub region: &'a str,
    /// Present where the record becomes an audit event.
    pub audit: Option<AuditMark<'a>>,
}

/// What a record needs to become an audit event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditMark<'a> {
    /// Gapless per lane, boot and log.
    pub counter: u64,
    /// Kind of the thing acted on, as the route names it.
    pub target_kind: &'a str,
    pub target_id: &'a str,
    /// The application through which a person acted.
    pub application: Option<u128>,
}

impl<'a> RequestRecord<'a> {
    /// The strings in the order in which they are written, each with the most bytes kept of it.
    pub(crate) fn strings(&self) -> [(&'a str, usize); STRINGS] {
        [
            (self.api_key, NAME_BYTES_MAX),
            (self.service, NAME_BYTES_MAX),
            (self.route, NAME_BYTES_MAX),
            (self.endpoint, NAME_BYTES_MAX),
            (self.upstream, NAME_BYTES_MAX),
            (self.release, NAME_BYTES_MAX),
            (self.method, METHOD_BYTES_MAX),
            (self.refusal, NAME_BYTES_MAX),
            (self.permission, NAME_BYTES_MAX),
            (self.limit_hit, NAME_BYTES_MAX),
            (self.client_ip, NAME_BYTES_MAX),
            (self.user_agent, USER_AGENT_BYTES_MAX),
            (self.region, NAME_BYTES_MAX),
        ]
    }
}

/// How many strings every record has.
pub(crate) const STRINGS: usize = 13;
/// Bytes before the strings: numbers, and the strings' lengths.
pub(crate) const FIXED_BYTES: usize = 128 + 2 * STRINGS;
