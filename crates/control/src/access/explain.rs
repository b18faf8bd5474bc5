//! Why a decision comes out as it does: by which grant, through which groups and roles, until when. From the grants as they are
//! stored at this moment, by the same rules as the gateway's.

use rowhouse_domain::access::{
    self, Explained, Facts, GrantTarget, Outcome, Principal, PrincipalKind, Reason, ResourceName, Step, may,
    may_on,
};
use rowhouse_domain::directory::{Directory, Key};
use rowhouse_domain::id::{GrantId, GroupId, SessionId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::queries::bound;
use super::resources_api::ThingBody;
use super::{Rules, stored};

/// A question about one principal of one tenant.
#[derive(Debug, Clone)]
pub(super) struct Question<'a> {
    pub principal: Principal,
    pub session: Option<SessionId>,
    pub permission: &'a str,
    pub thing: Option<ResourceName>,
    pub context: &'a Map<String, Value>,
    pub at_us: i64,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = AccessExplanation)]
pub struct Explanation {
    /// `allow` or `deny`.
    decision: &'static str,
    /// `granted`, `denied`, `context_missing`, `condition_false`, `inactive_role`, `expired`, `pending`, `no_grant`, `key_scope`, `owner_lacks`,
    /// `unknown_permission` or `principal_unknown`.
    reason: &'static str,
    /// The tenant's access version that decided: `acme:12`.
    version: String,
    /// The instant of the question.
    at: String,
    /// The earliest instant at which the answer could change by itself.
    holds_until: Option<String>,
    /// The grant that proves an allow or a `denied`; empty otherwise.
    because: Vec<Proof>,
    /// Grants that would have done it at another time, if their condition held or if their role were active; at most 20.
    near: Vec<Proof>,
}

/// A grant on the way to a decision.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Proof {
    /// The grant.
    grant: String,
    /// `allow` or `deny`.
    effect: &'static str,
    /// Its role, if it gives one.
    role: Option<String>,
    /// The permission or pattern that it names, if it gives no role.
    permission: Option<String>,
    /// On what, if not on the whole tenant.
    resource: Option<ThingBody>,
    /// The groups through which it comes, the principal's own first.
    via: Vec<String>,
    /// From when all of it holds, if not from the start.
    valid_from: Option<String>,
    /// Until when it holds, if not for ever.
    valid_until: Option<String>,
    /// Under which condition.
    condition: Option<String>,
    /// What became of the condition: `true`, `false`, `missing` or `error`; none if it was not asked.
    condition_result: Option<&'static str>,
    /// What the condition asks for and is not known, or why it cannot be evaluated.
    condition_detail: Option<String>,
    /// Whether its role is not active in the session.
    inactive: bool,
}

/// Answers `question` about a principal of `tenant`.
pub(super) async fn explain(
    transaction: &Transaction,
    directory: &Directory,
    (tenant, question): (TenantId, Question<'_>),
) -> Result<Explanation, Refusal> {
    let no_tenant = || Refusal::new(&kind::NOT_FOUND, "There is no such tenant.");
    let code = directory.tenants.get(&tenant).map(|tenant| &tenant.code).ok_or_else(no_tenant)?;
    let rules = Rules::load_for(transaction, tenant).await?;
    let stored = stored::with_everybody(transaction, tenant, &rules).await?;
    let told = |reason, explained: Option<&Explained<'_>>| {
        let holds_until = explained.and_then(|explained| explained.holds_until_us).and_then(bound);
        let timely =
            matches!(reason, "expired" | "pending" | "context_missing" | "condition_false" | "inactive_role");
        Explanation {
            decision: if reason == "granted" { "allow" } else { "deny" },
            reason,
            version: format!("{code}:{}", stored.version),
            at: time(question.at_us),
            holds_until: holds_until.map(|time| time.to_string()),
            because: explained
                .and_then(|explained| explained.because.as_ref())
                .map(proof)
                .into_iter()
                .collect(),
            near: explained
                .filter(|_| timely)
                .map(|one| one.near.iter().map(proof).collect())
                .unwrap_or_default(),
        }
    };
    let Some(bit) = rules.permissions.id(question.permission) else {
        return Ok(told("unknown_permission", None));
    };
    let is_key = question.principal.kind == PrincipalKind::ApiKey;
    let key = if is_key { find_key(directory, tenant, &question) } else { None };
    if is_key && key.is_none() {
        return Ok(told("principal_unknown", None));
    }
    // A key acts with its owner's grants.
    let holder = key.map_or(question.principal, |key| key.owner);
    let thing = question.thing.as_ref().map(ResourceName::key);
    let model = stored.model(&rules);
    let table = model.compile(stored.version);
    // A key acts for its owner in no session.
    let session = question.session.filter(|_| !is_key);
    let rights = table.rights_in(&holder, session);
    let named = question.thing.as_ref().map(|name| (name.kind.as_str(), name.id.as_str()));
    let facts = Facts { thing: named, ..Facts::of_context(question.context) };
    let at = (question.at_us, &facts);
    let owned = match thing {
        None => may(rights, bit, at),
        Some(thing) => may_on(&table, rights, bit, thing, at),
    };
    // The key's own scope was compiled with the directory's permissions.
    let scope = key.map(|key| {
        directory.permissions.id(question.permission).is_some_and(|bit| key.permits.contains(bit))
    });
    let reason = access::of_key(scope, owned);
    let explained = access::explain_in(&model, (holder, session), bit, thing, at);
    let proven = Explained {
        because: explained.because.filter(|_| matches!(reason, Reason::Granted | Reason::Denied)),
        ..explained
    };
    Ok(told(reason.as_str(), Some(&proven)))
}

fn find_key<'d>(directory: &'d Directory, tenant: TenantId, question: &Question<'_>) -> Option<&'d Key> {
    let mut keys = directory.keys.iter().map(|(_, key)| &**key);
    keys.find(|key| key.id.0 == question.principal.id && key.tenant == tenant)
}

fn proof(step: &Step<'_>) -> Proof {
    let (role, permission) = match &step.grant.target {
        GrantTarget::Role(role) => (Some(role.clone()), None),
        GrantTarget::Permission(permission) => (None, Some(permission.clone())),
    };
    Proof {
        grant: GrantId(step.grant.id).to_string(),
        effect: step.grant.effect.as_str(),
        role,
        permission,
        resource: step.grant.resource.as_ref().map(ThingBody::from),
        via: step.through.iter().map(|group| GroupId(*group).to_string()).collect(),
        valid_from: bound(step.interval.from_us).map(|time| time.to_string()),
        valid_until: bound(step.interval.until_us).map(|time| time.to_string()),
        condition: step.grant.condition.as_ref().map(|own| own.text().to_owned()),
        condition_result: step.outcome.as_ref().map(word),
        condition_detail: step.outcome.as_ref().and_then(detail),
        inactive: step.is_inactive,
    }
}

/// The word for what became of a condition.
pub(super) fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::True => "true",
        Outcome::False => "false",
        Outcome::Missing(_) => "missing",
        Outcome::Error(_) => "error",
    }
}

fn detail(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::True | Outcome::False => None,
        Outcome::Missing(what) | Outcome::Error(what) => Some(what.clone()),
    }
}

fn time(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).map_or_else(|_| us.to_string(), |time| time.to_string())
}
