//! The plan: what applying a catalogue would do, thing by thing and field by field, under a digest that holds only
//! while nothing moves.

use std::collections::BTreeMap;

use rowhouse_domain::refusal::Refusal;
use rowhouse_store::Transaction;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::queries::{self, Row};
use super::{CatalogFile, Definitions, Finding, Items, Kind, LoadError, compile, refuse};

/// What would happen to one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PlannedAction)]
pub enum Action {
    /// It is new.
    Create,
    /// Some of its fields change.
    Change,
    /// It stays as it is.
    Keep,
    /// This catalogue declared it once and does not any more; only pruning deletes it.
    Orphan,
}

/// One field, before and after.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FieldChange {
    /// The field; `quotas.stamps_created` for one within another.
    pub field: String,
    /// What it is; `null` if it is not there.
    #[schema(value_type = Object)]
    pub old: Value,
    /// What it would be.
    #[schema(value_type = Object)]
    pub new: Value,
}

/// One thing of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PlanItem {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What would happen.
    pub action: Action,
    /// The catalogue that declared it last, if it is stored.
    pub owner: Option<String>,
    /// The fields that change.
    pub fields: Vec<FieldChange>,
}

/// What applying a catalogue would do.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Plan {
    /// `sha256:…`; to be sent with the catalogue to apply it. Another one if anything stored or sent differs.
    pub digest: String,
    /// Every thing of this catalogue, kinds in the order of their references, then by name.
    pub items: Vec<PlanItem>,
}

impl Plan {
    /// How many things this happens to.
    pub fn count(&self, action: Action) -> usize {
        self.items.iter().filter(|item| item.action == action).count()
    }
}

/// What is stored, what is wanted, and what lies between.
pub(super) struct Prepared {
    pub plan: Plan,
    pub wanted: Items,
}

/// Compares `catalog` with what is stored. Nothing is changed.
///
/// # Errors
/// 422 `api.catalog_invalid` if what would then be stored does not compile.
pub async fn plan(transaction: &Transaction, catalog: &CatalogFile) -> Result<Plan, Refusal> {
    Ok(prepare(transaction, catalog, false).await?.plan)
}

pub(super) async fn prepare(
    transaction: &Transaction,
    catalog: &CatalogFile,
    prune: bool,
) -> Result<Prepared, Refusal> {
    let mut rows = Vec::new();
    for kind in Kind::ALL {
        rows.extend(queries::list(transaction, kind, None).await?);
    }
    let wanted = catalog.definitions.items().map_err(|twice| refuse(&repeated(&twice)))?;
    let stored = normal(&rows)?;
    let items = compare(&catalog.name, &rows, &stored, &wanted);
    let after = after(&stored, &wanted, &items, prune);
    let definitions = Definitions::of_items(&after).map_err(LoadError::from)?;
    compile(&definitions).map_err(|findings| refuse(&findings))?;
    let digest = digest(&catalog.name, &rows, &wanted);
    Ok(Prepared { plan: Plan { digest, items }, wanted })
}

fn repeated(twice: &[(Kind, String)]) -> Vec<Finding> {
    let words = "each name stands once within its kind";
    twice.iter().map(|(kind, name)| Finding::new(*kind, name, "name", "twice").detail(words)).collect()
}

/// Stored rows in today's normal form: fields that were added since they were written have their defaults.
fn normal(rows: &[Row]) -> Result<Items, LoadError> {
    let items = rows.iter().map(|row| ((row.kind, row.name.clone()), row.definition.clone())).collect();
    let definitions = Definitions::of_items(&items)?;
    Ok(definitions.items().expect("names are primary keys"))
}

fn compare(catalog: &str, rows: &[Row], stored: &Items, wanted: &Items) -> Vec<PlanItem> {
    let owners: BTreeMap<(Kind, &str), Option<&str>> =
        rows.iter().map(|row| ((row.kind, row.name.as_str()), row.owner.as_deref())).collect();
    let owner = |kind: Kind, name: &str| owners.get(&(kind, name)).copied().flatten().map(str::to_owned);
    let mut items: Vec<PlanItem> = wanted
        .iter()
        .map(|((kind, name), new)| {
            let (action, fields) = match stored.get(&(*kind, name.clone())) {
                None => (Action::Create, Vec::new()),
                Some(old) if old == new => (Action::Keep, Vec::new()),
                Some(old) => (Action::Change, differences(old, new)),
            };
            PlanItem { kind: *kind, name: name.clone(), action, owner: owner(*kind, name), fields }
        })
        .collect();
    let orphans = rows.iter().filter(|row| {
        row.owner.as_deref() == Some(catalog) && !wanted.contains_key(&(row.kind, row.name.clone()))
    });
    items.extend(orphans.map(|row| PlanItem {
        kind: row.kind,
        name: row.name.clone(),
        action: Action::Orphan,
        owner: row.owner.clone(),
        fields: Vec::new(),
    }));
    items.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    items
}

/// What would be stored afterwards.
fn after(stored: &Items, wanted: &Items, items: &[PlanItem], prune: bool) -> Items {
    let mut after = stored.clone();
    for item in items.iter().filter(|item| prune && item.action == Action::Orphan) {
        after.remove(&(item.kind, item.name.clone()));
    }
    after.extend(wanted.iter().map(|(key, value)| (key.clone(), value.clone())));
    after
}

fn differences(old: &Value, new: &Value) -> Vec<FieldChange> {
    let mut out = Vec::new();
    collect("", old, new, &mut out);
    out
}

fn collect(field: &str, old: &Value, new: &Value, out: &mut Vec<FieldChange>) {
    if old == new {
        return;
    }
    let (Value::Object(before), Value::Object(now)) = (old, new) else {
        out.push(FieldChange { field: field.to_owned(), old: old.clone(), new: new.clone() });
        return;
    };
    let mut names: Vec<&String> = before.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let inner = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
        let side = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or(Value::Null);
        collect(&inner, &side(before), &side(now), out);
    }
}

/// Over everything stored and everything sent, each part with its length in front.
fn digest(catalog: &str, rows: &[Row], wanted: &Items) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    let json = |value: &Value| serde_json::to_vec(&sorted(value)).expect("a JSON value is JSON");
    part(catalog.as_bytes());
    for row in rows {
        part(row.kind.word().as_bytes());
        part(row.name.as_bytes());
        part(&row.version.to_be_bytes());
        part(row.owner.as_deref().unwrap_or("").as_bytes());
        part(&json(&row.definition));
    }
    part(b"wanted");
    for ((kind, name), value) in wanted {
        part(kind.word().as_bytes());
        part(name.as_bytes());
        part(&json(value));
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The same value with the fields of each object in the order of their names.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(fields) => {
            let ordered: BTreeMap<&String, Value> = fields.iter().map(|(k, v)| (k, sorted(v))).collect();
            ordered.into_iter().map(|(name, value)| (name.clone(), value)).collect()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_name_the_innermost_field() {
        let old = json!({"name": "basic", "quotas": {"users": "50", "gone": "1"}, "rank": 1, "list": [1]});
        let new =
            json!({"name": "basic", "quotas": {"users": "60", "added": "2"}, "rank": 1, "list": [1, 2]});
        let told: Vec<String> = differences(&old, &new)
            .iter()
            .map(|change| format!("{} {} -> {}", change.field, change.old, change.new))
            .collect();
        assert_eq!(
            told,
            [
                "list [1] -> [1,2]",
                "quotas.added null -> \"2\"",
                "quotas.gone \"1\" -> null",
                "quotas.users \"50\" -> \"60\""
            ]
        );
    }
}
