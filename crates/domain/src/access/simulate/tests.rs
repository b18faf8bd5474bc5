//! The specification's example, and models as other engines have them in their own test suites.

use serde_json::{Value, json};

use super::*;

fn simulate(steps: Value) -> Value {
    let steps: Vec<Step> = serde_json::from_value(steps).expect("steps");
    let at = "2026-11-21T09:00:00Z".parse().expect("time");
    serde_json::to_value(run(&World::default(), at, steps).expect("empty")).expect("wire types are JSON")
}

fn user(name: &str) -> Value {
    json!({ "kind": "user", "id": name })
}

fn doc() -> Value {
    json!({ "op": "put_resource_type", "value": {
        "name": "doc", "actions": ["read", "write"], "implies": { "write": ["read"] } } })
}

fn results(told: &Value) -> Vec<String> {
    let steps = told["steps"].as_array().expect("steps");
    let word = |step: &Value| match step["result"].as_str() {
        Some("refused") => step["code"].as_str().expect("code").to_owned(),
        Some("deny") => step["reason"].as_str().expect("reason").to_owned(),
        other => other.expect("result").to_owned(),
    };
    steps.iter().map(word).collect()
}

#[test]
fn the_example_of_the_specification() {
    let told = simulate(json!([
        doc(),
        { "op": "put_role", "value": { "name": "author", "permissions": ["doc:write"], "inherits": [] } },
        { "op": "put_grant", "value": { "principal": user("ann"), "role": "author" }, "as": null },
        { "op": "check", "principal": user("ann"), "permission": "doc:read",
          "resource": { "type": "doc", "id": "7" }, "context": {} },
    ]));
    assert_eq!(results(&told), ["ok", "ok", "ok", "allow"]);
    assert_eq!(told["steps"][2]["id"], "grant_sim_1");
    assert_eq!(
        told["steps"][3]["because"],
        json!([{ "grant": "grant_sim_1", "via": [{ "role": "author" }] }])
    );
    assert_eq!(told["diff"]["gained_count"], 2);
    assert_eq!(told["diff"]["gained"][0]["permission"], "doc:read");
    assert_eq!(told["diff"]["gained"][1]["permission"], "doc:write");
}

/// The role model of Casbin's documentation: roles in roles, and a domain that nobody crosses is our tenant.
#[test]
fn roles_in_groups_in_groups_with_times_and_a_denial_on_one_thing() {
    let check = |who: &str, what: &str, on: &str| {
        json!({ "op": "check", "principal": user(who), "permission": what,
                "resource": { "type": "doc", "id": on } })
    };
    let told = simulate(json!([
        doc(),
        { "op": "put_group", "value": { "name": "staff" } },
        { "op": "put_group", "value": { "name": "editors" } },
        { "op": "add_member", "group": "staff", "principal": { "kind": "group", "id": "editors" } },
        { "op": "add_member", "group": "editors", "principal": user("ann"), "valid_until": "2026-11-22T00:00:00Z" },
        { "op": "put_resource", "value": { "type": "doc", "id": "7", "parent": { "type": "folder", "id": "a" } } },
        { "op": "put_grant", "value": { "principal": { "kind": "group", "id": "staff" }, "permission": "doc:write",
            "resource": { "type": "folder", "id": "a" } } },
        check("ann", "doc:read", "7"),
        check("ann", "doc:read", "8"),
        { "op": "put_grant", "value": { "principal": user("ann"), "effect": "deny", "permission": "doc:write",
            "resource": { "type": "doc", "id": "7" } } },
        check("ann", "doc:write", "7"),
        check("ann", "doc:read", "7"),
        { "op": "set_time", "at": "2026-11-22T00:00:00Z" },
        check("ann", "doc:read", "7"),
        check("ann", "doc:fly", "7"),
        { "op": "add_member", "group": "editors", "principal": { "kind": "group", "id": "staff" } },
        { "op": "put_resource", "value": { "type": "folder", "id": "a", "parent": { "type": "doc", "id": "7" } } },
    ]));
    assert_eq!(
        results(&told),
        [
            "ok",
            "ok",
            "ok",
            "ok",
            "ok",
            "ok",
            "ok",
            "allow",
            "no_grant",
            "ok",
            "denied",
            "allow",
            "ok",
            "expired",
            "unknown_permission",
            "access.cycle",
            "access.cycle",
        ]
    );
}

#[test]
fn nobody_gives_what_he_does_not_hold_and_the_last_administrator_stays() {
    let give = |by: &str, to: &str, what: Value| {
        let mut value = json!({ "principal": user(to) });
        value.as_object_mut().expect("object").extend(what.as_object().expect("object").clone());
        json!({ "op": "put_grant", "value": value, "as": user(by) })
    };
    let told = simulate(json!([
        doc(),
        { "op": "put_resource_type", "value": { "name": "grant", "actions": ["create", "delete", "deny"] } },
        { "op": "put_role", "value": { "name": "boss", "permissions": ["*:*"] } },
        { "op": "put_role", "value": { "name": "giver", "permissions": ["grant:create"] } },
        { "op": "put_grant", "value": { "principal": user("root"), "role": "boss" } },
        give("root", "ann", json!({ "role": "giver" })),
        give("root", "ann", json!({ "permission": "doc:read", "valid_until": "2027-01-01T00:00:00Z" })),
        give("ann", "bob", json!({ "permission": "doc:write" })),
        give("ann", "bob", json!({ "permission": "doc:read" })),
        give("ann", "bob", json!({ "permission": "doc:read", "valid_until": "2026-12-01T00:00:00Z" })),
        give("ann", "bob", json!({ "effect": "deny", "permission": "doc:read" })),
        give("bob", "ann", json!({ "permission": "doc:read" })),
        { "op": "put_role", "value": { "name": "giver", "permissions": ["*:*"] }, "as": user("ann") },
        { "op": "delete_grant", "id": "grant_sim_1" },
        { "op": "put_grant", "value": { "principal": user("root"), "effect": "deny", "permission": "doc:read" } },
    ]));
    let denied = "access.denied";
    let escalation = "access.escalation";
    assert_eq!(
        results(&told)[5..],
        [
            "ok",
            "ok",
            escalation,
            escalation,
            "ok",
            denied,
            denied,
            escalation,
            "access.last_admin",
            "access.last_admin",
        ]
    );
}

#[test]
fn a_thing_is_not_moved_into_or_out_of_reach_of_what_its_mover_does_not_hold() {
    let by_ann = |id: &str| {
        json!({ "op": "put_resource", "as": user("ann"), "value": {
            "type": "doc", "id": "7", "parent": { "type": "folder", "id": id } } })
    };
    let on = |id: &str, effect: &str, who: &str, what: &str| {
        json!({ "op": "put_grant", "value": { "principal": user(who), "effect": effect, "permission": what,
            "resource": { "type": "folder", "id": id } } })
    };
    let told = simulate(json!([
        doc(),
        { "op": "put_resource_type", "value": { "name": "resource", "actions": ["update"] } },
        { "op": "put_grant", "value": { "principal": user("ann"), "permission": "resource:update" } },
        on("open", "allow", "bob", "doc:write"),
        on("shut", "deny", "bob", "doc:write"),
        by_ann("open"),
        by_ann("shut"),
        by_ann("plain"),
        { "op": "put_grant", "value": { "principal": user("ann"), "permission": "doc:write" } },
        by_ann("plain"),
        by_ann("open"),
    ]));
    let escalation = "access.escalation";
    assert_eq!(results(&told)[5..], [escalation, "ok", escalation, "ok", "ok", "ok"]);
}

#[test]
fn everyone_is_who_belongs_to_the_tenant() {
    let world = World { people: [Party::new("user", "ann")].into(), ..World::default() };
    let steps = json!([
        doc(),
        { "op": "put_grant", "value": { "principal": { "kind": "everyone" }, "permission": "doc:read" } },
        { "op": "check", "principal": user("ann"), "permission": "doc:read" },
        { "op": "check", "principal": user("eve"), "permission": "doc:read" },
    ]);
    let steps = serde_json::from_value(steps).expect("steps");
    let told = run(&world, jiff::Timestamp::UNIX_EPOCH, steps).expect("whole");
    let words: Vec<Outcome> = told.steps.iter().map(|step| step.result).collect();
    assert_eq!(words, [Outcome::Ok, Outcome::Ok, Outcome::Allow, Outcome::Deny]);
    assert_eq!(told.diff.gained_count, 1);

    // Who is given something comes to belong to it; on nothing at all everybody does who is named.
    let steps = json!([
        doc(),
        { "op": "put_grant", "value": { "principal": { "kind": "everyone" }, "permission": "doc:read" } },
        { "op": "put_grant", "value": { "principal": user("eve"), "permission": "doc:write", "resource": { "type": "doc", "id": "1" } } },
        { "op": "check", "principal": user("eve"), "permission": "doc:read" },
        { "op": "check", "principal": user("dan"), "permission": "doc:read" },
    ]);
    let steps: Vec<Step> = serde_json::from_value(steps).expect("steps");
    for (base, dan) in [(world, Outcome::Deny), (World::default(), Outcome::Allow)] {
        let told = run(&base, jiff::Timestamp::UNIX_EPOCH, steps.clone()).expect("whole");
        assert_eq!([told.steps[3].result, told.steps[4].result], [Outcome::Allow, dan]);
    }
}

/// Rows as suites of other engines have them: attributes of who asks, of the thing, of the request and of what is done.
#[test]
fn conditions_ask_for_what_is_known_and_nobody_gives_under_another() {
    let kind = json!({ "op": "put_resource_type", "value": {
        "name": "doc", "actions": ["read", "write", "delete"], "implies": { "write": ["read"] }, "attributes": [
            { "name": "owner", "type": "string", "required": true },
            { "name": "public", "type": "bool" },
            { "name": "department", "type": "string", "of": "principal", "required": true },
            { "name": "soft", "type": "bool", "of": "action", "required": true },
        ] } });
    let allow = |who: &str, what: &str, when: &str| json!({ "op": "put_grant", "value": { "principal": user(who), "permission": what, "condition": when } });
    let deny = |who: &str, what: &str, when: &str| json!({ "op": "put_grant", "value": { "principal": user(who), "permission": what, "effect": "deny", "condition": when } });
    let check = |who: &str, what: &str, context: Value| json!({ "op": "check", "principal": user(who), "permission": what, "resource": { "type": "doc", "id": "d1" }, "context": context });
    let mut clerk = user("cem");
    clerk["attributes"] = json!({ "department": "finance" });
    let told = simulate(json!([
        kind,
        { "op": "put_group", "value": { "name": "staff" } },
        { "op": "add_member", "group": "staff", "principal": user("ann") },
        { "op": "put_resource", "value": { "type": "doc", "id": "d1", "attributes": { "owner": "ann" } } },
        allow("ann", "doc:write", "resource.owner == principal.id"),
        allow("bob", "doc:write", "resource.owner == principal.id"),
        allow("bob", "doc:read", "resource has public && resource.public"),
        allow("cem", "doc:read", "principal.department == \"finance\""),
        allow("ann", "doc:delete", "principal.groups.contains(\"staff\") && context.action.soft"),
        deny("ann", "doc:read", "context.country == \"XX\""),
        check("ann", "doc:write", json!({})),
        check("bob", "doc:write", json!({})),
        check("bob", "doc:read", json!({})),
        { "op": "check", "principal": user("bob"), "permission": "doc:read",
          "resource": { "type": "doc", "id": "d2", "attributes": { "public": true } } },
        { "op": "check", "principal": clerk, "permission": "doc:read", "resource": { "type": "doc", "id": "d1" } },
        check("cem", "doc:read", json!({})),
        check("ann", "doc:delete", json!({ "action": { "soft": true } })),
        check("ann", "doc:delete", json!({ "action": { "soft": false } })),
        check("ann", "doc:delete", json!({})),
        check("ann", "doc:read", json!({ "country": "DE" })),
        check("ann", "doc:read", json!({ "country": "XX" })),
        check("ann", "doc:read", json!({})),
        allow("eve", "doc:read", "context.nothing"),
    ]));
    assert_eq!(
        results(&told)[10..],
        [
            "allow",
            "condition_false",
            "condition_false",
            "allow",
            "allow",
            "context_missing",
            "allow",
            "condition_false",
            "context_missing",
            "allow",
            "denied",
            "denied",
            "access.bad_condition",
        ]
    );
    let gained = told["diff"]["gained"].as_array().expect("a list");
    assert!(gained.iter().all(|one| one["conditional"] == true), "{gained:?}");
    let told = simulate(json!([
        doc(),
        allow("ann", "doc:read", "context.mfa"),
        { "op": "put_grant", "as": user("ann"), "value": { "principal": user("bob"), "permission": "doc:read" } },
        { "op": "put_grant", "as": user("ann"), "value": {
            "principal": user("bob"), "permission": "doc:read", "condition": "context.mfa && context.country == \"DE\"" } },
        { "op": "put_grant", "as": user("ann"), "value": {
            "principal": user("bob"), "permission": "doc:read", "condition": "context.mfa" } },
    ]));
    assert_eq!(results(&told)[2..], ["access.escalation", "access.escalation", "ok"]);
}

#[test]
fn roles_have_so_many_members_and_what_they_require() {
    let role = |name: &str, more: Value| {
        let mut value = json!({ "name": name, "permissions": ["doc:read"] });
        value.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
        json!({ "op": "put_role", "value": value })
    };
    let give = |who: &str, role: &str| json!({ "op": "put_grant", "value": { "principal": user(who), "role": role } });
    let told = simulate(json!([
        doc(),
        role("trained", json!({})),
        role("pilot", json!({ "requires": ["trained"], "max_members": 1 })),
        give("ann", "pilot"),
        give("ann", "trained"),
        give("ann", "pilot"),
        give("bob", "trained"),
        give("bob", "pilot"),
        { "op": "delete_grant", "id": "grant_sim_1" },
        { "op": "delete_grant", "id": "grant_sim_2" },
        { "op": "delete_grant", "id": "grant_sim_1" },
        give("bob", "pilot"),
        role("x", json!({ "requires": ["nobody"] })),
        role("x", json!({ "max_members": 0 })),
    ]));
    let (missing, many) = ("access.missing_prerequisite", "access.too_many_members");
    assert_eq!(
        results(&told),
        [
            "ok",
            "ok",
            "ok",
            missing,
            "ok",
            "ok",
            "ok",
            many,
            missing,
            "ok",
            "ok",
            "ok",
            "access.unknown_role",
            "api.invalid",
        ]
    );
}

#[test]
fn in_a_session_only_so_many_roles_are_active_as_were_chosen() {
    let role = |name: &str, permission: &str, inherits: Value| json!({ "op": "put_role", "value": { "name": name, "permissions": [permission], "inherits": inherits } });
    let give = |who: Value, role: &str, more: Value| {
        let mut value = json!({ "principal": who, "role": role });
        value.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
        json!({ "op": "put_grant", "value": value })
    };
    let check = |who: Value, what: &str| json!({ "op": "check", "principal": who, "permission": what });
    let act = |who: Value, roles: Value| json!({ "op": "activate", "principal": who, "roles": roles });
    let apart = |name: &str, of: Value| json!({ "op": "put_constraint", "value": { "name": name, "kind": "dynamic", "roles": of, "at_most": 1 } });
    let machine = |id: &str| json!({ "kind": "service_account", "id": id });
    let told = simulate(json!([
        doc(),
        role("clerk", "doc:read", json!([])),
        role("signer", "doc:write", json!([])),
        role("chief", "doc:read", json!(["clerk", "signer"])),
        apart("four-eyes", json!(["clerk", "signer"])),
        // One of the two is active, as ever.
        give(user("ann"), "clerk", json!({})),
        check(user("ann"), "doc:read"),
        // Of both none is, until one is chosen.
        give(user("ann"), "signer", json!({})),
        check(user("ann"), "doc:read"),
        act(user("ann"), json!(["clerk", "signer"])),
        act(user("ann"), json!(["chief"])),
        act(user("ann"), json!(["clerk"])),
        check(user("ann"), "doc:read"),
        check(user("ann"), "doc:write"),
        act(user("ann"), json!([])),
        check(user("ann"), "doc:write"),
        // Who inherits both is never active.
        give(user("bob"), "chief", json!({})),
        check(user("bob"), "doc:read"),
        act(user("bob"), json!(["chief"])),
        // For machines, and for everyone, who they are among, it is as static.
        give(machine("robot"), "clerk", json!({})),
        give(machine("robot"), "signer", json!({})),
        // What is for a time is too much for that time.
        give(user("cem"), "clerk", json!({})),
        give(user("cem"), "signer", json!({ "valid_until": "2026-11-22T00:00:00Z" })),
        check(user("cem"), "doc:read"),
        { "op": "set_time", "at": "2026-11-22T00:00:00Z" },
        check(user("cem"), "doc:read"),
        { "op": "put_constraint", "value": { "name": "x", "kind": "dynamic", "permissions": ["doc:read", "doc:write"], "at_most": 1 } },
    ]));
    let (none, both) = ("inactive_role", "access.roles_exclude_each_other");
    let ok = "ok";
    assert_eq!(
        results(&told)[5..],
        [
            ok,
            "allow",
            ok,
            none,
            both,
            "access.unknown_role",
            ok,
            "allow",
            none,
            ok,
            none,
            ok,
            none,
            both,
            ok,
            "access.sod_violation",
            ok,
            ok,
            none,
            ok,
            "allow",
            "api.invalid",
        ]
    );
}
