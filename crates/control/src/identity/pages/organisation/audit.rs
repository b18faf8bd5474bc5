//! The organisation's log: what was done in it and to it, the newest first, and one event whole, with its proof. To look is an event too.

use rowhouse_domain::audit::catalog::{EVENTS, EventType};
use rowhouse_domain::refusal::{Refusal, kind};
use serde_json::{Value, json};

use super::names::Names;
use super::visit::Visit;
use crate::identity::form;

const PATH: &str = "/v1/audit/events";
/// What is asked for by the form: its field, and the API's.
const FILTERS: [(&str, &str); 3] = [("person", "actor"), ("type", "type"), ("result", "result")];

pub async fn view(visit: &Visit<'_>) -> Result<Value, Refusal> {
    if !visit.one.is_empty() {
        return one(visit).await;
    }
    let (query, cursor) = (query(visit)?, visit.asks("cursor"));
    let mut path = format!("{PATH}?sort=-index&limit=50{}", query.api);
    if !cursor.is_empty() {
        path.push_str(&format!("&cursor={}", form::escape(cursor)));
    }
    let listed = visit.get(&path).await?;
    let names = Names::of(visit).await;
    let rows = listed["items"].as_array().into_iter().flatten().map(|event| row(&names, event));
    let rows: Vec<Value> = rows.collect();
    let next =
        listed["next_cursor"].as_str().map(|next| format!("?cursor={}{}", form::escape(next), query.own));
    let people = names.people().into_iter().map(|(id, name)| json!({ "id": id, "name": name }));
    let types = EventType::all().map(|own| json!({ "name": own.name(), "words": words(own.name()) }));
    let events = EVENTS.iter().map(|own| json!({ "name": own.name }));
    let asked = |name: &str| visit.asks(name);
    Ok(json!({
        "events": rows, "next": next, "is_first": cursor.is_empty(), "is_filtered": !query.own.is_empty(),
        "people": people.collect::<Vec<_>>(), "types": types.collect::<Vec<_>>(), "names": events.collect::<Vec<_>>(),
        "asked": { "person": asked("person"), "type": asked("type"), "event": asked("event"), "result": asked("result"),
            "from": asked("from"), "to": asked("to") },
    }))
}

/// A search, for the API and for the next page's address; each begins with `&` or is empty.
#[derive(Default)]
struct Query {
    api: String,
    own: String,
}

impl Query {
    fn with(&mut self, (own, value): (&str, &str), (api, sent): (&str, &str)) {
        self.own.push_str(&format!("&{own}={}", form::escape(value)));
        self.api.push_str(&format!("&{api}={}", form::escape(sent)));
    }
}

fn query(visit: &Visit<'_>) -> Result<Query, Refusal> {
    let mut query = Query::default();
    let given = |name: &str| Some(visit.asks(name)).filter(|text| !text.is_empty());
    for (own, api) in FILTERS {
        if let Some(value) = given(own) {
            query.with((own, value), (api, value));
        }
    }
    if let Some(event) = given("event") {
        query.with(("event", event), ("event", event));
    }
    for name in ["from", "to"] {
        if let Some(text) = given(name) {
            query.with((name, text), (name, &instant(text)?));
        }
    }
    Ok(query)
}

/// What a browser calls a date and a time, at UTC.
fn instant(text: &str) -> Result<String, Refusal> {
    let wrong = || Refusal::new(&kind::INVALID, "A time is written as 2026-12-31T10:00, and is UTC.");
    let time: jiff::civil::DateTime = text.parse().map_err(|_| wrong())?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?;
    Ok(time.timestamp().to_string())
}

/// `Role assigned` for `access.role_assigned`.
fn words(name: &str) -> String {
    let own = name.split_once('.').map_or(name, |(_, own)| own).replace(['_', '.'], " ");
    let mut letters = own.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn row(names: &Names, event: &Value) -> Value {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let targets = event["targets"].as_array().into_iter().flatten();
    // Whom or what it was done to, but what somebody did to themselves.
    let targets = targets.filter(|one| one["id"] != event["actor"]["id"]).map(|one| {
        json!({
            "kind": one["kind"].as_str().unwrap_or_default().replace('_', " "),
            "name": names.name(one["id"].as_str().unwrap_or_default()),
        })
    });
    json!({
        "id": event["id"], "name": event["event"], "words": words(text("event")), "index": event["index"],
        "at": time(text("recorded_at")), "claimed": time(text("occurred_at")), "result": event["result"],
        "code": event["code"], "actor": names.principal(&event["actor"]),
        "actor_kind": event["actor"]["kind"].as_str().unwrap_or_default().replace('_', " "),
        "for": names.principal(&event["on_behalf_of"]), "targets": targets.collect::<Vec<_>>(),
        "severity": event["severity"], "kind": words(text("type")), "proven": event["proven"],
    })
}

/// To the second.
fn time(text: &str) -> String {
    text.get(..19).map(|text| format!("{} UTC", text.replace('T', " "))).unwrap_or_default()
}

async fn one(visit: &Visit<'_>) -> Result<Value, Refusal> {
    let path = format!("{PATH}/{}", visit.one);
    let event = visit.get(&path).await?;
    let is_proven = event["proven"] == true;
    let proof =
        if is_proven { visit.get(&format!("{path}/proof")).await.unwrap_or_default() } else { Value::Null };
    let pretty = |name: &str| {
        let own = &event[name];
        let is_empty = own.is_null() || own.as_object().is_some_and(serde_json::Map::is_empty);
        (!is_empty).then(|| serde_json::to_string_pretty(own).unwrap_or_default())
    };
    let mut shown = row(&Names::of(visit).await, &event);
    shown["details"] = json!(pretty("details"));
    shown["context"] = json!(pretty("context"));
    for own in ["log", "leaf", "leaf_hash", "retention_class"] {
        shown[own] = event[own].clone();
    }
    shown["proof"] = proof["proof"].clone();
    shown["proof_size"] = proof["size"].clone();
    Ok(json!({ "one": shown }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_said_in_words_and_a_time_is_utc() {
        assert_eq!(words("access.role_assigned"), "Role assigned");
        assert_eq!(words("login_failed"), "Login failed");
        assert_eq!(words("audit.log.open"), "Log open");
        assert_eq!(words(""), "");
        assert_eq!(instant("2026-11-21T10:00").expect("a time"), "2026-11-21T10:00:00Z");
        assert!(instant("yesterday").is_err());
    }
}
