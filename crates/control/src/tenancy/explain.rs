//! `POST /v1/resolution/explain`: which tenant a request would be for, and what each place of it says. The signals are
//! heard and decided by the gateway's own functions, on the directory that is in force.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use rowhouse_domain::directory::Directory;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::routes::normalise;
use rowhouse_domain::tenancy::resolution::{Heard, ResolvedBy, Signals, hear};
use rowhouse_domain::tenancy::{Service, check_code};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Shared;
use crate::api::{Answer, Body, Caller};

/// The routes of resolution.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(explain_resolution))
}

/// A request to be resolved.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResolutionQuestion {
    /// Authority of the target, or the `Host`; with or without a port.
    authority: Option<String>,
    /// Name asked for in TLS. No listener reads it yet.
    sni: Option<String>,
    /// Path of the target; `/` if not said.
    path: Option<String>,
    /// By name.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Id or code of the tenant that the credential belongs to. Credentials themselves are not for this call.
    token_tenant: Option<String>,
    /// Address of the client. It gives no signal.
    client_ip: Option<String>,
}

/// Where a request belongs, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct ResolutionExplained {
    /// `resolved` or `refused`.
    outcome: &'static str,
    /// HTTP status of the refusal.
    status: Option<u16>,
    /// Its code.
    code: Option<&'static str>,
    /// `tenant_…`
    tenant: Option<String>,
    /// The first signal that names it.
    resolved_by: Option<&'static str>,
    /// The host in canonical form.
    host: Option<String>,
    /// What names a tenant, in the order in which the first is reported.
    signals: Vec<SignalSeen>,
    /// What might have been taken for a signal and is none.
    ignored: Vec<Ignored>,
    /// The path that is matched with routes.
    path_after: Option<String>,
    /// The version of the directory that decided.
    directory_version: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct SignalSeen {
    /// `subdomain`, `domain`, `header`, `path` or `token`.
    kind: &'static str,
    /// As it stands in the request.
    value: String,
    /// Whom it names; `null` for nobody.
    tenant: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct Ignored {
    /// `host`, `header` or `sni`.
    kind: &'static str,
    /// As it stands in the request; of a header its name.
    value: String,
}

/// Which tenant a request would be for, and why. For the operator: an answer tells which tenants there are.
#[utoipa::path(post, path = "/v1/resolution/explain", operation_id = "tenancy.explain_resolution", tag = "tenancy",
    request_body = ResolutionQuestion, responses((status = 200, body = ResolutionExplained)))]
async fn explain_resolution(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<ResolutionQuestion>,
) -> Answer<Json<ResolutionExplained>> {
    caller.permit("tenant:read", None)?;
    Ok(Json(explain(&control.directory.current(), &body.value)?))
}

fn explain(directory: &Directory, asked: &ResolutionQuestion) -> Result<ResolutionExplained, Refusal> {
    if asked.client_ip.as_ref().is_some_and(|address| address.parse::<IpAddr>().is_err()) {
        let refusal = Refusal::new(&kind::INVALID, "The client's address is none.");
        return Err(refusal.field("/client_ip", "malformed", "an IPv4 or IPv6 address"));
    }
    let token_tenant = asked.token_tenant.as_deref().map(|name| token_tenant(directory, name)).transpose()?;
    let mut explained = ResolutionExplained {
        outcome: "refused",
        status: None,
        code: None,
        tenant: None,
        resolved_by: None,
        host: None,
        signals: Vec::new(),
        ignored: ignored_headers(asked),
        path_after: None,
        directory_version: directory.version,
    };
    let given = asked.path.as_deref().unwrap_or("/");
    let (path, headers) = match (normalise(given), TenantHeaders::of(&asked.headers)) {
        (Ok(path), Ok(headers)) => (path, headers),
        (Err(error), _) => {
            let words = format!("The path cannot be used: {error}.");
            return Ok(refused(explained, &Refusal::new(&kind::MALFORMED_REQUEST, words)));
        }
        (_, Err(refusal)) => return Ok(refused(explained, &refusal)),
    };
    let signals = Signals {
        authority: asked.authority.as_deref().or(headers.host).filter(|authority| !authority.is_empty()),
        header_id: headers.id,
        header_code: headers.code,
        path: &path,
        token_tenant,
    };
    let heard = hear(directory, &signals);
    explained.host = heard.host.as_ref().map(ToString::to_string);
    explained.path_after = Some(heard.path.to_owned());
    explained.signals = seen(directory, &heard, &signals);
    if let (Some(host), Ok(None)) = (&explained.host, &heard.signals[0]) {
        explained.ignored.insert(0, Ignored { kind: "host", value: host.clone() });
    }
    Ok(match heard.decide(directory) {
        Ok(resolution) if resolution.tenant.service == Service::Unknown => {
            refused(explained, &Refusal::new(&kind::TENANT_UNKNOWN, "No tenant has this name."))
        }
        Ok(resolution) => ResolutionExplained {
            outcome: "resolved",
            tenant: Some(resolution.tenant.id.to_string()),
            resolved_by: Some(resolution.by.as_str()),
            ..explained
        },
        Err(refusal) => refused(explained, &refusal),
    })
}

fn refused(explained: ResolutionExplained, refusal: &Refusal) -> ResolutionExplained {
    ResolutionExplained { status: Some(refusal.status()), code: Some(refusal.code()), ..explained }
}

/// What each place says, as it stands there.
fn seen(directory: &Directory, heard: &Heard<'_, '_>, signals: &Signals<'_>) -> Vec<SignalSeen> {
    let value = |by: ResolvedBy, tenant: Option<TenantId>| match by {
        ResolvedBy::Subdomain => label(directory, heard.host.as_deref().unwrap_or_default()).to_owned(),
        ResolvedBy::Domain => heard.host.as_deref().unwrap_or_default().to_owned(),
        ResolvedBy::Header => signals.header_id.or(signals.header_code).unwrap_or_default().to_owned(),
        ResolvedBy::Path => signals.path.split('/').nth(2).unwrap_or_default().to_owned(),
        ResolvedBy::Token => tenant.map(|tenant| tenant.to_string()).unwrap_or_default(),
    };
    let present = heard.signals.iter().filter_map(|signal| signal.as_ref().ok().copied().flatten());
    present
        .map(|(by, named)| SignalSeen {
            kind: by.as_str(),
            value: value(by, named.id()),
            tenant: named.id().map(|tenant| tenant.to_string()),
        })
        .collect()
}

/// What stands before a base domain.
fn label<'h>(directory: &Directory, host: &'h str) -> &'h str {
    let bases = &directory.naming.base_domains;
    let before = |base: &String| host.strip_suffix(base.as_str())?.strip_suffix('.');
    bases.iter().find_map(before).unwrap_or(host)
}

/// The headers that are read, each at most once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TenantHeaders<'a> {
    pub(crate) host: Option<&'a str>,
    pub(crate) id: Option<&'a str>,
    pub(crate) code: Option<&'a str>,
}

impl<'a> TenantHeaders<'a> {
    pub(crate) fn of(headers: &'a BTreeMap<String, String>) -> Result<Self, Refusal> {
        let mut read = TenantHeaders::default();
        for (name, value) in headers {
            let (place, twice) = match name.to_ascii_lowercase().as_str() {
                "host" => (&mut read.host, &kind::MALFORMED_REQUEST),
                "x-tenant-id" => (&mut read.id, &kind::CONFLICTING_SIGNALS),
                "x-tenant-code" => (&mut read.code, &kind::CONFLICTING_SIGNALS),
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(Refusal::new(twice, format!("`{name}` stands there more than once.")));
            }
        }
        Ok(read)
    }
}

/// What others read a tenant from, and we don't.
fn ignored_headers(asked: &ResolutionQuestion) -> Vec<Ignored> {
    let misleading = ["authorization", "forwarded", "x-api-key", "x-forwarded-host"];
    let names = asked.headers.keys().filter(|name| misleading.contains(&name.to_ascii_lowercase().as_str()));
    let mut ignored: Vec<_> = names.map(|name| Ignored { kind: "header", value: name.clone() }).collect();
    ignored.extend(asked.sni.clone().map(|sni| Ignored { kind: "sni", value: sni }));
    ignored
}

pub(crate) fn token_tenant(directory: &Directory, name: &str) -> Result<TenantId, Refusal> {
    let by_code =
        || check_code(name).ok().and_then(|()| directory.tenant_by_code(name)).map(|tenant| tenant.id);
    let unknown = || {
        let refusal = Refusal::new(&kind::INVALID, "The credential's tenant is not known.");
        refusal.field("/token_tenant", "unknown", "id or code of a tenant")
    };
    name.parse::<TenantId>().ok().or_else(by_code).ok_or_else(unknown)
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
