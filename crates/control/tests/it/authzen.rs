//! AuthZEN: single questions, many, searches; broken ones; other tenants; and a change that is seen when it must be.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::groups::with_folders;
use crate::house::House;

fn entity(kind: &str, id: &str) -> Value {
    json!({ "type": kind, "id": id })
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// A house with a folder `top`, two documents in it, and `ann` who may write in it.
async fn library() -> (House, String, String) {
    let house = House::with(&with_folders()).await;
    house.tenant("acme", "basic").await;
    house.tenant("globex", "basic").await;
    let ann = house.account("acme", "ann").await;
    let items = json!({ "items": [
        { "type": "folder", "id": "top" },
        { "type": "doc", "id": "d1", "parent": entity("folder", "top") },
        { "type": "doc", "id": "d2", "parent": entity("folder", "top") },
        { "type": "doc", "id": "d3" },
    ]});
    house.posted(&house.root, "/v1/access/resources/batch?tenant=acme", items).await;
    let grant = json!({ "principal": { "kind": "service_account", "id": ann }, "permission": "doc:write",
        "resource": entity("folder", "top") });
    house.created(&house.root, "/v1/grants?tenant=acme", grant).await;
    let asker = house.account("acme", "asker").await;
    let may_ask =
        json!({ "principal": { "kind": "service_account", "id": asker }, "permission": "access:evaluate" });
    house.created(&house.root, "/v1/grants?tenant=acme", may_ask).await;
    let key = json!({ "name": "asker", "owner": { "kind": "service_account", "id": asker }, "permissions": ["access:evaluate"] });
    let key = house.created(&house.root, "/v1/keys?tenant=acme", key).await;
    house.settled().await;
    let key = text(&key["key"]).to_owned();
    (house, ann, key)
}

fn question(who: &str, action: &str, doc: &str) -> Value {
    json!({ "subject": entity("service_account", who), "action": { "name": action }, "resource": entity("doc", doc) })
}

fn told(answer: &Value) -> String {
    format!("{} {}", answer["decision"], answer["context"]["reason"].as_str().unwrap_or("-"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_question_and_many_are_answered_by_what_is_granted() {
    let (house, ann, key) = library().await;
    let ask = async |body: Value| told(&house.posted(&key, "/access/v1/evaluation", body).await);
    assert_eq!(ask(question(&ann, "write", "d1")).await, "true granted");
    assert_eq!(ask(question(&ann, "read", "d1")).await, "true granted", "implied");
    assert_eq!(ask(question(&ann, "write", "d3")).await, "false no_grant");
    assert_eq!(ask(question(&ann, "fly", "d1")).await, "false unknown_permission");
    assert_eq!(ask(question("sa_nobody", "write", "d1")).await, "false no_grant");
    let mut strange = question(&ann, "write", "d1");
    strange["unheard_of"] = json!([1]);
    strange["subject"]["properties"] = json!({ "department": "x" });
    strange["context"] = json!({ "time": "2026" });
    assert_eq!(ask(strange).await, "true granted", "what is not known is ignored");

    let many = |semantic: &str| {
        json!({ "subject": entity("service_account", &ann), "action": { "name": "write" },
            "options": { "evaluations_semantic": semantic },
            "evaluations": [
                { "resource": entity("doc", "d1") }, { "resource": entity("doc", "d3") }, { "action": { "name": "read" } },
                { "resource": entity("doc", "d2"), "action": { "name": "read" } }] })
    };
    let answers = async |semantic: &str| {
        let answer = house.posted(&key, "/access/v1/evaluations", many(semantic)).await;
        assert!(answer.get("decision").is_none());
        let all = answer["evaluations"].as_array().expect("a list").clone();
        all.iter().map(|one| one["decision"].to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(answers("execute_all").await, "true false false true");
    assert_eq!(answers("deny_on_first_deny").await, "true false");
    assert_eq!(answers("permit_on_first_permit").await, "true");
    let defective = house.posted(&key, "/access/v1/evaluations", many("execute_all")).await;
    assert_eq!(defective["evaluations"][2]["context"]["error"]["status"], 400, "no resource");
    let mut single = question(&ann, "write", "d1");
    single["evaluations"] = json!([]);
    let answer = house.posted(&key, "/access/v1/evaluations", single).await;
    assert_eq!(told(&answer), "true granted", "none is one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_questions_have_so_much_work_together() {
    let (house, _, key) = library().await;
    let slow = house.account("acme", "slow").await;
    for number in 0..3 {
        let condition = format!("context.path like \"*{}{number}\"", "a".repeat(126));
        let grant = json!({ "principal": { "kind": "service_account", "id": slow }, "permission": "doc:read",
            "condition": condition });
        house.created(&house.root, "/v1/grants?tenant=acme", grant).await;
    }
    house.settled().await;
    // Each question is four fifths of the work of one decision; all together may be 32 times that.
    let mut many = question(&slow, "read", "d1");
    many["context"] = json!({ "path": "a".repeat(1_024) });
    many["evaluations"] = json!(vec![json!({}); 100]);
    let answer = house.posted(&key, "/access/v1/evaluations", many.clone()).await;
    let all = answer["evaluations"].as_array().expect("a list");
    let answered = all.iter().take_while(|one| told(one) == "false condition_false").count();
    assert!((32..60).contains(&answered) && all.len() == 100, "{answered} of {}", all.len());
    for one in &all[answered..] {
        assert_eq!((&one["decision"], &one["context"]["error"]["status"]), (&json!(false), &json!(400)));
    }
    // A text that is too long is not looked at at all.
    many["context"] = json!({ "path": "a".repeat(1_025) });
    let answer = house.posted(&key, "/access/v1/evaluations", many).await;
    let all = answer["evaluations"].as_array().expect("a list");
    assert!(all.iter().all(|one| told(one) == "false context_missing"), "{}", all[0]);
}

async fn raw(
    house: &House,
    key: Option<&str>,
    body: &str,
    headers: &[(&str, &str)],
) -> (u16, String, String) {
    let mut request = Request::builder()
        .method("POST")
        .uri("/access/v1/evaluation")
        .header("host", "control.test")
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).expect("a request");
    let (status, headers, _) = house.platform.exchange(request).await;
    let of = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
    (status, of("rowhouse-code"), of("x-request-id"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_questions_are_refused_in_plain_text_and_any_request_id_comes_back() {
    let (house, ann, key) = library().await;
    let good = question(&ann, "write", "d1").to_string();
    let none: &[(&str, &str)] = &[];
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        ("{}", 400),
        (r#"{"subject":{"type":"user"},"action":{"name":"x"},"resource":{"type":"doc","id":"1"}}"#, 400),
        (
            r#"{"subject":{"type":"user","id":7},"action":{"name":"x"},"resource":{"type":"doc","id":"1"}}"#,
            400,
        ),
        (r#"{"subject":"u","action":{"name":"x"},"resource":{"type":"doc","id":"1"}}"#, 400),
        (good.as_str(), 200),
    ] {
        assert_eq!(raw(&house, Some(&key), body, none).await.0, status, "{body}");
    }
    let echoed =
        raw(&house, Some(&key), &good, &[("x-request-id", "bfe9eb29-ab87-4ca3-be83-a1d5d8305716 or so")])
            .await;
    assert_eq!(echoed.2, "bfe9eb29-ab87-4ca3-be83-a1d5d8305716 or so");
    let nobody = raw(&house, None, &good, none).await;
    assert_eq!((nobody.0, nobody.1.as_str()), (401, "identity.no_credentials"));
    let stranger = house.member("globex", "viewer").await;
    let refused = raw(&house, Some(&stranger.key), &good, none).await;
    assert_eq!((refused.0, refused.1.as_str()), (403, "access.denied"));
    let boss = house.member("globex", "tenant_admin").await;
    let answer = house.posted(&boss.key, "/access/v1/evaluation", question(&ann, "write", "d1")).await;
    assert_eq!(told(&answer), "false no_grant", "another tenant's rights decide nothing here");

    let found = house.platform.get(&house.root, "/.well-known/authzen-configuration").await;
    assert!(text(&found["access_evaluation_endpoint"]).ends_with("/access/v1/evaluation"), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_are_exact_and_come_page_by_page() {
    let (house, ann, key) = library().await;
    let ids = |answer: &Value, field: &str| {
        let all = answer["results"].as_array().expect("a list");
        all.iter().map(|one| text(&one[field]).to_owned()).collect::<Vec<_>>().join(" ")
    };
    let body = json!({ "subject": entity("service_account", &ann), "action": { "name": "read" },
        "resource": { "type": "doc" }, "page": { "limit": 1 } });
    let first = house.posted(&key, "/access/v1/search/resource", body.clone()).await;
    assert_eq!((ids(&first, "id").as_str(), &first["page"]["total"]), ("d1", &json!(2)));
    let mut next = body;
    next["page"] = json!({ "token": first["page"]["next_token"] });
    let second = house.posted(&key, "/access/v1/search/resource", next.clone()).await;
    assert_eq!((ids(&second, "id").as_str(), &second["page"]["next_token"]), ("d2", &json!("")));
    next["action"]["name"] = "write".into();
    let (status, _) = house.platform.call(&key, "POST", "/access/v1/search/resource", Some(next)).await;
    assert_eq!(status, 400, "the token is of another query");

    let body = json!({ "subject": { "type": "service_account" }, "action": { "name": "write" }, "resource": entity("doc", "d2") });
    assert_eq!(ids(&house.posted(&key, "/access/v1/search/subject", body).await, "id"), ann);
    let body = json!({ "subject": entity("service_account", &ann), "resource": entity("doc", "d2") });
    assert_eq!(ids(&house.posted(&key, "/access/v1/search/action", body).await, "name"), "read write");
    let body = json!({ "subject": { "type": "martian" }, "action": { "name": "write" }, "resource": entity("doc", "d2") });
    assert_eq!(ids(&house.posted(&key, "/access/v1/search/subject", body).await, "id"), "");
}

/// Whoever knows people by their addresses and programs by their names need not know our ids.
#[tokio::test]
async fn a_subject_is_meant_by_id_by_proven_address_or_by_name() {
    let town = crate::people::town().await;
    let ana = town.member("acme", "ana@acme.example", &["user"]).await;
    town.member("bolt", "ben@bolt.example", &["tenant_admin"]).await;
    let robot = town.post("/v1/service_accounts?tenant=acme", json!({ "name": "ana@acme.example" })).await.1;
    let grant = json!({ "principal": { "kind": "service_account", "id": robot["id"] }, "role": "developer" });
    assert_eq!(town.post("/v1/grants?tenant=acme", grant).await.0, 201);
    town.post("/v1/service_accounts?tenant=bolt", json!({ "name": "mill" })).await;
    crate::people::refresh(&town.platform).await;
    let asked = async |path: &str, body: Value| {
        let tenant = Some(("x-tenant-code", "acme"));
        let (status, told) =
            town.platform.call_with(&town.operator, ("POST", path), tenant, Some(body)).await;
        assert_eq!(status, 200, "{told}");
        told
    };
    let item = |kind: &str, id: &str, action: &str| {
        json!({ "subject": entity(kind, id), "action": { "name": action },
            "resource": entity("metadata_stamp", "s1") })
    };
    let robot = text(&robot["id"]);
    let rows = [
        ("user", ana.as_str(), "create", "true granted"),
        ("user", "ana@acme.example", "create", "true granted"),
        ("user", "ANA@Acme.Example", "create", "true granted"),
        ("user", "ana@acme.example", "delete", "false no_grant"),
        // The same word is somebody else among accounts; of what kind is said.
        ("service_account", "ana@acme.example", "delete", "true granted"),
        ("service_account", robot, "delete", "true granted"),
        // Another tenant's is nobody, and so is who is not there; a denial, no error.
        ("user", "ben@bolt.example", "read", "false no_grant"),
        ("service_account", "mill", "read", "false no_grant"),
        ("user", "nobody@acme.example", "read", "false no_grant"),
        ("user", "no address", "read", "false no_grant"),
        // What has the form of an id is an id.
        ("user", "user_00000000000000000000000001", "read", "false no_grant"),
    ];
    for (kind, id, action, expected) in rows {
        let answer = asked("/access/v1/evaluation", item(kind, id, action)).await;
        assert_eq!(told(&answer), expected, "{kind} {id} {action}");
    }
    let items: Vec<Value> = rows.iter().map(|(kind, id, action, _)| item(kind, id, action)).collect();
    let answers = asked("/access/v1/evaluations", json!({ "evaluations": items })).await;
    let words: Vec<String> = answers["evaluations"].as_array().expect("a list").iter().map(told).collect();
    assert_eq!(words, rows.map(|(.., expected)| expected));
    let what =
        json!({ "subject": entity("user", "ana@acme.example"), "resource": entity("metadata_stamp", "s1") });
    let by_name = asked("/access/v1/search/action", what).await["results"].clone();
    let what = json!({ "subject": entity("user", &ana), "resource": entity("metadata_stamp", "s1") });
    assert_eq!(by_name, asked("/access/v1/search/action", what).await["results"]);
    // Who is found is told by id.
    let who = json!({ "subject": { "type": "user" }, "action": { "name": "create" },
        "resource": entity("metadata_stamp", "s1") });
    assert_eq!(
        asked("/access/v1/search/subject", who).await["results"],
        json!([{ "type": "user", "id": ana }])
    );
    // An address that is not proven is nobody's.
    town.platform.execute("UPDATE identity.users SET email_verified_at = NULL").await;
    let answer = asked("/access/v1/evaluation", item("user", "ana@acme.example", "create")).await;
    assert_eq!(told(&answer), "false no_grant");
}
