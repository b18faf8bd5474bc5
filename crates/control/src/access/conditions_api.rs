//! `/v1/access/conditions/test`: what a condition says, before it stands in a grant. Nothing is stored.

use axum::Json;
use axum::extract::State;
use rowhouse_domain::access::{Facts, Outcome};
use rowhouse_domain::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::explain::word;
use super::grant::check_condition;
use super::resources_api::ThingBody;
use super::{Rules, stored, thing};
use crate::Shared;
use crate::api::{Answer, Body, Caller, Parameters, PrincipalBody, TenantParameter};

/// The routes of this part.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(test_condition))
}

/// A condition and what is known.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConditionTestBody)]
pub struct TestBody {
    /// A Cedar expression.
    condition: String,
    /// What it reads as `context.params`.
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: Map<String, Value>,
    /// Who would act.
    principal: PrincipalBody,
    /// The permission or pattern that the grant would be about; it says what may be asked for.
    permission: String,
    /// On which thing; the whole tenant if not said.
    resource: Option<ThingBody>,
    /// What is known of the thing, where nothing is stored of that name.
    #[serde(default)]
    #[schema(value_type = Object)]
    attributes: Map<String, Value>,
    /// What is known of the request.
    #[serde(default)]
    #[schema(value_type = Object)]
    context: Map<String, Value>,
}

/// What it says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConditionTestAnswer)]
pub struct TestAnswer {
    /// `true`, `false`, `missing` or `error`.
    result: &'static str,
    /// What it asks for and is not known.
    missing: Vec<String>,
    /// Why it cannot be evaluated.
    error: Option<String>,
}

/// Checks a condition and asks it once.
#[utoipa::path(
    post, path = "/v1/access/conditions/test", operation_id = "access.test_condition", tag = "access",
    params(TenantParameter), request_body = TestBody, responses((status = 200, body = TestAnswer))
)]
async fn test_condition(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<TestBody>,
) -> Answer<Json<TestAnswer>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("access:explain", Some(tenant))?;
    let TestBody { condition, parameters, principal, permission, resource, attributes, context } = body.value;
    let principal = principal.parse("/principal")?;
    let transaction = control.store.read(&permit).await?;
    let rules = Rules::load_for(&transaction, tenant).await.map_err(Refusal::from)?;
    let set = rules.permissions.closed(&rules.permission(&permission)?);
    let condition = check_condition(&condition, parameters, &rules.permissions.kinds(&set))?;
    let name = resource.map(rowhouse_domain::access::ResourceName::from);
    name.as_ref().map_or(Ok(()), |name| thing::refuse_unknown_type(&rules, name))?;
    let stored = stored::of_one(&transaction, tenant, &rules).await?;
    let known = match &name {
        Some(name) => super::resource_queries::one(&transaction, tenant, name).await?,
        None => None,
    };
    transaction.finish().await?;
    let facts = Facts {
        thing: name.as_ref().map(|name| (name.kind.as_str(), name.id.as_str())),
        resource: Some(&attributes),
        ..Facts::of_context(&context)
    };
    let stored_attributes = known.as_ref().map(|known| &known.attributes);
    let model = stored.model(&rules);
    let at = (caller.now_us(), &facts);
    let outcome = model.ask(&condition, (principal, &set), stored_attributes, at);
    Ok(Json(match outcome {
        Outcome::Missing(what) => TestAnswer { result: "missing", missing: vec![what], error: None },
        Outcome::Error(why) => TestAnswer { result: "error", missing: Vec::new(), error: Some(why) },
        outcome => TestAnswer { result: word(&outcome), missing: Vec::new(), error: None },
    }))
}
