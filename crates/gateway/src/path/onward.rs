//! The headers of a request as its service gets them: what passes of the client's, and what only the gateway says.
//! Told one by one, so that HTTP/1.1 can write them at once and HTTP/2 can collect them.

use std::net::IpAddr;

use http::header::{COOKIE, TE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::authenticate::is_bearer;
use super::headers::{named_by_connection, of_the_hop, ours};
use super::prepare::REQUEST_ID;
use super::traceparent::TRACEPARENT;
use crate::certificate::CLIENT_CERT;
use crate::connection::Peer;
use crate::context::Told;
use crate::edits::HeaderEdits;

static CONTEXT: HeaderName = HeaderName::from_static(rowhouse_domain::context::HEADER);
static TENANT: HeaderName = HeaderName::from_static("rowhouse-tenant");
static PRINCIPAL: HeaderName = HeaderName::from_static("rowhouse-principal");
static PERMISSION: HeaderName = HeaderName::from_static("rowhouse-permission");
static FORWARDED: HeaderName = HeaderName::from_static("forwarded");
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What a service is told in headers.
pub(super) struct Onward<'r> {
    /// The client's headers.
    pub(super) headers: &'r HeaderMap,
    pub(super) peer: &'r Peer,
    pub(super) authority: &'r HeaderValue,
    pub(super) request_id: &'r HeaderValue,
    /// A trace that begins here; else the client's passes.
    pub(super) trace: Option<[u8; 55]>,
    pub(super) told: Option<&'r Told>,
    pub(super) permission: Option<&'r HeaderValue>,
    /// What the route changes.
    pub(super) edits: Option<&'r HeaderEdits>,
    /// Whether the service is spoken to in HTTP/2.
    pub(super) http2: bool,
    /// Whether cookies came in pieces, as HTTP/2 may have them, and are to be one (RFC 9113 §8.2.3).
    pub(super) joins_cookies: bool,
}

impl Onward<'_> {
    /// Tells each header: all but what frames the message, and `Host`.
    pub(super) fn each(&self, mut tell: impl FnMut(&HeaderName, &[u8])) {
        let named = named_by_connection(self.headers);
        let believed = self.peer.trusted && self.headers.contains_key(&FORWARDED_FOR);
        for (name, value) in self.headers {
            if self.passes(name, value, believed) && !named.contains(name) {
                match self.edits.map(|edits| edits.passes(name)) {
                    None => tell(name, value.as_bytes()),
                    Some(Some(name)) => tell(name, value.as_bytes()),
                    Some(None) => {}
                }
            }
        }
        for (name, value) in self.edits.into_iter().flat_map(HeaderEdits::put) {
            tell(name, value.as_bytes());
        }
        if self.joins_cookies {
            let crumbs: Vec<&[u8]> = self.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
            tell(&COOKIE, &crumbs.join(&b"; "[..]));
        }
        let te = self.headers.get(TE);
        if self.http2 && te.is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers")) {
            tell(&TE, b"trailers");
        }
        self.tell_about_the_client(believed, &mut tell);
        if let Some(trace) = &self.trace {
            tell(&TRACEPARENT, trace);
        }
        if let Some(certificate) = &self.peer.shown.certificate
            && !(self.peer.tells_certificates && self.headers.contains_key(&CLIENT_CERT))
        {
            certificate.each(&mut tell);
        }
        tell(&REQUEST_ID, self.request_id.as_bytes());
        if let Some(told) = self.told {
            tell(&CONTEXT, told.context());
            tell(&TENANT, told.tenant());
            tell(&PRINCIPAL, told.principal());
        }
        if let Some(permission) = self.permission {
            tell(&PERMISSION, permission.as_bytes());
        }
    }

    fn passes(&self, name: &HeaderName, value: &HeaderValue, believed: bool) -> bool {
        let text = name.as_str();
        match text {
            "host" | "content-length" | "connection" | "x-api-key" | "x-request-id" => false,
            // Whoever says it and is believed has been judged by it.
            "client-cert" | "client-cert-chain" => self.peer.tells_certificates,
            "traceparent" | "tracestate" => self.trace.is_none(),
            "cookie" => !self.joins_cookies,
            "x-forwarded-for" => false,
            "forwarded" => believed,
            "authorization" => !is_bearer(value),
            _ if text.starts_with("x-forwarded-") => believed,
            _ => !of_the_hop(text) && !ours(text),
        }
    }

    /// `Forwarded` (RFC 7239) and its older relatives. What the client said of itself counts only from a trusted
    /// proxy, which is then added to.
    fn tell_about_the_client(&self, believed: bool, tell: &mut impl FnMut(&HeaderName, &[u8])) {
        let address = self.peer.address_text.as_bytes();
        if believed {
            let before = self.headers.get_all(&FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
            let chain: Vec<&[u8]> = before.chain([address]).collect();
            tell(&FORWARDED_FOR, &chain.join(&b", "[..]));
            if !self.headers.contains_key(&FORWARDED_HOST) {
                tell(&FORWARDED_HOST, self.authority.as_bytes());
            }
            if !self.headers.contains_key(&FORWARDED_PROTO) {
                tell(&FORWARDED_PROTO, self.peer.scheme.as_bytes());
            }
            return;
        }
        tell(&FORWARDED_FOR, address);
        tell(&FORWARDED_HOST, self.authority.as_bytes());
        tell(&FORWARDED_PROTO, self.peer.scheme.as_bytes());
        tell(&FORWARDED, &forwarded(self.peer, self.authority));
    }
}

fn forwarded(peer: &Peer, host: &HeaderValue) -> Vec<u8> {
    let client = peer.address_text.as_bytes();
    let mut text = Vec::with_capacity(client.len() + host.len() + 32);
    let (before, after): (&[u8], &[u8]) = match peer.address {
        IpAddr::V4(_) => (b"for=", b";host=\""),
        IpAddr::V6(_) => (b"for=\"[", b"]\";host=\""),
    };
    for part in [before, client, after] {
        text.extend_from_slice(part);
    }
    // A quoted string takes no quote of its own.
    for part in host.as_bytes().split(|byte| matches!(byte, b'"' | b'\\')) {
        text.extend_from_slice(part);
    }
    text.extend_from_slice(b"\";proto=");
    text.extend_from_slice(peer.scheme.as_bytes());
    text
}
