//! Pages for what an administrator watches over: what waits for a second person, what is kept apart, and the log.

use rowhouse_control::catalog;
use serde_json::{Value, json};

use crate::audit::{Auditor, signed};
use crate::organisation::{send, shows, signed_in};
use crate::people::{Town, refresh, town, town_with};
use crate::platform::scratch;

const CHIEF: &str = "chief@acme.example";
const SECOND: &str = "second@acme.example";
const ANA: &str = "ana@acme.example";
const BOSS: &str = "boss@bolt.example";
const PEOPLE: &str = "/account/organisation/people";
const APPROVALS: &str = "/account/organisation/approvals";
const ASK: &str = "/account/organisation/ask";
const CONSTRAINTS: &str = "/account/organisation/constraints";
const AUDIT: &str = "/account/organisation/audit";

/// Two who administer, one who does not, and another organisation. To delete stamps is sensitive. Answers with Ana's id.
async fn firm() -> (Town, String) {
    let mut catalogue = catalog::shipped().clone();
    let stamp = catalogue.definitions.resource_types.iter_mut().find(|kind| kind.name == "metadata_stamp");
    stamp.expect("it is shipped").sensitive = vec!["delete".to_owned()];
    let town = town_with(&catalogue).await;
    town.member("acme", CHIEF, &["tenant_admin"]).await;
    town.member("acme", SECOND, &["tenant_admin"]).await;
    let ana = town.member("acme", ANA, &["readonly"]).await;
    town.member("bolt", BOSS, &["tenant_admin"]).await;
    refresh(&town.platform).await;
    (town, ana)
}

async fn approvals(town: &Town, state: &str) -> Vec<Value> {
    let all = town.get(&format!("/v1/approvals?tenant=acme&state={state}")).await;
    all["items"].as_array().expect("a list").clone()
}

async fn has(town: &Town, who: &str, role: &str) -> usize {
    let all = town.get(&format!("/v1/grants?tenant=acme&principal={who}")).await;
    all["items"].as_array().expect("a list").iter().filter(|grant| grant["role"] == role).count()
}

#[tokio::test]
async fn what_takes_two_is_shown_whole_and_happens_once_by_the_second_ones_yes() {
    let (town, ana) = firm().await;
    let (mut chief, mut second) = (signed_in(&town, CHIEF).await, signed_in(&town, SECOND).await);
    shows(&chief.get(APPROVALS).await, "Nothing waits.");
    for _ in 0..2 {
        shows(&send(&mut chief, APPROVALS, &[("step", "by_two")]).await, "It takes two people from now on.");
    }
    refresh(&town.platform).await;
    let give = [("step", "give"), ("user", ana.as_str()), ("role", "developer"), ("until", "2999-12-31")];
    let seen = send(&mut chief, &format!("{PEOPLE}?one={ana}"), &give).await;
    shows(&seen, "It waits for a second person: see Approvals.");
    let own = chief.get(APPROVALS).await;
    shows(&own, "The role developer for ");
    shows(&own, "somebody else decides");
    assert!(!own.text.contains("value=\"approve\""), "not one's own: {}", own.text);
    let id = own.hidden("approval");
    let forced = send(&mut chief, APPROVALS, &[("step", "approve"), ("approval", &id)]).await;
    assert_eq!(forced.status, 409, "{}", forced.text);
    // All that would be given, by whom, for how long.
    let seen = second.get(APPROVALS).await;
    for text in ["<strong>metadata stamp</strong>", "delete", CHIEF, ANA, "3000-01-01 00:00 UTC", "Refuse it"]
    {
        shows(&seen, text);
    }
    for _ in 0..2 {
        let yes = [("step", "approve"), ("approval", id.as_str()), ("reason", "she <b>codes</b>")];
        let seen = send(&mut second, APPROVALS, &yes).await;
        shows(&seen, "It is done.");
        shows(&seen, "approved, and done");
        shows(&seen, "she &lt;b&gt;codes");
    }
    assert_eq!(has(&town, &ana, "developer").await, 1, "twice is once");
    let late = send(&mut second, APPROVALS, &[("step", "refuse"), ("approval", &id), ("reason", "no")]).await;
    assert_eq!(late.status, 409, "{}", late.text);
    // To be asked no more takes two, and asking twice is asking once.
    for _ in 0..2 {
        shows(&send(&mut chief, APPROVALS, &[("step", "by_one")]).await, "It waits for a second person now.");
    }
    assert_eq!(approvals(&town, "pending").await.len(), 1);
    let seen = second.get(APPROVALS).await;
    shows(&seen, "One person alone may give what is sensitive again");
    let yes = [("step", "approve"), ("approval", &seen.hidden("approval")[..])];
    shows(&send(&mut second, APPROVALS, &yes).await, "Off.");
}

#[tokio::test]
async fn who_asked_sees_their_own_and_takes_it_back_and_strangers_see_nothing() {
    let (town, ana) = firm().await;
    let asks = async || {
        let who = town.signed_in(ANA).await;
        let body = json!({ "role": "operator", "minutes": 60, "reason": "INC-42 <i>" });
        let (status, answer) = town.as_person(&who, "POST", "/v1/access/requests", Some(body)).await;
        assert_eq!(status, 202, "{answer}");
        answer["approval_id"].as_str().expect("an id").to_owned()
    };
    let mut own = signed_in(&town, ANA).await;
    assert_eq!(own.get(APPROVALS).await.status, 403, "nothing of hers, nothing to see");
    let id = asks().await;
    let seen = own.get(APPROVALS).await;
    shows(&seen, "INC-42 &lt;i&gt;");
    shows(&seen, "60 minutes after the yes");
    assert_eq!(send(&mut own, APPROVALS, &[("step", "approve"), ("approval", &id)]).await.status, 403);
    let mut boss = signed_in(&town, BOSS).await;
    assert!(!boss.get(APPROVALS).await.text.contains("INC-42"));
    for step in ["approve", "refuse", "withdraw"] {
        let seen = send(&mut boss, APPROVALS, &[("step", step), ("approval", &id)]).await;
        assert_eq!(seen.status, 404, "{step}: {}", seen.text);
    }
    for _ in 0..2 {
        // Once nothing waits, her page has no form: the account's token is the same.
        let form = own.get("/account").await.hidden("form");
        let fields = [("form", form.as_str()), ("step", "withdraw"), ("approval", id.as_str())];
        let seen = own.post(APPROVALS, &fields).await;
        shows(&seen, "It is taken back.");
    }
    let id = asks().await;
    let mut chief = signed_in(&town, CHIEF).await;
    let no = [("step", "refuse"), ("approval", id.as_str()), ("reason", "ask me first")];
    shows(&send(&mut chief, APPROVALS, &no).await, "It is refused. Nothing has happened.");
    shows(&own.get(APPROVALS).await, "ask me first");
    assert_eq!(has(&town, &ana, "operator").await, 0);
}

#[tokio::test]
async fn whoever_belongs_asks_for_a_role_for_a_time_and_sees_what_became_of_it() {
    let (town, ana) = firm().await;
    let (mut own, mut chief) = (signed_in(&town, ANA).await, signed_in(&town, CHIEF).await);
    shows(&own.get("/account").await, "href=\"/account/organisation/ask\"");
    shows(&own.get(ASK).await, "as your administrator calls it");
    shows(&chief.get(ASK).await, "<option value=\"developer\"");
    let ask = |role: &'static str, minutes: &'static str, reason: &'static str| {
        [("step", "ask"), ("role", role), ("minutes", minutes), ("reason", reason)]
    };
    for (role, minutes, reason) in [
        ("developer", "60", ""),
        ("developer", "0", "x"),
        ("developer", "43201", "x"),
        ("no-such-role", "60", "x"),
        ("", "60", "x"),
    ] {
        let seen = send(&mut own, ASK, &ask(role, minutes, reason)).await;
        assert!(matches!(seen.status, 404 | 422), "{role} {minutes} {reason}: {} {}", seen.status, seen.text);
        shows(&seen, "Ask for a role");
    }
    assert!(approvals(&town, "pending").await.is_empty(), "nothing was asked for");
    shows(&send(&mut own, ASK, &ask("developer", "60", "INC-42 <b>")).await, "It is asked for.");
    let again = send(&mut own, ASK, &ask("developer", "240", "once more")).await;
    shows(&again, "You have asked for it already.");
    shows(&again, "INC-42 &lt;b&gt;");
    assert_eq!(approvals(&town, "pending").await.len(), 1);
    let id = again.hidden("approval");
    // Somebody of another organisation neither sees nor takes it back; an administrator here decides it elsewhere.
    let mut boss = signed_in(&town, BOSS).await;
    assert!(!boss.get(ASK).await.text.contains("INC-42"));
    let theirs = send(&mut boss, ASK, &[("step", "withdraw"), ("approval", &id)]).await;
    assert_eq!(theirs.status, 404, "{}", theirs.text);
    assert!(!chief.get(ASK).await.text.contains("INC-42"), "what others ask for is no matter of this page");
    assert_eq!(send(&mut own, ASK, &[("step", "approve"), ("approval", &id)]).await.status, 422);
    shows(&send(&mut own, ASK, &[("step", "withdraw"), ("approval", &id)]).await, "It is taken back.");
    shows(&send(&mut own, ASK, &ask("developer", "60", "INC-43")).await, "It is asked for.");
    let id = own.get(ASK).await.hidden("approval");
    shows(&send(&mut chief, APPROVALS, &[("step", "approve"), ("approval", &id)]).await, "It is done.");
    assert_eq!(has(&town, &ana, "developer").await, 1);
    let seen = own.get(ASK).await;
    shows(&seen, "approved, and done");
    shows(&seen, "taken back");
}

#[tokio::test]
async fn what_is_kept_apart_is_said_in_words_and_who_has_both_is_named() {
    let (town, ana) = firm().await;
    let mut chief = signed_in(&town, CHIEF).await;
    shows(&chief.get(CONSTRAINTS).await, "Nothing is kept apart yet.");
    for role in ["orderer", "payer"] {
        let role = json!({ "name": role, "permissions": ["metadata_stamp:read"] });
        assert_eq!(town.post("/v1/roles?tenant=acme", role).await.0, 201);
    }
    let make = [
        ("step", "make"),
        ("name", "four-hands"),
        ("kind", "static"),
        ("role", "orderer"),
        ("role", "payer"),
        ("at_most", "1"),
    ];
    let mut grants = Vec::new();
    for role in ["orderer", "payer"] {
        let grant = json!({ "principal": { "kind": "user", "id": ana }, "role": role });
        grants.push(
            town.post("/v1/grants?tenant=acme", grant).await.1["id"].as_str().expect("an id").to_owned(),
        );
    }
    let refused = send(&mut chief, CONSTRAINTS, &make).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    shows(&refused, &format!("({ANA}) has orderer and payer"));
    shows(&refused, "Nothing is kept apart yet.");
    let path = format!("/v1/grants/{}", grants[1]);
    assert_eq!(town.platform.call(&town.operator, "DELETE", &path, None).await.0, 204);
    for _ in 0..2 {
        let seen = send(&mut chief, CONSTRAINTS, &make).await;
        shows(&seen, "They are kept apart from now on.");
        shows(&seen, "Nobody has orderer and payer together.");
    }
    let other: Vec<_> = make
        .iter()
        .map(|(name, value)| if *name == "kind" { ("kind", "dynamic") } else { (*name, *value) })
        .collect();
    assert_eq!(send(&mut chief, CONSTRAINTS, &other).await.status, 409, "another one of its name");
    let mut boss = signed_in(&town, BOSS).await;
    assert!(!boss.get(CONSTRAINTS).await.text.contains("four-hands"));
    send(&mut boss, CONSTRAINTS, &[("step", "delete"), ("name", "four-hands")]).await;
    shows(&chief.get(CONSTRAINTS).await, "four-hands");
    let odd = [("step", "make"), ("name", "odd"), ("role", "payer"), ("at_most", "1")];
    assert_eq!(send(&mut chief, CONSTRAINTS, &odd).await.status, 422);
    for _ in 0..2 {
        let seen = send(&mut chief, CONSTRAINTS, &[("step", "delete"), ("name", "four-hands")]).await;
        shows(&seen, "They are kept apart no longer.");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_read_from_its_newest_event_and_one_is_shown_with_its_proof() {
    let town = town().await;
    town.member("acme", CHIEF, &["tenant_admin"]).await;
    town.member("acme", ANA, &["user"]).await;
    town.member("bolt", BOSS, &["tenant_admin"]).await;
    refresh(&town.platform).await;
    let auditor = Auditor::start(&town.platform, &town.platform.journal, &scratch("oversight-checkpoints"));
    for number in 0..60 {
        let group = json!({ "name": format!("group-{number}") });
        assert_eq!(town.post("/v1/groups?tenant=acme", group).await.0, 201);
    }
    let theirs = json!({ "name": "of-bolt" });
    assert_eq!(town.post("/v1/groups?tenant=bolt", theirs).await.0, 201);
    signed(&town.platform).await;
    let mut chief = signed_in(&town, CHIEF).await;
    let first = chief.get(&format!("{AUDIT}?event=access.group_changed")).await;
    shows(&first, "Group changed");
    assert!(!first.text.contains("of-bolt"), "another organisation's: {}", first.text);
    let opens = |seen: &str| seen.matches(">Open</a>").count();
    assert_eq!(opens(&first.text), 50);
    let link = |seen: &str, mark: &str| {
        let (before, _) = seen.split_once(mark).unwrap_or_else(|| panic!("no {mark}: {seen}"));
        let (_, link) = before.rsplit_once("href=\"").expect("a link");
        let link = link.split('"').next().expect("an end");
        link.replace("&#x2f;", "/").replace("&amp;", "&")
    };
    let older = chief.get(&link(&first.text, ">Older ones")).await;
    assert_eq!(opens(&older.text), 10, "{}", older.text);
    shows(&older, "The newest");
    // One of them, whole.
    let one = chief.get(&link(&older.text, " aria-label=\"Open event")).await;
    for text in ["Proven.", "c2sp.org&#x2f;tlog-proof@v1", "access.group_changed", "it was done"] {
        shows(&one, text);
    }
    let id = link(&older.text, " aria-label=\"Open event");
    for asked in ["result=failure", "person=user_none", "from=2999-01-01T00:00", "type=login_failed"] {
        let seen = chief.get(&format!("{AUDIT}?{asked}")).await;
        assert!(seen.status == 200 && opens(&seen.text) == 0, "{asked}: {}", seen.text);
    }
    for wrong in ["from=soon", "type=odd", "result=odd", "cursor=odd"] {
        assert!(chief.get(&format!("{AUDIT}?{wrong}")).await.status >= 400, "{wrong}");
    }
    let mut boss = signed_in(&town, BOSS).await;
    assert_eq!(boss.get(&id).await.status, 404, "another organisation's event");
    let mut ana = signed_in(&town, ANA).await;
    assert_eq!(ana.get(AUDIT).await.status, 403);
    auditor.stop().await;
}
