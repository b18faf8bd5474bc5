//! Two people: what waits for a second one's yes happens once, by right of both, and never by one's own word.

use rowhouse_control::access::expire_approvals;
use rowhouse_control::catalog;
use serde_json::{Value, json};

use crate::house::outcome;
use crate::people::{Town, refresh, town_with};
use crate::sign_in::token_of;

const CHIEF: &str = "chief@acme.example";
const SECOND: &str = "second@acme.example";
const ANA: &str = "ana@acme.example";

/// An organisation with two who administer it and one who does not. Deleting stamps is sensitive.
struct Firm {
    town: Town,
    chief: Value,
    second: Value,
    ana: Value,
    ids: [String; 3],
}

impl Firm {
    async fn open() -> Firm {
        let mut catalogue = catalog::shipped().clone();
        let stamp =
            catalogue.definitions.resource_types.iter_mut().find(|kind| kind.name == "metadata_stamp");
        stamp.expect("it is shipped").sensitive = vec!["delete".to_owned()];
        let town = town_with(&catalogue).await;
        let ids = [
            town.member("acme", CHIEF, &["tenant_admin"]).await,
            town.member("acme", SECOND, &["tenant_admin"]).await,
            town.member("acme", ANA, &["readonly"]).await,
        ];
        refresh(&town.platform).await;
        let (chief, second, ana) =
            (town.signed_in(CHIEF).await, town.signed_in(SECOND).await, town.signed_in(ANA).await);
        Firm { town, chief, second, ana, ids }
    }

    async fn call(&self, who: &Value, method: &str, path: &str, body: Option<Value>) -> (String, Value) {
        let (status, answer) = self.town.as_person(who, method, path, body).await;
        let word =
            answer["code"].as_str().filter(|_| status >= 400).map_or(status.to_string(), str::to_owned);
        (word, answer)
    }

    async fn post(&self, who: &Value, path: &str, body: Value) -> (String, Value) {
        self.call(who, "POST", path, Some(body)).await
    }

    /// A request of ana's for a role, and its id.
    async fn asked(&self, role: &str) -> String {
        let body = json!({ "role": role, "minutes": 60, "reason": "INC-42" });
        let (word, answer) = self.post(&self.ana, "/v1/access/requests", body).await;
        assert_eq!(word, "202", "{answer:#}");
        answer["approval_id"].as_str().expect("an id").to_owned()
    }

    async fn decide(&self, who: &Value, id: &str, verb: &str) -> (String, Value) {
        self.post(who, &format!("/v1/approvals/{id}/{verb}"), json!({ "reason": "seen" })).await
    }

    async fn state(&self, id: &str) -> String {
        let (_, answer) = self.call(&self.chief, "GET", &format!("/v1/approvals/{id}"), None).await;
        answer["state"].as_str().expect("a state").to_owned()
    }

    async fn grants_of(&self, who: &str) -> Vec<Value> {
        let all = self.town.get(&format!("/v1/grants?tenant=acme&principal={who}")).await;
        all["items"].as_array().expect("a list").clone()
    }

    /// Grants of what is sensitive take two from now on.
    async fn by_two(&self) {
        let wanted = json!({ "approve_sensitive_grants": true });
        let (word, answer) = self.call(&self.chief, "PUT", "/v1/access/settings", Some(wanted)).await;
        assert_eq!((word.as_str(), &answer["approve_sensitive_grants"]), ("200", &json!(true)), "{answer}");
    }

    async fn events(&self) -> String {
        let sql = "SELECT coalesce(string_agg(draft->>'event', ' ' ORDER BY id), '') FROM audit.outbox \
                   WHERE draft->>'event' LIKE 'access.approval%'";
        self.town.platform.ask(sql).await
    }
}

fn grant(who: &str, role: &str) -> Value {
    json!({ "principal": { "kind": "user", "id": who }, "role": role, "reason": "she needs it" })
}

#[tokio::test]
async fn a_role_for_a_time_is_given_by_somebody_else() {
    let firm = Firm::open().await;
    let id = firm.asked("operator").await;
    let path = format!("/v1/approvals/{id}");
    let (_, shown) = firm.call(&firm.ana, "GET", &path, None).await;
    assert_eq!(
        (&shown["state"], &shown["operation"], &shown["requested_by"]),
        (&json!("pending"), &json!("access.request"), &json!(firm.ids[2])),
        "{shown:#}"
    );
    assert!(shown["would"]["gives"].to_string().contains("metadata_stamp:create"), "{shown:#}");
    let mailed = firm
        .town
        .platform
        .ask("SELECT count(*) FROM messages.messages WHERE template = 'approval_requested'");
    assert_ne!(mailed.await, "0", "who can decide is told");
    assert_eq!(firm.decide(&firm.ana, &id, "approve").await.0, "access.denied");
    let (word, done) = firm.decide(&firm.second, &id, "approve").await;
    assert_eq!((word.as_str(), &done["state"]), ("200", &json!("done")), "{done:#}");
    assert_eq!(done["decided_by"], json!(firm.ids[1]));
    let grants = firm.grants_of(&firm.ids[2]).await;
    let given = grants.iter().find(|grant| grant["role"] == "operator").expect("it is given");
    assert_eq!(given["id"], done["result"]["grant"]);
    assert!(given["valid_until"].is_string(), "for a time: {given}");
    // Once is once.
    assert_eq!(firm.decide(&firm.chief, &id, "approve").await.0, "access.approval_stale");
    assert_eq!(firm.decide(&firm.chief, &id, "refuse").await.0, "access.approval_stale");
    assert_eq!(firm.grants_of(&firm.ids[2]).await.len(), grants.len());
}

#[tokio::test]
async fn nobody_decides_what_is_their_own() {
    let firm = Firm::open().await;
    // Asked for by who could give it to others.
    let body = json!({ "role": "developer", "minutes": 5, "reason": "me" });
    let (_, answer) = firm.post(&firm.chief, "/v1/access/requests", body).await;
    let own = answer["approval_id"].as_str().expect("an id").to_owned();
    assert_eq!(firm.decide(&firm.chief, &own, "approve").await.0, "access.self_approval");
    assert_eq!(firm.decide(&firm.chief, &own, "refuse").await.0, "access.self_approval");
    // Nor by a key: of the one who asks, of a service account, of the operator.
    let account = firm.town.post("/v1/service_accounts?tenant=acme", json!({ "name": "robot" })).await.1;
    let account = json!({ "kind": "service_account", "id": account["id"] });
    let robot = json!({ "principal": account, "role": "tenant_admin" });
    assert_eq!(firm.town.post("/v1/grants?tenant=acme", robot).await.0, 201);
    let key = json!({ "name": "robot", "owner": account, "roles": ["tenant_admin"], "permissions": ["grant:create"] });
    let (status, key) = firm.town.post("/v1/keys?tenant=acme", key).await;
    assert_eq!(status, 201, "{key}");
    refresh(&firm.town.platform).await;
    for text in [key["key"].as_str().expect("a key"), firm.town.operator.as_str()] {
        let path = format!("/v1/approvals/{own}/approve");
        let (status, answer) = firm.town.platform.call(text, "POST", &path, Some(json!({}))).await;
        assert!(outcome(status, &answer).contains("access.denied"), "{status} {answer}");
    }
    // What is for a group that one is in.
    firm.by_two().await;
    let (_, group) = firm.post(&firm.chief, "/v1/groups", json!({ "name": "erasers" })).await;
    let group = group["id"].as_str().expect("an id").to_owned();
    let join = format!("/v1/groups/{group}/members/user/{}", firm.ids[1]);
    assert!(firm.call(&firm.chief, "PUT", &join, Some(json!({}))).await.0.starts_with("20"));
    let for_group = json!({ "principal": { "kind": "group", "id": group }, "role": "developer" });
    let (word, answer) = firm.post(&firm.chief, "/v1/grants", for_group).await;
    assert_eq!(word, "202", "{answer}");
    let id = answer["approval_id"].as_str().expect("an id").to_owned();
    assert_eq!(firm.decide(&firm.second, &id, "approve").await.0, "access.self_approval");
    // Another tenant sees nothing.
    firm.town.member("bolt", "zoe@bolt.example", &["tenant_admin"]).await;
    refresh(&firm.town.platform).await;
    let zoe = firm.town.signed_in("zoe@bolt.example").await;
    for id in [&own, &id] {
        assert_eq!(firm.call(&zoe, "GET", &format!("/v1/approvals/{id}"), None).await.0, "api.not_found");
        for verb in ["approve", "refuse", "withdraw"] {
            assert_eq!(firm.decide(&zoe, id, verb).await.0, "api.not_found", "{verb}");
        }
    }
    assert_eq!(firm.call(&zoe, "GET", "/v1/approvals", None).await.1["items"], json!([]));
    let (_, seen) = firm.call(&firm.ana, "GET", "/v1/approvals", None).await;
    assert_eq!(seen["items"], json!([]), "others' requests are not hers to see");
    assert_eq!(firm.call(&firm.ana, "GET", &format!("/v1/approvals/{own}"), None).await.0, "api.not_found");
}

#[tokio::test]
async fn a_sensitive_grant_takes_two_where_the_tenant_says_so() {
    let firm = Firm::open().await;
    let (one, two) = (firm.ids[2].clone(), firm.ids[1].clone());
    assert_eq!(firm.post(&firm.chief, "/v1/grants", grant(&one, "user")).await.0, "201");
    firm.by_two().await;
    assert_eq!(
        firm.post(&firm.chief, "/v1/grants", grant(&one, "viewer")).await.0,
        "201",
        "nothing sensitive"
    );
    let (word, answer) = firm.post(&firm.chief, "/v1/grants", grant(&one, "developer")).await;
    assert_eq!(word, "202", "{answer}");
    let id = answer["approval_id"].as_str().expect("an id").to_owned();
    let has = async || firm.grants_of(&one).await.iter().any(|grant| grant["role"] == "developer");
    assert!(!has().await, "nothing has happened yet");
    // No other way leads to it.
    let invite = json!({ "email": "new@acme.example", "roles": ["developer"] });
    assert_eq!(firm.post(&firm.chief, "/v1/invitations", invite).await.0, "access.approval_needed");
    let role = json!({ "name": "helper", "permissions": ["metadata_stamp:read"] });
    assert_eq!(firm.post(&firm.chief, "/v1/roles", role).await.0, "201");
    let grow = json!({ "permissions": ["metadata_stamp:delete"] });
    let grown = firm.call(&firm.chief, "PATCH", "/v1/roles/helper", Some(grow)).await;
    assert_eq!(grown.0, "access.approval_needed");
    let (_, group) = firm.post(&firm.chief, "/v1/groups", json!({ "name": "erasers" })).await;
    let group = group["id"].as_str().expect("an id").to_owned();
    let for_group = json!({ "principal": { "kind": "group", "id": group }, "role": "developer" });
    let (_, waiting) = firm.post(&firm.chief, "/v1/grants", for_group).await;
    let of_group = waiting["approval_id"].as_str().expect("an id").to_owned();
    assert_eq!(firm.decide(&firm.second, &of_group, "approve").await.0, "200");
    let join = format!("/v1/groups/{group}/members/user/{one}");
    assert_eq!(firm.call(&firm.chief, "PUT", &join, Some(json!({}))).await.0, "access.approval_needed");
    // A machine asks for nothing: it could be either of the two.
    let by_key = firm.town.post("/v1/grants?tenant=acme", grant(&one, "developer")).await;
    assert!(outcome(by_key.0, &by_key.1).contains("access.denied"), "{by_key:?}");
    // The second one's yes.
    assert_eq!(firm.decide(&firm.chief, &id, "approve").await.0, "access.self_approval");
    assert_eq!(firm.decide(&firm.second, &id, "approve").await.0, "200");
    assert!(has().await);
    // To be asked no more takes two as well.
    let off = json!({ "approve_sensitive_grants": false });
    let (word, answer) = firm.call(&firm.chief, "PUT", "/v1/access/settings", Some(off)).await;
    assert_eq!(word, "202", "{answer}");
    let off = answer["approval_id"].as_str().expect("an id").to_owned();
    assert_eq!(firm.decide(&firm.chief, &off, "approve").await.0, "access.self_approval");
    let settings = async || firm.call(&firm.chief, "GET", "/v1/access/settings", None).await.1;
    assert_eq!(settings().await["approve_sensitive_grants"], json!(true));
    assert_eq!(firm.decide(&firm.second, &off, "approve").await.0, "200");
    assert_eq!(settings().await["approve_sensitive_grants"], json!(false));
    assert_eq!(firm.post(&firm.chief, "/v1/grants", grant(&two, "developer")).await.0, "201");
    let events = firm.events().await;
    assert!(
        events.contains("access.approval_requested") && events.contains("access.approval_given"),
        "{events}"
    );
}

#[tokio::test]
async fn what_no_longer_fits_fails_and_what_is_late_is_over() {
    let firm = Firm::open().await;
    firm.by_two().await;
    let one = firm.ids[2].clone();
    // Who asked loses the right to before the yes.
    let (_, answer) = firm.post(&firm.chief, "/v1/grants", grant(&one, "developer")).await;
    let id = answer["approval_id"].as_str().expect("an id").to_owned();
    let admin = firm.grants_of(&firm.ids[0]).await;
    let grant_id = admin[0]["id"].as_str().expect("an id");
    let path = format!("/v1/grants/{grant_id}");
    assert_eq!(firm.call(&firm.second, "DELETE", &path, None).await.0, "204");
    let (word, told) = firm.decide(&firm.second, &id, "approve").await;
    assert_eq!(
        (word.as_str(), &told["cause"]),
        ("access.approval_stale", &json!("access.denied")),
        "{told:#}"
    );
    let (_, shown) = firm.call(&firm.second, "GET", &format!("/v1/approvals/{id}"), None).await;
    assert_eq!((&shown["state"], &shown["result"]["code"]), (&json!("failed"), &json!("access.denied")));
    assert!(firm.grants_of(&one).await.iter().all(|grant| grant["role"] != "developer"));
    // Who asked for a role leaves.
    let asked = firm.asked("operator").await;
    let gone = firm.call(&firm.second, "DELETE", &format!("/v1/users/{one}"), None).await;
    assert!(gone.0.starts_with("20"), "{gone:?}");
    assert_eq!(firm.decide(&firm.second, &asked, "approve").await.0, "access.approval_stale");
}

#[tokio::test]
async fn a_role_that_means_more_by_now_is_not_what_was_agreed_to() {
    let firm = Firm::open().await;
    firm.by_two().await;
    let role = |permissions: &[&str]| json!({ "name": "helper", "permissions": permissions });
    assert_eq!(firm.post(&firm.chief, "/v1/roles", role(&["metadata_stamp:read"])).await.0, "201");
    // More than was shown, though nothing that takes two.
    let edited = firm.asked("helper").await;
    let more = json!({ "permissions": ["metadata_stamp:read", "metadata_stamp:create"] });
    let (word, answer) = firm.call(&firm.chief, "PATCH", "/v1/roles/helper", Some(more)).await;
    assert_eq!(word, "200", "{answer:#}");
    let (word, told) = firm.decide(&firm.second, &edited, "approve").await;
    assert_eq!(
        (word.as_str(), &told["cause"]),
        ("access.approval_stale", &json!("access.escalation")),
        "{told:#}"
    );
    // Another role of its name, which nobody has yet.
    let swapped = firm.asked("helper").await;
    assert_eq!(firm.call(&firm.chief, "DELETE", "/v1/roles/helper", None).await.0, "204");
    let anew = role(&["metadata_stamp:read", "metadata_stamp:delete"]);
    assert_eq!(firm.post(&firm.chief, "/v1/roles", anew).await.0, "201");
    assert_eq!(firm.decide(&firm.second, &swapped, "approve").await.0, "access.approval_stale");
    // Less is within what was agreed to.
    assert_eq!(firm.call(&firm.chief, "DELETE", "/v1/roles/helper", None).await.0, "204");
    assert_eq!(
        firm.post(&firm.chief, "/v1/roles", role(&["metadata_stamp:read", "metadata_stamp:create"])).await.0,
        "201"
    );
    let less = firm.asked("helper").await;
    let edit = json!({ "permissions": ["metadata_stamp:read"] });
    assert_eq!(firm.call(&firm.chief, "PATCH", "/v1/roles/helper", Some(edit)).await.0, "200");
    assert_eq!(firm.decide(&firm.second, &less, "approve").await.0, "200");
}

#[tokio::test]
async fn an_invitation_from_before_gives_nothing_that_takes_two_since() {
    let firm = Firm::open().await;
    let town = &firm.town;
    for (email, role) in [("boss@acme.example", "tenant_admin"), ("reader@acme.example", "readonly")] {
        assert_eq!(town.invite("acme", email, &[role]).await.0, 201);
    }
    firm.by_two().await;
    let (status, told) = town.accept(&town.mailed("invitation", "boss@acme.example").await).await;
    assert_eq!((status, &told["code"]), (409, &json!("access.approval_needed")), "{told:#}");
    let (status, told) = town.accept(&town.mailed("invitation", "reader@acme.example").await).await;
    assert_eq!(status, 200, "{told:#}");
}

#[tokio::test]
async fn an_approval_is_withdrawn_by_who_asked_refused_by_others_and_ends_after_72_hours() {
    let firm = Firm::open().await;
    let id = firm.asked("operator").await;
    assert_eq!(firm.decide(&firm.chief, &id, "withdraw").await.0, "api.not_found");
    assert_eq!(firm.decide(&firm.ana, &id, "withdraw").await.0, "200");
    assert_eq!(firm.decide(&firm.chief, &id, "approve").await.0, "access.approval_stale");
    let id = firm.asked("operator").await;
    assert_eq!(firm.decide(&firm.chief, &id, "refuse").await.0, "200");
    assert_eq!(firm.state(&id).await, "refused");
    // Late: by the clock at once, and written down by the work outside requests.
    let id = firm.asked("operator").await;
    firm.town
        .platform
        .execute("UPDATE access.approvals SET expires_at = requested_at WHERE state = 'pending'")
        .await;
    assert_eq!(firm.state(&id).await, "expired");
    assert_eq!(firm.decide(&firm.chief, &id, "approve").await.0, "access.approval_expired");
    assert_eq!(expire_approvals(&firm.town.platform.control).await.expect("it runs"), 1);
    assert_eq!(expire_approvals(&firm.town.platform.control).await.expect("it runs"), 0, "once");
    let events = firm.events().await;
    for wanted in ["withdrawn", "refused", "expired"] {
        assert!(events.contains(&format!("access.approval_{wanted}")), "{wanted}: {events}");
    }
    let wrong = [
        (json!({ "role": "nobody", "minutes": 5, "reason": "x" }), "access.unknown_role"),
        (json!({ "role": "operator", "minutes": 0, "reason": "x" }), "api.invalid"),
        (json!({ "role": "operator", "minutes": 43_201, "reason": "x" }), "api.invalid"),
        (json!({ "role": "operator", "minutes": 5, "reason": "" }), "api.invalid"),
    ];
    for (body, code) in wrong {
        assert_eq!(firm.post(&firm.ana, "/v1/access/requests", body.clone()).await.0, code, "{body}");
    }
    for _ in 0..20 {
        firm.asked("operator").await;
    }
    let more = json!({ "role": "operator", "minutes": 5, "reason": "more" });
    assert_eq!(firm.post(&firm.ana, "/v1/access/requests", more).await.0, "access.too_many");
}

/// Two who say yes at once, and one who says yes as another says no: it happens at most once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_yeses_at_once_do_it_once() {
    let firm = Firm::open().await;
    for other in ["approve", "refuse"] {
        let id = firm.asked("operator").await;
        let before = firm.grants_of(&firm.ids[2]).await.len();
        let (first, second) =
            tokio::join!(firm.decide(&firm.chief, &id, "approve"), firm.decide(&firm.second, &id, other));
        let mut words = [first.0.as_str(), second.0.as_str()];
        words.sort_unstable();
        assert_eq!(words, ["200", "access.approval_stale"], "{other}");
        let given = firm.grants_of(&firm.ids[2]).await.len() - before;
        let expected = usize::from(firm.state(&id).await == "done");
        assert_eq!(given, expected, "{other}");
    }
}

#[tokio::test]
async fn a_review_tells_who_has_what_and_whether_the_giver_still_could() {
    let firm = Firm::open().await;
    let one = &firm.ids[2];
    let formula =
        json!({ "principal": { "kind": "user", "id": one }, "role": "user", "reason": "=cmd(),\"x\"" });
    assert_eq!(firm.post(&firm.second, "/v1/grants", formula).await.0, "201");
    let (_, group) = firm.post(&firm.chief, "/v1/groups", json!({ "name": "readers" })).await;
    let group = group["id"].as_str().expect("an id").to_owned();
    let for_group = json!({ "principal": { "kind": "group", "id": group }, "role": "viewer" });
    assert_eq!(firm.post(&firm.chief, "/v1/grants", for_group).await.0, "201");
    let join = format!("/v1/groups/{group}/members/user/{one}");
    assert!(firm.call(&firm.chief, "PUT", &join, Some(json!({}))).await.0.starts_with("20"));
    let admin = firm.grants_of(&firm.ids[1]).await;
    let path = format!("/v1/grants/{}", admin[0]["id"].as_str().expect("an id"));
    assert_eq!(firm.call(&firm.chief, "DELETE", &path, None).await.0, "204");
    refresh(&firm.town.platform).await;
    let (_, review) = firm.call(&firm.chief, "GET", "/v1/access/review", None).await;
    let rows = review["items"].as_array().expect("a list");
    let of = |what: &str| {
        rows.iter().find(|row| row["principal"] == json!(one) && row["what"] == what).expect(what).clone()
    };
    assert_eq!(of("user")["giver_still_could"], json!(false), "the second administers nothing any more");
    let viewer = of("viewer");
    assert_eq!((&viewer["via"], &viewer["giver_still_could"]), (&json!(group), &json!(true)), "{viewer:#}");
    let (status, bytes) =
        firm.town.platform.fetch(token_of(&firm.chief), "/v1/access/review?format=csv").await;
    let text = String::from_utf8(bytes).expect("text");
    assert_eq!(status, 200, "{text}");
    assert!(text.starts_with("principal,via,effect,what,"), "{text}");
    assert!(text.contains("\"'=cmd(),\"\"x\"\"\""), "{text}");
    assert_eq!(firm.call(&firm.ana, "GET", "/v1/access/review", None).await.0, "access.denied");
    assert_eq!(firm.call(&firm.chief, "GET", "/v1/access/review?format=xml", None).await.0, "api.invalid");
}
