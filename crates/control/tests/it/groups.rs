//! Groups and things: what comes through them, for how long, to whom; and that nobody gets anything by them that nobody with
//! authority gave.

use rowhouse_control::catalog::{self, CatalogFile};
use serde_json::{Value, json};

use crate::house::{House, outcome};
use crate::people::town;

const HOUR_US: i64 = 3_600_000_000;

fn account(id: &str) -> Value {
    json!({ "kind": "service_account", "id": id })
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// The shipped catalogue and folders with documents in them.
pub fn with_folders() -> CatalogFile {
    let mut all = serde_json::to_value(catalog::shipped()).expect("it is JSON");
    let types = all["resource_types"].as_array_mut().expect("types");
    let actions = json!(["read", "write"]);
    types.push(json!({ "name": "folder", "service": "stamping", "actions": actions, "parent": "folder" }));
    types.push(json!({ "name": "doc", "service": "stamping", "actions": actions,
        "implies": { "write": ["read"] }, "parent": "folder" }));
    serde_json::from_value(all).expect("a catalogue")
}

impl House {
    async fn grants(&self, body: Value) -> String {
        let made = self.created(&self.root, "/v1/grants?tenant=acme", body).await;
        self.settled().await;
        text(&made["id"]).to_owned()
    }

    async fn group(&self, name: &str) -> String {
        let made = self.created(&self.root, "/v1/groups?tenant=acme", json!({ "name": name })).await;
        text(&made["id"]).to_owned()
    }

    /// Puts a member into a group; what came of it.
    async fn join(&self, key: &str, group: &str, member: &str, times: Value) -> String {
        let path = format!("/v1/groups/{group}/members/{}/{member}", kind_of(member));
        let (status, answer) = self.platform.call(key, "PUT", &path, Some(times)).await;
        self.settled().await;
        outcome(status, &answer)
    }

    async fn leave(&self, key: &str, group: &str, member: &str) -> String {
        let path = format!("/v1/groups/{group}/members/{}/{member}", kind_of(member));
        let (status, answer) = self.platform.call(key, "DELETE", &path, None).await;
        self.settled().await;
        outcome(status, &answer)
    }

    async fn put_thing(&self, key: &str, thing: &str, parent: Value) -> String {
        let path = format!("/v1/access/resources/{thing}");
        let (status, answer) = self.platform.call(key, "PUT", &path, Some(json!({ "parent": parent }))).await;
        self.settled().await;
        outcome(status, &answer)
    }

    /// `allow granted`, and the groups on the way.
    async fn asked(&self, who: &str, permission: &str, thing: Value) -> String {
        let asked = json!({ "principal": account(who), "permission": permission, "resource": thing });
        let answer = self.posted(&self.root, "/v1/access/explain?tenant=acme", asked).await;
        let ways = answer["because"][0]["via"].as_array().map_or(0, Vec::len);
        format!("{} {} {ways}", text(&answer["decision"]), text(&answer["reason"]))
    }

    /// A key of an account that holds exactly these, by name.
    async fn keeper(&self, name: &str, permissions: &[&str]) -> String {
        let id = self.account("acme", name).await;
        for permission in permissions {
            self.grants(json!({ "principal": account(&id), "permission": permission })).await;
        }
        let key = json!({ "name": name, "owner": account(&id), "permissions": permissions });
        let key = self.created(&self.root, "/v1/keys?tenant=acme", key).await;
        self.settled().await;
        text(&key["key"]).to_owned()
    }
}

fn kind_of(id: &str) -> &'static str {
    match id.split('_').next() {
        Some("group") => "group",
        Some("user") => "user",
        _ => "service_account",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_group_has_its_members_have_while_every_hop_lasts() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    house.tenant("globex", "basic").await;
    let ann = house.account("acme", "ann").await;
    let (inner, outer) = (house.group("inner").await, house.group("outer").await);
    house.grants(json!({ "principal": { "kind": "group", "id": outer }, "role": "developer" })).await;
    let root = house.root.clone();
    assert_eq!(house.join(&root, &outer, &inner, json!({})).await, "200 -");
    assert_eq!(house.asked(&ann, "metadata_stamp:update", Value::Null).await, "deny no_grant 0");
    let until = json!({ "valid_until": "2026-11-21T12:00:00Z" });
    assert_eq!(house.join(&root, &inner, &ann, until.clone()).await, "200 -");
    assert_eq!(house.asked(&ann, "metadata_stamp:update", Value::Null).await, "allow granted 2");

    // Which groups somebody is in themselves: of that tenant, and of ids alone.
    for (tenant, member, expected) in [
        ("acme", &ann, json!(["inner"])),
        ("acme", &inner, json!(["outer"])),
        ("acme", &outer, json!([])),
        ("globex", &ann, json!([])),
    ] {
        let path = format!("/v1/groups?tenant={tenant}&member={member}");
        let listed = house.platform.get(&root, &path).await;
        let names = listed["items"].as_array().expect("items").iter().map(|one| one["name"].clone());
        assert_eq!(names.collect::<Value>(), expected, "{path}");
    }
    let (status, _) = house.platform.call(&root, "GET", "/v1/groups?tenant=acme&member=ann", None).await;
    assert_eq!(status, 422);

    // Twice is once.
    let events = house.platform.ask("SELECT count(*) FROM audit.outbox").await;
    assert_eq!(house.join(&root, &inner, &ann, until).await, "200 -");
    assert_eq!(house.platform.ask("SELECT count(*) FROM audit.outbox").await, events);
    assert_eq!(house.join(&root, &inner, &outer, json!({})).await, "409 access.cycle");
    assert_eq!(house.join(&root, &inner, &inner, json!({})).await, "409 access.cycle");

    house.platform.hand.advance_us(2 * HOUR_US);
    assert_eq!(house.asked(&ann, "metadata_stamp:update", Value::Null).await, "deny expired 0");
    assert_eq!(house.join(&root, &inner, &ann, json!({})).await, "200 -");
    assert_eq!(house.asked(&ann, "metadata_stamp:update", Value::Null).await, "allow granted 2");

    // Another tenant sees nothing and reaches nothing.
    let other = house.member("globex", "tenant_admin").await;
    let (status, answer) = house.platform.call(&other.key, "GET", &format!("/v1/groups/{inner}"), None).await;
    assert_eq!(outcome(status, &answer), "404 api.not_found");
    let listed = house.platform.get(&other.key, "/v1/groups").await;
    assert_eq!(listed["items"], json!([]));
    let body = json!({ "principal": { "kind": "group", "id": inner }, "role": "viewer" });
    assert_eq!(house.refused(&root, "/v1/grants?tenant=globex", body).await, "404 api.not_found");
    let stranger = house.account("globex", "stranger").await;
    assert_eq!(house.join(&root, &inner, &stranger, json!({})).await, "404 api.not_found");

    // Out of the group, out of the right; a deleted group takes its grants with it.
    assert_eq!(house.leave(&root, &inner, &ann).await, "204 -");
    assert_eq!(house.asked(&ann, "metadata_stamp:update", Value::Null).await, "deny no_grant 0");
    assert_eq!(house.leave(&root, &inner, &ann).await, "404 api.not_found");
    house.join(&root, &outer, &ann, json!({})).await;
    assert_eq!(house.asked(&ann, "metadata_stamp:update", Value::Null).await, "allow granted 1");
    let path = format!("/v1/groups/{outer}");
    assert_eq!(house.platform.call(&root, "DELETE", &path, None).await.0, 204);
    house.settled().await;
    assert_eq!(house.asked(&ann, "metadata_stamp:update", Value::Null).await, "deny no_grant 0");
    assert_eq!(house.platform.call(&root, "DELETE", &path, None).await.0, 404);
    let name = json!({ "name": "inner" });
    assert_eq!(house.refused(&root, "/v1/groups?tenant=acme", name).await, "409 access.name_taken");
    for bad in ["Everyone", "everyone", "", "1x"] {
        let answer = house.refused(&root, "/v1/groups?tenant=acme", json!({ "name": bad })).await;
        assert_eq!(answer, "422 api.invalid /name", "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_decides_what_everyone_and_holders_of_things_may() {
    let house = House::with(&with_folders()).await;
    let acme = house.tenant("acme", "basic").await;
    let (ann, bob) = (house.account("acme", "ann").await, house.account("acme", "bob").await);
    let root = house.root.clone();
    let folder = |id: &str| json!({ "type": "folder", "id": id });
    assert_eq!(house.put_thing(&root, "folder/top?tenant=acme", Value::Null).await, "200 -");
    assert_eq!(house.put_thing(&root, "folder/sub?tenant=acme", folder("top")).await, "200 -");
    assert_eq!(house.put_thing(&root, "doc/d1?tenant=acme", folder("sub")).await, "200 -");
    assert_eq!(house.put_thing(&root, "folder/top?tenant=acme", folder("sub")).await, "409 access.cycle");
    let wrong = json!({ "type": "doc", "id": "d2" });
    assert_eq!(house.put_thing(&root, "doc/d1?tenant=acme", wrong).await, "422 api.invalid /parent/type");
    assert_eq!(
        house.put_thing(&root, "fly/d1?tenant=acme", Value::Null).await,
        "422 api.invalid /resource/type"
    );

    let on_top = json!({ "principal": account(&ann), "permission": "doc:write", "resource": folder("top") });
    house.grants(on_top).await;
    house.grants(json!({ "principal": { "kind": "everyone" }, "permission": "folder:read" })).await;
    let d1 = json!({ "type": "doc", "id": "d1" });
    assert_eq!(house.asked(&ann, "doc:write", d1.clone()).await, "allow granted 0");
    assert_eq!(house.asked(&ann, "doc:read", d1.clone()).await, "allow granted 0", "implied");
    assert_eq!(house.asked(&ann, "doc:read", Value::Null).await, "deny no_grant 0", "on the thing only");
    assert_eq!(house.asked(&bob, "doc:read", d1.clone()).await, "deny no_grant 0");
    assert_eq!(house.asked(&bob, "folder:read", Value::Null).await, "allow granted 0", "everyone");

    // What decides at the gateway says the same.
    let directory = house.platform.control.directory.current();
    let table = &directory.tenants.get(&acme).expect("acme").access;
    let bit = directory.permissions.id("doc:write").expect("declared");
    let now = house.platform.control.clock().now_us();
    let principal = |id: &str| rowhouse_domain::access::Principal {
        kind: rowhouse_domain::access::PrincipalKind::ServiceAccount,
        id: id.parse::<rowhouse_domain::id::ServiceAccountId>().expect("an id").0,
    };
    let on = |who: &str| {
        let key = rowhouse_domain::access::ResourceKey::new("doc", "d1");
        rowhouse_domain::access::may_on(table, table.rights(&principal(who)), bit, key, now).as_str()
    };
    assert_eq!((on(&ann), on(&bob)), ("granted", "no_grant"));

    // Moved out of reach, and forgotten.
    assert_eq!(house.put_thing(&root, "doc/d1?tenant=acme", Value::Null).await, "200 -");
    assert_eq!(house.asked(&ann, "doc:write", d1).await, "deny no_grant 0");
    let path = "/v1/access/resources/doc/d1?tenant=acme";
    assert_eq!(house.platform.call(&root, "DELETE", path, None).await.0, 204);
    assert_eq!(house.platform.call(&root, "DELETE", path, None).await.0, 404);
    let things = house.platform.get(&root, "/v1/access/resources?tenant=acme&type=folder").await;
    let ids: Vec<_> = things["items"].as_array().expect("items").iter().map(|one| text(&one["id"])).collect();
    assert_eq!(ids, ["sub", "top"]);
    let batch = json!({ "items": (0..40).map(|n| json!({ "type": "doc", "id": format!("b{n}"), "parent": folder("sub") })).collect::<Vec<_>>() });
    let answer = house.posted(&root, "/v1/access/resources/batch?tenant=acme", batch).await;
    assert_eq!(answer["registered"], 40);
    house.settled().await;
    assert_eq!(
        house.asked(&ann, "doc:write", json!({ "type": "doc", "id": "b39" })).await,
        "allow granted 0"
    );
    // Who may, and what one may.
    let asked = json!({ "permission": "doc:write", "resource": { "type": "doc", "id": "b39" } });
    let who = house.posted(&root, "/v1/access/who_can?tenant=acme", asked).await;
    assert_eq!((who["total"].clone(), text(&who["items"][0]["principal"]["id"])), (json!(1), ann.as_str()));
    let everyone = json!({ "permission": "folder:read" });
    let who = house.posted(&root, "/v1/access/who_can?tenant=acme&limit=1", everyone.clone()).await;
    assert_eq!((&who["total"], who["items"].as_array().map(Vec::len)), (&json!(2), Some(1)));
    let next = format!("/v1/access/who_can?tenant=acme&limit=1&cursor={}", text(&who["next_cursor"]));
    let rest = house.posted(&root, &next, everyone).await;
    assert_ne!(rest["items"][0]["principal"], who["items"][0]["principal"]);
    assert_eq!(rest["next_cursor"], Value::Null);
    let what =
        house.posted(&root, "/v1/access/what_can?tenant=acme", json!({ "principal": account(&ann) })).await;
    assert_eq!(
        what,
        json!({ "permissions": ["folder:read"], "denied": [], "conditional": [], "resources": { "doc": 40 } })
    );
    let filtered = house.platform.get(&root, "/v1/grants?tenant=acme&resource=folder:top").await;
    assert_eq!(filtered["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_more_through_a_group_or_a_thing_than_the_giver_holds() {
    let house = House::with(&with_folders()).await;
    house.tenant("acme", "basic").await;
    let ann = house.account("acme", "ann").await;
    let root = house.root.clone();
    let (strong, weak) = (house.group("strong").await, house.group("weak").await);
    house.grants(json!({ "principal": { "kind": "group", "id": strong }, "role": "admin" })).await;
    house.grants(json!({ "principal": { "kind": "group", "id": weak }, "permission": "doc:read" })).await;
    let keeper = house
        .keeper("keeper", &["group:update", "group:delete", "doc:read", "resource:update", "grant:create"])
        .await;
    assert_eq!(house.join(&keeper, &weak, &ann, json!({})).await, "200 -");
    assert_eq!(house.join(&keeper, &strong, &ann, json!({})).await, "403 access.escalation");
    assert_eq!(
        house.join(&keeper, &strong, &weak, json!({})).await,
        "403 access.escalation",
        "a group in it"
    );
    let to_all = json!({ "principal": { "kind": "everyone" }, "permission": "doc:write" });
    assert_eq!(house.refused(&keeper, "/v1/grants", to_all).await, "403 access.escalation");

    // A thing that moves under a holder is reached by what is granted there.
    let folder = json!({ "type": "folder", "id": "shared" });
    house.grants(json!({ "principal": account(&ann), "permission": "doc:write", "resource": folder })).await;
    assert_eq!(house.put_thing(&keeper, "doc/secret", folder.clone()).await, "403 access.escalation");
    assert_eq!(house.put_thing(&root, "doc/open?tenant=acme", folder).await, "200 -");

    // A denial through a group is lifted only by who may deny.
    let muted = house.group("muted").await;
    house.grants(json!({ "principal": { "kind": "group", "id": muted }, "permission": "doc:read", "effect": "deny" })).await;
    house.join(&root, &muted, &ann, json!({})).await;
    assert_eq!(house.asked(&ann, "doc:read", Value::Null).await, "deny denied 1");
    assert_eq!(house.leave(&keeper, &muted, &ann).await, "403 access.escalation");
    let path = format!("/v1/groups/{muted}");
    let (status, answer) = house.platform.call(&keeper, "DELETE", &path, None).await;
    assert_eq!(outcome(status, &answer), "403 access.escalation");
    assert_eq!(house.leave(&root, &muted, &ann).await, "204 -");

    // Who holds something for an hour gives it for no longer.
    let timed = house.account("acme", "timed").await;
    for (permission, until) in [("doc:read", Some("2026-11-21T11:00:00Z")), ("grant:create", None)] {
        house
            .grants(json!({ "principal": account(&timed), "permission": permission, "valid_until": until }))
            .await;
    }
    let key = json!({ "name": "t", "owner": account(&timed), "permissions": ["doc:read", "grant:create"] });
    let key = house.created(&root, "/v1/keys?tenant=acme", key).await;
    house.settled().await;
    let mut give = json!({ "principal": account(&ann), "permission": "doc:read" });
    assert_eq!(house.refused(text(&key["key"]), "/v1/grants", give.clone()).await, "403 access.escalation");
    give["valid_until"] = "2026-11-21T10:30:00Z".into();
    house.created(text(&key["key"]), "/v1/grants", give).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_administrator_is_counted_through_groups() {
    let town = town().await;
    let platform = &town.platform;
    let ana = town.member("acme", "ana@acme.example", &["viewer"]).await;
    let bea = town.member("acme", "bea@acme.example", &["viewer"]).await;
    let call = async |method: &str, path: &str, body: Option<Value>| {
        let (status, answer) = platform.call(&town.operator, method, path, body).await;
        crate::people::refresh(platform).await;
        (outcome(status, &answer), answer)
    };
    let (_, group) = call("POST", "/v1/groups?tenant=acme", Some(json!({ "name": "owners" }))).await;
    let group = text(&group["id"]).to_owned();
    let give = json!({ "principal": { "kind": "group", "id": group }, "role": "tenant_admin" });
    let (made, grant) = call("POST", "/v1/grants?tenant=acme", Some(give)).await;
    assert_eq!(made, "201 -");
    let member = |user: &str| format!("/v1/groups/{group}/members/user/{user}");
    assert_eq!(call("PUT", &member(&ana), Some(json!({}))).await.0, "200 -");
    assert_eq!(call("PUT", &member(&bea), Some(json!({}))).await.0, "200 -");
    assert_eq!(call("DELETE", &member(&ana), None).await.0, "204 -", "bea is left");
    assert_eq!(call("DELETE", &member(&bea), None).await.0, "409 access.last_admin");
    let timed = json!({ "valid_until": "2027-11-21T12:00:00Z" });
    assert_eq!(
        call("PUT", &member(&bea), Some(timed)).await.0,
        "409 access.last_admin",
        "for a time is not for good"
    );
    assert_eq!(call("DELETE", &format!("/v1/groups/{group}"), None).await.0, "409 access.last_admin");
    assert_eq!(
        call("DELETE", &format!("/v1/grants/{}", text(&grant["id"])), None).await.0,
        "409 access.last_admin"
    );
    let deny = json!({ "principal": { "kind": "everyone" }, "permission": "doctor:read", "effect": "deny" });
    assert_eq!(call("POST", "/v1/grants?tenant=acme", Some(deny)).await.0, "409 access.last_admin");
    let suspend = format!("/v1/users/{bea}/suspend?tenant=acme");
    assert_eq!(call("POST", &suspend, Some(json!({}))).await.0, "409 access.last_admin");

    // Who leaves the tenant leaves its groups.
    assert_eq!(call("PUT", &member(&ana), Some(json!({}))).await.0, "200 -");
    let (gone, _) = call("DELETE", &format!("/v1/users/{bea}?tenant=acme"), None).await;
    assert!(gone.starts_with("20"), "{gone}");
    let members = platform.get(&town.operator, &format!("/v1/groups/{group}/members")).await;
    let ids: Vec<_> =
        members["items"].as_array().expect("items").iter().map(|one| text(&one["principal"]["id"])).collect();
    assert_eq!(ids, [ana.as_str()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_does_not_come_to_life_with_another_role_of_the_same_name() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let ann = house.account("acme", "ann").await;
    let root = house.root.clone();
    let role = json!({ "name": "stamper", "permissions": ["metadata_stamp:read"] });
    house.created(&root, "/v1/roles?tenant=acme", role).await;
    house.settled().await;
    house.grants(json!({ "principal": account(&ann), "role": "stamper" })).await;
    assert_eq!(house.asked(&ann, "metadata_stamp:read", Value::Null).await, "allow granted 0");
    // Whatever takes the role away past the check, as a concurrent writer or a restore does: its grants are its own.
    house.platform.execute("DELETE FROM access.tenant_roles WHERE name = 'stamper'").await;
    let role = json!({ "name": "stamper", "permissions": ["metadata_stamp:delete"] });
    house.created(&root, "/v1/roles?tenant=acme", role).await;
    house.settled().await;
    assert_eq!(house.asked(&ann, "metadata_stamp:delete", Value::Null).await, "deny no_grant 0");
    house.grants(json!({ "principal": account(&ann), "role": "stamper" })).await;
    assert_eq!(house.asked(&ann, "metadata_stamp:delete", Value::Null).await, "allow granted 0");

    // A role of the catalogue that the operator removed, and the tenant's own of its name.
    house.grants(json!({ "principal": account(&ann), "role": "user" })).await;
    house.platform.execute("UPDATE access.grants SET role = 'gone' WHERE role = 'user'").await;
    let role = json!({ "name": "gone", "permissions": ["metadata_stamp:update"] });
    house.created(&root, "/v1/roles?tenant=acme", role).await;
    house.settled().await;
    assert_eq!(house.asked(&ann, "metadata_stamp:update", Value::Null).await, "deny no_grant 0");
}
