//! The sign-in policy of a tenant over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use rowhouse_domain::access::Permit;
use rowhouse_domain::identity::SignInPolicy;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Change;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::preview::{PreviewAnswer, preview};
use crate::Shared;
use crate::api::{Answer, Body, Caller, IfMatch, Parameters, TenantParameter, etag};
use crate::identity::session;
use crate::identity::sign_in::policy::{self, InForce};

pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(read_policy, put_policy)).routes(routes!(preview_policy))
}

/// A tenant's sign-in policy, as it is in force.
#[derive(Debug, Serialize, ToSchema)]
struct PolicyAnswer {
    #[serde(flatten)]
    #[schema(value_type = Object)]
    policy: SignInPolicy,
    /// 0 for the default, which nobody has set.
    version: i64,
}

type Told = ([(HeaderName, HeaderValue); 1], Json<PolicyAnswer>);

fn answer(in_force: InForce) -> Told {
    let InForce { policy, version, .. } = in_force;
    (etag(version), Json(PolicyAnswer { policy, version }))
}

/// What the tenant asks of people who enter it.
#[utoipa::path(get, path = "/v1/sign_in_policy", operation_id = "identity.read_policy", tag = "identity",
    params(TenantParameter), responses((status = 200, body = PolicyAnswer)))]
async fn read_policy(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<Told> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("user:read", Some(tenant))?;
    let transaction = control.store.read(&permit).await?;
    let in_force = policy::in_force(&transaction, tenant).await?;
    transaction.finish().await?;
    Ok(answer(in_force))
}

/// Sets the policy. `If-Match` must say the version that was read. Where a second factor is required without days of grace, sessions without
/// one end.
#[utoipa::path(put, path = "/v1/sign_in_policy", operation_id = "identity.put_policy", tag = "identity",
    params(TenantParameter), request_body = Object, responses((status = 200, body = PolicyAnswer)))]
async fn put_policy(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<TenantParameter>,
    expected: IfMatch,
    body: Body<SignInPolicy>,
) -> Answer<Told> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("tenant:update", Some(tenant))?;
    caller.fresh(control.clock().now_s(), 10)?;
    let wanted = checked(body.value, tenant)?;
    if let Some(reason) = preview(&control, &caller, tenant, &wanted).await?.refused_because {
        return Err(Refusal::new(&kind::POLICY_UNMET, reason).into());
    }
    let now = control.clock().now();
    let transaction = control.store.write(&permit).await?;
    let before = policy::in_force(&transaction, tenant).await?;
    expected.said()?.check(before.version)?;
    // Who had time to enrol before does not get it anew.
    let grace_from = match before.grace_from {
        Some(from) if before.policy.needed() > 1 => from,
        _ => now,
    };
    if !policy::put(&transaction, tenant, (&wanted, before.version), (grace_from, now)).await? {
        return Err(Refusal::new(&kind::CHANGED_MEANWHILE, "The policy was changed meanwhile.").into());
    }
    let mut changes = vec![
        Change::new(tenant, "identity.policy_changed", "update", permit.principal())
            .on("sign_in_policy", tenant)
            .details(json!({ "from": before.version, "mfa": wanted.mfa }))
            .request(caller.request_id),
    ];
    if wanted.needed() > 1 && wanted.mfa_grace_days == 0 {
        let below =
            session::queries::end_below(&transaction, tenant, i16::from(wanted.needed()), now).await?;
        changes.extend(below.iter().map(|(_, id)| session::ended(tenant, *id, "policy", permit.principal())));
    }
    let after = policy::in_force(&transaction, tenant).await?;
    transaction.commit_all(changes).await?;
    Ok(answer(after))
}

/// 422 for a policy that is out of bounds, or laxer than the floor.
fn checked(wanted: SignInPolicy, tenant: rowhouse_domain::id::TenantId) -> Result<SignInPolicy, Refusal> {
    let faults = wanted.faults();
    if !faults.is_empty() {
        let refusal = Refusal::new(&kind::INVALID, "Fields of the policy are out of bounds.");
        return Err(faults
            .into_iter()
            .fold(refusal, |refusal, (at, allowed)| refusal.field(at, "out_of_bounds", allowed)));
    }
    match policy::floor(tenant) {
        Some(floor) if wanted.stricter(&floor) != wanted => {
            Err(Refusal::new(&kind::POLICY_TOO_WEAK, "The operator's own people need at least the floor."))
        }
        _ => Ok(wanted),
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyPreviewBody)]
struct PreviewBody {
    #[schema(value_type = Object)]
    policy: SignInPolicy,
}

/// Whom a policy would touch, without setting it.
#[utoipa::path(post, path = "/v1/sign_in_policy/preview", operation_id = "identity.preview_policy", tag = "identity",
    params(TenantParameter), request_body = PreviewBody, responses((status = 200, body = PreviewAnswer)))]
async fn preview_policy(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<PreviewBody>,
) -> Answer<Json<PreviewAnswer>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let _: Permit = caller.permit("user:read", Some(tenant))?;
    let wanted = checked(body.value.policy, tenant)?;
    Ok(Json(preview(&control, &caller, tenant, &wanted).await?))
}
