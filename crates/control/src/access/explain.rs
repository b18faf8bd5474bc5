//! Why a decision comes out as it does: the same `decide` as the gateway's, on the same directory, with the grants
//! that prove it.

use rowhouse_domain::access::{
    GrantDefinition, GrantEffect, GrantTarget, Permit, Principal, PrincipalKind, Reason, decide, decide_key,
};
use rowhouse_domain::directory::{Directory, Key, Tenant};
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::Store;
use serde::Serialize;
use utoipa::ToSchema;

use super::Rules;
use super::queries::{self, Filter, GrantRow};

/// A question about one principal of one tenant.
#[derive(Debug, Clone)]
pub(super) struct Question<'a> {
    pub tenant: &'a Tenant,
    pub principal: Principal,
    pub permission: &'a str,
    pub at_us: i64,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Explanation {
    /// `allow` or `deny`.
    decision: &'static str,
    /// `granted`, `denied`, `expired`, `pending`, `no_grant`, `key_scope`, `owner_lacks`, `unknown_permission` or
    /// `principal_unknown`.
    reason: &'static str,
    /// The tenant's access version that decided: `acme:12`.
    version: String,
    /// The instant of the question.
    at: String,
    /// The grant that proves an allow or a `denied`; empty otherwise.
    because: Vec<Proof>,
    /// Grants that would have done it at another time; at most 20.
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
    /// From when it holds, if not from the start.
    valid_from: Option<String>,
    /// Until when it holds, if not for ever.
    valid_until: Option<String>,
}

/// Answers `question` from `directory`, with proofs from the stored grants.
pub(super) async fn explain(
    store: &Store,
    permit: &Permit,
    directory: &Directory,
    question: Question<'_>,
) -> Result<Explanation, Refusal> {
    let key = match question.principal.kind {
        PrincipalKind::ApiKey => find_key(directory, &question),
        _ => None,
    };
    let reason = decision(directory, key, &question);
    // A key acts with its owner's grants.
    let holder = key.map_or(question.principal, |key| key.owner);
    let transaction = store.read(permit).await?;
    let rules = Rules::load_for(&transaction, question.tenant.id).await?;
    let filter =
        Filter { tenant: Some(question.tenant.id.0), principal: Some(holder.id), ..Filter::default() };
    let mut grants = queries::list(&transaction, filter, 1_000).await?;
    transaction.finish().await?;
    grants.retain(|grant| {
        grant.definition.principal == holder && rules.contains(&grant.definition, question.permission)
    });
    Ok(Explanation {
        decision: if reason == Ok(Reason::Granted) { "allow" } else { "deny" },
        reason: reason.map_or_else(|word| word, Reason::as_str),
        version: format!("{}:{}", question.tenant.code, question.tenant.access.version),
        at: time(question.at_us),
        because: because(&grants, reason, question.at_us),
        near: near(&grants, reason, question.at_us),
    })
}

fn find_key<'d>(directory: &'d Directory, question: &Question<'_>) -> Option<&'d Key> {
    let mut keys = directory.keys.iter().map(|(_, key)| &**key);
    keys.find(|key| key.id.0 == question.principal.id && key.tenant == question.tenant.id)
}

fn decision(
    directory: &Directory,
    key: Option<&Key>,
    question: &Question<'_>,
) -> Result<Reason, &'static str> {
    let table = &question.tenant.access;
    let (tenant, at_us) = (Some(question.tenant.id), question.at_us);
    let bit = directory.permissions.id(question.permission).ok_or("unknown_permission")?;
    let decided = match (question.principal.kind, key) {
        (PrincipalKind::ApiKey, None) => return Err("principal_unknown"),
        (_, Some(key)) => decide_key(table, tenant, question.principal, &key.permits, key.owner, bit, at_us),
        (_, None) => decide(table, tenant, question.principal, bit, at_us),
    };
    Ok(decided.map_or_else(|reason| reason, |_| Reason::Granted))
}

fn active(grant: &GrantDefinition, at_us: i64) -> bool {
    grant.valid_from_us.is_none_or(|from| from <= at_us)
        && grant.valid_until_us.is_none_or(|until| at_us < until)
}

fn because(grants: &[GrantRow], reason: Result<Reason, &str>, at_us: i64) -> Vec<Proof> {
    let effect = match reason {
        Ok(Reason::Granted) => GrantEffect::Allow,
        Ok(Reason::Denied) => GrantEffect::Deny,
        _ => return Vec::new(),
    };
    let proves = |grant: &&GrantRow| grant.definition.effect == effect && active(&grant.definition, at_us);
    grants.iter().find(proves).map(proof).into_iter().collect()
}

fn near(grants: &[GrantRow], reason: Result<Reason, &str>, at_us: i64) -> Vec<Proof> {
    if !matches!(reason, Ok(Reason::Expired | Reason::Pending)) {
        return Vec::new();
    }
    let would = |grant: &&GrantRow| {
        grant.definition.effect == GrantEffect::Allow && !active(&grant.definition, at_us)
    };
    grants.iter().filter(would).take(20).map(proof).collect()
}

fn proof(grant: &GrantRow) -> Proof {
    let definition = &grant.definition;
    let (role, permission) = match &definition.target {
        GrantTarget::Role(role) => (Some(role.clone()), None),
        GrantTarget::Permission(permission) => (None, Some(permission.clone())),
    };
    Proof {
        grant: grant.id.to_string(),
        effect: if definition.effect == GrantEffect::Allow { "allow" } else { "deny" },
        role,
        permission,
        valid_from: definition.valid_from_us.map(time),
        valid_until: definition.valid_until_us.map(time),
    }
}

fn time(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).map_or_else(|_| us.to_string(), |time| time.to_string())
}
