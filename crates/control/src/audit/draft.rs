//! What the two sources say, as drafts of leaves.

use rowhouse_domain::audit::canonical::{INTEGER_MAX, Object};
use rowhouse_domain::audit::leaf::{Context, EventDraft, Outcome, Party, PartyKind, Target};
use rowhouse_domain::id::{ApplicationId, EventId, KeyId, RequestId, ServiceAccountId, TenantId, UserId};
use rowhouse_journal::{AuditMark, Outcome as Ended, PrincipalKind, RequestRecord};
use rowhouse_store::Change;
use serde_json::{Number, Value, json};
use sha2::{Digest, Sha256};

use super::late::Stretch;

/// A draft of `change`, or of the fact that it cannot be rendered: an event is never left out.
pub fn of_change(id: EventId, occurred_at_us: i64, change: &Change) -> EventDraft {
    try_change(id, occurred_at_us, change).unwrap_or_else(|| {
        let source = serde_json::to_vec(change).unwrap_or_default();
        rendering_failed(id.to_string(), occurred_at_us, &change.event, &source)
    })
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
pub fn of_record(id: EventId, record: &RequestRecord<'_>, mark: &AuditMark<'_>, frame: &[u8]) -> EventDraft {
    let at = record.started_at_us;
    try_record(id, record, mark).unwrap_or_else(|| rendering_failed(id.to_string(), at, "request", frame))
}

fn try_record(id: EventId, record: &RequestRecord<'_>, mark: &AuditMark<'_>) -> Option<EventDraft> {
    let (event, action) = name_of(record, mark);
    let target = match mark.target_kind {
        "" | CROSSING => Target { kind: "endpoint".to_owned(), id: endpoint(record) },
        kind => Target { kind: kind.to_owned(), id: mark.target_id.to_owned() },
    };
    let mut draft =
        EventDraft::listed(id.to_string(), event, action, record.started_at_us, actor(record), target)?;
    let is_fine = record.outcome == Ended::Served && record.status < 400;
    draft.outcome = if is_fine { Outcome::Success } else { Outcome::Failure };
    draft.code = (!record.refusal.is_empty()).then(|| record.refusal.to_owned());
    draft.context = Context {
        request_id: Some(RequestId::from_u128(record.request_id).to_string()),
        trace_id: record.trace_id.map(|trace| format!("{trace:032x}")),
        endpoint: Some(endpoint(record)),
        directory_version: i64::try_from(record.directory_version).ok(),
        ..Context::default()
    };
    let permission = Some(record.permission).filter(|permission| !permission.is_empty());
    let application = mark.application.map(|id| ApplicationId::from_u128(id).to_string());
    let said = json!({"status": record.status, "permission": permission, "application": application});
    draft.details = details(&said)?;
    Some(draft)
}

/// What the gateway names as the target of a request with another tenant's key.
const CROSSING: &str = "wrong_tenant";

fn endpoint(record: &RequestRecord<'_>) -> String {
    match record.endpoint {
        "" => record.method.to_owned(),
        endpoint => endpoint.to_owned(),
    }
}

/// The event's name and action: what was refused, or what the method did. Whether it came to an end is another
/// matter: a change that the upstream did not answer is still a change that was asked for.
fn name_of<'a>(record: &RequestRecord<'a>, mark: &AuditMark<'_>) -> (&'static str, &'a str) {
    let action = record.permission.rsplit_once(':').map(|(_, action)| action);
    if record.outcome == Ended::Refused {
        let crossing = mark.target_kind == CROSSING;
        let event = if crossing { "access.tenant_crossing_refused" } else { "access.permission_denied" };
        return (event, action.unwrap_or(method_action(record.method)));
    }
    match method_action(record.method) {
        "create" => ("api.request_created", "create"),
        "update" => ("api.request_updated", "update"),
        "delete" => ("api.request_deleted", "delete"),
        read => ("api.request_read", read),
    }
}

fn method_action(method: &str) -> &'static str {
    match method {
        "POST" => "create",
        "PUT" | "PATCH" => "update",
        "DELETE" => "delete",
        _ => "read",
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

/// Details as a leaf holds them, `null` left out; `None` if a number is no integer or it is not an object.
fn details(value: &Value) -> Option<Object> {
    serde_json::from_value(value.clone()).or_else(|_| serde_json::from_value(in_words(value))).ok()
}

/// A value whose numbers that the log cannot hold (a fraction, or beyond ±(2^53 − 1): a time in µs behind the year 2255) stand as their text.
fn in_words(value: &Value) -> Value {
    let is_held =
        |number: &Number| number.as_i64().is_some_and(|own| (-INTEGER_MAX..=INTEGER_MAX).contains(&own));
    match value {
        Value::Number(own) if !is_held(own) => own.to_string().into(),
        Value::Array(own) => own.iter().map(in_words).collect(),
        Value::Object(own) => own.iter().map(|(name, value)| (name.clone(), in_words(value))).collect(),
        other => other.clone(),
    }
}

/// Stands in the place of an event that cannot be rendered, so that nothing is missing without a word. `source` is
/// what could not be rendered; only its SHA-256 is kept.
pub fn rendering_failed(id: String, occurred_at_us: i64, event: &str, source: &[u8]) -> EventDraft {
    let shown = event.chars().filter(|character| !character.is_control()).take(64).collect();
    let target = Target { kind: "event".to_owned(), id: shown };
    let mut draft = of_the_log(id, "audit.rendering_failed", occurred_at_us, target);
    let digest: String = Sha256::digest(source).iter().map(|byte| format!("{byte:02x}")).collect();
    draft.details.set("sha256", digest);
    draft
}

/// Says that a stretch of an emitter's events reached the log late.
pub fn pipeline_resumed(id: EventId, now_us: i64, log: TenantId, late: &Stretch) -> EventDraft {
    about_counters(id, "audit.pipeline.resume", now_us, log, late)
}

/// Says that a stretch of an emitter's events was lost.
pub fn gap_explained(id: EventId, now_us: i64, log: TenantId, lost: &Stretch) -> EventDraft {
    about_counters(id, "audit.gap.dropped", now_us, log, lost)
}

fn about_counters(id: EventId, event: &str, now_us: i64, log: TenantId, stretch: &Stretch) -> EventDraft {
    let target = Target { kind: "audit_log".to_owned(), id: log.to_string() };
    let mut draft = of_the_log(id.to_string(), event, now_us, target);
    draft.details.set("n", stretch.node.as_str());
    draft.details.set("b", stretch.boot);
    draft.details.set("from_c", stretch.from);
    draft.details.set("to_c", stretch.to);
    draft
}

/// What the log says of itself.
fn of_the_log(id: String, event: &str, occurred_at_us: i64, target: Target) -> EventDraft {
    let system = Party { kind: PartyKind::System, subject: "system".to_owned() };
    EventDraft::listed(id, event, "create", occurred_at_us, system, target).expect("the name is listed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_log_cannot_hold_as_a_number_stands_as_its_text() {
        let told = json!({ "until_us": 32_503_680_000_000_000_i64, "share": [0.5, 7], "in": { "n": u64::MAX }, "none": null });
        let own = serde_json::to_value(details(&told).expect("it is rendered")).expect("JSON");
        let texts = json!({ "until_us": "32503680000000000", "share": ["0.5", 7], "in": { "n": "18446744073709551615" } });
        assert_eq!(own, texts);
    }
}
