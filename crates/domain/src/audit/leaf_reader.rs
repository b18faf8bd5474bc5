//! Reads the object of a leaf back into its event. `None` for an object that no rendering could have made in
//! these fields; what else it holds is for the caller to judge.

use std::collections::BTreeMap;

use super::{
    canonical::{Object, Value},
    catalog::{EventType, RetentionClass},
    leaf::{
        Attachment, Context, Emitter, EventDraft, Leaf, Outcome, Party, PartyKind, Placement, Source, Target,
        VERSION,
    },
};

pub(super) fn leaf(object: &Object) -> Option<Leaf> {
    if object.integer("v") != Some(VERSION) {
        return None;
    }
    let leaf = Leaf { place: place(object)?, draft: draft(object)? };
    Some(leaf)
}

fn place(object: &Object) -> Option<Placement> {
    let em = object.object("em")?;
    let emitter = Emitter { node: owned(em.text("n"))?, boot: em.integer("b")?, counter: em.integer("c")? };
    Some(Placement { log: owned(object.text("log"))?, emitter, recorded_at_us: object.integer("rx")? })
}

fn draft(object: &Object) -> Option<EventDraft> {
    let event_type = EventType::parse(object.text("ty")?)?;
    let class = optional(object.get("rc"), |value| RetentionClass::parse(text(value)?))?;
    let class = class.unwrap_or(RetentionClass::Default);
    Some(EventDraft {
        id: owned(object.text("id"))?,
        occurred_at_us: object.integer("ts")?,
        event_type,
        event: owned(object.text("ev"))?,
        action: owned(object.text("ac"))?,
        retention: (class != event_type.retention()).then_some(class),
        outcome: outcome(object.text("out")?)?,
        code: optional_text(object, "code")?,
        actor: party(object.get("actor")?)?,
        on_behalf_of: optional(object.get("obo"), party)?,
        targets: object.list("tgt")?.iter().map(target).collect::<Option<_>>()?,
        source: optional(object.get("src"), source)?.unwrap_or_default(),
        context: optional(object.get("req"), context)?.unwrap_or_default(),
        details: optional(object.get("d"), |value| as_object(value).cloned())?.unwrap_or_default(),
        personal: optional(object.get("pii"), personal)?.unwrap_or_default(),
        attachments: optional(object.get("blob"), attachments)?.unwrap_or_default(),
    })
}

/// Absent is `Some(None)`; present and unreadable is `None`.
fn optional<T>(value: Option<&Value>, read: impl Fn(&Value) -> Option<T>) -> Option<Option<T>> {
    value.map_or(Some(None), |value| read(value).map(Some))
}

fn optional_text(object: &Object, key: &str) -> Option<Option<String>> {
    optional(object.get(key), |value| owned(text(value)))
}

fn optional_integer(object: &Object, key: &str) -> Option<Option<i64>> {
    optional(object.get(key), |value| match value {
        Value::Integer(number) => Some(*number),
        _ => None,
    })
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn as_object(value: &Value) -> Option<&Object> {
    match value {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

fn outcome(name: &str) -> Option<Outcome> {
    [Outcome::Success, Outcome::Failure].into_iter().find(|outcome| outcome.name() == name)
}

fn party(value: &Value) -> Option<Party> {
    let object = as_object(value)?;
    Some(Party { kind: PartyKind::parse(object.text("k")?)?, subject: owned(object.text("s"))? })
}

fn target(value: &Value) -> Option<Target> {
    let object = as_object(value)?;
    Some(Target { kind: owned(object.text("k"))?, id: owned(object.text("id"))? })
}

fn source(value: &Value) -> Option<Source> {
    let object = as_object(value)?;
    Some(Source { country: optional_text(object, "cc")?, network: optional_integer(object, "as")? })
}

fn context(value: &Value) -> Option<Context> {
    let object = as_object(value)?;
    Some(Context {
        request_id: optional_text(object, "rid")?,
        trace_id: optional_text(object, "tr")?,
        session_id: optional_text(object, "ses")?,
        cause: optional_text(object, "cause")?,
        endpoint: optional_text(object, "ep")?,
        directory_version: optional_integer(object, "dv")?,
    })
}

fn personal(value: &Value) -> Option<BTreeMap<String, BTreeMap<String, String>>> {
    let fields = |value: &Value| {
        let fields = as_object(value)?.iter();
        fields
            .map(|(pointer, commitment)| Some((pointer.to_owned(), owned(text(commitment))?)))
            .collect::<Option<_>>()
    };
    as_object(value)?.iter().map(|(subject, value)| Some((subject.to_owned(), fields(value)?))).collect()
}

fn attachments(value: &Value) -> Option<Vec<Attachment>> {
    let Value::List(list) = value else { return None };
    list.iter().map(attachment).collect()
}

fn attachment(value: &Value) -> Option<Attachment> {
    let object = as_object(value)?;
    Some(Attachment {
        sha256: owned(object.text("h"))?,
        bytes: object.integer("n")?,
        media_type: owned(object.text("mt"))?,
    })
}
