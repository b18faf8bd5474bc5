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
