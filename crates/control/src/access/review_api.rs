//! `/v1/access/who_can` and `/v1/access/what_can`: everybody who may do something, and everything that somebody may. Exact, from the
//! grants as they are stored at this moment; never silently cut.
//!
//! Where roles may not be active together, they tell what is active, not what could be had by choosing: in the session that is named, and
//! for everybody else as in a session in which nothing was chosen.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use rowhouse_domain::access::{
    self, AccessTable, Facts, GrantEffect, Model, Permissions, Principal, PrincipalKind, Reason, ResourceKey,
    ResourceName, may, may_on,
};
use rowhouse_domain::id::{GroupId, SessionId};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::queries::bound;
use super::resources_api::ThingBody;
use super::{Rules, stored};
use crate::Shared;
use crate::api::{Answer, Body, Caller, Page, Parameters, PrincipalBody, TenantParameter, cursor};

/// The routes of this part.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(who_can)).routes(routes!(what_can))
}

/// What somebody would do.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhoBody {
    /// `type:action`.
    permission: String,
    /// On which thing; the whole tenant if not said.
    resource: Option<ThingBody>,
    /// A session whose person is asked about as in it; all others as in a session in which nothing was chosen.
    #[schema(value_type = Option<String>)]
    session: Option<SessionId>,
    /// What conditions can ask for.
    #[serde(default)]
    #[schema(value_type = Object)]
    context: Map<String, Value>,
}

/// One who may.
#[derive(Debug, Serialize, ToSchema)]
pub struct WhoAnswer {
    principal: PrincipalBody,
    /// The groups through which the grant comes that allows it, the principal's own first.
    via: Vec<String>,
    /// The earliest instant at which the answer could change by itself.
    until: Option<String>,
    /// Whether a condition has decided it.
    conditional: bool,
}

/// Everybody who may, page by page.
#[derive(Debug, Serialize, ToSchema)]
pub struct WhoAnswers {
    items: Vec<WhoAnswer>,
    next_cursor: Option<String>,
    /// How many there are in all.
    total: usize,
    /// How many more could, if what their conditions ask for were known.
    undecided: usize,
}

fn bit_of(permissions: &Permissions, name: &str) -> Result<access::PermissionId, Refusal> {
    let unknown = || Refusal::new(&kind::UNKNOWN_PERMISSION, format!("There is no permission `{name}`."));
    permissions.id(name).ok_or_else(unknown)
}

fn reason(
    table: &AccessTable,
    (who, session): Asker<'_>,
    (bit, thing): (access::PermissionId, Option<ResourceKey>),
    at: (i64, &Facts<'_>),
) -> Reason {
    let rights = table.rights_in(who, session);
    match thing {
        None => may(rights, bit, at),
        Some(thing) => may_on(table, rights, bit, thing, at),
    }
}

/// Who is asked about, and in which session.
type Asker<'a> = (&'a Principal, Option<SessionId>);

/// Who may do something now: people and service accounts, by id. Their keys may what is in their scope besides.
#[utoipa::path(
    post, path = "/v1/access/who_can", operation_id = "access.who_can", tag = "access",
    params(Page), request_body = WhoBody, responses((status = 200, body = WhoAnswers))
)]
async fn who_can(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
    body: Body<WhoBody>,
) -> Answer<Json<WhoAnswers>> {
    let tenant = caller.one_tenant(page.tenant.as_deref())?;
    let permit = caller.permit("access:explain", Some(tenant))?;
    let size = page.size()?;
    let name = body.value.resource.map(ResourceName::from);
    let (context, session) = (body.value.context, body.value.session);
    let told_of = Value::Object(context.clone());
    let query = format!("who can {tenant} {} {name:?} {session:?} {told_of}", body.value.permission);
    let after: Option<String> = cursor::after(&control, &query, page.cursor.as_deref())?;
    let transaction = control.store.read(&permit).await?;
    let rules = Rules::load_for(&transaction, tenant).await.map_err(Refusal::from)?;
    let stored = stored::with_everybody(&transaction, tenant, &rules).await?;
    transaction.finish().await?;
    let bit = bit_of(&rules.permissions, &body.value.permission)?;
    let model = stored.model(&rules);
    let table = model.compile(stored.version);
    let thing = name.as_ref().map(ResourceName::key);
    let named = name.as_ref().map(|name| (name.kind.as_str(), name.id.as_str()));
    let facts = Facts { thing: named, ..Facts::of_context(&context) };
    let at = (caller.now_us(), &facts);
    let mut undecided = 0;
    let mut may = |who: &Principal| {
        let reason = reason(&table, (who, session), (bit, thing), at);
        undecided += usize::from(reason == Reason::ContextMissing);
        reason == Reason::Granted
    };
    let mut all: Vec<(String, Principal)> =
        table.principals().filter(|who| may(who)).map(|who| (who.to_string(), who)).collect();
    all.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    let total = all.len();
    let from = after.map_or(0, |after| all.partition_point(|(id, _)| *id <= after));
    let until = usize::try_from(size).expect("pages are small") + 1;
    let mut rows: Vec<(String, Principal)> = all.into_iter().skip(from).take(until).collect();
    let next_cursor = cursor::cut(&control, &query, &mut rows, size, |(id, _)| id.clone());
    let items = rows.into_iter().map(|(_, who)| told(&model, (&who, session), (bit, thing), at)).collect();
    Ok(Json(WhoAnswers { items, next_cursor, total, undecided }))
}

fn told(
    model: &Model<'_>,
    (who, session): Asker<'_>,
    (bit, thing): (access::PermissionId, Option<ResourceKey>),
    at: (i64, &Facts<'_>),
) -> WhoAnswer {
    let explained = access::explain_in(model, (*who, session), bit, thing, at);
    let conditional = explained.because.as_ref().is_some_and(|step| step.outcome.is_some());
    let groups = explained.because.map(|step| step.through).unwrap_or_default();
    WhoAnswer {
        principal: (*who).into(),
        via: groups.into_iter().map(|group| GroupId(group).to_string()).collect(),
        until: explained.holds_until_us.and_then(bound).map(|time| time.to_string()),
        conditional,
    }
}

/// Whose rights are asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhatBody {
    /// A user or a service account.
    principal: PrincipalBody,
    /// In which session of theirs; as in one in which nothing was chosen if not said.
    #[schema(value_type = Option<String>)]
    session: Option<SessionId>,
    /// On which thing; the whole tenant if not said.
    resource: Option<ThingBody>,
}

/// Everything somebody may do.
#[derive(Debug, Serialize, ToSchema)]
pub struct WhatAnswer {
    /// On the whole tenant, or on the thing.
    permissions: Vec<String>,
    /// What a grant denies there.
    denied: Vec<String>,
    /// What is allowed there under a condition only, with each such condition.
    conditional: Vec<ConditionalAnswer>,
    /// By resource type: on how many single things of it more of its actions are allowed. Empty if the question is about one.
    resources: BTreeMap<String, usize>,
}

/// A permission under a condition.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
pub struct ConditionalAnswer {
    permission: String,
    condition: String,
}

/// What somebody may do now.
#[utoipa::path(
    post, path = "/v1/access/what_can", operation_id = "access.what_can", tag = "access",
    params(TenantParameter), request_body = WhatBody, responses((status = 200, body = WhatAnswer))
)]
async fn what_can(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<WhatBody>,
) -> Answer<Json<WhatAnswer>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("access:explain", Some(tenant))?;
    let who = body.value.principal.parse("/principal")?;
    if who.kind == PrincipalKind::ApiKey {
        let refusal = Refusal::new(&kind::INVALID, "A key has no rights of its own.");
        return Err(refusal.field("/principal/kind", "unknown", "ask for its owner").into());
    }
    let asker = (&who, body.value.session);
    let thing = body.value.resource.map(|name| ResourceName::from(name).key());
    let transaction = control.store.read(&permit).await?;
    let rules = Rules::load_for(&transaction, tenant).await.map_err(Refusal::from)?;
    let stored = stored::with_everybody(&transaction, tenant, &rules).await?;
    transaction.finish().await?;
    let table = stored.model(&rules).compile(stored.version);
    let now_us = caller.now_us();
    let at = (now_us, &Facts::NONE);
    let of = |wanted: Reason| -> Vec<String> {
        let bits = rules.permissions.bits();
        let fits = bits.filter(|(bit, _)| reason(&table, asker, (*bit, thing), at) == wanted);
        fits.map(|(_, name)| name.to_owned()).collect()
    };
    let mut resources = BTreeMap::new();
    if thing.is_none() && table.has_things(&who) {
        let everywhere = table.effective_in(asker, None, now_us);
        let named = stored.grants.iter().filter_map(|grant| grant.resource.as_ref());
        let held = stored.resources.iter().map(|resource| &resource.name);
        for name in named.chain(held).collect::<BTreeSet<_>>() {
            let mut more = table.effective_in(asker, Some(name.key()), now_us);
            more.subtract(&everywhere);
            let own = |permission: &&str| permission.split(':').next() == Some(name.kind.as_str());
            if rules.permissions.names_of(&more).iter().any(own) {
                *resources.entry(name.kind.clone()).or_default() += 1;
            }
        }
    }
    let (permissions, denied) = (of(Reason::Granted), of(Reason::Denied));
    let conditional = conditional(&stored.model(&rules), asker, thing, now_us);
    Ok(Json(WhatAnswer { permissions, denied, conditional, resources }))
}

/// What is allowed under a condition and not without one; no condition is asked, for nothing of a request is known.
fn conditional(
    model: &Model<'_>,
    (who, session): Asker<'_>,
    thing: Option<ResourceKey>,
    now_us: i64,
) -> Vec<ConditionalAnswer> {
    let mut all = Vec::new();
    for (bit, name) in model.permissions.bits() {
        let explained = access::explain_in(model, (*who, session), bit, thing, now_us);
        if matches!(explained.reason, Reason::Granted | Reason::Denied) {
            continue;
        }
        let asked = explained
            .near
            .iter()
            .filter(|step| step.outcome.is_some() && step.grant.effect == GrantEffect::Allow);
        all.extend(asked.filter_map(|step| {
            let condition = step.grant.condition.as_ref()?.text().to_owned();
            Some(ConditionalAnswer { permission: name.to_owned(), condition })
        }));
    }
    all.sort();
    all.dedup();
    all
}
