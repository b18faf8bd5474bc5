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
