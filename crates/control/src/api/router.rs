//! All routes of all features, and the OpenAPI document made from them.

use axum::extract::{Path, State};
use axum::{Json, Router};
use rowhouse_domain::refusal::{Kind, Refusal, kind, kind_by_code};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::own::OwnApi;
use super::{Answer, assemble};
use crate::{
    Shared, access, audit, billing, catalog, deploy, doctor, fleet, identity, keys, lifecycle, limits,
    messages, metering, resources, tenancy,
};

/// The control API, ready to be served.
pub fn router(control: Shared) -> Router {
    let (routes, document) = documented();
    let own = OwnApi::new(routes.clone().with_state(control.clone()));
    let served = Json(json!(document));
    let open = Router::new()
        .route("/openapi.json", axum::routing::get(move || async move { served }))
        .route("/.well-known/jwks.json", axum::routing::get(jwks))
        .route("/docs/errors/{code}", axum::routing::get(explain));
    assemble(routes.merge(open).merge(identity::pages(own)), control)
}

/// The OpenAPI document, for tests and tools.
pub fn openapi() -> OpenApi {
    documented().1
}

fn documented() -> (Router<Shared>, OpenApi) {
    let info = InfoBuilder::new()
        .title("Rowhouse")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("The control API. Errors are problems (RFC 9457) with a stable `code`."))
        .build();
    OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info).build())
        .merge(catalog::routes())
        .merge(tenancy::routes())
        .merge(lifecycle::routes())
        .merge(deploy::routes())
        .merge(doctor::routes())
        .merge(fleet::routes())
        .merge(access::routes())
        .merge(keys::routes())
        .merge(metering::routes())
        .merge(resources::routes())
        .merge(limits::routes())
        .merge(crate::routing::routes())
        .merge(billing::routes())
        .merge(audit::routes())
        .merge(identity::routes())
        .merge(identity::issuers::routes())
        .merge(identity::authorities::routes())
        .merge(messages::routes())
        .routes(routes!(version))
        .routes(routes!(explain))
        .split_for_parts()
}

#[derive(Debug, Serialize, ToSchema)]
struct Version {
    /// Of this binary.
    version: &'static str,
    /// Of the API.
    api: &'static str,
}

/// What runs here.
#[utoipa::path(get, path = "/v1/version", operation_id = "api.read_version", tag = "api",
    responses((status = 200, body = Version)))]
async fn version() -> Json<Version> {
    Json(Version { version: env!("CARGO_PKG_VERSION"), api: "v1" })
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RefusalExplanation)]
struct Explanation {
    /// The stable code.
    code: &'static str,
    /// Short words.
    title: &'static str,
    /// HTTP status.
    status: u16,
    /// `caller`, `upstream` or `ours`.
    #[schema(value_type = String)]
    fault: rowhouse_domain::refusal::Fault,
    /// What to do.
    cure: &'static str,
}

impl From<&'static Kind> for Explanation {
    fn from(kind: &'static Kind) -> Self {
        let Kind { code, status, fault, title, cure } = *kind;
        Explanation { code, title, status, fault, cure }
    }
}

/// What an error code means and what to do.
#[utoipa::path(get, path = "/v1/explain/{code}", operation_id = "api.explain_code", tag = "api",
    params(("code" = String, Path)), responses((status = 200, body = Explanation)))]
async fn explain(Path(code): Path<String>) -> Answer<Json<Explanation>> {
    let found = kind_by_code(&code);
    let none = || Refusal::new(&kind::NOT_FOUND, format!("There is no code `{code}`."));
    Ok(Json(found.ok_or_else(none)?.into()))
}

/// The keys that contexts and access tokens are verified with (RFC 7517, RFC 8037).
async fn jwks(State(control): State<Shared>) -> Json<serde_json::Value> {
    let jwk = |kid: &str, x: String| json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": x});
    let mut contexts = vec![control.context_signer.verifier()];
    contexts.extend(deploy::nodes::context_keys_now(&control).await);
    let tokens = control.directory.current().tokens.clone();
    let tokens = tokens.keys.iter().map(|key| jwk(&key.key_id, key.x()));
    let contexts = contexts.iter().map(|key| jwk(key.key_id(), key.x()));
    let all: Vec<_> = contexts.chain(tokens).collect();
    Json(json!({ "keys": all }))
}
