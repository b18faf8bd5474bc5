//! What other engines decide, over HTTP: the reviewed cases of `domain/tests/access_cases`, each sent once to `access/simulate`; and the
//! two public scenarios of AuthZEN on stored grants.

use std::path::Path;

use rowhouse_control::catalog::CatalogFile;
use serde_json::{Value, json};

use crate::groups::with_folders;
use crate::house::House;

/// The cases that have steps: what they are called, and the steps with what is expected of each.
fn cases() -> Vec<(String, Vec<Value>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../domain/tests/access_cases");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let cases: Vec<Value> =
            serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("cases");
        for case in cases {
            let name = format!("{}: {}", path.display(), case["name"]);
            all.extend(case["steps"].as_array().map(|steps| (name, steps.clone())));
        }
    }
    all
}

/// `ok` and `allow`; of a no its reason, of a refusal its code.
fn word(told: &Value) -> &str {
    let field = match told["result"].as_str() {
        Some("refused") => "code",
        Some("deny") => "reason",
        _ => "result",
    };
    told[field].as_str().expect("a word")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_other_engines_decide_is_decided_so_over_http() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let cases = cases();
    assert!(cases.len() >= 60, "{}", cases.len());
    for (name, mut steps) in cases {
        let expected: Vec<Value> = steps
            .iter_mut()
            .map(|step| step.as_object_mut().and_then(|step| step.remove("expect")).unwrap_or("ok".into()))
            .collect();
        let body = json!({ "base": "empty", "at": "2026-11-21T09:00:00Z", "steps": steps });
        let told = house.posted(&house.root, "/v1/access/simulate?tenant=acme", body).await;
        let told: Vec<&str> = told["steps"].as_array().expect("a list").iter().map(word).collect();
        assert_eq!(told, expected, "{name}");
    }
}

fn with_records() -> CatalogFile {
    let mut all = serde_json::to_value(with_folders()).expect("it is JSON");
    let types = all["resource_types"].as_array_mut().expect("types");
    types.push(json!({ "name": "record", "service": "stamping", "actions": ["read", "write", "delete"], "attributes": [
        { "name": "status", "type": "string" },
        { "name": "role", "type": "string", "of": "principal" },
        { "name": "soft", "type": "bool", "of": "action" }] }));
    types.push(json!({ "name": "todo", "service": "stamping",
        "actions": TODO_ACTIONS, "attributes": [
        { "name": "owner_id", "type": "string" },
        { "name": "email", "type": "string", "of": "principal" }] }));
    serde_json::from_value(all).expect("a catalogue")
}

impl House {
    async fn may(&self, who: &str, permission: &str, condition: Option<&str>) {
        let principal = match who {
            "everyone" => json!({ "kind": "everyone" }),
            who => json!({ "kind": "service_account", "id": who }),
        };
        let mut grant = json!({ "principal": principal, "permission": permission });
        if let Some(condition) = condition {
            grant["condition"] = condition.into();
        }
        self.created(&self.root, "/v1/grants?tenant=acme", grant).await;
    }

    /// A key that may ask and nothing else, when all that was granted before is in force.
    async fn asker(&self) -> String {
        let id = self.account("acme", "asker").await;
        self.may(&id, "access:evaluate", None).await;
        let owner = json!({ "kind": "service_account", "id": id });
        let key = json!({ "name": "asker", "owner": owner, "permissions": ["access:evaluate"] });
        let key = self.created(&self.root, "/v1/keys?tenant=acme", key).await;
        self.settled().await;
        key["key"].as_str().expect("a text").to_owned()
    }
}

/// The required fixture of the certification scenario: two subjects, two records.
async fn certified() -> (House, String, String, String) {
    let house = House::with(&with_records()).await;
    house.tenant("acme", "basic").await;
    let (alice, bob) = (house.account("acme", "alice").await, house.account("acme", "bob").await);
    let items = json!({ "items": [
        { "type": "record", "id": "record-1", "attributes": { "status": "active" } },
        { "type": "record", "id": "record-2", "attributes": { "status": "archived" } } ] });
    house.posted(&house.root, "/v1/access/resources/batch?tenant=acme", items).await;
    let archived = "resource has status && resource.status == \"archived\"";
    for who in [&alice, &bob] {
        house.may(who, "record:read", None).await;
    }
    house.may(&alice, "record:write", Some(&format!("!({archived})"))).await;
    // Whose role is known without being sent, and whose is sent.
    house.may(&bob, "record:write", Some(archived)).await;
    let sent = format!("{archived} && principal has role && principal.role == \"admin\"");
    house.may("everyone", "record:write", Some(&sent)).await;
    house.may(&alice, "record:delete", Some("context.action has soft && context.action.soft")).await;
    let asker = house.asker().await;
    (house, asker, alice, bob)
}

fn question(who: &str, action: Value, record: &str) -> Value {
    json!({ "subject": { "type": "service_account", "id": who }, "action": action,
        "resource": { "type": "record", "id": record } })
}

/// The eight decisions of the scenario, in its order.
fn eight(alice: &str, bob: &str) -> Vec<(Value, bool)> {
    let of = |who: &str, action: &str, record: &str| question(who, json!({ "name": action }), record);
    let mut archived = of(alice, "write", "record-2");
    archived["resource"]["properties"] = json!({ "status": "archived" });
    let mut by_role = of(bob, "write", "record-2");
    by_role["resource"]["properties"] = json!({ "status": "archived" });
    by_role["subject"]["properties"] = json!({ "role": "admin" });
    let delete =
        |soft: bool| question(alice, json!({ "name": "delete", "properties": { "soft": soft } }), "record-1");
    vec![
        (of(alice, "read", "record-1"), true),
        (of(alice, "write", "record-1"), true),
        (of(bob, "read", "record-1"), true),
        (of(bob, "write", "record-1"), false),
        (archived, false),
        (by_role, true),
        (delete(true), true),
        (delete(false), false),
    ]
}

fn decisions(answer: &Value) -> Vec<bool> {
    let all = answer["evaluations"].as_array().expect("a list");
    all.iter().map(|one| one["decision"].as_bool().expect("yes or no")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_eight_decisions_of_the_certification_scenario() {
    let (house, key, alice, bob) = certified().await;
    let eight = eight(&alice, &bob);
    let expected: Vec<bool> = eight.iter().map(|(_, decision)| *decision).collect();
    for (mut asked, decision) in eight.clone() {
        for context in [Value::Null, json!({ "time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1" })] {
            if !context.is_null() {
                asked["context"] = context;
            }
            asked["of_the_future"] = json!({ "nested": true });
            let answer = house.posted(&key, "/access/v1/evaluation", asked.clone()).await;
            assert_eq!(answer["decision"], decision, "{asked}");
        }
    }
    let ask = async |body: Value| decisions(&house.posted(&key, "/access/v1/evaluations", body).await);
    let items: Vec<Value> = eight.into_iter().map(|(asked, _)| asked).collect();
    assert_eq!(ask(json!({ "evaluations": items })).await, expected);
    let until = |semantic: &str, items: &[Value]| json!({ "options": { "evaluations_semantic": semantic }, "evaluations": items });
    assert_eq!(ask(until("execute_all", &items)).await, expected);
    assert_eq!(ask(until("deny_on_first_deny", &items)).await, expected[..4]);
    assert_eq!(ask(until("permit_on_first_permit", &items[3..])).await, [false, false, true]);

    // An item's own entity replaces the common one whole, with its properties.
    let mut common = items[6].clone();
    common["evaluations"] = json!([{}, { "action": { "name": "delete" } }, { "action": { "name": "read" } },
        { "action": { "name": "delete", "properties": { "soft": false } } }, { "subject": { "type": "service_account" } }]);
    assert_eq!(ask(common).await, [true, false, true, false, false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_searches_of_the_certification_scenario() {
    let (house, key, alice, bob) = certified().await;
    let found = async |what: &str, field: &str, body: Value| {
        let answer = house.posted(&key, &format!("/access/v1/search/{what}"), body).await;
        let all = answer["results"].as_array().expect("a list").clone();
        all.iter().map(|one| one[field].as_str().expect("a text").to_owned()).collect::<Vec<_>>()
    };
    let (any, record) =
        (json!({ "type": "service_account" }), |id: &str| json!({ "type": "record", "id": id }));
    let who = |id: &str| json!({ "type": "service_account", "id": id });
    let readers = json!({ "subject": any, "action": { "name": "read" }, "resource": record("record-1") });
    let readers = found("subject", "id", readers).await;
    assert!(readers.contains(&alice) && readers.contains(&bob), "{readers:?}");
    let body =
        json!({ "subject": who(&alice), "action": { "name": "read" }, "resource": { "type": "record" } });
    assert_eq!(found("resource", "id", body).await, ["record-1", "record-2"]);
    let body = json!({ "subject": who(&alice), "resource": record("record-1") });
    assert_eq!(
        found("action", "name", body).await,
        ["read", "write"],
        "deleting depends on what is not said"
    );

    let archived = json!({ "type": "record", "id": "record-2", "properties": { "status": "archived" } });
    let writers = json!({ "subject": any, "action": { "name": "write" }, "resource": archived });
    assert_eq!(found("subject", "id", writers).await, std::slice::from_ref(&bob));
    let admin = json!({ "type": "service_account", "id": bob, "properties": { "role": "admin" } });
    let body = json!({ "subject": admin, "action": { "name": "write" }, "resource": { "type": "record" } });
    assert_eq!(found("resource", "id", body).await, ["record-2"]);
    let body = json!({ "subject": admin, "resource": archived });
    assert_eq!(found("action", "name", body).await, ["read", "write"]);
}

const TODO_ACTIONS: [&str; 4] = ["can_read_todos", "can_create_todo", "can_update_todo", "can_delete_todo"];
const OWN: &str = "resource has owner_id && principal has email && resource.owner_id == principal.email";

/// The Todo scenario of the interoperability events, by whose todo it is. Its `ownerID` is `owner_id`: see the cases.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_todo_scenario() {
    let house = House::with(&with_records()).await;
    house.tenant("acme", "basic").await;
    let mut people = Vec::new();
    for name in ["rick", "morty", "summer", "beth", "jerry"] {
        let id = house.account("acme", name).await;
        house.may(&id, "todo:can_read_todos", None).await;
        let actions: &[(&str, Option<&str>)] = match name {
            "rick" => &[("create", None), ("update", None), ("delete", None)],
            "morty" | "summer" => &[("create", None), ("update", Some(OWN)), ("delete", Some(OWN))],
            _ => &[],
        };
        for (action, condition) in actions {
            house.may(&id, &format!("todo:can_{action}_todo"), *condition).await;
        }
        people.push((name, id));
    }
    let asker = house.asker().await;
    let email = |name: &str| format!("{name}@the-citadel.com");
    for (name, id) in &people {
        for owner in ["rick", "morty"] {
            let evaluations = TODO_ACTIONS.map(|action| json!({ "action": { "name": action } }));
            let asked = json!({
                "subject": { "type": "service_account", "id": id, "properties": { "email": email(name) } },
                "resource": { "type": "todo", "id": "7240d0db", "properties": { "owner_id": email(owner) } },
                "evaluations": evaluations,
            });
            let (writes, is_own) = (["rick", "morty", "summer"].contains(name), *name == owner);
            let changes = *name == "rick" || writes && is_own;
            let answer = house.posted(&asker, "/access/v1/evaluations", asked).await;
            assert_eq!(decisions(&answer), [true, writes, changes, changes], "{name}, {owner}'s");
        }
    }
}
