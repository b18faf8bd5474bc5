//! `/v1/features`: the flags of a tenant, why each has its value, and values of its own.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::features::{Audience, Candidate, Flag, FlagType, FlagValue, Source};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::features::{self, Asking, NewOverride, Override, Standing};
use crate::api::{Answer, Body, Caller, List, Parameters, TenantParameter};
use crate::{Control, Shared};

/// The routes of features.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_features))
        .routes(routes!(put_feature, delete_feature))
        .routes(routes!(explain_feature))
}

/// A flag as it is for a tenant.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Feature {
    /// The flag.
    name: String,
    /// `bool`, `integer` or `string`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: FlagType,
    /// What holds.
    #[schema(value_type = Object)]
    value: FlagValue,
    /// `override`, `rollout`, `tier` or `default`.
    #[schema(value_type = String)]
    because: Source,
    /// For people.
    description: String,
    /// `services`, `gateway`, `portal` or `none`.
    #[schema(value_type = String)]
    audience: Audience,
    /// Whether an override gives more than the tier does.
    beyond_tier: bool,
    /// The tenant's own value, if one holds.
    #[serde(rename = "override")]
    own: Option<OwnValue>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct OwnValue {
    #[schema(value_type = Object)]
    value: FlagValue,
    /// In words.
    reason: String,
    /// When it ends by itself.
    #[schema(value_type = Option<String>)]
    until: Option<Timestamp>,
    /// The principal.
    set_by: String,
    /// When.
    #[schema(value_type = String)]
    set_at: Timestamp,
}

impl From<&Override> for OwnValue {
    fn from(own: &Override) -> Self {
        let Override { value, reason, until, set_by, set_at, .. } = own.clone();
        OwnValue { value, reason, until, set_by, set_at }
    }
}

fn feature(standing: &Standing, flag: &Flag) -> Feature {
    let decision = standing.decide(flag);
    let on = FlagValue::Bool(true);
    Feature {
        name: flag.name.clone(),
        kind: flag.kind,
        beyond_tier: decision.because == Source::Override
            && decision.value == on
            && !standing.tier_gives(flag),
        value: decision.value,
        because: decision.because,
        description: flag.description.clone(),
        audience: flag.audience,
        own: standing.own.get(&flag.name).map(OwnValue::from),
    }
}

async fn standing(control: &Control, permit: &Permit, tenant: TenantId) -> Result<Standing, Refusal> {
    let transaction = control.store.read(permit).await?;
    let standing = Standing::load(&transaction, tenant).await?;
    transaction.finish().await?;
    standing.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))
}

/// All flags as they are for a tenant.
#[utoipa::path(get, path = "/v1/features", operation_id = "tenancy.list_features", tag = "tenancy",
    params(TenantParameter), responses((status = 200, body = List<Feature>)))]
async fn list_features(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(which): Parameters<TenantParameter>,
) -> Answer<Json<List<Feature>>> {
    let tenant = caller.one_tenant(which.tenant.as_deref())?;
    let permit = caller.permit("feature:read", Some(tenant))?;
    let standing = standing(&control, &permit, tenant).await?;
    Ok(Json(List::whole(standing.flags.iter().map(|flag| feature(&standing, flag)).collect())))
}

/// Gives a tenant a value of its own. A tenant's principal can only turn off what its tier gives.
#[utoipa::path(put, path = "/v1/features/{name}", operation_id = "tenancy.put_feature", tag = "tenancy",
    params(("name" = String, Path, description = "The flag"), TenantParameter), request_body = NewOverride,
    responses((status = 200, body = Feature)))]
async fn put_feature(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Parameters(which): Parameters<TenantParameter>,
    body: Body<NewOverride>,
) -> Answer<Json<Feature>> {
    let tenant = caller.one_tenant(which.tenant.as_deref())?;
    let permit = caller.permit("feature:update", Some(tenant))?;
    let standing = features::put(&control, &permit, (tenant, &name), body.value, asking(&caller)).await?;
    Ok(Json(feature(&standing, standing.flag(&name)?)))
}

/// Takes a tenant's own value away.
#[utoipa::path(delete, path = "/v1/features/{name}", operation_id = "tenancy.delete_feature", tag = "tenancy",
    params(("name" = String, Path, description = "The flag"), TenantParameter), responses((status = 204)))]
async fn delete_feature(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Parameters(which): Parameters<TenantParameter>,
) -> Answer<StatusCode> {
    let tenant = caller.one_tenant(which.tenant.as_deref())?;
    let permit = caller.permit("feature:update", Some(tenant))?;
    features::delete(&control, &permit, (tenant, &name), asking(&caller)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn asking(caller: &Caller) -> Asking {
    Asking { operator: caller.is_operator(), request_id: caller.request_id }
}

/// Why a flag has its value.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct FeatureExplained {
    /// The flag.
    flag: String,
    /// What holds.
    #[schema(value_type = Object)]
    value: FlagValue,
    /// The first source that says something.
    #[schema(value_type = String)]
    because: Source,
    /// All sources in their order.
    candidates: Vec<Said>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = FlagSaid)]
struct Said {
    /// `override`, `rollout`, `tier` or `default`.
    #[schema(value_type = String)]
    source: Source,
    /// `null` if it says nothing.
    #[schema(value_type = Object)]
    value: Option<FlagValue>,
    /// Where the tenant stands in the rollout, 0 to 9,999.
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<u16>,
}

impl From<Candidate> for Said {
    fn from(candidate: Candidate) -> Self {
        let Candidate { source, value, bucket } = candidate;
        Said { source, value, bucket }
    }
}

/// Which sources of a flag's value there are for a tenant, and which holds.
#[utoipa::path(get, path = "/v1/features/{name}/explain", operation_id = "tenancy.explain_feature", tag = "tenancy",
    params(("name" = String, Path, description = "The flag"), TenantParameter),
    responses((status = 200, body = FeatureExplained)))]
async fn explain_feature(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Parameters(which): Parameters<TenantParameter>,
) -> Answer<Json<FeatureExplained>> {
    let tenant = caller.one_tenant(which.tenant.as_deref())?;
    let permit = caller.permit("feature:read", Some(tenant))?;
    let standing = standing(&control, &permit, tenant).await?;
    let decision = standing.decide(standing.flag(&name)?);
    Ok(Json(FeatureExplained {
        flag: name,
        value: decision.value,
        because: decision.because,
        candidates: decision.candidates.into_iter().map(Said::from).collect(),
    }))
}
