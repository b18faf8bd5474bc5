//! Hygiene: a request that two parsers could read differently is refused, and its path gets one normal form.

use std::borrow::Cow;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Version};
use rowhouse_domain::refusal::kind;
use rowhouse_domain::routes::normalise;

use super::Stop;
use super::arrive::Arrived;
use crate::connection::Peer;

/// All names and values together may have this many bytes.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Proof that a request has one meaning.
pub(crate) struct Sound<'r> {
    pub(crate) parts: &'r Parts,
    /// Host and port, as the client wrote them.
    pub(crate) authority: &'r str,
    /// In normal form.
    pub(crate) path: Cow<'r, str>,
}

/// Refuses what is ambiguous: framing given twice, several hosts, a target that disagrees with its host, a path
/// without a safe normal form.
pub(crate) fn examine<'r>(arrived: Arrived<'r>, peer: &Peer) -> Result<Sound<'r>, Stop> {
    let Arrived { parts } = arrived;
    let framed_twice = check_framing(parts);
    bound_headers(&parts.headers)?;
    framed_twice?;
    if parts.method == Method::CONNECT {
        return Err(Stop::malformed("This is not a proxy for CONNECT."));
    }
    check_scheme(parts, peer)?;
    let authority = one_authority(parts)?;
    let path = normalise(parts.uri.path())
        .map_err(|error| Stop::new(&kind::MALFORMED_REQUEST, format!("The path cannot be used: {error}.")))?;
    Ok(Sound { parts, authority, path })
}

/// A target that names `https` came over TLS, unless a proxy that is trusted ended it before; no other scheme than these two is served
/// here (RFC 9110 §7.4). The other way round does no harm: HTTP/2 clients behind proxies name `http` over TLS.
fn check_scheme(parts: &Parts, peer: &Peer) -> Result<(), Stop> {
    match parts.uri.scheme_str() {
        None | Some("http") => Ok(()),
        Some("https") if peer.scheme == "https" || peer.trusted => Ok(()),
        Some(_) => Err(Stop::new(
            &kind::MISDIRECTED,
            "The target names a scheme that is not spoken on this connection.",
        )),
    }
}

/// RFC 9112 §6.1 and §6.3: both lengths at once are an attack or a bug, and so is a coding in a version that knows none. HTTP/2 frames
/// its messages otherwise.
fn check_framing(parts: &Parts) -> Result<(), Stop> {
    let Some(coding) = parts.headers.get(TRANSFER_ENCODING) else { return Ok(()) };
    let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    let alone = parts.headers.get_all(TRANSFER_ENCODING).iter().count() == 1;
    match () {
        () if parts.headers.contains_key(CONTENT_LENGTH) => {
            Err(Stop::malformed("Content-Length and Transfer-Encoding exclude each other."))
        }
        () if parts.version != Version::HTTP_11 => {
            Err(Stop::malformed("Transfer-Encoding belongs to HTTP/1.1 alone."))
        }
        () if !(chunked && alone) => Err(Stop::malformed("The only transfer coding taken is `chunked`.")),
        () => Ok(()),
    }
}

fn bound_headers(headers: &HeaderMap) -> Result<(), Stop> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes <= HEADER_BYTES_MAX {
        return Ok(());
    }
    let detail = format!("All headers together may have {HEADER_BYTES_MAX} bytes.");
    Err(Stop { close: true, ..Stop::new(&kind::HEADERS_TOO_LARGE, detail) })
}

/// The one authority that target and `Host` agree on (RFC 9112 §3.2, RFC 9113 §8.3.1).
fn one_authority(parts: &Parts) -> Result<&str, Stop> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Stop::malformed("There is more than one Host."));
    }
    let host = host.map(|value| value.to_str().map_err(|_| Stop::malformed("The Host is malformed.")));
    let host = host.transpose()?;
    let target = parts.uri.authority().map(|authority| authority.as_str());
    match (target, host) {
        (Some(target), Some(host)) if !target.eq_ignore_ascii_case(host) => {
            Err(Stop::malformed("The target and the Host are not the same."))
        }
        (Some(target), _) if target.contains('@') => Err(Stop::malformed("The target names a user.")),
        (Some(authority), _) | (None, Some(authority)) => Ok(authority),
        (None, None) if parts.version == Version::HTTP_10 => Ok(""),
        (None, None) => Err(Stop::malformed("There is no Host.")),
    }
}
