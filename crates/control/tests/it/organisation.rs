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
const GROUPS: &str = "/account/organisation/groups";
const DOMAINS: &str = "/account/organisation/domains";
const KEYS: &str = "/account/organisation/keys";
const APPROVALS: &str = "/account/organisation/approvals";
const CONSTRAINTS: &str = "/account/organisation/constraints";
const AUDIT: &str = "/account/organisation/audit";

async fn stage() -> Town {
    let town = town().await;
    town.member("acme", CHIEF, &["tenant_admin"]).await;
    town.member("acme", ANA, &["user"]).await;
    town.member("bolt", "zoe@bolt.example", &["user"]).await;
    refresh(&town.platform).await;
    town
}

pub async fn signed_in<'a>(town: &'a Town, name: &str) -> Visitor<'a> {
    let mut visitor = Visitor::new(&town.platform);
    let seen = visitor.sign_in(name, PASSWORD).await;
    assert_eq!(seen.location.as_deref(), Some("/account"), "{}", seen.text);
    visitor
}

/// Sends the form of a page as its administrator does.
pub async fn send(visitor: &mut Visitor<'_>, page: &str, fields: &[(&str, &str)]) -> Seen {
    let form = visitor.get(page).await.hidden("form");
    let mut all = vec![("form", form.as_str())];
    all.extend_from_slice(fields);
    visitor.post(page, &all).await
}

pub fn shows(seen: &Seen, text: &str) {
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
    // A role of their own, for somebody who is there. What only the platform has is not offered.
    let offered = chief.get(ROLES).await;
    shows(&offered, "value=\"metadata_stamp:read\"");
    for none in ["node:enrol", "cell:create", "system:admin", "catalog:update"] {
        assert!(!offered.text.contains(&format!("value=\"{none}\"")), "{none}");
    }
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
    shows(&seen, "For who runs your organisation");
    assert!(seen.text.contains("everything") && !seen.text.contains("*:*"), "{}", seen.text);
    refresh(&town.platform).await;
    let ana = id_of(&town, "/v1/users", ANA).await;
    let one = format!("{PEOPLE}?one={ana}");
    let give = [("step", "give"), ("user", ana.as_str()), ("role", "stamp-clerk"), ("until", "2999-12-31")];
    let seen = send(&mut chief, &one, &give).await;
    shows(&seen, "The role is given.");
    shows(&seen, &format!("Take away the role stamp-clerk from {ANA}"));
    shows(&seen, "3000-01-01, 0:00 UTC");
    let odd = [("step", "give"), ("user", ana.as_str()), ("role", "stamp-clerk"), ("until", "soon")];
    assert_eq!(send(&mut chief, &one, &odd).await.status, 422);
    // Kept out and let in again, unlocked, and a session of hers ended.
    shows(&send(&mut chief, &one, &[("step", "suspend"), ("user", &ana)]).await, "may not enter");
    shows(&send(&mut chief, &one, &[("step", "resume"), ("user", &ana)]).await, "They may enter again.");
    shows(&send(&mut chief, &one, &[("step", "unlock"), ("user", &ana)]).await, "looked at again");
    let mut own = signed_in(&town, ANA).await;
    let seen = chief.get(&one).await;
    let session = seen.hidden("session");
    shows(&send(&mut chief, &one, &[("step", "end"), ("session", &session)]).await, "The session is over.");
    assert_eq!(own.get("/account").await.location.as_deref(), Some("/account/sign_in"));
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

/// What a form did is told on the page that the browser is sent to: once, in that browser, and in our words alone.
#[tokio::test]
async fn loading_a_page_again_sends_no_form_again_and_tells_nothing_twice() {
    let town = stage().await;
    let mut chief = signed_in(&town, CHIEF).await;
    let form = chief.get(PEOPLE).await.hidden("form");
    let invite = async |chief: &mut Visitor<'_>, email: &str| {
        let fields = [("form", form.as_str()), ("step", "invite"), ("email", email), ("role", "user")];
        let sent = chief.only_post(PEOPLE, &fields).await;
        assert_eq!((sent.status, sent.location.as_deref()), (303, Some(PEOPLE)), "{}", sent.text);
    };
    let told = |seen: &Seen| seen.text.contains("The invitation is on its way.");
    invite(&mut chief, "ben@acme.example").await;
    let cookie = chief.cookies["__Host-rowhouse_told"].clone();
    assert!(told(&chief.get(PEOPLE).await));
    assert!(!told(&chief.get(PEOPLE).await), "told once");
    assert_eq!(town.get("/v1/invitations?tenant=acme").await["items"].as_array().map(Vec::len), Some(1));
    // Neither in another browser, nor changed, nor a minute later.
    let mut other = signed_in(&town, CHIEF).await;
    for (browser, text) in [(&mut other, cookie.clone()), (&mut chief, format!("{cookie}A"))] {
        browser.cookies.insert("__Host-rowhouse_told".to_owned(), text);
        let seen = browser.get(PEOPLE).await;
        assert!(seen.status == 200 && !told(&seen), "{}", seen.text);
        assert!(!browser.cookies.contains_key("__Host-rowhouse_told"), "what tells nothing is taken away");
    }
    invite(&mut chief, "cleo@acme.example").await;
    town.platform.hand.advance_us(61 * 1_000_000);
    assert!(!told(&chief.get(PEOPLE).await));
}

#[tokio::test]
async fn who_may_not_sees_nothing_and_other_sites_send_no_forms() {
    let town = stage().await;
    let mut stranger = Visitor::new(&town.platform);
    assert_eq!(stranger.get(PEOPLE).await.location.as_deref(), Some("/account/sign_in"));
    let back = stranger.sign_in(CHIEF, PASSWORD).await;
    assert_eq!(back.location.as_deref(), Some(PEOPLE), "signing in leads back");
    let mut ana = signed_in(&town, ANA).await;
    let account = ana.get("/account").await;
    assert!(
        !account.text.contains("Your organisation"),
        "nothing there is for a plain user: {}",
        account.text
    );
    assert_eq!(ana.get("/account/organisation").await.location.as_deref(), Some("/account"));
    for page in [PEOPLE, ROLES, SIGN_IN, CONNECTIONS, GROUPS, DOMAINS, KEYS, APPROVALS, CONSTRAINTS, AUDIT] {
        let seen = ana.get(page).await;
        assert!(!seen.text.contains("client_secret") && !seen.text.contains(CHIEF), "{page}: {}", seen.text);
    }
    let form = ana.get("/account").await.hidden("form");
    for (page, fields) in [
        (PEOPLE, vec![("step", "invite"), ("email", "dan@acme.example"), ("role", "tenant_admin")]),
        (ROLES, vec![("step", "make"), ("name", "boss"), ("inherits", "tenant_admin")]),
        (CONNECTIONS, vec![("step", "begin"), ("name", "Mine"), ("issuer", "https://login.example")]),
        (GROUPS, vec![("step", "make"), ("name", "mine")]),
        (DOMAINS, vec![("step", "claim"), ("name", "mine.example")]),
        (KEYS, vec![("step", "account"), ("name", "mine")]),
        (APPROVALS, vec![("step", "by_two")]),
        (
            CONSTRAINTS,
            vec![("step", "make"), ("name", "mine"), ("role", "user"), ("role", "viewer"), ("at_most", "1")],
        ),
        (CONSTRAINTS, vec![("step", "delete"), ("name", "mine")]),
        (SIGN_IN, vec![("step", "set"), ("policy", "{\"mfa\":\"off\"}"), ("version", "0")]),
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
    shows(&seen, "set something up at once.");
    shows(&seen, "It cannot be set like this: You do not meet it yourself.");
    assert!(!seen.text.contains("value=\"set\""), "{}", seen.text);
}

/// What was typed is done after the proof: once, by who typed it, where they sent it.
#[tokio::test]
async fn a_proof_in_the_middle_loses_nothing_that_was_typed() {
    let (town, provider) = (stage().await, Provider::start().await);
    let mut chief = signed_in(&town, CHIEF).await;
    let form = chief.get(CONNECTIONS).await.hidden("form");
    town.platform.hand.advance_us(11 * 60 * 1_000_000);
    // Looking needs none.
    shows(&chief.get(CONNECTIONS).await, "connect a provider");
    let begin =
        [("form", form.as_str()), ("step", "begin"), ("name", "Acme & <b>login"), ("issuer", &provider.url)];
    let asked = chief.post(CONNECTIONS, &begin).await;
    shows(&asked, "Is it still you?");
    shows(&asked, "What you typed is kept");
    let draft = asked.hidden("draft");
    assert!(!asked.text.contains("login"), "what was typed is not to be read: {}", asked.text);
    // Somebody else's page gets a proof from nobody, and its form is not kept.
    let foreign = chief.post(CONNECTIONS, &[("form", "x"), ("step", "begin"), ("name", "Evil")]).await;
    assert!(foreign.status == 403 && !foreign.text.contains("name=\"draft\""), "{}", foreign.text);
    let proof = |present: &'static str, draft: &str, form: &str| {
        [("form", form), ("step", "step_up"), ("draft", draft), ("present", present)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let prove = async |visitor: &mut Visitor<'_>, page: &str, present: &'static str, draft: &str| {
        let form = visitor.get(page).await.hidden("form");
        let fields = proof(present, draft, &form);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        visitor.post(page, &fields).await
    };
    // A wrong answer keeps it.
    let again = prove(&mut chief, CONNECTIONS, "not the password", &draft).await;
    shows(&again, "Is it still you?");
    assert_eq!((again.status, again.hidden("draft")), (401, draft.clone()));
    let listed = || town.get("/v1/connections?tenant=acme");
    assert_eq!(listed().await["items"], json!([]), "nothing was done yet");
    // Nor does anything come of it on another page, or in another browser of the same person.
    let mut other = signed_in(&town, CHIEF).await;
    shows(&prove(&mut other, CONNECTIONS, PASSWORD, &draft).await, "connect a provider");
    assert_eq!(listed().await["items"], json!([]));
    let old = chief.cookies.clone();
    let done = prove(&mut chief, CONNECTIONS, PASSWORD, &draft).await;
    shows(&done, "The provider was found.");
    shows(&done, "Acme &amp; &lt;b&gt;login");
    // Its forms work: they carry the token of the session as it is now.
    let named = |all: &Value| all["items"].as_array().map(Vec::len);
    assert_eq!(named(&listed().await), Some(1));
    let id = done.hidden("connection");
    let fields = [("form", done.hidden("form")), ("step", "remove".to_owned()), ("connection", id)];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    shows(&chief.post(CONNECTIONS, &fields).await, "It is gone.");
    // Once: neither with the new secret nor with the old one.
    shows(&prove(&mut chief, CONNECTIONS, PASSWORD, &draft).await, "connect a provider");
    let now = std::mem::replace(&mut chief.cookies, old);
    assert_eq!(chief.get(CONNECTIONS).await.location.as_deref(), Some("/account/sign_in"));
    chief.cookies = now;
    assert_eq!(listed().await["items"], json!([]));
}

#[tokio::test]
async fn what_waits_for_a_proof_waits_ten_minutes_and_on_its_page() {
    let town = stage().await;
    let mut chief = signed_in(&town, CHIEF).await;
    town.platform.hand.advance_us(11 * 60 * 1_000_000);
    let set = [("step", "set"), ("mfa", "required"), ("days", "7"), ("version", "0")];
    let asked = send(&mut chief, SIGN_IN, &set).await;
    shows(&asked, "Is it still you?");
    let mfa = || async { town.get("/v1/sign_in_policy?tenant=acme").await["mfa"].clone() };
    let fields = |page: &Seen| {
        [("form", page.hidden("form")), ("draft", page.hidden("draft"))]
            .into_iter()
            .chain([("step", "step_up".to_owned()), ("present", PASSWORD.to_owned())])
            .collect::<Vec<_>>()
    };
    let post = async |chief: &mut Visitor<'_>, path: &str, all: Vec<(&str, String)>| {
        let all: Vec<_> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
        chief.post(path, &all).await
    };
    // Sent to another page it is not opened there; the secret is another one from then on.
    assert_eq!(post(&mut chief, PEOPLE, fields(&asked)).await.status, 200);
    assert_eq!(mfa().await, "optional");
    town.platform.hand.advance_us(11 * 60 * 1_000_000);
    let asked = send(&mut chief, SIGN_IN, &set).await;
    town.platform.hand.advance_us(11 * 60 * 1_000_000);
    assert_eq!(
        post(&mut chief, SIGN_IN, fields(&asked)).await.status,
        200,
        "too late: only the proof counts"
    );
    assert_eq!(mfa().await, "optional");
    town.platform.hand.advance_us(11 * 60 * 1_000_000);
    let asked = send(&mut chief, SIGN_IN, &set).await;
    shows(&post(&mut chief, SIGN_IN, fields(&asked)).await, "It is asked from now on.");
    assert_eq!(mfa().await, "required");
    // The account's own page does the same.
    town.platform.hand.advance_us(11 * 60 * 1_000_000);
    let form = chief.get("/account").await.hidden("form");
    let asked = chief.post("/account", &[("form", &form), ("step", "add")]).await;
    shows(&asked, "Is it still you?");
    shows(&post(&mut chief, "/account", fields(&asked)).await, "An authenticator program");
}

#[tokio::test]
async fn groups_are_made_filled_and_given_roles() {
    let town = stage().await;
    let mut chief = signed_in(&town, CHIEF).await;
    let make = [("step", "make"), ("name", "night-shift"), ("title", "Night <i>shift</i>")];
    let seen = send(&mut chief, GROUPS, &make).await;
    shows(&seen, "Nobody is in it yet.");
    shows(&seen, "Night &lt;i&gt;shift");
    let listed = town.get("/v1/groups?tenant=acme").await;
    let group = listed["items"][0]["id"].as_str().expect("an id").to_owned();
    let ana = id_of(&town, "/v1/users", ANA).await;
    let (one, member) = (format!("{GROUPS}?one={group}"), format!("user:{ana}"));
    let add = [("step", "add"), ("group", group.as_str()), ("member", &member), ("until", "2999-12-31")];
    let seen = send(&mut chief, &one, &add).await;
    shows(&seen, "They are in the group");
    shows(&seen, "3000-01-01, 0:00 UTC");
    let give = [("step", "give"), ("group", group.as_str()), ("role", "developer")];
    shows(&send(&mut chief, &one, &give).await, "Everybody in the group has the role.");
    let seen = chief.get(&format!("/account/organisation/people?one={ana}")).await;
    shows(&seen, "With the password: they are in");
    shows(&seen, &format!("/account/organisation/groups?one={group}"));
    shows(&seen, "Night &lt;i&gt;shift");
    shows(&seen, "developer");
    assert!(!seen.text.contains("They are in no group."), "{}", seen.text);
    // By another group too.
    let outer = town.post("/v1/groups?tenant=acme", json!({ "name": "whole-day" })).await.1;
    let outer = outer["id"].as_str().expect("an id");
    let path = format!("/v1/groups/{outer}/members/group/{group}?tenant=acme");
    assert_eq!(town.platform.call(&town.operator, "PUT", &path, Some(json!({}))).await.0, 200);
    let seen = chief.get(&format!("/account/organisation/people?one={ana}")).await;
    shows(&seen, &format!("/account/organisation/groups?one={outer}"));
    assert_eq!(town.platform.call(&town.operator, "DELETE", &path, None).await.0, 204);
    let zoe = format!("user:{}", {
        let all = town.get("/v1/users?tenant=bolt").await;
        all["items"][0]["id"].as_str().expect("an id").to_owned()
    });
    for odd in [zoe.as_str(), "user:../../x", "operator:x", "user"] {
        let seen = send(&mut chief, &one, &[("step", "add"), ("group", &group), ("member", odd)]).await;
        assert!(matches!(seen.status, 404 | 422), "{odd}: {} {}", seen.status, seen.text);
    }
    let out = [("step", "out"), ("group", group.as_str()), ("member", &member)];
    shows(&send(&mut chief, &one, &out).await, "not in the group any more");
    shows(&chief.get(&format!("/account/organisation/people?one={ana}")).await, "They are in no group.");
    shows(&send(&mut chief, &one, &[("step", "delete"), ("group", &group)]).await, "The group is gone");
}

#[tokio::test]
async fn a_domain_is_claimed_by_the_record_that_the_page_shows() {
    let town = stage().await;
    let mut chief = signed_in(&town, CHIEF).await;
    let seen = send(&mut chief, DOMAINS, &[("step", "claim"), ("name", "Somebody@Portal.Example")]).await;
    shows(&seen, "Add the record below");
    shows(&seen, "<code>_rowhouse.portal.example</code>");
    let claimed = town.get("/v1/hosts?tenant=acme").await;
    let proof = claimed["items"][0]["proof"]["value"].as_str().expect("text").to_owned();
    shows(&seen, &proof.replace('/', "&#x2f;"));
    let host = seen.hidden("host");
    let looked = send(&mut chief, DOMAINS, &[("step", "verify"), ("host", &host)]).await;
    shows(&looked, "two resolvers must be set");
    shows(&looked, "not proven yet");
    assert_eq!(send(&mut chief, DOMAINS, &[("step", "claim"), ("name", "co.uk")]).await.status, 422);
    shows(&send(&mut chief, DOMAINS, &[("step", "remove"), ("host", &host)]).await, "given up");
    assert_eq!(town.get("/v1/hosts?tenant=acme").await["items"], json!([]));
}

#[tokio::test]
async fn keys_are_made_shown_once_rotated_and_revoked() {
    let town = stage().await;
    let mut chief = signed_in(&town, CHIEF).await;
    let seen = send(&mut chief, KEYS, &[("step", "account"), ("name", "Reports <&>")]).await;
    shows(&seen, "Reports &lt;&amp;&gt;");
    let account = seen.hidden("account");
    let give = [("step", "give"), ("account", account.as_str()), ("role", "viewer")];
    shows(&send(&mut chief, KEYS, &give).await, "The role is given.");
    let make = [
        ("step", "make"),
        ("account", account.as_str()),
        ("name", "nightly"),
        ("role", "viewer"),
        ("allowed_ips", "203.0.113.0/24, 198.51.100.7"),
        // What the form does not have is not taken.
        ("environment", "test"),
        ("tenant", "bolt"),
    ];
    let seen = send(&mut chief, KEYS, &make).await;
    shows(&seen, "It is shown now and never again");
    let text = |seen: &Seen| {
        let (_, rest) = seen.text.split_once("class=\"secret\"").expect("it is shown");
        let (_, rest) = rest.split_once("<code>").expect("the key");
        rest.split('<').next().expect("an end").to_owned()
    };
    let first = text(&seen);
    assert!(!chief.get(KEYS).await.text.contains(&first), "once");
    let listed = town.get("/v1/keys?tenant=acme").await;
    let made = &listed["items"][0];
    assert_eq!((&made["environment"], &made["roles"]), (&json!("live"), &json!(["viewer"])), "{made}");
    assert_eq!(made["allowed_ips"].as_array().map(Vec::len), Some(2), "{made}");
    let key = made["id"].as_str().expect("an id").to_owned();
    let seen = send(&mut chief, KEYS, &[("step", "rotate"), ("key", &key), ("hours", "1")]).await;
    shows(&seen, "There is a new key in its place.");
    assert_ne!(text(&seen), first);
    shows(&send(&mut chief, KEYS, &[("step", "disable"), ("key", &key)]).await, "until you switch it on");
    shows(&send(&mut chief, KEYS, &[("step", "enable"), ("key", &key)]).await, "The key works again.");
    let revoke = [("step", "revoke"), ("key", key.as_str()), ("reason", "it leaked")];
    shows(&send(&mut chief, KEYS, &revoke).await, "for ever");
    let path = format!("/v1/keys/{key}?tenant=acme");
    let revoked =
        town.platform.call(&town.operator, "GET", path.split('?').next().expect("a path"), None).await.1;
    assert_eq!((&revoked["state"], &revoked["revoked_reason"]), (&json!("revoked"), &json!("it leaked")));
    // Nobody makes more than they hold, here as anywhere.
    let more =
        [("step", "make"), ("account", account.as_str()), ("name", "x"), ("permissions", "system:admin")];
    assert!(send(&mut chief, KEYS, &more).await.status >= 400);
}

/// Another organisation's ids do nothing here, and show nothing.
#[tokio::test]
async fn ids_of_others_are_nothing_here() {
    let town = stage().await;
    town.member("bolt", "boss@bolt.example", &["tenant_admin"]).await;
    refresh(&town.platform).await;
    let mut boss = signed_in(&town, "boss@bolt.example").await;
    send(&mut boss, KEYS, &[("step", "account"), ("name", "bolts")]).await;
    send(&mut boss, GROUPS, &[("step", "make"), ("name", "bolts")]).await;
    send(&mut boss, DOMAINS, &[("step", "claim"), ("name", "bolts.example")]).await;
    let id = async |path: &str| {
        let all = town.get(&format!("{path}?tenant=bolt")).await;
        all["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{path}: {all}")).to_owned()
    };
    let (zoe, account) = (id("/v1/users").await, id("/v1/service_accounts").await);
    let (group, host, grant) = (id("/v1/groups").await, id("/v1/hosts").await, id("/v1/grants").await);
    let mut chief = signed_in(&town, CHIEF).await;
    let ana = format!("user:{}", id_of(&town, "/v1/users", ANA).await);
    for (page, fields) in [
        (PEOPLE, vec![("step", "remove"), ("user", zoe.as_str())]),
        (PEOPLE, vec![("step", "suspend"), ("user", zoe.as_str())]),
        (PEOPLE, vec![("step", "reset"), ("user", zoe.as_str())]),
        (PEOPLE, vec![("step", "give"), ("user", zoe.as_str()), ("role", "tenant_admin")]),
        (PEOPLE, vec![("step", "take"), ("grant", grant.as_str())]),
        (GROUPS, vec![("step", "add"), ("group", group.as_str()), ("member", ana.as_str())]),
        (GROUPS, vec![("step", "give"), ("group", group.as_str()), ("role", "viewer")]),
        (GROUPS, vec![("step", "delete"), ("group", group.as_str())]),
        (DOMAINS, vec![("step", "verify"), ("host", host.as_str())]),
        (DOMAINS, vec![("step", "remove"), ("host", host.as_str())]),
        (KEYS, vec![("step", "give"), ("account", account.as_str()), ("role", "viewer")]),
        (KEYS, vec![("step", "make"), ("account", account.as_str()), ("name", "x"), ("role", "viewer")]),
    ] {
        let seen = send(&mut chief, page, &fields).await;
        assert!(matches!(seen.status, 403 | 404 | 422), "{fields:?}: {} {}", seen.status, seen.text);
    }
    for (page, one) in [(PEOPLE, &zoe), (GROUPS, &group)] {
        let seen = chief.get(&format!("{page}?one={one}")).await;
        assert!(seen.status == 200 && !seen.text.contains("bolt"), "{}", seen.text);
    }
    let odd = chief.get(&format!("{PEOPLE}?one=%22%3E%3Cscript%3E")).await;
    assert!(odd.status == 200 && !odd.text.contains("script"), "{}", odd.text);
    assert_eq!(town.get("/v1/users?tenant=bolt").await["items"].as_array().map(Vec::len), Some(2));
}

/// Goes to the provider for a test, as the connections page leads there.
async fn begins_test(chief: &mut Visitor<'_>, id: &str) -> Seen {
    let seen = send(chief, CONNECTIONS, &[("step", "test"), ("connection", id)]).await;
    shows(&seen, "Sign in at the provider, for the test");
    let (_, rest) = seen.text.split_once("class=\"button\" href=\"").expect("the link");
    let link = rest.split('"').next().expect("an end").replace("&#x2f;", "/").replace("&amp;", "&");
    chief.get(link.strip_prefix("http://127.0.0.1:8081").expect("a page of ours")).await
}

#[tokio::test]
async fn single_sign_on_is_set_up_step_by_step_and_switched_off_again() {
    let (town, provider) = (stage().await, Provider::start().await);
    prove(&town, "acme", 1, "acme.example").await;
    let mut chief = signed_in(&town, CHIEF).await;
    let nobody = [("step", "begin"), ("name", "Acme login"), ("issuer", "http://127.0.0.1:1")];
    let seen = send(&mut chief, CONNECTIONS, &nobody).await;
    assert!(seen.status >= 400 && !seen.text.contains("os error"), "{} {}", seen.status, seen.text);
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
    let issuer = provider.url.replace(':', "%3A").replace('/', "%2F");
    let back = |began: &Seen| {
        let state = began.parameter("state").expect("a state");
        format!("/account/sso/{id}/callback?code=abc&state={state}&iss={issuer}")
    };
    // A wrong secret: the page says that it was the test, what to do, and leads back.
    let began = begins_test(&mut chief, &id).await;
    provider.gives(401, json!({ "error": "invalid_client" }));
    let came = chief.get(&back(&began)).await;
    assert_eq!(came.status, 502, "{}", came.text);
    shows(&came, "The test of single sign-on did not get through");
    shows(&came, "enter both anew");
    shows(&came, "href=\"/account/organisation/connections\"");
    shows(&chief.get(CONNECTIONS).await, "The last test did not get through.");
    let seen = send(&mut chief, CONNECTIONS, &client).await;
    shows(&seen, "Before your last change the test did not get through.");
    assert!(!seen.text.contains("The last test"), "{}", seen.text);
    let began = begins_test(&mut chief, &id).await;
    let now = town.platform.control.clock().now_s();
    let claims = json!({ "iss": provider.url, "aud": "rowhouse", "sub": "ana-1", "iat": now, "exp": now + 600,
        "nonce": began.parameter("nonce"), "email": ANA, "email_verified": true, "name": "Ana Ito" });
    let token = signed("one", &json!({ "alg": "EdDSA", "kid": "one" }), &claims);
    provider.gives(200, json!({ "id_token": token, "access_token": "access", "token_type": "Bearer" }));
    let came = chief.get(&back(&began)).await;
    assert_eq!(came.status, 200, "{}", came.text);
    shows(&came, "the person here who has this address, connected with it from then on");
    shows(&came, &format!("{ANA}, verified as the provider says"));
    shows(&came, "<dt>Roles that follow</dt><dd>user</dd>");
    let seen = chief.get(CONNECTIONS).await;
    shows(&seen, "The last test got through.");
    shows(&seen, "<dt>Name</dt><dd>Ana Ito</dd>");
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

#[tokio::test]
async fn conditions_about_the_address_hold_on_the_pages_as_at_the_api() {
    let town = stage().await;
    // Who is denied something administers no more: somebody else does.
    town.member("acme", "boss@acme.example", &["tenant_admin"]).await;
    refresh(&town.platform).await;
    let mut chief = signed_in(&town, CHIEF).await;
    let user = id_of(&town, "/v1/users", CHIEF).await;
    let deny = async |condition: &str| {
        let body = json!({ "principal": { "kind": "user", "id": user }, "permission": "invitation:create", "effect": "deny",
            "condition": condition });
        let (status, made) = town.post("/v1/grants?tenant=acme", body).await;
        assert_eq!(status, 201, "{made}");
        refresh(&town.platform).await;
    };
    deny("!context.ip.isInRange(ip(\"127.0.0.0/8\"))").await;
    // What is known of no call yet is not offered, so the form is that of another page.
    let form = chief.get("/account").await.hidden("form");
    let invite = |email: &'static str| {
        [("form", form.as_str()), ("step", "invite"), ("email", email), ("role", "user")]
    };
    let seen = chief.post(PEOPLE, &invite("ben@acme.example")).await;
    shows(&seen, "The invitation is on its way.");
    deny("context.ip.isInRange(ip(\"127.0.0.0/8\"))").await;
    assert_eq!(chief.post(PEOPLE, &invite("dan@acme.example")).await.status, 403);
    let all = town.get("/v1/invitations?tenant=acme").await;
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1), "{all}");
}
