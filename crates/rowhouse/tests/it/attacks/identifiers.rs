//! Somebody else's identifier in every place where the control API takes text: each path, query and body field of each operation of
//! the OpenAPI document, so that an operation that is added is attacked from its first day.
//!
//! What comes back must not hold the canary, and must be what comes back for an identifier that nobody has: otherwise it would tell
//! that the victim's exists.

use std::sync::Arc;

use http::Method;
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use super::Attack;
use super::siege::Siege;
use crate::platform::{Call, shared};

/// One operation of the document.
struct Operation {
    method: Method,
    path: String,
    parameters: Vec<(String, String)>,
    body: Option<Value>,
}

/// Where an identifier is put.
#[derive(Debug, Clone, PartialEq)]
enum Slot {
    Path(String),
    Query(String),
    /// JSON pointer.
    Body(String),
}

/// Kinds of identifiers that are put into queries and bodies; paths get all.
const WIDELY: &[&str] = &["code", "tenant", "keys", "service_accounts", "operations"];
/// Places that a call has; more operations bring more.
const SLOTS_LEAST: usize = 150;
/// Requests at once.
const AT_ONCE: usize = 8;

pub fn attacks() -> Vec<Attack> {
    let rows = [
        "every path parameter of every operation: each kind of the victim's ids",
        "every query parameter of every operation: the victim's code, tenant id, key, account, operation",
        "every text in every body: the victim's code, tenant id, key, account, operation",
        "each answered like an id that nobody has",
    ];
    rows.into_iter().map(|name| Attack { name, level: "shared" }).collect()
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let parameters = parameters.map(|one| (word(&one["in"]), word(&one["name"]))).collect();
            let schema =
                operation["requestBody"]["content"].as_object().and_then(|content| content.values().next());
            let body = schema.map(|content| example(document, &content["schema"], 0));
            let method = method.to_uppercase().parse().expect("a method");
            all.push(Operation { method, path: path.clone(), parameters, body });
        }
    }
    all
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The fullest value that a schema allows, as far as can be guessed.
fn example(document: &Value, schema: &Value, depth: usize) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.trim_start_matches('#');
        return example(document, document.pointer(pointer).unwrap_or(&Value::Null), depth + 1);
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        if let Some(first) = schema[choice].as_array().and_then(|choices| choices.first()) {
            return example(document, first, depth + 1);
        }
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    let kind = schema["type"].as_array().and_then(|kinds| kinds.first()).unwrap_or(&schema["type"]);
    match kind.as_str() {
        Some("object") if depth < 6 => {
            let mut fields = Map::new();
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                fields.insert(name.clone(), example(document, field, depth + 1));
            }
            Value::Object(fields)
        }
        Some("array") if depth < 6 => Value::Array(vec![example(document, &schema["items"], depth + 1)]),
        Some("integer" | "number") => 1.into(),
        Some("boolean") => true.into(),
        Some("string") => "x".into(),
        _ => Value::Object(Map::new()),
    }
}

impl Operation {
    fn slots(&self) -> Vec<Slot> {
        let mut slots: Vec<Slot> = Vec::new();
        for (place, name) in &self.parameters {
            match place.as_str() {
                "path" => slots.push(Slot::Path(name.clone())),
                "query" => slots.push(Slot::Query(name.clone())),
                _ => {}
            }
        }
        if let Some(body) = &self.body {
            texts(body, String::new(), &mut slots);
        }
        slots
    }

    /// The call with `id` in `slot`. Whatever else is in the path is `id` too: a thing of the victim's in the victim's thing.
    fn call(&self, slot: &Slot, id: &str) -> Call {
        let mut path = self.path.clone();
        for (_, name) in self.parameters.iter().filter(|(place, _)| place == "path") {
            let own = match name.as_str() {
                "category" if *slot != Slot::Path(name.clone()) => "branding",
                "key" if *slot != Slot::Path(name.clone()) => "canary",
                _ => id,
            };
            path = path.replace(&format!("{{{name}}}"), own);
        }
        if let Slot::Query(name) = slot {
            path = format!("{path}?{name}={id}");
        }
        let mut body = self.body.clone();
        if let (Slot::Body(pointer), Some(body)) = (slot, &mut body)
            && let Some(field) = body.pointer_mut(pointer)
        {
            *field = id.into();
        }
        let call = match body {
            Some(body) => Call::post(&path, body),
            None => Call::get(&path),
        };
        call.method(self.method.clone())
    }
}

fn texts(value: &Value, at: String, slots: &mut Vec<Slot>) {
    match value {
        Value::String(_) => slots.push(Slot::Body(at)),
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| texts(value, format!("{at}/{name}"), slots))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, value)| texts(value, format!("{at}/{n}"), slots))
        }
        _ => {}
    }
}

/// One that nobody has, of the same form.
fn nobodys(id: &str) -> String {
    let mut all: Vec<char> = id.chars().collect();
    let last = all.len() - 1;
    // Within the random part of an id, away from its last digits, which some kinds keep for counting.
    let at = if id.contains('_') { last - 2 } else { last };
    all[at] = if all[at] == '3' { '4' } else { '3' };
    all.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_another_tenants_is_reached_by_its_identifier() {
    let siege = Arc::new(Siege::lay(shared().await, "ids", "basic", "shared").await);
    let document = siege.platform.operate(Call::get("/openapi.json")).await;
    let mut tried = Vec::new();
    for operation in operations(&document) {
        for slot in operation.slots() {
            for (kind, id) in &siege.ids {
                if matches!(slot, Slot::Path(_)) || WIDELY.contains(&kind.as_str()) {
                    let what = format!("{} {} {slot:?} {kind}", operation.method, operation.path);
                    tried.push((
                        what,
                        operation.call(&slot, id),
                        operation.call(&slot, &nobodys(id)),
                        id.clone(),
                    ));
                }
            }
        }
    }
    let slots: usize = operations(&document).iter().map(|operation| operation.slots().len()).sum();
    assert!(slots >= SLOTS_LEAST, "only {slots} places");
    let before = siege.checksum().await;
    let mut running = JoinSet::new();
    let mut told = Vec::new();
    for (what, own, nobodys, id) in tried {
        if running.len() >= AT_ONCE {
            told.extend(running.join_next().await.expect("some run").expect("no attack panics"));
        }
        running.spawn(attack(siege.clone(), what, own, nobodys, id));
    }
    while let Some(one) = running.join_next().await {
        told.extend(one.expect("no attack panics"));
    }
    assert!(
        told.is_empty(),
        "{} answers tell that the victim's thing exists:\n{}",
        told.len(),
        told.join("\n")
    );
    assert_eq!(siege.checksum().await, before, "something of the victim's was changed");
    siege.assert_served().await;
}

/// What an answer told, if anything.
async fn attack(siege: Arc<Siege>, what: String, own: Call, nobodys: Call, id: String) -> Option<String> {
    let key = &siege.attacker.key;
    let seen = siege.platform.control(key, own).await;
    siege.assert_unseen(&what, &seen);
    assert_ne!(seen.status, 500, "{what}: {}", seen.body);
    assert_ne!(seen.status, 429, "{what}: what is refused for its number shows nothing");
    let other = siege.platform.control(key, nobodys).await;
    let same = seen.code() == other.code();
    // A name is taken by the attacker's own last attempt, or it was not; that is no news about the victim.
    let repeated = [seen.status, other.status].contains(&409) && !id.is_empty();
    (!same && !repeated).then(|| format!("{what}: {:?}, and for nobody's {:?}", seen.code(), other.code()))
}

/// The same calls in the operator's hands show the canary: the suite asks in the right places.
#[tokio::test]
async fn the_same_calls_of_the_operator_show_what_the_attacker_must_not_see() {
    let siege = Siege::lay(shared().await, "ids-seen", "basic", "shared").await;
    let document = siege.platform.operate(Call::get("/openapi.json")).await;
    let mut shown = Vec::new();
    for operation in operations(&document).iter().filter(|operation| operation.method == Method::GET) {
        for slot in operation.slots() {
            for (_, id) in
                siege.ids.iter().filter(|(kind, _)| matches!(slot, Slot::Path(_)) || kind == "code")
            {
                let seen = siege.platform.control(&siege.platform.operator, operation.call(&slot, id)).await;
                if seen.body.to_string().contains(&siege.canary) {
                    shown.push(format!("{} {slot:?}", operation.path));
                }
            }
        }
    }
    shown.sort();
    shown.dedup();
    for path in ["/v1/keys/{id}", "/v1/grants/{id}", "/v1/service_accounts/{id}", "/v1/tenants/{tenant}"] {
        assert!(shown.iter().any(|one| one.starts_with(path)), "{path}: {shown:?}");
    }
    assert!(shown.len() >= 8, "{shown:?}");
}
