//! Applying a catalogue: all or nothing, in one transaction, with one audit event for each thing that changed.

use rowhouse_domain::access::{Principal, ResourceType};
use rowhouse_domain::id::OPERATOR_TENANT;
use rowhouse_domain::refusal::{Refusal, kind as refusal_kind};
use rowhouse_store::{Change, Notice, StoreError, Transaction};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::plan::{Action, Plan, PlanItem, Prepared, prepare};
use super::{CatalogFile, Finding, Kind, queries, refuse, shipped};

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Applied {
    /// The digest of the plan that was carried out.
    pub digest: String,
    /// Things that are new.
    pub created: usize,
    /// Things of which fields changed.
    pub changed: usize,
    /// Things that were as they should be.
    pub kept: usize,
    /// Orphans that were pruned.
    pub deleted: usize,
}

/// Applies `catalog` within `transaction` and returns what to commit it with. `digest` is that of the plan the caller
/// has seen; `None` means whatever the plan is now.
///
/// # Errors
/// 409 `api.plan_stale` if anything moved since the plan; 422 `api.catalog_invalid` if what would be stored does not
/// compile; 409 `tenancy.tier_in_use` if a tier would be pruned that tenants have.
pub async fn apply(
    transaction: &Transaction,
    catalog: &CatalogFile,
    digest: Option<&str>,
    prune: bool,
    actor: Principal,
) -> Result<(Applied, Vec<Change>), Refusal> {
    queries::lock(transaction).await?;
    let prepared = prepare(transaction, catalog, prune).await?;
    let plan = &prepared.plan;
    if digest.is_some_and(|seen| seen != plan.digest) {
        return Err(Refusal::new(&refusal_kind::PLAN_STALE, "Something moved since this plan was made."));
    }
    refuse_without_own_types(&prepared, prune)?;
    let mut changes = Vec::new();
    for item in &plan.items {
        let wanted = || &prepared.wanted[&(item.kind, item.name.clone())];
        let key = (item.kind, item.name.as_str());
        match item.action {
            Action::Create => queries::insert(transaction, key, wanted(), &catalog.name).await?,
            Action::Change => queries::update(transaction, key, wanted(), &catalog.name).await?,
            Action::Orphan if prune => delete(transaction, item).await?,
            Action::Orphan | Action::Keep => continue,
        }
        changes.push(event(item, actor));
    }
    let applied = count(plan, prune);
    changes.push(whole(&applied, catalog, actor, !changes.is_empty()));
    Ok((applied, changes))
}

fn count(plan: &Plan, prune: bool) -> Applied {
    Applied {
        digest: plan.digest.clone(),
        created: plan.count(Action::Create),
        changed: plan.count(Action::Change),
        kept: plan.count(Action::Keep),
        deleted: if prune { plan.count(Action::Orphan) } else { 0 },
    }
}

async fn delete(transaction: &Transaction, item: &PlanItem) -> Result<(), Refusal> {
    queries::delete(transaction, (item.kind, &item.name)).await.map_err(|error: StoreError| {
        match error.constraint() {
            Some("tenants_tier_fkey") => Refusal::new(
                &refusal_kind::TIER_IN_USE,
                format!("Tenants have the tier `{}`; it cannot be deleted.", item.name),
            ),
            _ => error.into(),
        }
    })
}

/// What the control API itself asks for stays declared, or nobody could undo the mistake.
fn refuse_without_own_types(prepared: &Prepared, prune: bool) -> Result<(), Refusal> {
    let lost = |kind: &&ResourceType| {
        let pruned = |item: &PlanItem| {
            prune
                && item.action == Action::Orphan
                && item.kind == Kind::ResourceType
                && item.name == kind.name
        };
        let wanted = prepared.wanted.get(&(Kind::ResourceType, kind.name.clone()));
        let actions = wanted.and_then(|wanted| wanted["actions"].as_array());
        let has = |action: &String| actions.is_none_or(|list| list.iter().any(|own| own == action.as_str()));
        prepared.plan.items.iter().any(pruned) || !kind.actions.iter().all(has)
    };
    let own = shipped().definitions.resource_types.iter().filter(|kind| kind.service == "rowhouse");
    let findings: Vec<Finding> = own
        .filter(lost)
        .map(|kind| {
            Finding::new(Kind::ResourceType, &kind.name, "actions", "needed")
                .detail(format!("Rowhouse itself needs it, with {}", kind.actions.join(", ")))
        })
        .collect();
    if findings.is_empty() { Ok(()) } else { Err(refuse(&findings)) }
}

fn event(item: &PlanItem, actor: Principal) -> Change {
    let (action, done) = match item.action {
        Action::Create => ("create", "created"),
        Action::Change => ("update", "changed"),
        Action::Orphan | Action::Keep => ("delete", "deleted"),
    };
    let fields: Vec<&str> = item.fields.iter().map(|change| change.field.as_str()).collect();
    Change::new(OPERATOR_TENANT, item.kind.changed_event(), action, actor)
        .on(item.kind.word(), &item.name)
        .details(json!({ "change": done, "fields": fields }))
}

fn whole(applied: &Applied, catalog: &CatalogFile, actor: Principal, moved: bool) -> Change {
    let details = json!({
        "created": applied.created,
        "changed": applied.changed,
        "kept": applied.kept,
        "deleted": applied.deleted,
        "plan": applied.digest,
    });
    let change = Change::new(OPERATOR_TENANT, "api.catalog_applied", "update", actor)
        .on("catalog", &catalog.name)
        .details(details);
    if moved { change.notify(Notice::catalog()) } else { change }
}
