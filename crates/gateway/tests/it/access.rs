//! Who may do what: the key's own permissions and its owner's, both.

use rowhouse_journal::{Class, Outcome};

use crate::directory::{ACME, KeyPlan};
use crate::stage::Stage;

#[test]
fn a_key_needs_its_own_right_and_its_owners() {
    let rows: [(&'static [&'static str], u128, &str, Result<(), &str>); 6] = [
        (&["*:*"], 1, "GET", Ok(())),
        (&["stamp:read"], 1, "GET", Ok(())),
        (&["stamp:create"], 1, "GET", Err("its owner holds it, the key or application does not")),
        (&["*:*"], 2, "GET", Ok(())),
        (&["*:*"], 2, "POST", Err("the key holds it, its owner does not")),
        (&[], 3, "GET", Err("nobody granted it")),
    ];
    let mut keys = Vec::new();
    let stage = Stage::with(|plan| {
        for (permits, owner, method, expected) in rows {
            keys.push((plan.key(KeyPlan { permits, owner, ..KeyPlan::of(ACME) }), method, expected));
        }
    });
    for (key, method, expected) in keys {
        let answer = stage.bare(method, "/v1/stamps").host("acme.example.test").key(&key).send();
        match expected {
            Ok(()) => assert_eq!(answer.status, 200, "{}", answer.text()),
            Err(because) => {
                assert_eq!(answer.refusal(), (403, "access.denied".to_owned()));
                assert!(answer.text().contains(because), "{}", answer.text());
            }
        }
    }
}

#[test]
fn a_grants_condition_is_asked_with_what_is_true_of_the_request() {
    let here = "context.ip.isLoopback() && context.auth_method == \"api_key\" && !context.mfa";
    let rows = [
        (
            format!("{here} && context.method == \"GET\" && context.path == \"/v1/stamps\""),
            "context.method == \"PUT\"",
            Ok(()),
        ),
        (
            "context.method == \"POST\"".to_owned(),
            "context.method == \"PUT\"",
            Err("a grant's condition does not hold"),
        ),
        ("context.mfa".to_owned(), "context.method == \"PUT\"", Err("a grant's condition does not hold")),
        (
            "context.country == \"DE\"".to_owned(),
            "context.method == \"PUT\"",
            Err("asks for what is not known"),
        ),
        ("context.mfa_age_s < 10".to_owned(), "context.method == \"PUT\"", Err("asks for what is not known")),
        (here.to_owned(), "context.method == \"GET\"", Err("it is forbidden by a grant")),
        (here.to_owned(), "context.country == \"XX\"", Err("it is forbidden by a grant")),
        (here.to_owned(), "context.mfa_age_s + ", Err("it is forbidden by a grant")),
        ("context.ip ==".to_owned(), "context.method == \"PUT\"", Err("asks for what is not known")),
    ];
    for (allow, deny, expected) in rows {
        let mut key = String::new();
        let stage = Stage::with(|plan| {
            plan.conditional(&allow, deny);
            key = plan.key(KeyPlan { owner: 4, ..KeyPlan::of(ACME) });
        });
        // What a request says of itself is no fact.
        let ask = stage.bare("GET", "/v1/stamps").host("acme.example.test").key(&key);
        let answer = ask.header("X-Country", "DE").send();
        match expected {
            Ok(()) => assert_eq!(answer.status, 200, "{allow}: {}", answer.text()),
            Err(because) => {
                assert_eq!(answer.refusal(), (403, "access.denied".to_owned()), "{allow}, not {deny}");
                assert!(answer.text().contains(because), "{allow}, not {deny}: {}", answer.text());
            }
        }
    }
}

#[test]
fn a_denial_is_an_audit_event_and_counters_are_gapless_per_tenant() {
    let mut key = String::new();
    let stage = Stage::configured(
        |config| config.cores = 1,
        |plan| key = plan.key(KeyPlan { permits: &["stamp:read"], ..KeyPlan::of(ACME) }),
    );
    let delete = || {
        let ask = stage.bare("DELETE", "/v1/stamps/st-42").host("acme.example.test").key(&key);
        ask.header("User-Agent", "probe/1").send()
    };
    assert_eq!(delete().refusal(), (403, "access.denied".to_owned()));
    assert_eq!(delete().refusal(), (403, "access.denied".to_owned()));
    let created = stage.ask("POST", "/v1/stamps").send();
    assert_eq!(created.status, 200);
    assert_eq!(stage.ask("GET", "/v1/stamps").send().status, 200);

    let records = stage.records(4);
    let first = records[0].record();
    assert_eq!(
        (records[0].class, first.outcome, first.refusal),
        (Class::S, Outcome::Refused, "access.denied")
    );
    assert_eq!(first.permission, "stamp:delete");
    let audit = first.audit.unwrap();
    assert_eq!((audit.target_kind, audit.target_id, first.user_agent), ("stamp", "st-42", "probe/1"));
    let counters: Vec<_> = records.iter().map(|r| r.record().audit.map(|audit| audit.counter)).collect();
    assert_eq!(counters, [Some(1), Some(2), Some(3), None], "changes are events, reading is not");
}

#[test]
fn a_permission_says_which_decisions_are_events() {
    // What is declared of `stamp:read`, and whether it is sensitive; a served and a refused GET are events.
    let rows = [
        (None, false, (false, true)),
        (None, true, (true, true)),
        (Some("all"), false, (true, true)),
        (Some("sampled:1"), false, (true, true)),
        (Some("sampled:4000000000"), false, (false, true)),
        (Some("none"), true, (false, false)),
    ];
    for (audit, sensitive, expected) in rows {
        let (mut may, mut may_not) = (String::new(), String::new());
        let stage = Stage::configured(
            |config| config.cores = 1,
            |plan| {
                plan.recorded("stamp", "read", (audit, sensitive));
                may = plan.key(KeyPlan { permits: &["stamp:read"], ..KeyPlan::of(ACME) });
                may_not = plan.key(KeyPlan { permits: &["stamp:create"], ..KeyPlan::of(ACME) });
            },
        );
        let ask =
            |key: &str| stage.bare("GET", "/v1/stamps").host("acme.example.test").key(key).send().status;
        assert_eq!((ask(&may), ask(&may_not)), (200, 403), "{audit:?}");
        let records = stage.records(2);
        let events: Vec<bool> = records.iter().map(|one| one.record().audit.is_some()).collect();
        assert_eq!(events, [expected.0, expected.1], "{audit:?} {sensitive}");
        let permissions: Vec<_> = records.iter().map(|one| one.record().permission.to_owned()).collect();
        assert_eq!(permissions, ["stamp:read", "stamp:read"], "the journal has each decision");
    }
}

#[test]
fn a_public_route_needs_nobody() {
    let stage = Stage::start();
    for host in ["localhost", "acme.example.test"] {
        let answer = stage.bare("GET", "/open/hours").host(host).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let nothing = stage.bare("GET", "/open/hours").host("localhost").key("nonsense").send();
    assert_eq!(nothing.refusal(), (401, "keys.invalid".to_owned()), "a wrong credential is never ignored");
}

#[test]
fn nowhere_and_other_methods() {
    let stage = Stage::start();
    assert_eq!(stage.ask("GET", "/v2/nothing").send().refusal(), (404, "routes.no_match".to_owned()));
    let answer = stage.ask("DELETE", "/v1/stamps").send();
    assert_eq!(answer.refusal(), (405, "routes.method_not_allowed".to_owned()));
    let mut allowed: Vec<_> = answer.header("allow").unwrap().split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    let anonymous = stage.bare("GET", "/v1/stamps").host("localhost").send();
    assert_eq!(anonymous.refusal(), (400, "tenancy.unresolved".to_owned()));
}
