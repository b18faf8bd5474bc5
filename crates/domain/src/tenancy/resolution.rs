//! Which tenant a request is for. All signals that are present must agree; none wins over another.
//!
//! Signals, in the order in which the first is reported: subdomain, custom domain, header, path, credential.
//! The credential's tenant is read before the credential is verified, and believed only after.

use std::borrow::Cow;
use std::sync::Arc;

use super::{RESERVED_LABELS, check_code};
use crate::directory::{Directory, Tenant};
use crate::id::TenantId;
use crate::refusal::{Refusal, kind};

/// What named the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResolvedBy {
    /// `acme.example.com`.
    Subdomain,
    /// A verified domain of the tenant's own.
    Domain,
    /// `X-Tenant-Id` or `X-Tenant-Code`.
    Header,
    /// `/t/acme/…`.
    Path,
    /// The tenant of the key or token.
    Token,
}

impl ResolvedBy {
    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            ResolvedBy::Subdomain => "subdomain",
            ResolvedBy::Domain => "domain",
            ResolvedBy::Header => "header",
            ResolvedBy::Path => "path",
            ResolvedBy::Token => "token",
        }
    }
}

/// What a request says about its tenant.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signals<'a> {
    /// Authority of the request target, or `Host`; with or without a port.
    pub authority: Option<&'a str>,
    /// `X-Tenant-Id`.
    pub header_id: Option<&'a str>,
    /// `X-Tenant-Code`.
    pub header_code: Option<&'a str>,
    /// The normalised path.
    pub path: &'a str,
    /// The tenant of the presented credential, not yet verified.
    pub token_tenant: Option<TenantId>,
}

/// Proof that everything in a request agrees on one tenant.
#[derive(Debug, Clone)]
pub struct Resolution<'d, 'a> {
    /// The tenant.
    pub tenant: &'d Arc<Tenant>,
    /// The first signal that named it.
    pub by: ResolvedBy,
    /// The path without the tenant's prefix.
    pub path: &'a str,
}

/// A signal that is there, and whom it names.
pub type Signal<'d, 'a> = (ResolvedBy, Named<'d, 'a>);

/// Whom a signal names.
#[derive(Debug, Clone, Copy)]
pub enum Named<'d, 'a> {
    /// Nobody we know, by this code where a header or the path says one.
    Nobody(Option<&'a str>),
    /// A tenant that is there.
    Known(&'d Arc<Tenant>),
    /// The tenant with this id, which has not been looked up.
    Claimed(TenantId),
}

impl<'d, 'a> Named<'d, 'a> {
    fn of(tenant: Option<&'d Arc<Tenant>>, said: Option<&'a str>) -> Self {
        tenant.map_or(Named::Nobody(said), Named::Known)
    }

    /// The id of who is named.
    pub fn id(self) -> Option<TenantId> {
        match self {
            Named::Nobody(_) => None,
            Named::Known(tenant) => Some(tenant.id),
            Named::Claimed(id) => Some(id),
        }
    }

    fn look_up(self, directory: &'d Directory) -> Option<&'d Arc<Tenant>> {
        match self {
            Named::Nobody(_) => None,
            Named::Known(tenant) => Some(tenant),
            Named::Claimed(id) => directory.tenants.get(&id),
        }
    }
}

/// What each place of a request says: host, header, path, credential. A place that cannot be read refuses.
#[derive(Debug)]
pub struct Heard<'d, 'a> {
    /// The host in its one canonical form.
    pub host: Option<Cow<'a, str>>,
    /// In the order in which the first is reported.
    pub signals: [Result<Option<Signal<'d, 'a>>, Refusal>; 4],
    /// The path without the tenant's prefix.
    pub path: &'a str,
}

/// Finds the tenant of a request. No allocation when the host is already in canonical form.
pub fn resolve<'d, 'a>(
    directory: &'d Directory,
    signals: &Signals<'a>,
) -> Result<Resolution<'d, 'a>, Refusal> {
    hear(directory, signals).decide(directory)
}

/// Listens to every place of a request. [`resolve`] is this, then [`Heard::decide`]; who explains a resolution looks at
/// what was heard before it is decided.
pub fn hear<'d, 'a>(directory: &'d Directory, signals: &Signals<'a>) -> Heard<'d, 'a> {
    let (host, by_host) = match signals.authority.map(canonical_host).transpose() {
        Ok(host) => {
            let by_host = host.as_deref().map_or(Ok(None), |host| host_signal(directory, host));
            (host, by_host)
        }
        Err(refusal) => (None, Err(refusal)),
    };
    let (path, by_path) = match path_signal(directory, signals.path) {
        Ok((path, by_path)) => (path, Ok(by_path)),
        Err(refusal) => (signals.path, Err(refusal)),
    };
    // A credential that names an unknown tenant cannot exist; one that is unknown itself gives no signal.
    let by_token = signals.token_tenant.map(|tenant| (ResolvedBy::Token, Named::Claimed(tenant)));
    Heard { host, signals: [by_host, header_signal(directory, signals), by_path, Ok(by_token)], path }
}

impl<'d, 'a> Heard<'d, 'a> {
    /// With what the credential says, for who hears of it later than of the rest.
    pub fn with_credential_of(mut self, tenant: Option<TenantId>) -> Self {
        self.signals[3] = Ok(tenant.map(|tenant| (ResolvedBy::Token, Named::Claimed(tenant))));
        self
    }

    /// The one tenant that all signals name.
    ///
    /// # Errors
    /// The first place that cannot be read; signals that disagree, name nobody, or are not there.
    pub fn decide(self, directory: &'d Directory) -> Result<Resolution<'d, 'a>, Refusal> {
        let [host, header, path, token] = self.signals;
        let said = self.host.as_deref();
        let code = || code_of_host(directory, said?);
        let (by, named) = agree(&[host?, header?, path?, token?], code)?;
        let tenant = named.look_up(directory).ok_or_else(unknown)?;
        Ok(Resolution { tenant, by, path: self.path })
    }
}

/// `host_code` is the code that the host says, if it is a subdomain.
fn agree<'d, 'a, 'h>(
    found: &[Option<Signal<'d, 'a>>; 4],
    host_code: impl Fn() -> Option<&'h str>,
) -> Result<Signal<'d, 'a>, Refusal> {
    let request = || found[..3].iter().flatten();
    let Some(&(first_by, first)) = request().next() else {
        return match found[3] {
            Some(token) => Ok(token),
            _ => Err(Refusal::new(&kind::TENANT_UNRESOLVED, "Nothing in the request names a tenant.")),
        };
    };
    let differs = |(by, named): &Signal<'d, 'a>| match first.id() {
        None => !is_same_nobody((first_by, first), (*by, *named), &host_code),
        known => named.id() != known,
    };
    if request().skip(1).any(differs) {
        let words: Vec<_> = request().map(|(by, _)| by.as_str()).collect();
        return Err(Refusal::new(
            &kind::CONFLICTING_SIGNALS,
            format!("The {} of the request do not name the same tenant.", words.join(" and ")),
        ));
    }
    let tenant = first.id().ok_or_else(unknown)?;
    match found[3] {
        // Answered as the credential's own failure, so that nobody learns which tenants exist.
        Some((_, token)) if token.id() != Some(tenant) => {
            Err(Refusal::new(&kind::KEY_INVALID, "The API key is not valid here.").private("wrong_tenant"))
        }
        _ => Ok((first_by, first)),
    }
}

/// Whether two signals that name nobody we know mean the same nobody. They are refused as those of a tenant that is there would be,
/// so that refusals tell nobody which tenants are.
#[cold]
fn is_same_nobody<'h>(
    one: Signal<'_, '_>,
    other: Signal<'_, '_>,
    host_code: &impl Fn() -> Option<&'h str>,
) -> bool {
    let code = |(by, named): Signal<'_, '_>| match (by, named) {
        (ResolvedBy::Subdomain, Named::Nobody(_)) => host_code().map(str::to_owned),
        (_, Named::Nobody(said)) => said.map(str::to_owned),
        _ => None,
    };
    let one = code(one);
    one.is_some() && one == code(other)
}

/// What stands before a base domain.
fn code_of_host<'h>(directory: &Directory, host: &'h str) -> Option<&'h str> {
    let before = |base: &String| host.strip_suffix(base.as_str())?.strip_suffix('.');
    directory.naming.base_domains.iter().find_map(before)
}

fn unknown() -> Refusal {
    Refusal::new(&kind::TENANT_UNKNOWN, "No tenant has this name.")
}

fn host_signal<'d, 'a>(directory: &'d Directory, host: &str) -> Result<Option<Signal<'d, 'a>>, Refusal> {
    let naming = &directory.naming;
    if naming.platform_hosts.iter().any(|own| own == host) {
        return Ok(None);
    }
    for base in &naming.base_domains {
        if host == base {
            return Ok(None);
        }
        let Some(label) = host.strip_suffix(base.as_str()).and_then(|rest| rest.strip_suffix('.')) else {
            continue;
        };
        if RESERVED_LABELS.contains(&label) {
            return Ok(None);
        }
        return Ok(Some((ResolvedBy::Subdomain, Named::of(directory.tenant_by_code(label), None))));
    }
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Ok(None);
    }
    match directory.hosts.get(host) {
        Some(tenant) => Ok(Some((ResolvedBy::Domain, Named::Claimed(*tenant)))),
        None => Err(Refusal::new(&kind::UNKNOWN_HOST, format!("The host `{host}` is not served here."))),
    }
}

/// Whom a host names by itself, known or not: none if it names no tenant, or is not served.
pub fn named_by_host<'d>(directory: &'d Directory, host: &str) -> Option<Named<'d, 'd>> {
    let host = canonical_host(host).ok()?;
    let (_, named) = host_signal(directory, &host).ok()??;
    Some(named)
}

/// The tenant that a host names by itself; without it, or with a host that is not served, none.
pub fn tenant_of_host<'d>(directory: &'d Directory, host: &str) -> Option<&'d Arc<Tenant>> {
    named_by_host(directory, host)?.look_up(directory)
}

fn header_signal<'d, 'a>(
    directory: &'d Directory,
    signals: &Signals<'a>,
) -> Result<Option<Signal<'d, 'a>>, Refusal> {
    let by_id = signals.header_id.map(|text| match text.parse::<TenantId>() {
        Ok(id) => Named::of(directory.tenants.get(&id), None),
        Err(_) => Named::Nobody(None),
    });
    let by_code = signals.header_code.map(|code| Named::of(directory.tenant_by_code(code), Some(code)));
    let named = match (by_id, by_code) {
        (Some(id), Some(code)) if id.id().is_none() || id.id() != code.id() => {
            return Err(Refusal::new(
                &kind::CONFLICTING_SIGNALS,
                "`X-Tenant-Id` and `X-Tenant-Code` do not name the same tenant.",
            ));
        }
        (Some(named), _) | (None, Some(named)) => named,
        (None, None) => return Ok(None),
    };
    Ok(Some((ResolvedBy::Header, named)))
}

fn path_signal<'d, 'a>(
    directory: &'d Directory,
    path: &'a str,
) -> Result<(&'a str, Option<Signal<'d, 'a>>), Refusal> {
    let Some(rest) = path.strip_prefix("/t/") else { return Ok((path, None)) };
    let (code, after) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    if code.contains('%') {
        return Err(Refusal::new(&kind::MALFORMED_REQUEST, "A tenant's code in the path has no escapes."));
    }
    let named = check_code(code).ok().and_then(|()| directory.tenant_by_code(code));
    Ok((after, Some((ResolvedBy::Path, Named::of(named, Some(code))))))
}

/// The host of an authority: port cut off, one trailing dot removed, lower case. Only A-labels are taken.
pub fn canonical_host(authority: &str) -> Result<Cow<'_, str>, Refusal> {
    let malformed = || Refusal::new(&kind::MALFORMED_REQUEST, "The host name is malformed.");
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or_else(malformed)?;
        address.parse::<std::net::Ipv6Addr>().map_err(|_| malformed())?;
        let port = if after.is_empty() { Some("") } else { after.strip_prefix(':') };
        return port.filter(|port| is_port(port)).map(|_| Cow::Borrowed(address)).ok_or_else(malformed);
    }
    let colon = authority.bytes().position(|byte| byte == b':');
    let (host, port) = colon.map_or((authority, "0"), |at| (&authority[..at], &authority[at + 1..]));
    let host = host.strip_suffix('.').unwrap_or(host);
    let (mut label, mut upper, mut well_formed) = (0, false, host.len() <= 253 && is_port(port));
    for byte in host.bytes() {
        match byte {
            b'.' => {
                well_formed &= (1..=63).contains(&label);
                label = 0;
                continue;
            }
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
            b'A'..=b'Z' => upper = true,
            _ => well_formed = false,
        }
        label += 1;
    }
    match well_formed && (1..=63).contains(&label) {
        false => Err(malformed()),
        true if upper => Ok(Cow::Owned(host.to_ascii_lowercase())),
        true => Ok(Cow::Borrowed(host)),
    }
}

fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
#[path = "resolution_tests.rs"]
mod tests;
