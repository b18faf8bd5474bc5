//! Pages for who administers an organisation, in a browser without scripts: what they do is what the API does, and nothing more.

use serde_json::{Value, json};

use crate::people::{Town, refresh, town};
use crate::provider::{Provider, signed};
use crate::sign_in::PASSWORD;
use crate::sso::prove;
use crate::visitor::{Seen, Visitor};

const CHIEF: &str = "chief@acme.example";
const ANA: &str = "ana@acme.example";
const PEOPLE: &str = "/account/organisation/people";
const ROLES: &str = "/account/organisation/roles";
const SIGN_IN: &str = "/account/organisation/sign_in";
const CONNECTIONS: &str = "/account/organisation/connections";

async fn stage() -> Town {
    let town = town().await;
    town.member("acme", CHIEF, &["tenant_admin"]).await;
    town.member("acme", ANA, &["user"]).await;
    town.member("bolt", "zoe@bolt.example", &["user"]).await;
    refresh(&town.platform).await;
    town
}

async fn signed_in<'a>(town: &'a Town, name: &str) -> Visitor<'a> {
    let mut visitor = Visitor::new(&town.platform);
    let seen = visitor.sign_in(name, PASSWORD).await;
    assert_eq!(seen.location.as_deref(), Some("/account"), "{}", seen.text);
    visitor
}

/// Sends the form of a page as its administrator does.
async fn send(visitor: &mut Visitor<'_>, page: &str, fields: &[(&str, &str)]) -> Seen {
    let form = visitor.get(page).await.hidden("form");
    let mut all = vec![("form", form.as_str())];
    all.extend_from_slice(fields);
    visitor.post(page, &all).await
}

fn shows(seen: &Seen, text: &str) {
    assert!(seen.text.contains(text), "{text}: {} {}", seen.status, seen.text);
}

async fn id_of(town: &Town, list: &str, email: &str) -> String {
    let all = town.get(&format!("{list}?tenant=acme")).await;
    let row = all["items"].as_array().expect("a list").iter().find(|row| row["email"] == email).cloned();
    row.expect("it is there")["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn an_administrator_invites_people_gives_roles_and_removes_somebody() {
    let town = stage().await;
    let mut chief = signed_in(&town, CHIEF).await;
    let page = chief.get(PEOPLE).await;
    shows(&page, ANA);
    assert!(!page.text.contains("zoe@bolt.example"), "another organisation's people are not shown");
    for email in ["ben@acme.example", "cleo@acme.example"] {
        let seen = send(&mut chief, PEOPLE, &[("step", "invite"), ("email", email), ("role", "user")]).await;
        shows(&seen, "The invitation is on its way.");
        shows(&seen, email);
        town.mailed("invitation", email).await;
    }
    let again = send(&mut chief, PEOPLE, &[("step", "invite"), ("email", "no address")]).await;
    assert_eq!(again.status, 422, "{}", again.text);
    let cleo = id_of(&town, "/v1/invitations", "cleo@acme.example").await;
    let back = send(&mut chief, PEOPLE, &[("step", "revoke"), ("invitation", &cleo)]).await;
    assert!(!back.text.contains("cleo@acme.example"), "{}", back.text);
    // A role of their own, for somebody who is there.
    let made = [
        ("step", "make"),
        ("name", "stamp-clerk"),
        ("title", "Clerk <b>of stamps</b>"),
        ("permission", "metadata_stamp:read"),
        ("permission", "metadata_stamp:create"),
    ];
    let seen = send(&mut chief, ROLES, &made).await;
    shows(&seen, "The role is made.");
    shows(&seen, "metadata_stamp:read, metadata_stamp:create");
    shows(&seen, "Clerk &lt;b&gt;of stamps&lt;&#x2f;b&gt;");
    refresh(&town.platform).await;
    let ana = id_of(&town, "/v1/users", ANA).await;
    let seen = send(&mut chief, PEOPLE, &[("step", "give"), ("user", &ana), ("role", "stamp-clerk")]).await;
    shows(&seen, "The role is given.");
    shows(&seen, &format!("Take the role stamp-clerk from {ANA}"));
    let kept = send(&mut chief, ROLES, &[("step", "delete"), ("name", "stamp-clerk")]).await;
    assert_eq!(kept.status, 409, "somebody has it: {}", kept.text);
    let gone = send(&mut chief, PEOPLE, &[("step", "remove"), ("user", &ana)]).await;
    shows(&gone, "does not belong to your organisation any more");
    assert!(!gone.text.contains(ANA), "{}", gone.text);
    // The last administrator stays, and an id is an id.
    let own = id_of(&town, "/v1/users", CHIEF).await;
    assert_eq!(send(&mut chief, PEOPLE, &[("step", "remove"), ("user", &own)]).await.status, 409);
    let odd = send(&mut chief, PEOPLE, &[("step", "remove"), ("user", "../invitations")]).await;
    assert_eq!(odd.status, 422, "{}", odd.text);
}

#[tokio::test]
async fn who_may_not_sees_nothing_and_other_sites_send_no_forms() {
    let town = stage().await;
    let mut stranger = Visitor::new(&town.platform);
    assert_eq!(stranger.get(PEOPLE).await.location.as_deref(), Some("/account/sign_in"));
    let back = stranger.sign_in(CHIEF, PASSWORD).await;
    assert_eq!(back.location.as_deref(), Some(PEOPLE), "signing in leads back");
    let mut ana = signed_in(&town, ANA).await;
    for page in [ROLES, SIGN_IN, CONNECTIONS] {
        let seen = ana.get(page).await;
        assert!(!seen.text.contains("client_secret") && !seen.text.contains(CHIEF), "{page}: {}", seen.text);
    }
    let form = ana.get("/account").await.hidden("form");
    for (page, fields) in [
        (PEOPLE, vec![("step", "invite"), ("email", "dan@acme.example"), ("role", "tenant_admin")]),
        (ROLES, vec![("step", "make"), ("name", "boss"), ("inherits", "tenant_admin")]),
        (CONNECTIONS, vec![("step", "begin"), ("name", "Mine"), ("issuer", "https://login.example")]),
    ] {
        let all: Vec<_> = fields.into_iter().chain([("form", form.as_str())]).collect();
        assert_eq!(ana.post(page, &all).await.status, 403, "{page}");
    }
    let mut chief = signed_in(&town, CHIEF).await;
    let planted =
        chief.post(PEOPLE, &[("step", "invite"), ("email", "dan@acme.example"), ("form", "x")]).await;
    shows(&planted, "The form is not from this page.");
    assert_eq!(town.get("/v1/invitations?tenant=acme").await["items"], json!([]));
}

#[tokio::test]
async fn two_factors_for_everyone_are_looked_at_before_they_are_asked_for() {
    let town = stage().await;
    let mut chief = signed_in(&town, CHIEF).await;
    let wanted = [("mfa", "required"), ("days", "7"), ("single_sign_on", "optional")];
    let with = |step: &'static str, version: &'static str| {
        [[("step", step), ("version", version)].as_slice(), wanted.as_slice()].concat()
    };
    let seen = send(&mut chief, SIGN_IN, &with("preview", "")).await;
    shows(&seen, "2 people belong to your organisation");
    shows(&seen, "Nobody would be locked out.");
    assert_eq!(
        town.get("/v1/sign_in_policy?tenant=acme").await["mfa"],
        "optional",
        "nothing changes by looking"
    );
    assert_eq!(seen.hidden("version"), "0");
    shows(&send(&mut chief, SIGN_IN, &with("set", "0")).await, "It is asked from now on.");
    assert_eq!(town.get("/v1/sign_in_policy?tenant=acme").await["mfa"], "required");
    assert_eq!(send(&mut chief, SIGN_IN, &with("set", "0")).await.status, 412, "somebody was quicker");
    // At once would shut the administrator out, who has none: it says so and offers nothing to press.
    let now = [("step", "preview"), ("mfa", "required"), ("days", "0"), ("single_sign_on", "optional")];
    let seen = send(&mut chief, SIGN_IN, &now).await;
    shows(&seen, "It cannot be set like this: You do not meet it yourself.");
    assert!(!seen.text.contains("value=\"set\""), "{}", seen.text);
    // After a while the page asks who it is before it shows a form, and leads back.
    town.platform.hand.advance_us(10 * 60 * 1_000_000);
    let asked = chief.get(SIGN_IN).await;
    shows(&asked, "Is it still you?");
    let form = asked.hidden("form");
    let back = chief.post("/account", &[("form", &form), ("step", "step_up"), ("present", PASSWORD)]).await;
    assert_eq!(back.location.as_deref(), Some(SIGN_IN), "{}", back.text);
    shows(&chief.get(SIGN_IN).await, "Show whom it touches");
}

#[tokio::test]
async fn single_sign_on_is_set_up_step_by_step_and_switched_off_again() {
    let (town, provider) = (stage().await, Provider::start().await);
    prove(&town, "acme", 1, "acme.example").await;
    let mut chief = signed_in(&town, CHIEF).await;
    let nobody = [("step", "begin"), ("name", "Acme login"), ("issuer", "http://127.0.0.1:1")];
    assert!(send(&mut chief, CONNECTIONS, &nobody).await.status >= 400);
    let begin = [("step", "begin"), ("name", "Acme login"), ("issuer", provider.url.as_str())];
    let seen = send(&mut chief, CONNECTIONS, &begin).await;
    shows(&seen, "The provider was found.");
    let at = format!("{}/authorize", provider.url).replace('/', "&#x2f;");
    shows(&seen, &at);
    let id = seen.hidden("connection");
    shows(&seen, &format!("&#x2f;account&#x2f;sso&#x2f;{id}&#x2f;callback"));
    let client = [
        ("step", "client"),
        ("connection", id.as_str()),
        ("client_id", "rowhouse"),
        ("client_secret", "a secret"),
        ("domains", "acme.example"),
        ("creates", "yes"),
        ("role", "user"),
    ];
    let seen = send(&mut chief, CONNECTIONS, &client).await;
    shows(&seen, "Kept. Now test it.");
    assert!(!seen.text.contains("a secret"), "a secret is never shown");
    let one = [("step", "test"), ("connection", id.as_str())];
    let seen = send(&mut chief, CONNECTIONS, &one).await;
    shows(&seen, "Sign in at the provider, for the test");
    let (_, rest) = seen.text.split_once("class=\"button\" href=\"").expect("the link");
    let link = rest.split('"').next().expect("an end").replace("&#x2f;", "/").replace("&amp;", "&");
    let began = chief.get(link.strip_prefix("http://127.0.0.1:8081").expect("a page of ours")).await;
    let now = town.platform.control.clock().now_s();
    let claims = json!({ "iss": provider.url, "aud": "rowhouse", "sub": "ana-1", "iat": now, "exp": now + 600,
        "nonce": began.parameter("nonce"), "email": ANA, "email_verified": true, "name": "Ana Ito" });
    let token = signed("one", &json!({ "alg": "EdDSA", "kid": "one" }), &claims);
    provider.gives(200, json!({ "id_token": token, "access_token": "access", "token_type": "Bearer" }));
    let state = began.parameter("state").expect("a state");
    let issuer = provider.url.replace(':', "%3A").replace('/', "%2F");
    let came = chief.get(&format!("/account/sso/{id}/callback?code=abc&state={state}&iss={issuer}")).await;
    assert_eq!(came.status, 200, "{}", came.text);
    shows(&chief.get(CONNECTIONS).await, "The last test got through.");
    shows(
        &send(&mut chief, CONNECTIONS, &[("step", "on"), ("connection", &id)]).await,
        "stands on your sign-in page",
    );
    let offered = Visitor::new(&town.platform).get("/account/sign_in?tenant=acme").await;
    shows(&offered, "Sign in with Acme login");
    // The secret of before stays where none is entered.
    let mut kept = client;
    kept[3] = ("client_secret", "");
    shows(&send(&mut chief, CONNECTIONS, &kept).await, "Kept. Now test it.");
    let path = format!("/v1/connections/{id}?tenant=acme");
    assert_eq!(town.get(&path).await["has_secret"], Value::Bool(true));
    // The provider is away: off is the way back.
    provider.goes(true);
    shows(
        &send(&mut chief, CONNECTIONS, &[("step", "off"), ("connection", &id)]).await,
        "Nobody comes in by it now.",
    );
    let offered = Visitor::new(&town.platform).get("/account/sign_in?tenant=acme").await;
    assert!(!offered.text.contains("Acme login"), "{}", offered.text);
    shows(&send(&mut chief, CONNECTIONS, &[("step", "remove"), ("connection", &id)]).await, "It is gone.");
}
