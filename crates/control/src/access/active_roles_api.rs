//! `/v1/me/active_roles`: which of their roles a person acts in. No role, no key and no application opens it: see [`Caller::person`].

use axum::Json;
use axum::extract::State;
use rowhouse_domain::access::Activity;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::active_roles::{self, ACTIVE_MAX, Sitting};
use crate::Shared;
use crate::api::{Answer, Body, Caller};

/// The routes of this part.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(my_active_roles, activate_my_roles))
}

/// Roles to act in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActiveRolesBody {
    /// At most 200 roles that the person has, each with what it inherits. Of roles of which not all may be active together, these
    /// are and the others are not.
    active: Vec<String>,
}

/// A person's roles in the session.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActiveRolesAnswer {
    /// Those that are active, inherited ones included, by name.
    active: Vec<String>,
    /// Those that are not, by name.
    inactive: Vec<String>,
}

impl From<Activity> for ActiveRolesAnswer {
    fn from(Activity { active, inactive }: Activity) -> Self {
        ActiveRolesAnswer { active: active.into_iter().collect(), inactive: inactive.into_iter().collect() }
    }
}

fn sitting(caller: &Caller) -> Result<Sitting, Refusal> {
    let person = caller.person()?;
    Ok(Sitting { tenant: caller.tenant(), session: person.claims.session, user: person.user })
}

/// Which of the person's roles are active in this session. All are, but where a constraint of kind `dynamic` lets only some of those
/// that they have be: of these none is until it is chosen.
#[utoipa::path(get, path = "/v1/me/active_roles", operation_id = "access.list_my_active_roles", tag = "access",
    responses((status = 200, body = ActiveRolesAnswer)))]
async fn my_active_roles(State(control): State<Shared>, caller: Caller) -> Answer<Json<ActiveRolesAnswer>> {
    Ok(Json(active_roles::read(&control, sitting(&caller)?).await?.into()))
}

/// Chooses the roles to be active in this session, in place of those chosen before. It is in force at every gateway as a change of
/// grants is.
#[utoipa::path(put, path = "/v1/me/active_roles", operation_id = "access.activate_my_roles", tag = "access",
    request_body = ActiveRolesBody, responses((status = 200, body = ActiveRolesAnswer)))]
async fn activate_my_roles(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<ActiveRolesBody>,
) -> Answer<Json<ActiveRolesAnswer>> {
    let own = sitting(&caller)?;
    let active = body.value.active;
    if active.len() > ACTIVE_MAX {
        let refusal = Refusal::new(&kind::INVALID, "These are too many roles.");
        return Err(refusal.field("/active", "too_many", format!("at most {ACTIVE_MAX}")).into());
    }
    Ok(Json(active_roles::activate(&control, own, active, caller.request_id).await?.into()))
}
