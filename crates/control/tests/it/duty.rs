//! Separation of duty: what is kept apart stays apart, whichever way it would come together.

use serde_json::{Value, json};

use crate::house::{House, outcome};

fn account(id: &str) -> Value {
    json!({ "kind": "service_account", "id": id })
}

struct Office {
    house: House,
    /// Two who work there.
    ann: String,
    ben: String,
}

impl Office {
    async fn open() -> Office {
        let house = House::start().await;
        house.tenant("acme", "basic").await;
        house.tenant("bolt", "basic").await;
        let (ann, ben) = (house.account("acme", "ann").await, house.account("acme", "ben").await);
        let office = Office { house, ann, ben };
        for (name, permission) in [("clerk", "metadata_stamp:create"), ("signer", "metadata_stamp:update")] {
            let role = json!({ "name": name, "permissions": [permission] });
            assert_eq!(office.post("/v1/roles", role).await.0, "201");
        }
        office
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (String, Value) {
        let mark = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{mark}tenant=acme");
        let (status, answer) = self.house.platform.call(&self.house.root, method, &path, body).await;
        let word =
            answer["code"].as_str().filter(|_| status >= 400).map_or(status.to_string(), str::to_owned);
        (word, answer)
    }

    async fn post(&self, path: &str, body: Value) -> (String, Value) {
        self.call("POST", path, Some(body)).await
    }

    async fn grant(&self, who: &Value, role: &str, times: (Option<&str>, Option<&str>)) -> String {
        let body = json!({ "principal": who, "role": role, "valid_from": times.0, "valid_until": times.1 });
        self.post("/v1/grants", body).await.0
    }
}

const GOOD: (Option<&str>, Option<&str>) = (None, None);
const KEPT: &str = "access.sod_violation";

#[tokio::test]
async fn nobody_comes_to_both_by_grants_groups_inheritance_or_time() {
    let office = Office::open().await;
    let apart = json!({ "name": "four-eyes", "roles": ["clerk", "signer"], "at_most": 1 });
    let (made, constraint) = office.post("/v1/constraints", apart.clone()).await;
    assert_eq!((made.as_str(), &constraint["at_most"]), ("201", &json!(1)), "{constraint}");
    assert_eq!(office.post("/v1/constraints", apart).await.0, "access.name_taken");
    let (ann, ben) = (account(&office.ann), account(&office.ben));
    assert_eq!(office.grant(&ann, "clerk", GOOD).await, "201");
    let (refused, told) = office.post("/v1/grants", json!({ "principal": ann, "role": "signer" })).await;
    assert_eq!(refused, KEPT, "{told}");
    assert_eq!(
        (&told["offences"][0]["together"], &told["offences_count"]),
        (&json!(["clerk", "signer"]), &json!(1)),
        "{told:#}"
    );
    assert_eq!(told["offences"][0]["principal"].as_str(), Some(office.ann.as_str()));
    // A role that inherits one of them is one of them.
    let heir = json!({ "name": "chief", "inherits": ["signer"] });
    assert_eq!(office.post("/v1/roles", heir).await.0, "201");
    assert_eq!(office.grant(&ann, "chief", GOOD).await, KEPT);
    // One that comes to inherit it while somebody has it.
    assert_eq!(office.post("/v1/roles", json!({ "name": "helper" })).await.0, "201");
    assert_eq!(office.grant(&ann, "helper", GOOD).await, "201");
    let change = json!({ "inherits": ["signer"] });
    assert_eq!(office.call("PATCH", "/v1/roles/helper", Some(change)).await.0, KEPT);
    // Through a group, whichever comes first.
    let (_, group) = office.post("/v1/groups", json!({ "name": "signers" })).await;
    let group_id = group["id"].as_str().expect("an id").to_owned();
    let group = json!({ "kind": "group", "id": group_id });
    assert_eq!(office.grant(&group, "signer", GOOD).await, "201");
    let join = |who: &str| format!("/v1/groups/{group_id}/members/service_account/{who}");
    let put = async |who: &str, body: Value| {
        let (status, answer) =
            office.house.platform.call(&office.house.root, "PUT", &join(who), Some(body)).await;
        outcome(status, &answer)
    };
    assert!(put(&office.ann, json!({})).await.contains(KEPT));
    assert!(put(&office.ben, json!({})).await.starts_with("20"), "ben is no clerk");
    assert_eq!(office.grant(&ben, "clerk", GOOD).await, KEPT);
    // With everyone: ann is a clerk, so not everyone can be a signer.
    assert_eq!(office.grant(&json!({ "kind": "everyone" }), "signer", GOOD).await, KEPT);
    // One after the other is not together.
    let cem = account(&office.house.account("acme", "cem").await);
    assert_eq!(office.grant(&cem, "clerk", (None, Some("2026-12-01T00:00:00Z"))).await, "201");
    assert_eq!(office.grant(&cem, "signer", (Some("2026-11-30T23:59:59Z"), None)).await, KEPT);
    assert_eq!(office.grant(&cem, "signer", (Some("2026-12-01T00:00:00Z"), None)).await, "201");
    // Another tenant knows nothing of it, and a denial is not having.
    let deny = json!({ "principal": ann, "role": "signer", "effect": "deny" });
    assert_eq!(office.post("/v1/grants", deny).await.0, "201");
    let others =
        office.house.platform.call(&office.house.root, "GET", "/v1/constraints?tenant=bolt", None).await;
    assert_eq!((others.0, &others.1["items"]), (200, &json!([])));
    assert_eq!(office.call("DELETE", "/v1/constraints/four-eyes", None).await.0, "204");
    assert_eq!(office.call("DELETE", "/v1/constraints/four-eyes", None).await.0, "api.not_found");
    assert_eq!(office.grant(&ann, "chief", GOOD).await, "201");
}

#[tokio::test]
async fn a_constraint_that_is_broken_already_is_refused_with_who_breaks_it() {
    let office = Office::open().await;
    let both = [account(&office.ann), account(&office.ben)];
    for who in &both {
        assert_eq!(office.grant(who, "clerk", GOOD).await, "201");
        assert_eq!(office.grant(who, "signer", (Some("2027-01-01T00:00:00Z"), None)).await, "201");
    }
    let apart = json!({ "name": "four-eyes", "permissions": ["metadata_stamp:create", "metadata_stamp:update"], "at_most": 1 });
    let (refused, told) = office.post("/v1/constraints", apart).await;
    assert_eq!((refused.as_str(), &told["offences_count"]), (KEPT, &json!(2)), "{told:#}");
    assert_eq!(told["offences"][1]["from"], "2027-01-01T00:00:00Z");
    let wrong = [
        (json!({ "name": "x", "roles": ["clerk", "signer"], "at_most": 2 }), "api.invalid"),
        (json!({ "name": "x", "roles": ["clerk"], "at_most": 1 }), "api.invalid"),
        (json!({ "name": "x", "roles": ["clerk", "nobody"], "at_most": 1 }), "access.unknown_role"),
        (
            json!({ "name": "x", "permissions": ["a:b", "metadata_stamp:read"], "at_most": 1 }),
            "access.unknown_permission",
        ),
        (json!({ "name": "X", "roles": ["clerk", "signer"], "at_most": 1 }), "api.invalid"),
    ];
    for (body, code) in wrong {
        assert_eq!(office.post("/v1/constraints", body.clone()).await.0, code, "{body}");
    }
    assert_eq!(office.call("GET", "/v1/constraints", None).await.1["items"], json!([]), "nothing was kept");
}

/// Of two changes at once that break a constraint only together, one is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_do_not_pass_each_other() {
    let office = Office::open().await;
    let apart = json!({ "name": "four-eyes", "roles": ["clerk", "signer"], "at_most": 1 });
    assert_eq!(office.post("/v1/constraints", apart).await.0, "201");
    for round in 0..5 {
        let who = account(&office.house.account("acme", &format!("worker-{round}")).await);
        let (first, second) =
            tokio::join!(office.grant(&who, "clerk", GOOD), office.grant(&who, "signer", GOOD));
        let mut both = [first.as_str(), second.as_str()];
        both.sort_unstable();
        assert_eq!(both, ["201", KEPT]);
    }
}

#[tokio::test]
async fn a_simulation_keeps_the_tenants_constraints_too() {
    let office = Office::open().await;
    let apart = json!({ "name": "four-eyes", "roles": ["clerk", "signer"], "at_most": 1 });
    assert_eq!(office.post("/v1/constraints", apart).await.0, "201");
    let grant = |role: &str| json!({ "op": "put_grant", "value": { "principal": account(&office.ann), "role": role } });
    let steps = json!([
        grant("clerk"), grant("signer"),
        { "op": "delete_constraint", "name": "four-eyes" }, grant("signer"),
        { "op": "put_constraint", "value": { "name": "again", "roles": ["clerk", "signer"], "at_most": 1 } },
    ]);
    let (_, told) = office.post("/v1/access/simulate", json!({ "base": "current", "steps": steps })).await;
    let words: Vec<&str> = told["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| step["code"].as_str().or(step["result"].as_str()).expect("a word"))
        .collect();
    assert_eq!(words, ["ok", KEPT, "ok", "ok", KEPT], "{told:#}");
}

/// As the operator, who names no tenant.
async fn declare(office: &Office, method: &str, path: &str, body: Option<Value>) -> (String, Value) {
    let (status, answer) = office.house.platform.call(&office.house.root, method, path, body).await;
    let word = answer["code"].as_str().filter(|_| status >= 400).map_or(status.to_string(), str::to_owned);
    (word, answer)
}

fn standing() -> Value {
    json!({ "name": "makers-and-admins", "roles": ["operator", "readonly"], "at_most": 1 })
}

#[tokio::test]
async fn what_the_operator_keeps_apart_is_apart_in_every_tenant() {
    let office = Office::open().await;
    let apart = json!({ "name": "hands-off", "permissions": ["metadata_stamp:create", "metadata_stamp:update"], "at_most": 1 });
    let (made, constraint) = declare(&office, "POST", "/v1/constraints", Some(apart.clone())).await;
    assert_eq!((made.as_str(), &constraint["owner"]), ("201", &json!("operator")), "{constraint}");
    assert_eq!(declare(&office, "POST", "/v1/constraints", Some(apart)).await.0, "access.name_taken");
    let ann = account(&office.ann);
    assert_eq!(office.grant(&ann, "clerk", GOOD).await, "201");
    assert_eq!(office.grant(&ann, "signer", GOOD).await, KEPT, "a role of the tenant's own making");
    let cem = account(&office.house.account("bolt", "cem").await);
    let developer = json!({ "principal": cem, "role": "developer" });
    let path = "/v1/grants?tenant=bolt";
    assert_eq!(declare(&office, "POST", path, Some(developer)).await.0, KEPT, "in another tenant, too");
    // A tenant sees it, is told whose it is, and cannot take it away or shadow it.
    let admin = office.house.account("acme", "boss").await;
    let admin = json!({ "kind": "service_account", "id": admin });
    let role = json!({ "name": "keeper", "permissions": ["constraint:create", "constraint:read", "constraint:delete"] });
    assert_eq!(office.post("/v1/roles", role).await.0, "201");
    assert_eq!(office.grant(&admin, "keeper", GOOD).await, "201");
    let listed = ["constraint:create", "constraint:read", "constraint:delete"];
    let key = json!({ "name": "keeper", "owner": admin, "permissions": listed });
    let key = office.house.created(&office.house.root, "/v1/keys?tenant=acme", key).await;
    office.house.settled().await;
    let key = key["key"].as_str().expect("a key");
    let as_tenant = async |method: &str, path: &str, body: Option<Value>| {
        let (status, answer) = office.house.platform.call(key, method, path, body).await;
        (outcome(status, &answer), answer)
    };
    let (_, seen) = as_tenant("GET", "/v1/constraints", None).await;
    assert_eq!(
        (&seen["items"][0]["name"], &seen["items"][0]["owner"]),
        (&json!("hands-off"), &json!("operator"))
    );
    assert_eq!(as_tenant("DELETE", "/v1/constraints/hands-off", None).await.0, "422 access.predefined");
    let shadow = json!({ "name": "hands-off", "roles": ["clerk", "signer"], "at_most": 1 });
    assert_eq!(as_tenant("POST", "/v1/constraints", Some(shadow)).await.0, "409 access.name_taken");
    // A simulation knows it.
    let steps = json!([{ "op": "put_grant", "value": { "principal": ann, "role": "signer" } }]);
    let (_, told) = office.post("/v1/access/simulate", json!({ "base": "current", "steps": steps })).await;
    assert_eq!(told["steps"][0]["code"], KEPT, "{told:#}");
    assert_eq!(declare(&office, "DELETE", "/v1/constraints/hands-off", None).await.0, "204");
    assert_eq!(declare(&office, "DELETE", "/v1/constraints/hands-off", None).await.0, "api.not_found");
    assert_eq!(office.grant(&ann, "signer", GOOD).await, "201");
}

#[tokio::test]
async fn what_some_tenant_breaks_already_cannot_be_declared() {
    let office = Office::open().await;
    let cem = account(&office.house.account("bolt", "cem").await);
    for (tenant, who) in [("acme", account(&office.ann)), ("acme", account(&office.ben)), ("bolt", cem)] {
        let path = format!("/v1/grants?tenant={tenant}");
        let grant = json!({ "principal": who, "role": "operator" });
        assert_eq!(declare(&office, "POST", &path, Some(grant)).await.0, "201");
    }
    let (refused, told) = declare(&office, "POST", "/v1/constraints", Some(standing())).await;
    assert_eq!((refused.as_str(), &told["offences_count"]), (KEPT, &json!(3)), "{told:#}");
    let tenants: std::collections::BTreeSet<&str> = told["offences"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|offence| offence["tenant"].as_str())
        .collect();
    assert_eq!(tenants.len(), 2, "{told:#}");
    let (_, all) = declare(&office, "GET", "/v1/constraints", None).await;
    assert_eq!(all["items"], json!([]), "nothing was kept");
    let unknown = json!({ "name": "x", "roles": ["clerk", "signer"], "at_most": 1 });
    let (word, _) = declare(&office, "POST", "/v1/constraints", Some(unknown)).await;
    assert_eq!(word, "access.unknown_role", "a tenant's own roles are not the operator's to name");
}

/// Of a declaration and a grant at once that break it only together, one is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declaration_and_a_grant_do_not_pass_each_other() {
    let office = Office::open().await;
    let apart = json!({ "name": "hands-off", "permissions": ["metadata_stamp:create", "metadata_stamp:update"], "at_most": 1 });
    for round in 0..5 {
        let who = account(&office.house.account("acme", &format!("worker-{round}")).await);
        assert_eq!(office.grant(&who, "clerk", GOOD).await, "201");
        let (declared, granted) = tokio::join!(
            declare(&office, "POST", "/v1/constraints", Some(apart.clone())),
            office.post("/v1/grants", json!({ "principal": who, "role": "signer" })),
        );
        let mut both = [declared.0.as_str(), granted.0.as_str()];
        both.sort_unstable();
        assert_eq!(both, ["201", KEPT]);
        match granted.1["id"].as_str() {
            Some(id) => {
                assert_eq!(office.call("DELETE", &format!("/v1/grants/{id}"), None).await.0, "204");
            }
            None => assert_eq!(declare(&office, "DELETE", "/v1/constraints/hands-off", None).await.0, "204"),
        }
    }
}

#[tokio::test]
async fn a_role_has_so_many_members_and_no_more() {
    let office = Office::open().await;
    let role = json!({ "name": "keyholder", "permissions": ["metadata_stamp:read"], "max_members": 1 });
    assert_eq!(office.post("/v1/roles", role).await.1["max_members"], json!(1));
    let (ann, ben) = (account(&office.ann), account(&office.ben));
    const FULL: &str = "access.too_many_members";
    assert_eq!(office.grant(&ann, "keyholder", (None, Some("2026-12-01T00:00:00Z"))).await, "201");
    assert_eq!(office.grant(&ann, "keyholder", GOOD).await, "201", "the same one");
    let (refused, told) = office.post("/v1/grants", json!({ "principal": ben, "role": "keyholder" })).await;
    assert_eq!((refused.as_str(), &told["max_members"]), (FULL, &json!(1)), "{told:#}");
    assert_eq!(told["members"].as_array().map(Vec::len), Some(2), "{told:#}");
    assert_eq!(office.grant(&json!({ "kind": "everyone" }), "keyholder", GOOD).await, FULL);
    // By a role that inherits it, and through a group.
    assert_eq!(office.post("/v1/roles", json!({ "name": "heir", "inherits": ["keyholder"] })).await.0, "201");
    assert_eq!(office.grant(&ben, "heir", GOOD).await, FULL);
    let (_, group) = office.post("/v1/groups", json!({ "name": "holders" })).await;
    let group_id = group["id"].as_str().expect("an id").to_owned();
    assert_eq!(office.grant(&json!({ "kind": "group", "id": group_id }), "keyholder", GOOD).await, "201");
    let join = format!("/v1/groups/{group_id}/members/service_account/{}", office.ben);
    let (status, answer) =
        office.house.platform.call(&office.house.root, "PUT", &join, Some(json!({}))).await;
    assert!(outcome(status, &answer).contains(FULL), "{answer}");
    // A role that comes to be inherited, or to hold fewer than it has.
    assert_eq!(office.post("/v1/roles", json!({ "name": "helper", "max_members": 5 })).await.0, "201");
    for who in [&ann, &ben] {
        assert_eq!(office.grant(who, "helper", GOOD).await, "201");
    }
    let change = |body: Value| async { office.call("PATCH", "/v1/roles/helper", Some(body)).await.0 };
    assert_eq!(change(json!({ "inherits": ["keyholder"] })).await, FULL);
    assert_eq!(change(json!({ "max_members": 1 })).await, FULL);
    assert_eq!(change(json!({ "max_members": 2 })).await, "200");
    assert_eq!(change(json!({ "max_members": 0 })).await, "200", "no bound");
    let wrong = json!({ "name": "x", "max_members": 1_000_001 });
    assert_eq!(office.post("/v1/roles", wrong).await.0, "api.invalid");
}

/// Of two at once who would be one too many, one is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_place_is_taken_once() {
    let office = Office::open().await;
    for round in 0..5 {
        let name = format!("seat-{round}");
        assert_eq!(office.post("/v1/roles", json!({ "name": name, "max_members": 1 })).await.0, "201");
        let (ann, ben) = (account(&office.ann), account(&office.ben));
        let (first, second) = tokio::join!(office.grant(&ann, &name, GOOD), office.grant(&ben, &name, GOOD));
        let mut both = [first.as_str(), second.as_str()];
        both.sort_unstable();
        assert_eq!(both, ["201", "access.too_many_members"]);
    }
}

#[tokio::test]
async fn what_a_role_requires_comes_before_it_and_goes_after_it() {
    let office = Office::open().await;
    const MISSING: &str = "access.missing_prerequisite";
    let role = |name: &str, requires: &[&str]| json!({ "name": name, "permissions": ["metadata_stamp:read"], "requires": requires });
    assert_eq!(office.post("/v1/roles", role("pilot", &["clerk"])).await.0, "201");
    let ann = account(&office.ann);
    let (refused, told) = office.post("/v1/grants", json!({ "principal": ann, "role": "pilot" })).await;
    assert_eq!((refused.as_str(), &told["required"]), (MISSING, &json!("clerk")), "{told:#}");
    let until = Some("2026-12-01T00:00:00Z");
    let (_, clerk) =
        office.post("/v1/grants", json!({ "principal": ann, "role": "clerk", "valid_until": until })).await;
    assert_eq!(office.grant(&ann, "pilot", GOOD).await, MISSING, "it ends before");
    let (made, pilot) =
        office.post("/v1/grants", json!({ "principal": ann, "role": "pilot", "valid_until": until })).await;
    assert_eq!(made, "201");
    let take_back = |grant: &Value| {
        let path = format!("/v1/grants/{}", grant["id"].as_str().expect("an id"));
        let office = &office;
        async move { declare(office, "DELETE", &path, None).await.0 }
    };
    assert_eq!(take_back(&clerk).await, MISSING, "it is in use");
    assert_eq!(office.call("DELETE", "/v1/roles/clerk", None).await.0, "access.role_in_use");
    let steps = json!([{ "op": "delete_grant", "id": clerk["id"] }, { "op": "delete_grant", "id": pilot["id"] },
                       { "op": "delete_grant", "id": clerk["id"] }]);
    let (_, would) = office.post("/v1/access/simulate", json!({ "base": "current", "steps": steps })).await;
    let words: Vec<&str> = would["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| step["result"].as_str().expect("a word"))
        .collect();
    assert_eq!(
        (words, &would["steps"][0]["code"]),
        (vec!["refused", "ok", "ok"], &json!(MISSING)),
        "{would:#}"
    );
    assert_eq!(take_back(&pilot).await, "204");
    assert_eq!(take_back(&clerk).await, "204");
    // Through a group, and by a change of the role.
    let (_, group) = office.post("/v1/groups", json!({ "name": "clerks" })).await;
    let group_id = group["id"].as_str().expect("an id").to_owned();
    assert_eq!(office.grant(&json!({ "kind": "group", "id": group_id }), "clerk", GOOD).await, "201");
    let member = format!("/v1/groups/{group_id}/members/service_account/{}", office.ann);
    assert!(declare(&office, "PUT", &member, Some(json!({}))).await.0.starts_with("20"));
    assert_eq!(office.grant(&ann, "pilot", GOOD).await, "201");
    assert_eq!(declare(&office, "DELETE", &member, None).await.0, MISSING);
    assert_eq!(declare(&office, "DELETE", &format!("/v1/groups/{group_id}"), None).await.0, MISSING);
    let more = json!({ "requires": ["clerk", "signer"] });
    assert_eq!(office.call("PATCH", "/v1/roles/pilot", Some(more)).await.0, MISSING);
    let circle = json!({ "requires": ["pilot"] });
    assert_eq!(office.call("PATCH", "/v1/roles/clerk", Some(circle)).await.0, "access.cycle");
    for (body, code) in [
        (role("x", &["nobody"]), "access.unknown_role"),
        (role("x", &["x"]), "api.invalid"),
        (role("x", &["platform_admin"]), "access.unknown_role"),
        (role("x", &["clerk", "clerk"]), "api.invalid"),
    ] {
        assert_eq!(office.post("/v1/roles", body.clone()).await.0, code, "{body}");
    }
}
