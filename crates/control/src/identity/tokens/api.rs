//! `/v1/tokens/explain` and `/oauth2/introspect`.

use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{body::to_bytes, http::request::Parts};
use rowhouse_domain::access::decide;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::identity::token::{AUDIENCE_CONTROL, AUDIENCE_GATEWAY, TokenClaims, Unverified};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::explain::{TokenExplanation, explain};
use crate::api::{Answer, Body, Caller, Parameters, TenantParameter};
use crate::identity::client::client_token;
use crate::identity::form;
use crate::identity::sign_in::{Source, basic};
use crate::{Control, Shared};

pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(explain_token)).routes(routes!(introspect))
}

/// Who asks must be able to see why others are refused.
const NEEDED: &str = "access:explain";

/// Where the token is shown.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ShownTo {
    /// To a gateway.
    #[default]
    Gateway,
    /// To the control API.
    Control,
}

impl ShownTo {
    fn audience(self) -> &'static str {
        match self {
            ShownTo::Gateway => AUDIENCE_GATEWAY,
            ShownTo::Control => AUDIENCE_CONTROL,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TokenExplainBody)]
struct ExplainBody {
    /// The access token: ours, or of an issuer of the tenant's.
    token: String,
    /// `gateway` or `control`.
    #[serde(default)]
    shown_to: ShownTo,
}

/// Whether an access token is good now, check by check. It is not kept, and nothing is accepted by it.
#[utoipa::path(post, path = "/v1/tokens/explain", operation_id = "identity.explain_token", tag = "identity",
    params(TenantParameter), request_body = ExplainBody, responses((status = 200, body = TokenExplanation)))]
async fn explain_token(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<ExplainBody>,
) -> Answer<Json<TokenExplanation>> {
    let scope = caller.scope(asked.tenant.as_deref())?;
    caller.permit(NEEDED, scope)?;
    let shown = (body.value.token.trim(), body.value.shown_to.audience());
    Ok(Json(explain(caller.directory(), shown, scope, control.clock().now_us())))
}

#[derive(Default, Deserialize, ToSchema)]
struct IntrospectForm {
    /// An access token. A `token_type_hint` beside it is not looked at.
    #[serde(default)]
    token: String,
}

/// What a token is good for; of one that is not good now nothing but that.
#[derive(Debug, Serialize, ToSchema)]
struct IntrospectAnswer {
    /// Whether it is good now for who asks.
    active: bool,
    /// `Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// Its claims.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    claims: Option<TokenClaims>,
}

/// Whether an access token is good now (RFC 7662). Who asks shows a key or a token as everywhere, or the id and the secret of a service account
/// (`Authorization: Basic`), has the permission `access:explain`, and learns of its own tenant's tokens alone.
#[utoipa::path(post, path = "/oauth2/introspect", operation_id = "identity.introspect_token", tag = "identity",
    request_body(content = IntrospectForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = IntrospectAnswer)))]
async fn introspect(State(control): State<Shared>, request: Request) -> Answer<Response> {
    let (mut parts, body) = request.into_parts();
    let scope = match asker(&control, &mut parts).await? {
        Asker::Known(scope) => scope,
        Asker::Unknown => {
            let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"rowhouse\"")];
            let body = Json(json!({ "error": "invalid_client" }));
            return Ok((StatusCode::UNAUTHORIZED, challenge, body).into_response());
        }
    };
    let body = to_bytes(body, FORM_MAX).await.map_err(|_| malformed())?;
    let asked = form::read::<IntrospectForm>(&body).ok_or_else(malformed)?;
    let directory = control.directory.current();
    let now_us = control.clock().now_us();
    let good = |audience| explain(&directory, (asked.token.trim(), audience), scope, now_us);
    let found = [AUDIENCE_GATEWAY, AUDIENCE_CONTROL].map(good).into_iter().find(|found| found.active);
    // Of another issuer's token there is nothing that we vouch for.
    let claims = found.and_then(|found| found.claims);
    let told = IntrospectAnswer {
        active: claims.is_some(),
        token_type: claims.is_some().then_some("Bearer"),
        claims,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(told)).into_response())
}

/// Longest form, in bytes: a token of 8 KiB as it is escaped.
const FORM_MAX: usize = 32 * 1024;

fn malformed() -> Refusal {
    Refusal::new(&kind::UNSUPPORTED_MEDIA, "Send a form: `application/x-www-form-urlencoded`.")
}

enum Asker {
    /// For tokens of this tenant, or of all.
    Known(Option<TenantId>),
    /// The secret is nobody's.
    Unknown,
}

async fn asker(control: &Shared, parts: &mut Parts) -> Answer<Asker> {
    let scheme = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().get(..6));
    let by_secret = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "));
    let Some(client) = basic(&parts.headers).filter(|_| by_secret) else {
        let caller = Caller::from_request_parts(parts, control).await?;
        let scope = caller.scope(None)?;
        caller.permit(NEEDED, scope)?;
        return Ok(Asker::Known(scope));
    };
    let Ok(source) = Source::from_request_parts(parts, control).await;
    let id = client.as_ref().map_or("", |client| &client.id);
    control.sign_in_sources.admit(&source, id, control.clock().now_us())?;
    let token = match &client {
        Some(client) => client_token(control, client).await?,
        None => None,
    };
    let Some((text, _)) = token else {
        control.sign_in_sources.failed(&source);
        return Ok(Asker::Unknown);
    };
    let claims = Unverified::read(&text).map_err(|fault| fault.refusal())?.claims().clone();
    machine_may(control, &claims)?;
    Ok(Asker::Known(Some(claims.tenant)))
}

fn machine_may(control: &Control, claims: &TokenClaims) -> Result<(), Refusal> {
    let directory = control.directory.current();
    let denied = || Refusal::new(&kind::ACCESS_DENIED, format!("This needs the permission `{NEEDED}`."));
    let bit = directory.permissions.id(NEEDED).ok_or_else(denied)?;
    let home = directory.tenants.get(&claims.tenant).ok_or_else(denied)?;
    let account = claims.subject.principal();
    let decided = decide(&home.access, Some(claims.tenant), account, bit, control.clock().now_us());
    decided.map(drop).map_err(|_| denied())
}
