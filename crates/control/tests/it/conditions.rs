//! Grants under a condition: refused as they are written, asked with what is known, closed where nothing is, and never given by who
//! holds less.

use serde_json::{Value, json};

use crate::groups::with_folders;
use crate::house::{House, outcome};

fn account(id: &str) -> Value {
    json!({ "kind": "service_account", "id": id })
}

/// The shipped catalogue with folders and documents, of which amounts and authors are known.
async fn library() -> (House, String) {
    let mut catalogue = with_folders();
    for kind in &mut catalogue.definitions.resource_types {
        if kind.name == "doc" {
            let declared = json!([
                { "name": "created_by", "type": "string", "required": true },
                { "name": "amount", "type": "integer" },
                { "name": "soft", "type": "bool", "required": true, "of": "action" },
                { "name": "role", "type": "string", "required": true, "of": "principal" },
            ]);
            kind.attributes = serde_json::from_value(declared).expect("attributes");
        }
    }
    let house = House::with(&catalogue).await;
    house.tenant("acme", "basic").await;
    house.tenant("globex", "basic").await;
    let ann = house.account("acme", "ann").await;
    (house, ann)
}

async fn explained(house: &House, who: &str, permission: &str, context: Value, doc: Option<&str>) -> String {
    let thing = doc.map(|id| json!({ "type": "doc", "id": id }));
    let asked =
        json!({ "principal": account(who), "permission": permission, "context": context, "resource": thing });
    let answer = house.posted(&house.root, "/v1/access/explain?tenant=acme", asked).await;
    let proofs = answer["because"].as_array().into_iter().chain(answer["near"].as_array()).flatten();
    let results = proofs.filter_map(|proof| {
        let detail =
            proof["condition_detail"].as_str().map(|detail| format!(" {detail}")).unwrap_or_default();
        Some(format!(" [{}{detail}]", proof["condition_result"].as_str()?))
    });
    format!("{}{}", answer["reason"].as_str().expect("a reason"), results.collect::<String>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_decides_and_what_is_not_known_is_closed() {
    let (house, ann) = library().await;
    let allow = json!({ "principal": account(&ann), "permission": "doc:read", "condition": "context.mfa_age_s < context.params.most",
        "parameters": { "most": 300 }, "reason": "audit" });
    let made = house.created(&house.root, "/v1/grants?tenant=acme", allow).await;
    assert_eq!(
        (&made["condition"], &made["parameters"]),
        (&json!("context.mfa_age_s < context.params.most"), &json!({ "most": 300 }))
    );
    let read =
        house.platform.get(&house.root, &format!("/v1/grants/{}", made["id"].as_str().expect("an id"))).await;
    assert_eq!((&read["condition"], &read["parameters"]), (&made["condition"], &made["parameters"]));
    let ask = async |context: Value| explained(&house, &ann, "doc:read", context, None).await;
    assert_eq!(ask(json!({ "mfa_age_s": 299 })).await, "granted [true]");
    assert_eq!(ask(json!({ "mfa_age_s": 300 })).await, "condition_false [false]");
    assert_eq!(ask(json!({})).await, "context_missing [missing context.mfa_age_s]");
    assert_eq!(ask(json!({ "mfa_age_s": "1" })).await, "context_missing [missing context.mfa_age_s]");
    // What the caller says of the parameters is nothing.
    assert_eq!(ask(json!({ "mfa_age_s": 300, "params": { "most": 999 } })).await, "condition_false [false]");
    // A denial under a condition that cannot be asked denies.
    let free = house.account("acme", "free").await;
    house
        .created(
            &house.root,
            "/v1/grants?tenant=acme",
            json!({ "principal": account(&free), "permission": "doc:read" }),
        )
        .await;
    let deny = json!({ "principal": account(&free), "effect": "deny", "permission": "doc:read",
        "condition": "!context.ip.isInRange(ip(\"10.0.0.0/8\"))" });
    house.created(&house.root, "/v1/grants?tenant=acme", deny).await;
    let ask = async |context: Value| explained(&house, &free, "doc:read", context, None).await;
    assert_eq!(ask(json!({ "ip": "10.1.1.1" })).await, "granted");
    assert_eq!(ask(json!({ "ip": "::ffff:10.1.1.1" })).await, "granted");
    assert_eq!(ask(json!({ "ip": "192.0.2.1" })).await, "denied [true]");
    assert_eq!(ask(json!({})).await, "denied [missing context.ip]");
    // Who can, and what.
    let who = async |context: Value| {
        let body = json!({ "permission": "doc:read", "context": context });
        let answer = house.posted(&house.root, "/v1/access/who_can?tenant=acme", body).await;
        let ids =
            answer["items"].as_array().expect("a list").iter().map(|one| one["principal"]["id"].clone());
        (ids.collect::<Vec<_>>(), answer["undecided"].clone())
    };
    let (ids, undecided) = who(json!({ "mfa_age_s": 1, "ip": "10.0.0.1" })).await;
    assert!(ids.contains(&json!(ann)) && ids.contains(&json!(free)), "{ids:?}");
    assert_eq!(undecided, 0);
    let (ids, undecided) = who(json!({})).await;
    assert!(!ids.contains(&json!(ann)) && !ids.contains(&json!(free)), "{ids:?}");
    assert_eq!(undecided, 1, "ann might");
    let what = house
        .posted(&house.root, "/v1/access/what_can?tenant=acme", json!({ "principal": account(&ann) }))
        .await;
    assert_eq!(
        what["conditional"],
        json!([{ "permission": "doc:read", "condition": "context.mfa_age_s < context.params.most" }])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_of_things_is_asked_for_in_questions_of_services_too() {
    let (house, ann) = library().await;
    let put = async |id: &str, attributes: Value| {
        let path = format!("/v1/access/resources/doc/{id}?tenant=acme");
        let body = json!({ "attributes": attributes });
        let (status, answer) = house.platform.call(&house.root, "PUT", &path, Some(body)).await;
        outcome(status, &answer)
    };
    assert_eq!(put("hers", json!({ "created_by": ann, "amount": 5 })).await, "200 -");
    assert_eq!(put("other", json!({ "created_by": "sa_other" })).await, "200 -");
    assert_eq!(put("bad", json!({ "created_by": 7 })).await, "422 api.invalid /attributes/created_by");
    assert_eq!(
        put("bad", json!({ "amount": 7 })).await,
        "422 api.invalid /attributes/created_by",
        "who made it is required"
    );
    assert_eq!(
        put("bad", json!({ "created_by": "x", "colour": "red" })).await,
        "422 api.invalid /attributes/colour"
    );
    let allow = json!({ "principal": account(&ann), "permission": "doc:write", "condition": "resource.created_by != principal.id" });
    house.created(&house.root, "/v1/grants?tenant=acme", allow).await;
    let ask = async |doc: Option<&str>| explained(&house, &ann, "doc:write", json!({}), doc).await;
    assert_eq!(ask(Some("other")).await, "granted [true]");
    assert_eq!(ask(Some("hers")).await, "condition_false [false]");
    assert_eq!(ask(Some("unregistered")).await, "context_missing [missing resource.created_by]");
    assert_eq!(ask(None).await, "context_missing [missing resource.created_by]");
    let asker = house.member("acme", "tenant_admin").await;
    house.settled().await;
    let evaluate = async |doc: &str, properties: Value| {
        let asked = json!({ "subject": { "type": "service_account", "id": ann }, "action": { "name": "write" },
            "resource": { "type": "doc", "id": doc, "properties": properties } });
        let answer = house.posted(&asker.key, "/access/v1/evaluation", asked).await;
        answer["context"]["reason"].as_str().unwrap_or("-").to_owned()
    };
    assert_eq!(evaluate("other", json!({})).await, "granted");
    assert_eq!(
        evaluate("other", json!({ "created_by": ann })).await,
        "granted",
        "what is stored beats what is sent"
    );
    assert_eq!(evaluate("hers", json!({ "created_by": "sa_other" })).await, "condition_false");
    assert_eq!(
        evaluate("new", json!({ "created_by": "sa_other" })).await,
        "granted",
        "nothing is stored of it"
    );
    assert_eq!(evaluate("new", json!({})).await, "context_missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_is_checked_as_it_is_written_and_nothing_is_kept() {
    let (house, ann) = library().await;
    let rows = [
        ("doc:read", "context.mfa &&", "access.bad_condition"),
        ("doc:read", "context.nothing", "access.bad_condition"),
        ("doc:read", "resource.amount > 1", "access.bad_condition"),
        ("doc:read", "true", "access.bad_condition"),
        ("doc:read", "context.mfa || !context.mfa && true || true", "access.bad_condition"),
        ("folder:read", "resource.created_by == principal.id", "access.bad_condition"),
        ("*:read", "resource.created_by == principal.id", "access.bad_condition"),
        ("doc:read", "context.params.most > 1", "access.bad_condition"),
        ("doc:read", "", "access.bad_condition"),
    ];
    for (permission, condition, code) in rows {
        let body = json!({ "principal": account(&ann), "permission": permission, "condition": condition });
        assert_eq!(
            house.refused(&house.root, "/v1/grants?tenant=acme", body).await,
            format!("422 {code} /condition"),
            "{condition}"
        );
    }
    let lone = json!({ "principal": account(&ann), "permission": "doc:read", "parameters": { "a": 1 } });
    assert_eq!(
        house.refused(&house.root, "/v1/grants?tenant=acme", lone).await,
        "422 api.invalid /parameters"
    );
    let body = json!({ "principal": account(&ann), "permission": "doc:read", "condition": "context.mfa &&\n context.oops" });
    let (_, told) = house.platform.call(&house.root, "POST", "/v1/grants?tenant=acme", Some(body)).await;
    assert_eq!((&told["line"], &told["column"]), (&json!(2), &json!(2)), "{told:#}");
    assert_eq!(
        house.platform.ask("SELECT count(*) FROM access.grants WHERE condition IS NOT NULL").await,
        "0"
    );
    let test = async |condition: &str, context: Value| {
        let body = json!({ "condition": condition, "principal": account(&ann), "permission": "doc:read", "context": context });
        house.posted(&house.root, "/v1/access/conditions/test?tenant=acme", body).await
    };
    assert_eq!(test("context.mfa", json!({ "mfa": true })).await["result"], "true");
    assert_eq!(test("context.mfa", json!({ "mfa": false })).await["result"], "false");
    assert_eq!(test("context.mfa", json!({})).await["missing"], json!(["context.mfa"]));
    let huge = json!({ "mfa_age_s": i64::MAX });
    assert_eq!(test("context.mfa_age_s + 1 > 0", huge).await["result"], "error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_something_under_a_condition_gives_it_under_no_other() {
    let (house, _) = library().await;
    let giver = house.account("acme", "giver").await;
    let taker = house.account("acme", "taker").await;
    house
        .created(
            &house.root,
            "/v1/grants?tenant=acme",
            json!({ "principal": account(&giver), "permission": "grant:create" }),
        )
        .await;
    let when = json!({ "principal": account(&giver), "permission": "doc:read", "condition": "context.country == \"DE\"" });
    house.created(&house.root, "/v1/grants?tenant=acme", when).await;
    let key = json!({ "name": "g", "owner": account(&giver), "permissions": ["grant:create", "doc:read"] });
    // What is held under a condition is put into no key without one.
    assert_eq!(house.refused(&house.root, "/v1/keys?tenant=acme", key).await, "403 access.escalation");
    let key = json!({ "name": "g", "owner": account(&giver), "permissions": ["grant:create"] });
    let key = house.created(&house.root, "/v1/keys?tenant=acme", key).await["key"]
        .as_str()
        .expect("a key")
        .to_owned();
    house.settled().await;
    let give = async |condition: Option<&str>| {
        let body = json!({ "principal": account(&taker), "permission": "doc:read", "condition": condition });
        let (status, answer) = house.platform.call(&key, "POST", "/v1/grants", Some(body)).await;
        outcome(status, &answer)
    };
    assert_eq!(give(None).await, "403 access.escalation");
    assert_eq!(give(Some("context.country == \"FR\"")).await, "403 access.escalation");
    assert_eq!(give(Some("context.country == \"DE\" || context.mfa")).await, "403 access.escalation");
    // A condition does not make an administrator.
    let admin = json!({ "principal": account(&giver), "role": "admin", "condition": "context.mfa" });
    house.created(&house.root, "/v1/grants?tenant=acme", admin).await;
    house.settled().await;
    assert_eq!(give(None).await, "403 access.escalation");
    // Another tenant knows nothing of it.
    let other = house.member("globex", "tenant_admin").await;
    let seen = house.platform.get(&other.key, "/v1/grants").await;
    let seen = seen["items"].as_array().expect("a list");
    assert!(seen.iter().all(|grant| grant["condition"].is_null()), "{seen:?}");
}

/// A key of an account of acme for these permissions, which the account is granted.
async fn key_of(house: &House, who: &str, permissions: &[&str]) -> String {
    for permission in permissions {
        let grant = json!({ "principal": account(who), "permission": permission });
        house.created(&house.root, "/v1/grants?tenant=acme", grant).await;
    }
    let key = json!({ "name": "k", "owner": account(who), "permissions": permissions });
    let key = house.created(&house.root, "/v1/keys?tenant=acme", key).await;
    house.settled().await;
    key["key"].as_str().expect("a key").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_is_the_same_however_it_is_written() {
    let (house, ann) = library().await;
    let key = key_of(&house, &ann, &["grant:read"]).await;
    let (_, all) = house.platform.call(&key, "GET", "/v1/grants", None).await;
    let id = all["items"][0]["id"].as_str().expect("a grant").to_owned();
    let ask = async |path: &str| {
        let (status, answer) = house.platform.call(&key, "GET", path, None).await;
        outcome(status, &answer)
    };
    let plain = format!("/v1/grants/{id}");
    let escaped = format!("/v1/grants/%{:02x}{}", id.as_bytes()[0], &id[1..]);
    assert_eq!((ask(&plain).await.as_str(), ask(&escaped).await.as_str()), ("200 -", "200 -"));
    let deny = json!({ "principal": account(&ann), "effect": "deny", "permission": "grant:read",
        "condition": format!("context.path == \"{plain}\"") });
    house.created(&house.root, "/v1/grants?tenant=acme", deny).await;
    house.settled().await;
    for path in [plain, escaped] {
        assert_eq!(ask(&path).await, "403 access.denied", "{path}");
    }
    assert_eq!(ask("/v1/grants").await, "200 -");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_says_of_a_thing_what_decides_over_himself() {
    let (house, ann) = library().await;
    let put = async |key: &str, id: &str, by: &str| {
        let path = format!("/v1/access/resources/doc/{id}");
        let body = json!({ "attributes": { "created_by": by } });
        let (status, answer) = house.platform.call(key, "PUT", &path, Some(body)).await;
        outcome(status, &answer)
    };
    let service = house.account("acme", "service").await;
    let service = key_of(&house, &service, &["resource:update"]).await;
    assert_eq!(put(&service, "hers", "boss").await, "200 -");
    let hers = key_of(&house, &ann, &["resource:update"]).await;
    assert_eq!(put(&hers, "hers", "somebody").await, "200 -", "nothing of hers asks for it");
    let allow = json!({ "principal": account(&ann), "permission": "doc:write", "condition": "resource.created_by == principal.id" });
    house.created(&house.root, "/v1/grants?tenant=acme", allow).await;
    house.settled().await;
    assert_eq!(put(&hers, "hers", &ann).await, "403 access.escalation");
    assert_eq!(put(&hers, "new", &ann).await, "403 access.escalation");
    let gone = house.platform.call(&hers, "DELETE", "/v1/access/resources/doc/hers", None).await;
    assert_ne!(gone.0, 204, "{}", gone.1);
    assert_eq!(put(&hers, "hers", "somebody").await, "200 -", "as it is");
    assert_eq!(put(&service, "hers", "boss").await, "200 -", "who is not asked about says it");
    // A denial under a condition is not lifted so either.
    let den = house.account("acme", "den").await;
    let his = key_of(&house, &den, &["resource:update", "doc:write"]).await;
    let deny = json!({ "principal": account(&den), "effect": "deny", "permission": "doc:write",
        "condition": "resource.created_by != principal.id" });
    house.created(&house.root, "/v1/grants?tenant=acme", deny).await;
    house.settled().await;
    assert_eq!(put(&his, "hers", &den).await, "403 access.escalation");
    assert_eq!(put(&his, "hers", "boss").await, "200 -");
}
