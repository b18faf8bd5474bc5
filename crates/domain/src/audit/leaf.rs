//! One event as one leaf: a line of canonical JSON with short keys, because it is kept for years.
//! An [`EventDraft`] is what happened; the sequencer adds where it stands in a log ([`Placement`]). The two
//! together are a [`Leaf`], and rendering a leaf and reading it back are inverse.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    canonical::{self, Object, Reject, Value},
    catalog::{self, EventType, RetentionClass},
    leaf_reader,
};

/// Version of the leaf's format, its `v`.
pub const VERSION: i64 = 1;
/// Most targets of one event.
pub const TARGETS_MAX: usize = 8;
/// Most bytes of `details` in canonical form.
pub const DETAILS_BYTES_MAX: usize = 32 * 1024;

/// Who acts, or for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    pub kind: PartyKind,
    /// Subject token or id; never a name or an address.
    pub subject: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartyKind {
    User,
    ApiKey,
    Service,
    Operator,
    System,
    Anonymous,
}

/// What was acted upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub kind: String,
    pub id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Success,
    Failure,
}

/// Where a request came from, as far as that is not personal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Number of the autonomous system.
    pub network: Option<i64>,
}

/// The request an event belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Context {
    pub request_id: Option<String>,
    pub trace_id: Option<String>,
    pub session_id: Option<String>,
    /// Id of the event that caused this one.
    pub cause: Option<String>,
    /// Method and path template.
    pub endpoint: Option<String>,
    pub directory_version: Option<i64>,
}

/// A larger payload, by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    pub bytes: i64,
    pub media_type: String,
}

/// What happened, before it has a place in a log. Its JSON form is what an outbox keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventDraft {
    /// `event_…`
    pub id: String,
    /// µs since 1970; the emitter's clock, or what a client claims.
    pub occurred_at_us: i64,
    pub event_type: EventType,
    /// `<feature>.<noun_verb_past>`
    pub event: String,
    /// The permission's action: `create`, `read` …
    pub action: String,
    /// Kept longer or shorter than its type says.
    #[serde(default)]
    pub retention: Option<RetentionClass>,
    pub outcome: Outcome,
    /// Code of the refusal.
    #[serde(default)]
    pub code: Option<String>,
    pub actor: Party,
    /// The person impersonated: the actor is the engineer.
    #[serde(default)]
    pub on_behalf_of: Option<Party>,
    /// One to eight; the first is the resource.
    pub targets: Vec<Target>,
    #[serde(default)]
    pub source: Source,
    #[serde(default)]
    pub context: Context,
    /// Declared fields that are not personal.
    #[serde(default)]
    pub details: Object,
    /// Commitments to sealed fields: subject → JSON pointer → commitment.
    #[serde(default)]
    pub personal: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    pub attachments: Vec<Attachment>,
}

impl EventDraft {
    /// A successful event with the type its name is listed under; `None` for a name that is not listed.
    pub fn listed(
        id: String,
        event: &str,
        action: &str,
        occurred_at_us: i64,
        actor: Party,
        target: Target,
    ) -> Option<Self> {
        let listed = catalog::find(event)?;
        Some(EventDraft {
            id,
            occurred_at_us,
            event_type: listed.event_type,
            event: event.to_owned(),
            action: action.to_owned(),
            retention: None,
            outcome: Outcome::Success,
            code: None,
            actor,
            on_behalf_of: None,
            targets: vec![target],
            source: Source::default(),
            context: Context::default(),
            details: Object::new(),
            personal: BTreeMap::new(),
            attachments: Vec::new(),
        })
    }

    /// The class it is kept under.
    pub fn retention_class(&self) -> RetentionClass {
        self.retention.unwrap_or(self.event_type.retention())
    }
}

/// Who wrote an event down: counters are gapless from 1 per (node, boot, log).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emitter {
    /// Node and lane, or `db`.
    pub node: String,
    pub boot: i64,
    pub counter: i64,
}

/// Where an event stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Origin of the log: `<name>/t/<tenant id>`.
    pub log: String,
    pub emitter: Emitter,
    /// µs since 1970; strictly increasing in a log.
    pub recorded_at_us: i64,
}

/// An event in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub place: Placement,
    pub draft: EventDraft,
}

/// Why a draft cannot become a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    #[error("the event's name is not of the form feature.noun_verb")]
    EventName,
    #[error("an event has one to eight targets")]
    Targets,
    #[error("the event's details are over 32 KiB")]
    DetailsTooLarge,
    #[error(transparent)]
    Rejected(#[from] Reject),
}

/// The time a log gives its next leaf: now, but always after the one before.
pub fn next_recorded_at(previous_us: i64, now_us: i64) -> i64 {
    now_us.max(previous_us.saturating_add(1))
}

impl Leaf {
    /// The leaf's exact bytes, at most 65,535.
    pub fn render(&self) -> Result<String, LeafError> {
        let draft = &self.draft;
        if !catalog::is_event_name(&draft.event) {
            return Err(LeafError::EventName);
        }
        if draft.targets.is_empty() || draft.targets.len() > TARGETS_MAX {
            return Err(LeafError::Targets);
        }
        if canonical::encode(&Value::Object(draft.details.clone()))?.len() > DETAILS_BYTES_MAX {
            return Err(LeafError::DetailsTooLarge);
        }
        Ok(canonical::encode(&Value::Object(self.object()))?)
    }

    /// Reads a leaf's bytes; what is not canonical, or not a leaf, is rejected.
    pub fn read(bytes: &[u8]) -> Result<Self, Reject> {
        match canonical::decode(bytes)? {
            Value::Object(object) => leaf_reader::leaf(&object).ok_or(Reject::NonCanonical),
            _ => Err(Reject::NonCanonical),
        }
    }

    fn object(&self) -> Object {
        let (draft, place) = (&self.draft, &self.place);
        let mut leaf = Object::new();
        leaf.set("v", VERSION);
        leaf.set("log", place.log.as_str());
        leaf.set("id", draft.id.as_str());
        leaf.set("em", emitter(&place.emitter));
        leaf.set("ts", draft.occurred_at_us);
        leaf.set("rx", place.recorded_at_us);
        leaf.set("ty", draft.event_type.name());
        leaf.set("ev", draft.event.as_str());
        leaf.set("ac", draft.action.as_str());
        let class = draft.retention_class();
        leaf.set_some("rc", (class != RetentionClass::Default).then(|| class.name()));
        leaf.set("cls", draft.event_type.class());
        leaf.set("act", draft.event_type.activity(&draft.action));
        leaf.set("out", draft.outcome.name());
        leaf.set_some("code", draft.code.as_deref());
        leaf.set("actor", party(&draft.actor));
        leaf.set_some("obo", draft.on_behalf_of.as_ref().map(party));
        leaf.set("tgt", list(&draft.targets, target));
        leaf.set_some("src", present(source(&draft.source)));
        leaf.set_some("req", present(context(&draft.context)));
        leaf.set_some("d", present(draft.details.clone()));
        leaf.set_some("pii", present(personal(&draft.personal)));
        leaf.set_some("blob", (!draft.attachments.is_empty()).then(|| list(&draft.attachments, attachment)));
        leaf
    }
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Failure => "failure",
        }
    }
}

impl PartyKind {
    const ALL: [PartyKind; 6] =
        [Self::User, Self::ApiKey, Self::Service, Self::Operator, Self::System, Self::Anonymous];

    pub fn name(self) -> &'static str {
        match self {
            PartyKind::User => "user",
            PartyKind::ApiKey => "api_key",
            PartyKind::Service => "service",
            PartyKind::Operator => "operator",
            PartyKind::System => "system",
            PartyKind::Anonymous => "anonymous",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

fn present(object: Object) -> Option<Object> {
    (!object.is_empty()).then_some(object)
}

fn list<T>(items: &[T], render: fn(&T) -> Object) -> Value {
    Value::List(items.iter().map(|item| Value::Object(render(item))).collect())
}

fn emitter(emitter: &Emitter) -> Object {
    let mut object = Object::new();
    object.set("n", emitter.node.as_str());
    object.set("b", emitter.boot);
    object.set("c", emitter.counter);
    object
}

fn party(party: &Party) -> Object {
    [("k", party.kind.name()), ("s", party.subject.as_str())].into_iter().collect()
}

fn target(target: &Target) -> Object {
    [("k", target.kind.as_str()), ("id", target.id.as_str())].into_iter().collect()
}

fn source(source: &Source) -> Object {
    let mut object = Object::new();
    object.set_some("cc", source.country.as_deref());
    object.set_some("as", source.network);
    object
}

fn context(context: &Context) -> Object {
    let mut object = Object::new();
    object.set_some("rid", context.request_id.as_deref());
    object.set_some("tr", context.trace_id.as_deref());
    object.set_some("ses", context.session_id.as_deref());
    object.set_some("cause", context.cause.as_deref());
    object.set_some("ep", context.endpoint.as_deref());
    object.set_some("dv", context.directory_version);
    object
}

fn personal(personal: &BTreeMap<String, BTreeMap<String, String>>) -> Object {
    let fields = |fields: &BTreeMap<String, String>| {
        fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Object>()
    };
    personal.iter().map(|(subject, commitments)| (subject.as_str(), fields(commitments))).collect()
}

fn attachment(attachment: &Attachment) -> Object {
    let mut object = Object::new();
    object.set("h", attachment.sha256.as_str());
    object.set("n", attachment.bytes);
    object.set("mt", attachment.media_type.as_str());
    object
}
