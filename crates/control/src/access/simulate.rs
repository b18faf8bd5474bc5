//! `/v1/access/simulate`: what would change if. On a copy of the tenant's access, or on nothing at all; nothing is stored.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use rowhouse_domain::access::simulate::{Party, Step, World, WorldGrant, WorldMembership, run};
use rowhouse_domain::access::{Holder, Principal, RoleDefinition, is_for_operator, with_standard_actions};
use rowhouse_domain::id::{GrantId, GroupId, OPERATOR_TENANT, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::constraint::{self, ConstraintRow};
use super::{Rules, group_queries, load_roles, stored};
use crate::Shared;
use crate::api::{Answer, Body, Caller, Parameters, TenantParameter};
use crate::catalog;

/// At most so many steps.
const STEPS_MAX: usize = 1_000;
/// At most so many steps times grants: each step is checked against the whole.
const WORK_MAX: usize = 1_000_000;

/// The routes of this part.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(simulate))
}

/// Changes and questions.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulateBody {
    /// `current`, the tenant's access as it is, or `empty`.
    base: String,
    /// When it begins; now if not said.
    #[schema(value_type = Option<String>)]
    at: Option<Timestamp>,
    /// At most 1,000, each with its `op`.
    #[schema(value_type = Vec<Object>)]
    steps: Vec<Step>,
}

/// Runs changes and questions in order on a copy, and tells what everybody would gain and lose.
#[utoipa::path(
    post, path = "/v1/access/simulate", operation_id = "access.simulate", tag = "access",
    params(TenantParameter), request_body = SimulateBody, responses((status = 200, body = Object))
)]
async fn simulate(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<SimulateBody>,
) -> Answer<Json<Value>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("access:simulate", Some(tenant))?;
    let SimulateBody { base, at, steps } = body.value;
    let world = match base.as_str() {
        "empty" => World::default(),
        "current" => {
            let transaction = control.store.read(&permit).await?;
            let world = current(&transaction, tenant, people(&caller, tenant)).await?;
            transaction.finish().await?;
            world
        }
        _ => return Err(invalid("/base", "current or empty").into()),
    };
    let size = world.grants.len() + world.people.len() + steps.len();
    if steps.len() > STEPS_MAX || steps.len() * size > WORK_MAX {
        let most = STEPS_MAX.min(WORK_MAX / size.max(1));
        return Err(invalid("/steps", &format!("at most {most} steps on this base")).into());
    }
    let at = at.unwrap_or_else(|| control.clock().now());
    let broken = |detail: String| Refusal::new(&kind::INTERNAL, "It cannot be simulated.").private(detail);
    let told = tokio::task::spawn_blocking(move || run(&world, at, steps))
        .await
        .map_err(|error| broken(error.to_string()))?
        .map_err(|code| broken(code.to_owned()))?;
    Ok(Json(serde_json::to_value(told).expect("wire types are JSON")))
}

fn invalid(pointer: &str, detail: &str) -> Refusal {
    Refusal::new(&kind::INVALID, "This cannot be simulated.").field(pointer, "invalid", detail)
}

fn party(principal: Principal) -> Party {
    Party::new(principal.kind.as_str(), &principal.to_string())
}

/// Who owns a key of the tenant.
fn people(caller: &Caller, tenant: TenantId) -> BTreeSet<Party> {
    let keys = caller.directory().keys.iter().map(|(_, key)| key).filter(|key| key.tenant == tenant);
    keys.map(|key| party(key.owner)).collect()
}

async fn current(
    transaction: &Transaction,
    tenant: TenantId,
    mut people: BTreeSet<Party>,
) -> Result<World, Refusal> {
    let definitions = catalog::load(transaction).await.map_err(Refusal::from)?;
    let mut world = World::default();
    for role in with_standard_actions(&definitions.roles, &definitions.resource_types) {
        world.predefined.insert(role.name.clone());
        if tenant != OPERATOR_TENANT && is_for_operator(&role.name) {
            world.reserved.insert(role.name.clone());
        }
        world.roles.insert(role.name.clone(), role);
    }
    let own = load_roles(transaction, Some(tenant)).await?.into_iter().map(|row| row.definition);
    let own = own.filter(|role: &RoleDefinition| !world.predefined.contains(&role.name));
    world.roles.extend(own.map(|role| (role.name.clone(), role)).collect::<Vec<_>>());
    world.types = definitions.resource_types.into_iter().map(|kind| (kind.name.clone(), kind)).collect();
    let rules = Rules::load_for(transaction, tenant).await?;
    let stored = stored::with_everybody(transaction, tenant, &rules).await?;
    for grant in stored.grants {
        if let Holder::Principal(principal) = grant.holder {
            people.insert(party(principal));
        }
        let own = WorldGrant {
            holder: holder(grant.holder),
            effect: grant.effect,
            target: grant.target,
            resource: grant.resource,
            interval: grant.interval,
            condition: grant.condition,
        };
        world.grants.insert(GrantId(grant.id).to_string(), own);
    }
    for membership in stored.memberships {
        let group = GroupId(membership.group).to_string();
        world.memberships.push(WorldMembership {
            group,
            member: holder(membership.member),
            interval: membership.interval,
        });
    }
    let groups = group_queries::list(transaction, (Some(tenant), None), None, i64::from(i32::MAX)).await?;
    world.groups = groups.into_iter().map(|row| row.id.to_string()).collect();
    // The operator's stand under names that no tenant's own has.
    let named = |row: ConstraintRow| match row.tenant {
        Some(_) => (row.definition.name.clone(), row.definition),
        None => (format!("operator/{}", row.definition.name), row.definition),
    };
    let constraints = constraint::load(transaction, tenant).await?;
    world.constraints = constraints.into_iter().map(named).collect();
    world.attributes =
        stored.resources.iter().map(|one| (one.name.clone(), one.attributes.clone())).collect();
    world.resources = stored.resources.into_iter().map(|one| (one.name, one.parent)).collect();
    people.extend(stored.principals.into_iter().map(party));
    world.people = people;
    Ok(world)
}

fn holder(holder: Holder) -> Party {
    match holder {
        Holder::Principal(principal) => party(principal),
        Holder::Group(id) => Party::new("group", &GroupId(id).to_string()),
        Holder::Everyone => Party::new("everyone", ""),
    }
}
