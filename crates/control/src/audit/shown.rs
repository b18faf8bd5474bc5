//! An event as the API shows it: the short keys of the leaf spelled out. Rendered from the leaf, not from columns.

use rowhouse_domain::audit::leaf::{Leaf, Outcome};
use rowhouse_domain::audit::tree::leaf_hash;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::read::StoredEvent;

/// An event of a log.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventBody {
    /// `event_…`
    pub id: String,
    /// Origin of the log.
    pub log: String,
    /// Place in the log, from 0.
    pub index: u64,
    /// One of the closed list of types.
    #[serde(rename = "type")]
    pub event_type: String,
    /// `<feature>.<noun_verb_past>`
    pub event: String,
    /// The permission's action.
    pub action: String,
    /// `success` or `failure`.
    pub result: String,
    /// Code of the refusal.
    pub code: Option<String>,
    /// The emitter's clock.
    pub occurred_at: String,
    /// The log's clock; strictly increasing in a log.
    pub recorded_at: String,
    /// Who acted: `kind` and `id`.
    #[schema(value_type = Object)]
    pub actor: Value,
    /// Kind of the first target.
    pub resource: String,
    /// Its id.
    pub resource_id: String,
    /// All targets: `kind` and `id`.
    #[schema(value_type = Vec<Object>)]
    pub targets: Vec<Value>,
    /// The request it belongs to.
    #[schema(value_type = Object)]
    pub context: Value,
    /// Declared fields.
    #[schema(value_type = Object)]
    pub details: Value,
    /// How long it is kept.
    pub retention_class: String,
    /// Whether a signed checkpoint covers it.
    pub proven: bool,
    /// SHA-256 of the leaf in the tree, in base64.
    pub leaf_hash: String,
    /// The verbatim leaf.
    pub leaf: String,
}

impl EventBody {
    /// Spells out a stored event; `covered` is the size of the log's newest checkpoint. `None` for a leaf that is
    /// none any more.
    pub fn of(stored: &StoredEvent, covered: u64) -> Option<Self> {
        let leaf = Leaf::read(stored.leaf.as_bytes()).ok()?;
        let draft = leaf.draft;
        let retention_class = draft.retention_class().name().to_owned();
        let first = draft.targets.first()?;
        let outcome = if draft.outcome == Outcome::Success { "success" } else { "failure" };
        Some(EventBody {
            index: stored.index,
            log: leaf.place.log,
            event_type: draft.event_type.name().to_owned(),
            result: outcome.to_owned(),
            code: draft.code,
            occurred_at: time(draft.occurred_at_us),
            recorded_at: time(leaf.place.recorded_at_us),
            actor: json!({"kind": draft.actor.kind.name(), "id": draft.actor.subject}),
            resource: first.kind.clone(),
            resource_id: first.id.clone(),
            targets: draft.targets.iter().map(|t| json!({"kind": t.kind, "id": t.id})).collect(),
            context: serde_json::to_value(&draft.context).unwrap_or_default(),
            details: serde_json::to_value(&draft.details).unwrap_or_default(),
            retention_class,
            proven: stored.index < covered,
            leaf_hash: leaf_hash(stored.leaf.as_bytes()).to_base64(),
            leaf: stored.leaf.clone(),
            id: draft.id,
            event: draft.event,
            action: draft.action,
        })
    }
}

fn time(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).map_or_else(|_| us.to_string(), |time| time.to_string())
}
