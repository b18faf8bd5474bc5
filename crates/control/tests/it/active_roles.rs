//! Dynamic separation of duty: a person has two roles and acts in one of them at a time, in each session as it was chosen there.

use serde_json::{Value, json};

use crate::organisation::{shows, signed_in};
use crate::people::{Town, refresh, town};
use crate::sign_in::code_of;
use crate::visitor::Visitor;

const PATH: &str = "/v1/me/active_roles";
const ANA: &str = "ana@acme.example";

/// Ana is a clerk, who sees groups, and a signer, who sees constraints; she acts as one of them.
async fn office() -> Town {
    let town = town().await;
    for (name, permission) in [("clerk", "group:read"), ("signer", "constraint:read")] {
        let role = json!({ "name": name, "permissions": [permission] });
        let (status, made) = town.post("/v1/roles?tenant=acme", role).await;
        assert_eq!(status, 201, "{made}");
    }
    let apart = json!({ "name": "four-eyes", "kind": "dynamic", "roles": ["clerk", "signer"], "at_most": 1 });
    let (status, made) = town.post("/v1/constraints?tenant=acme", apart).await;
    assert_eq!((status, &made["kind"]), (201, &json!("dynamic")), "{made}");
    let ana = town.member("acme", ANA, &["readonly"]).await;
    for role in ["clerk", "signer"] {
        let grant = json!({ "principal": { "kind": "user", "id": ana }, "role": role });
        assert_eq!(town.post("/v1/grants?tenant=acme", grant).await.0, 201);
    }
    refresh(&town.platform).await;
    town
}

async fn put(town: &Town, who: &Value, active: Value) -> (u16, Value) {
    town.as_person(who, "PUT", PATH, Some(json!({ "active": active }))).await
}

/// Whether she sees groups, and constraints.
async fn sees(town: &Town, who: &Value) -> (u16, u16) {
    refresh(&town.platform).await;
    let get = async |path| town.as_person(who, "GET", path, None).await.0;
    (get("/v1/groups").await, get("/v1/constraints").await)
}

#[tokio::test]
async fn a_person_with_two_roles_acts_in_the_one_that_she_chose_in_this_session() {
    let town = office().await;
    let ana = town.signed_in(ANA).await;
    let (status, roles) = town.as_person(&ana, "GET", PATH, None).await;
    assert_eq!((status, roles), (200, json!({ "active": ["readonly"], "inactive": ["clerk", "signer"] })));
    assert_eq!(sees(&town, &ana).await, (403, 403));
    let (status, roles) = put(&town, &ana, json!(["clerk"])).await;
    assert_eq!((status, &roles), (200, &json!({ "active": ["clerk", "readonly"], "inactive": ["signer"] })));
    assert_eq!(sees(&town, &ana).await, (200, 403));
    // Twice is once.
    assert_eq!(put(&town, &ana, json!(["clerk", "clerk"])).await, (200, roles));
    let events = "SELECT count(*) FROM audit.outbox WHERE draft->>'event' = 'access.roles_activated'";
    assert_eq!(town.platform.ask(events).await, "1");
    // Another session of hers has chosen nothing, and chooses for itself.
    let other = town.signed_in(ANA).await;
    assert_eq!(sees(&town, &other).await, (403, 403));
    assert_eq!(put(&town, &other, json!(["signer"])).await.0, 200);
    assert_eq!((sees(&town, &ana).await, sees(&town, &other).await), ((200, 403), (403, 200)));
    // Why, in that session and in none.
    let me = town.me(&ana).await.1;
    let why = async |session: Option<&Value>| {
        let principal = json!({ "kind": "user", "id": me["id"] });
        let asked = json!({ "principal": principal, "permission": "group:read", "session": session });
        let (_, told) = town.post("/v1/access/explain?tenant=acme", asked).await;
        told["reason"].as_str().unwrap_or_default().to_owned()
    };
    let session = &me["session"];
    assert_eq!((why(Some(session)).await, why(None).await), ("granted".into(), "inactive_role".into()));
    // It ends with the session.
    assert_eq!(town.as_person(&ana, "POST", "/v1/me/sign_out", None).await.0, 204);
    refresh(&town.platform).await;
    assert_eq!(code_of(&put(&town, &ana, json!(["signer"])).await), (401, "identity.session_ended"));
    assert_eq!(why(Some(session)).await, "inactive_role");
    // Without the constraint all are active, whatever was chosen.
    let gone =
        town.platform.call(&town.operator, "DELETE", "/v1/constraints/four-eyes?tenant=acme", None).await;
    assert_eq!(gone.0, 204);
    assert_eq!(sees(&town, &other).await, (200, 200));
}

#[tokio::test]
async fn what_may_not_be_chosen_is_refused_and_machines_have_one_or_the_other() {
    let town = office().await;
    let ana = town.signed_in(ANA).await;
    let (status, told) = put(&town, &ana, json!(["clerk", "signer"])).await;
    assert_eq!((status, &told["code"]), (409, &json!("access.roles_exclude_each_other")));
    assert_eq!(
        (&told["constraint"], &told["together"]),
        (&json!("four-eyes"), &json!(["clerk", "signer"])),
        "{told}"
    );
    assert_eq!(code_of(&put(&town, &ana, json!(["admin"])).await), (422, "access.unknown_role"));
    let many: Vec<String> = (0..201).map(|number| number.to_string()).collect();
    assert_eq!(code_of(&put(&town, &ana, json!(many)).await), (422, "api.invalid"));
    assert_eq!(sees(&town, &ana).await, (403, 403), "nothing was chosen");
    // A key is no session.
    let key = town.platform.call(&town.operator, "GET", PATH, None).await;
    assert_eq!(code_of(&key), (403, "access.denied"));
    let permissions = json!({ "name": "x", "kind": "dynamic", "permissions": ["group:read", "group:create"], "at_most": 1 });
    assert_eq!(code_of(&town.post("/v1/constraints?tenant=acme", permissions).await), (422, "api.invalid"));
    let account = town.post("/v1/service_accounts?tenant=acme", json!({ "name": "robot" })).await.1;
    let grant = async |who: Value, role: &str| {
        let answer = town.post("/v1/grants?tenant=acme", json!({ "principal": who, "role": role })).await;
        (answer.0, code_of(&answer).1.to_owned())
    };
    let robot = json!({ "kind": "service_account", "id": account["id"] });
    assert_eq!(grant(robot.clone(), "clerk").await.0, 201, "{account}");
    assert_eq!(grant(robot, "signer").await, (409, "access.sod_violation".to_owned()));
    // What is chosen in one tenant is nothing in another, where nothing is kept apart.
    town.joins("bolt", ANA, &["readonly"]).await;
    assert_eq!(code_of(&put(&town, &ana, json!(["developer"])).await), (422, "access.unknown_role"));
    assert_eq!(town.get("/v1/constraints?tenant=bolt").await["items"], json!([]));
}

/// A plain page does the same: it offers the choice to who has one, and to nobody else.
#[tokio::test]
async fn the_account_page_offers_the_choice_to_who_has_one() {
    let town = office().await;
    town.member("acme", "plain@acme.example", &["readonly"]).await;
    refresh(&town.platform).await;
    let mut ana = signed_in(&town, ANA).await;
    let page = ana.get("/account").await;
    shows(&page, "You act in at most 1 of these at a time (four-eyes): clerk, signer.");
    assert!(!page.text.contains(" checked"), "none is active before she chooses: {}", page.text);
    let form = page.hidden("form");
    let acts = async |visitor: &mut Visitor<'_>, form: &str, roles: &[&str]| {
        let fields = roles.iter().map(|role| ("role", *role)).chain([("form", form)]);
        visitor.post("/account/acting", &fields.collect::<Vec<_>>()).await
    };
    for _ in 0..2 {
        assert_eq!(acts(&mut ana, &form, &["clerk"]).await.location.as_deref(), Some("/account"));
    }
    let events = "SELECT count(*) FROM audit.outbox WHERE draft->>'event' = 'access.roles_activated'";
    assert_eq!(town.platform.ask(events).await, "1", "twice is once");
    shows(&ana.get("/account").await, "value=\"clerk\" checked");
    let both = acts(&mut ana, &form, &["clerk", "signer"]).await;
    assert_eq!(both.status, 409, "{}", both.text);
    shows(&both, "lets at most 1 of clerk, signer be active together");
    shows(&both, "value=\"clerk\" checked");
    assert_eq!(acts(&mut ana, "x", &["signer"]).await.status, 403);
    let mut plain = signed_in(&town, "plain@acme.example").await;
    let page = plain.get("/account").await;
    assert!(!page.text.contains("What you act in"), "{}", page.text);
    assert_eq!(acts(&mut plain, &page.hidden("form"), &["clerk"]).await.status, 422);
    let mut stranger = Visitor::new(&town.platform);
    let away = acts(&mut stranger, "x", &["clerk"]).await;
    assert_eq!(away.location.as_deref(), Some("/account/sign_in"));
}

/// What AuthZEN's searches and the reviews say of Ana's right to see groups: by subject, by resource, by action, who and what.
async fn answers(town: &Town, ana: &Value, session: &Value) -> [bool; 5] {
    let ask = async |path: &str, body: Value| {
        let tenant = Some(("x-tenant-code", "acme"));
        let (status, told) =
            town.platform.call_with(&town.operator, ("POST", path), tenant, Some(body)).await;
        assert_eq!(status, 200, "{told}");
        told
    };
    let has = |list: &Value, field: &str, wanted: &Value| {
        list.as_array().expect("a list").iter().any(|one| one[field] == *wanted)
    };
    let person = json!({ "type": "user", "id": ana, "properties": { "session": session } });
    let people = json!({ "type": "user", "properties": { "session": session } });
    let (read, group) = (json!({ "name": "read" }), json!({ "type": "group", "id": "g1" }));
    let who = json!({ "subject": people, "action": read, "resource": group });
    let on = json!({ "subject": person, "action": read, "resource": { "type": "group" } });
    let what = json!({ "subject": person, "resource": group });
    let may = json!({ "permission": "group:read", "session": session });
    let all = json!({ "principal": { "kind": "user", "id": ana }, "session": session });
    let who_can = ask("/v1/access/who_can?tenant=acme", may).await;
    let principals: Vec<Value> =
        who_can["items"].as_array().expect("a list").iter().map(|one| one["principal"].clone()).collect();
    let permissions = ask("/v1/access/what_can?tenant=acme", all).await["permissions"].clone();
    [
        has(&ask("/access/v1/search/subject", who).await["results"], "id", ana),
        has(&ask("/access/v1/search/resource", on).await["results"], "id", &json!("g1")),
        has(&ask("/access/v1/search/action", what).await["results"], "name", &json!("read")),
        has(&json!(principals), "id", ana),
        permissions.as_array().expect("a list").contains(&json!("group:read")),
    ]
}

#[tokio::test]
async fn searches_tell_what_is_active_in_the_session_that_they_name() {
    let town = office().await;
    // Somebody else's, so that the thing is known.
    let robot = town.post("/v1/service_accounts?tenant=acme", json!({ "name": "robot" })).await.1;
    let known = json!({ "principal": { "kind": "service_account", "id": robot["id"] }, "permission": "group:read",
        "resource": { "type": "group", "id": "g1" } });
    assert_eq!(town.post("/v1/grants?tenant=acme", known).await.0, 201);
    let (ana, other) = (town.signed_in(ANA).await, town.signed_in(ANA).await);
    assert_eq!(put(&town, &ana, json!(["clerk"])).await.0, 200);
    refresh(&town.platform).await;
    let (me, elsewhere) = (town.me(&ana).await.1, town.me(&other).await.1);
    let id = &me["id"];
    assert_eq!(answers(&town, id, &me["session"]).await, [true; 5]);
    assert_eq!(answers(&town, id, &elsewhere["session"]).await, [false; 5], "nothing was chosen in it");
    assert_eq!(answers(&town, id, &Value::Null).await, [false; 5], "nor where none is named");
    // Another's session is nobody's.
    let ben = town.member("acme", "ben@acme.example", &["readonly"]).await;
    refresh(&town.platform).await;
    assert_eq!(answers(&town, &json!(ben), &me["session"]).await, [false; 5]);
}

#[tokio::test]
async fn no_constraint_and_no_further_role_keeps_the_last_administrator_from_acting() {
    let town = office().await;
    let person = |id: &str| json!({ "kind": "user", "id": id });
    let give = async |id: &str, role: &str| {
        town.post("/v1/grants?tenant=acme", json!({ "principal": person(id), "role": role })).await
    };
    let eva = town.member("acme", "eva@acme.example", &["tenant_admin"]).await;
    assert_eq!(give(&eva, "clerk").await.0, 201);
    let apart = |roles: [&str; 2]| json!({ "name": "hats", "kind": "dynamic", "roles": roles, "at_most": 1 });
    let constrain = async |path: &str, roles| town.post(path, apart(roles)).await;
    let own = "/v1/constraints?tenant=acme";
    assert_eq!(code_of(&constrain(own, ["tenant_admin", "clerk"]).await), (409, "access.last_admin"));
    // A role that inherits what it is kept apart from could never be active.
    assert_eq!(code_of(&constrain(own, ["tenant_admin", "operator"]).await), (409, "access.last_admin"));
    let (status, told) = constrain("/v1/constraints", ["tenant_admin", "developer"]).await;
    assert_eq!((status, &told["code"]), (409, &json!("access.last_admin")), "{told}");
    assert_eq!((&told["tenants"], &told["tenants_count"]), (&json!([town.acme.to_string()]), &json!(1)));
    // With another one who acts without choosing, it may be; then he is the last.
    let max = town.member("acme", "max@acme.example", &["tenant_admin"]).await;
    let (status, told) = constrain(own, ["tenant_admin", "clerk"]).await;
    assert_eq!(status, 201, "{told}");
    assert_eq!(code_of(&give(&max, "clerk").await), (409, "access.last_admin"));
    let gone = format!("/v1/users/{max}?tenant=acme");
    let gone = town.platform.call(&town.operator, "DELETE", &gone, None).await;
    assert_eq!(code_of(&gone), (409, "access.last_admin"));
    let group = town.post("/v1/groups?tenant=acme", json!({ "name": "desk" })).await.1;
    let holds = json!({ "principal": { "kind": "group", "id": group["id"] }, "role": "clerk" });
    assert_eq!(town.post("/v1/grants?tenant=acme", holds).await.0, 201);
    let group = group["id"].as_str().expect("an id");
    let path = format!("/v1/groups/{group}/members/user/{max}?tenant=acme");
    let joined = town.platform.call(&town.operator, "PUT", &path, Some(json!({}))).await;
    assert_eq!(code_of(&joined), (409, "access.last_admin"));
    // In another tenant it is another matter.
    town.member("bolt", "zoe@bolt.example", &["tenant_admin"]).await;
    let bolt = json!({ "name": "hats", "kind": "dynamic", "roles": ["operator", "readonly"], "at_most": 1 });
    assert_eq!(code_of(&town.post("/v1/constraints?tenant=bolt", bolt).await), (409, "access.last_admin"));
}

/// Who helps people does not take the factors of somebody who need only choose to be more than he is.
#[tokio::test]
async fn what_somebody_could_choose_counts_as_theirs() {
    let town = office().await;
    let role = json!({ "name": "desk", "permissions": ["user:read", "user:update"] });
    assert_eq!(town.post("/v1/roles?tenant=acme", role).await.0, 201);
    let dan = town.member("acme", "dan@acme.example", &["readonly"]).await;
    let grant = json!({ "principal": { "kind": "user", "id": dan }, "role": "desk" });
    assert_eq!(town.post("/v1/grants?tenant=acme", grant).await.0, 201);
    refresh(&town.platform).await;
    let ana = town.me(&town.signed_in(ANA).await).await.1["id"].as_str().expect("an id").to_owned();
    let dan = town.signed_in("dan@acme.example").await;
    let path = format!("/v1/users/{ana}/reset_factors");
    let refused = town.as_person(&dan, "POST", &path, Some(json!({}))).await;
    assert_eq!(code_of(&refused), (403, "access.escalation"));
}
