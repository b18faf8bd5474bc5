//! An event as the API shows it: the short keys of the leaf spelled out. Rendered from the leaf, not from columns.

use rowhouse_domain::audit::leaf::{Leaf, Party};
use rowhouse_domain::audit::tree::leaf_hash;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::read::{LogState, StoredEvent};

/// An event of a log.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct EventBody {
    /// `event_…`
    pub id: String,
    /// Origin of the log.
    pub log: String,
    /// Place in the log, from 0.
    pub index: u64,
    /// One of the closed list of types; `unreadable` for a leaf that is none any more.
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
    /// For whom, if the actor impersonated somebody.
    #[schema(value_type = Option<Object>)]
    pub on_behalf_of: Option<Value>,
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
    /// `info`, `notice`, `warning`, `critical`.
    #[schema(value_type = String)]
    pub severity: Value,
    /// How long it is kept: `security`, `data_access`, `default`.
    pub retention_class: String,
    /// The leaf is the one in the tree, and a signed checkpoint covers it.
    pub proven: bool,
    /// SHA-256 of the leaf in the tree, in base64.
    pub leaf_hash: String,
    /// The verbatim leaf.
    pub leaf: String,
}

impl EventBody {
    /// Spells out a stored event of the log in `state`. A leaf that somebody made unreadable is shown as it is,
    /// never left out.
    pub fn of(stored: &StoredEvent, state: &LogState) -> Self {
        let own_hash = leaf_hash(stored.leaf.as_bytes());
        let body = EventBody {
            id: stored.id.clone(),
            log: state.origin.clone(),
            index: stored.index,
            event_type: "unreadable".to_owned(),
            proven: stored.index < state.covered && own_hash == stored.leaf_hash,
            leaf_hash: own_hash.to_base64(),
            leaf: stored.leaf.clone(),
            ..EventBody::default()
        };
        match Leaf::read(stored.leaf.as_bytes()) {
            Ok(leaf) => spelled_out(leaf, body),
            Err(_) => body,
        }
    }
}

fn spelled_out(leaf: Leaf, body: EventBody) -> EventBody {
    let Leaf { place, draft } = leaf;
    let first = draft.targets.first();
    EventBody {
        log: place.log,
        event_type: draft.event_type.name().to_owned(),
        result: draft.outcome.name().to_owned(),
        occurred_at: time(draft.occurred_at_us),
        recorded_at: time(place.recorded_at_us),
        actor: party(&draft.actor),
        on_behalf_of: draft.on_behalf_of.as_ref().map(party),
        resource: first.map(|target| target.kind.clone()).unwrap_or_default(),
        resource_id: first.map(|target| target.id.clone()).unwrap_or_default(),
        targets: draft.targets.iter().map(|target| json!({"kind": target.kind, "id": target.id})).collect(),
        context: json!(draft.context),
        details: json!(draft.details),
        severity: json!(draft.event_type.severity()),
        retention_class: draft.retention_class().name().to_owned(),
        id: draft.id,
        code: draft.code,
        event: draft.event,
        action: draft.action,
        ..body
    }
}

fn party(party: &Party) -> Value {
    json!({"kind": party.kind.name(), "id": party.subject})
}

fn time(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).map_or_else(|_| us.to_string(), |time| time.to_string())
}
