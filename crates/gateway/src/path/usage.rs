//! `Rowhouse-Usage`: what a service says a request used. Read by the rules that the projection uses too.

use http::{HeaderMap, HeaderName};
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::metering::usage_header::{NAME, parse};

static USAGE: HeaderName = HeaderName::from_static(NAME);

/// One meter and how much.
pub(crate) type Reported = (String, Quantity);

/// Reads the header, if there is one. What cannot be read is dropped and logged; the answer is not harmed.
pub(crate) fn reported(service: &str, headers: &HeaderMap) -> Vec<Reported> {
    if !headers.contains_key(&USAGE) {
        return Vec::new();
    }
    let lines: Vec<&str> = headers.get_all(&USAGE).iter().filter_map(|line| line.to_str().ok()).collect();
    let header = parse(&lines.join(","));
    for dropped in &header.dropped {
        let reason = dropped.reason;
        tracing::warn!(service, member = dropped.member, %reason, "a service reported usage that cannot be read");
    }
    header.members
}
