//! What the two sources say, as drafts of leaves.

use rowhouse_domain::audit::canonical::Object;
use rowhouse_domain::audit::leaf::{Context, EventDraft, Outcome, Party, PartyKind, Target};
use rowhouse_domain::id::{EventId, KeyId, RequestId, ServiceAccountId, UserId};
use rowhouse_journal::{AuditMark, PrincipalKind, RequestRecord};
use rowhouse_store::Change;
use serde_json::json;

/// A draft of `change`, or of the fact that it cannot be rendered: an event is never left out.
pub fn of_change(id: EventId, occurred_at_us: i64, change: &Change) -> EventDraft {
    try_change(id, occurred_at_us, change)
        .unwrap_or_else(|| rendering_failed(id, occurred_at_us, &change.event))
}

fn try_change(id: EventId, occurred_at_us: i64, change: &Change) -> Option<EventDraft> {
    let actor = Party { kind: party_kind(&change.actor_kind), subject: change.actor.clone() };
    let targets: Vec<Target> =
        change.targets.iter().map(|(kind, id)| Target { kind: kind.clone(), id: id.clone() }).collect();
    let first = targets.first()?.clone();
    let mut draft =
        EventDraft::listed(id.to_string(), &change.event, &change.action, occurred_at_us, actor, first)?;
    draft.targets = targets;
    draft.outcome = if change.result == "success" { Outcome::Success } else { Outcome::Failure };
    draft.code = change.code.clone();
    draft.details = details(&change.details)?;
    draft.context.request_id = change.request_id.clone();
    Some(draft)
}

/// A draft of a request's record that carries an audit mark.
pub fn of_record(id: EventId, record: &RequestRecord<'_>, mark: &AuditMark<'_>) -> EventDraft {
    let at = record.started_at_us;
    try_record(id, record, mark).unwrap_or_else(|| rendering_failed(id, at, "request"))
}

fn try_record(id: EventId, record: &RequestRecord<'_>, mark: &AuditMark<'_>) -> Option<EventDraft> {
    let (event, action) = name_of(record);
    let target = match mark.target_kind {
        "" => Target { kind: "endpoint".to_owned(), id: endpoint(record) },
        kind => Target { kind: kind.to_owned(), id: mark.target_id.to_owned() },
    };
    let mut draft =
        EventDraft::listed(id.to_string(), event, action, record.started_at_us, actor(record), target)?;
    draft.outcome = if record.status < 400 { Outcome::Success } else { Outcome::Failure };
    draft.code = (!record.refusal.is_empty()).then(|| record.refusal.to_owned());
    draft.context = Context {
        request_id: Some(RequestId::from_u128(record.request_id).to_string()),
        endpoint: Some(endpoint(record)),
        directory_version: i64::try_from(record.directory_version).ok(),
        ..Context::default()
    };
    draft.details = details(&json!({"status": record.status, "permission": record.permission}))?;
    Some(draft)
}

fn endpoint(record: &RequestRecord<'_>) -> String {
    match record.endpoint {
        "" => record.method.to_owned(),
        endpoint => endpoint.to_owned(),
    }
}

/// The event's name and action: what was refused, or what the method did.
fn name_of<'a>(record: &RequestRecord<'a>) -> (&'static str, &'a str) {
    let action = record.permission.rsplit_once(':').map_or("read", |(_, action)| action);
    match (record.refusal, record.method) {
        ("keys.invalid", _) => ("access.tenant_crossing_refused", action),
        ("", "POST") => ("api.request_created", "create"),
        ("", "PUT" | "PATCH") => ("api.request_updated", "update"),
        ("", "DELETE") => ("api.request_deleted", "delete"),
        ("", _) => ("api.request_read", "read"),
        _ => ("access.permission_denied", action),
    }
}

fn actor(record: &RequestRecord<'_>) -> Party {
    let id = record.principal.unwrap_or_default();
    let (kind, subject) = match record.principal_kind {
        PrincipalKind::User => (PartyKind::User, UserId::from_u128(id).to_string()),
        PrincipalKind::ApiKey => (PartyKind::ApiKey, KeyId::from_u128(id).to_string()),
        PrincipalKind::ServiceAccount => (PartyKind::Service, ServiceAccountId::from_u128(id).to_string()),
        PrincipalKind::Operator => (PartyKind::Operator, UserId::from_u128(id).to_string()),
        PrincipalKind::System => (PartyKind::System, "system".to_owned()),
        PrincipalKind::Anonymous => (PartyKind::Anonymous, "anonymous".to_owned()),
    };
    Party { kind, subject }
}

fn party_kind(word: &str) -> PartyKind {
    match word {
        "service_account" => PartyKind::Service,
        word => PartyKind::parse(word).unwrap_or(PartyKind::Anonymous),
    }
}

/// Details as a leaf holds them; `None` if a number is no integer or it is not an object.
fn details(value: &serde_json::Value) -> Option<Object> {
    serde_json::from_value(value.clone()).ok()
}

/// Stands in the place of an event that cannot be rendered, so that nothing is missing without a word.
pub fn rendering_failed(id: EventId, occurred_at_us: i64, event: &str) -> EventDraft {
    let system = Party { kind: PartyKind::System, subject: "system".to_owned() };
    let target = Target { kind: "event".to_owned(), id: event.chars().take(64).collect() };
    EventDraft::listed(id.to_string(), "audit.rendering_failed", "create", occurred_at_us, system, target)
        .expect("the name is listed")
}
