//! `POST /v1/routes/test`: where a request would go. No request is sent.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use rowhouse_domain::directory::Directory;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::routes::{self, Asked, Explained, ExplainedRefusal, normalise};
use rowhouse_domain::tenancy::Service;
use rowhouse_domain::tenancy::resolution::{Signals, resolve};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::splits_api::{
    __path_get_splits, __path_promote_release, __path_put_splits, __path_roll_back_release, get_splits,
    promote_release, put_splits, roll_back_release,
};
use super::upstreams_api::{__path_list_upstreams, list_upstreams};
use crate::Shared;
use crate::api::{Answer, Body, Caller};
use crate::tenancy::explain::{TenantHeaders, token_tenant};

/// The routes of routing.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(test_route))
        .routes(routes!(get_splits, put_splits))
        .routes(routes!(promote_release))
        .routes(routes!(roll_back_release))
        .routes(routes!(list_upstreams))
}

/// A request as it might arrive.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RouteQuestion {
    /// `GET`, `POST` …
    method: String,
    /// Authority of the target, or the `Host`; with or without a port.
    host: Option<String>,
    /// Path and query of the target.
    path: String,
    /// By name; those that name a tenant are read, and those that routes and splits of releases look at.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Id or code of the tenant that the credential belongs to. Credentials themselves are not for this call.
    token_tenant: Option<String>,
    /// Address of the client. No route depends on it.
    client_ip: Option<String>,
}

/// Which tenant, route, service, copies, permission, limits and usage a request would meet, and which routes were passed
/// over. For the operator: it tells where things run.
#[utoipa::path(post, path = "/v1/routes/test", operation_id = "routes.test_route", tag = "routes",
    request_body = RouteQuestion, responses((status = 200, body = Object)))]
async fn test_route(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<RouteQuestion>,
) -> Answer<Json<Explained>> {
    caller.permit("route:read", None)?;
    Ok(Json(test(&control.directory.current(), &body.value)?))
}

fn test(directory: &Directory, asked: &RouteQuestion) -> Result<Explained, Refusal> {
    check(asked)?;
    let token_tenant = asked.token_tenant.as_deref().map(|name| token_tenant(directory, name)).transpose()?;
    let method = asked.method.as_str();
    let target = asked.path.split('#').next().unwrap_or_default();
    let (given, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let sent: BTreeMap<String, String> =
        asked.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    let (path, headers) = match (normalise(given), TenantHeaders::of(&asked.headers)) {
        (Ok(path), Ok(headers)) => (path, headers),
        (Err(error), _) => {
            let words = format!("The path cannot be used: {error}.");
            return Ok(nowhere(directory, &Refusal::new(&kind::MALFORMED_REQUEST, words)));
        }
        (_, Err(refusal)) => return Ok(nowhere(directory, &refusal)),
    };
    let signals = Signals {
        authority: asked.host.as_deref().or(headers.host).filter(|host| !host.is_empty()),
        header_id: headers.id,
        header_code: headers.code,
        path: &path,
        token_tenant,
    };
    let authority = signals.authority.unwrap_or_default();
    let asked = |path, tenant| Asked { method, path, tenant, authority, query, headers: &sent };
    Ok(match resolve(directory, &signals) {
        Ok(resolution) if resolution.tenant.service == Service::Unknown => {
            nowhere(directory, &Refusal::new(&kind::TENANT_UNKNOWN, "No tenant has this name."))
        }
        Ok(resolution) => {
            let tenant = Some((&**resolution.tenant, resolution.by));
            routes::explain(directory, asked(resolution.path, tenant))
        }
        Err(refusal) if refusal.code() == kind::TENANT_UNRESOLVED.code => {
            routes::explain(directory, asked(&path, None))
        }
        Err(refusal) => nowhere(directory, &refusal),
    })
}

fn check(asked: &RouteQuestion) -> Result<(), Refusal> {
    let is_token = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase());
    if !is_token(&asked.method) {
        let refusal = Refusal::new(&kind::INVALID, "The method is none.");
        return Err(refusal.field("/method", "malformed", "upper-case letters, as in `GET`"));
    }
    if asked.client_ip.as_ref().is_some_and(|address| address.parse::<IpAddr>().is_err()) {
        let refusal = Refusal::new(&kind::INVALID, "The client's address is none.");
        return Err(refusal.field("/client_ip", "malformed", "an IPv4 or IPv6 address"));
    }
    Ok(())
}

/// What is refused before any route is looked for.
fn nowhere(directory: &Directory, refusal: &Refusal) -> Explained {
    Explained {
        refusal: Some(ExplainedRefusal::from(refusal)),
        directory_version: directory.version,
        ..Explained::default()
    }
}
