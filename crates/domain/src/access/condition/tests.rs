//! What may be written, and what it then says.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::*;
use crate::access::{Principal, PrincipalKind};

const ANN: Principal = Principal { kind: PrincipalKind::User, id: Uuid::from_u128(7) };

fn declared() -> Vec<Attribute> {
    let own = |name: &str, kind, required, of| Attribute { name: name.into(), kind, required, of };
    vec![
        own("created_by", AttributeKind::Text, true, Described::Resource),
        own("amount", AttributeKind::Integer, true, Described::Resource),
        own("tags", AttributeKind::Texts, false, Described::Resource),
        own("network", AttributeKind::Ip, false, Described::Resource),
        own("due", AttributeKind::Datetime, true, Described::Resource),
        own("soft", AttributeKind::Bool, true, Described::Action),
        own("role", AttributeKind::Text, true, Described::Principal),
        own("risk", AttributeKind::Integer, true, Described::Context),
    ]
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

fn checked(text: &str, parameters: Value) -> Result<Condition, ConditionFault> {
    let declared = declared();
    let kinds = BTreeMap::from([("doc", declared.as_slice())]);
    let condition = Condition::check(text, object(parameters), &kinds)?;
    Ok(condition.about(declared.clone().into()))
}

fn asked(text: &str, context: Value, resource: Value) -> Outcome {
    let condition = checked(text, json!({ "most": 100, "team": ["a", "b"] })).expect("it is well-formed");
    let (context, resource) = (object(context), object(resource));
    let role = object(json!({ "role": "clerk" }));
    let facts = Facts { resource: Some(&resource), principal: Some(&role), ..Facts::of_context(&context) }
        .on("doc", "7");
    let groups = [Uuid::from_u128(9)];
    let subject = Subject { principal: ANN, groups: &groups };
    // 2026-11-22T12:00:00Z.
    let ask = |condition: &Condition| {
        condition.evaluate(subject, None, &facts, (1_795_348_800_000_000, &Work::default()))
    };
    let (outcome, plainly) = (ask(&condition), ask(&plainly(&condition)));
    match (&outcome, &plainly) {
        (Outcome::Error(_), Outcome::Error(_)) => {}
        _ => assert_eq!(outcome, plainly, "{text}"),
    }
    outcome
}

/// The same, read as it stands.
fn plainly(condition: &Condition) -> Condition {
    let mut about = condition.about(condition.0.declared.clone());
    Arc::get_mut(&mut about.0).expect("its own").asked = Asked::plain(condition.text());
    about
}

/// What is asked often is read in other words; they say the same, whatever is known and whatever is missing.
#[test]
fn both_readings_say_the_same() {
    let texts = [
        "context.mfa && context.ip.isInRange(ip(\"10.0.0.0/8\")) && context.now < datetime(\"2030-01-01\")",
        "context.ip.isIpv6() || context.ip == ip(\"10.1.2.3\")",
        "!(context.now.offset(duration(\"-1h\")) >= resource.due) || resource.due > context.now",
        "principal.kind == \"user\" && principal.role != \"clerk\" || context.mfa",
        "principal.groups.contains(\"staff\") || principal.id == resource.created_by",
        "resource has tags && resource.tags.contains(principal.role)",
        "if resource has network then context.ip.isInRange(resource.network) else context.mfa",
        "resource.id == \"7\" && resource.amount * 2 < context.params.most",
        "context.action.soft && context.params.team.contains(\"b\") && context.risk < resource.amount",
    ];
    let contexts = [
        json!({}),
        json!({ "mfa": true, "ip": "10.1.2.3", "risk": 1, "action": { "soft": true } }),
        json!({ "mfa": false, "ip": "::ffff:10.1.2.3", "risk": 90, "action": { "soft": false } }),
        json!({ "mfa": true, "ip": "2001:db8::1", "action": {} }),
    ];
    let resources = [
        json!({}),
        json!({ "amount": 30, "due": "2026-11-22T12:00:00Z", "created_by": ANN.to_string(), "tags": ["clerk"] }),
        json!({ "amount": i64::MAX, "due": "2026-11-22T11:00:00Z", "created_by": "x", "network": "10.0.0.0/8" }),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for text in texts {
        assert!(
            checked(text, json!({ "most": 100, "team": ["a", "b"] }))
                .is_ok_and(|own| { own.0.asked.as_ref().is_some_and(|asked| asked.constants.is_some()) }),
            "{text}"
        );
        for context in &contexts {
            for resource in &resources {
                let outcome = asked(text, context.clone(), resource.clone());
                seen.insert(format!("{outcome:?}").split('(').next().expect("a word").to_owned());
            }
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["Error", "False", "Missing", "True"]);
}

#[test]
fn what_is_known_can_be_asked_for() {
    let rows = [
        ("context.mfa", json!({ "mfa": true }), json!({})),
        ("context.mfa_age_s < 300", json!({ "mfa_age_s": 299 }), json!({})),
        ("context.ip.isInRange(ip(\"10.0.0.0/8\"))", json!({ "ip": "10.1.2.3" }), json!({})),
        ("context.ip.isInRange(ip(\"10.0.0.0/8\"))", json!({ "ip": "::ffff:10.1.2.3" }), json!({})),
        ("context.ip.isLoopback()", json!({ "ip": "::1" }), json!({})),
        ("context.now < datetime(\"2027-01-01\")", json!({}), json!({})),
        ("context.now.toTime() == duration(\"12h\")", json!({ "now": "1970-01-01T00:00:00Z" }), json!({})),
        (
            "context.country == \"DE\" && context.method == \"GET\"",
            json!({ "country": "DE", "method": "GET" }),
            json!({}),
        ),
        ("context.path like \"/docs/*\"", json!({ "path": "/docs/7" }), json!({})),
        ("context.auth_method == \"token\"", json!({ "auth_method": "token" }), json!({})),
        ("context.action.soft", json!({ "action": { "soft": true } }), json!({})),
        ("context.risk <= 3", json!({ "risk": 3 }), json!({})),
        (
            "resource.amount < context.params.most",
            json!({ "params": { "most": 1 } }),
            json!({ "amount": 99 }),
        ),
        (
            "resource has tags && resource.tags.containsAny(context.params.team)",
            json!({}),
            json!({ "tags": ["b"] }),
        ),
        (
            "resource has network && context.ip.isInRange(resource.network)",
            json!({ "ip": "192.0.2.9" }),
            json!({ "network": "192.0.2.0/24" }),
        ),
        (
            "resource.due.offset(duration(\"1d\")) > context.now",
            json!({}),
            json!({ "due": "2026-11-22T00:00:00Z" }),
        ),
        ("resource.id == \"7\" && principal.kind == \"user\"", json!({}), json!({})),
        ("principal.groups.contains(\"group_00000000000000000000000009\")", json!({}), json!({})),
        ("resource.created_by != principal.id", json!({}), json!({ "created_by": "user_other" })),
        ("principal.role == \"clerk\"", json!({}), json!({})),
        (
            "if context.mfa then true else context.country == \"DE\"",
            json!({ "mfa": false, "country": "DE" }),
            json!({}),
        ),
    ];
    for (text, context, resource) in rows {
        assert_eq!(asked(text, context, resource), Outcome::True, "{text}");
    }
    let own = json!({ "created_by": ANN.to_string() });
    assert_eq!(asked("resource.created_by != principal.id", json!({}), own), Outcome::False);
    assert_eq!(asked("context.mfa", json!({ "mfa": false }), json!({})), Outcome::False);
}

#[test]
fn what_is_not_known_is_missing_and_what_cannot_be_computed_errs() {
    let missing = |name: &str| Outcome::Missing(name.to_owned());
    assert_eq!(asked("context.mfa", json!({}), json!({})), missing("context.mfa"));
    assert_eq!(
        asked("context.mfa", json!({ "mfa": "true" }), json!({})),
        missing("context.mfa"),
        "another type"
    );
    assert_eq!(asked("context.ip.isIpv4()", json!({ "ip": "nowhere" }), json!({})), missing("context.ip"));
    assert_eq!(asked("resource.amount > 1", json!({}), json!({})), missing("resource.amount"));
    assert_eq!(asked("resource.amount > 1", json!({}), json!({ "amount": 1.5 })), missing("resource.amount"));
    let huge = json!({ "amount": i64::MAX });
    assert!(matches!(asked("resource.amount + 1 > 0", json!({}), huge), Outcome::Error(_)), "an overflow");
    assert_eq!(
        asked("context.mfa && context.risk < 3", json!({ "mfa": false }), json!({})),
        Outcome::False,
        "not asked for"
    );
    let facts = Facts::NONE;
    let subject = Subject { principal: ANN, groups: &[] };
    let broken = Condition::new("context.mfa &&", Map::new());
    assert!(matches!(broken.evaluate(subject, None, &facts, (0, &Work::default())), Outcome::Error(_)));
    let no_bool = Condition::new("1 + 1", Map::new());
    assert!(matches!(no_bool.evaluate(subject, None, &facts, (0, &Work::default())), Outcome::Error(_)));
}

#[test]
fn what_is_not_declared_or_always_the_same_is_refused_with_its_place() {
    let refused = |text: &str| checked(text, json!({})).expect_err(text);
    let place = |text: &str| {
        let fault = refused(text);
        (fault.line, fault.column)
    };
    assert_eq!(place("context.mfa &&\n  context.nothing"), (2, 3));
    assert_eq!(place("context.mfa && ("), (1, 17));
    for text in [
        "",
        " ",
        "context.mfa &&",
        "context.mfaa",
        "resource.nothing == 1",
        "resource.tags.contains(\"a\")",
        "resource.amount == \"1\"",
        "resource.amount",
        "principal.password == \"x\"",
        "context.params.most > 1",
        "context.action.hard",
        "context.ip.isInRange(ip(\"10.0.0.0/99\"))",
        "true",
        "1 == 1",
        "context.mfa || true",
        "false && context.mfa",
        "1 == 2",
        "principal in Group::\"x\"",
        "true } unless { false",
        "context.mfa }; permit(principal, action, resource) when { true",
        "// only a remark",
    ] {
        let fault = refused(text);
        assert!(!fault.message.is_empty(), "{text}");
    }
    assert!(checked("context.mfa // a remark", json!({})).is_ok());
    assert!(checked(&format!("context.path == \"{}\"", "x".repeat(TEXT_MAX)), json!({})).is_err());
    assert!(checked("context.mfa", json!({ "x": "y".repeat(PARAMETERS_MAX) })).is_err());
    assert!(checked("context.mfa", json!({ "x": { "y": 1 } })).is_err());
}

#[test]
fn what_is_deep_or_long_is_refused_before_it_is_read() {
    let nested = format!("{}context.mfa{}", "(".repeat(2000), ")".repeat(2000));
    assert!(checked(&nested, json!({})).is_err());
    let chained = vec!["context.mfa"; 300].join("&&");
    assert!(chained.len() <= TEXT_MAX && checked(&chained, json!({})).is_err());
    let sets = format!("{}context.mfa{} == []", "[".repeat(1000), "]".repeat(1000));
    assert!(checked(&sets, json!({})).is_err());
    let fine = vec!["context.mfa"; 60].join(" && ");
    assert_eq!(asked(&fine, json!({ "mfa": true }), json!({})), Outcome::True);
    let branches = "if context.mfa then context.mfa else ".repeat(60) + "context.mfa";
    assert_eq!(asked(&branches, json!({ "mfa": true }), json!({})), Outcome::True);
}

#[test]
fn one_is_the_same_after_it_was_sent() {
    let condition = checked("context.risk < context.params.most", json!({ "most": 3 })).expect("well-formed");
    let sent = serde_json::to_string(&condition).expect("JSON");
    let read: Condition = serde_json::from_str(&sent).expect("it was written so");
    assert_eq!(read, condition);
    let context = object(json!({ "risk": 2 }));
    let subject = Subject { principal: ANN, groups: &[] };
    let outcome = read.evaluate(subject, None, &Facts::of_context(&context), (0, &Work::default()));
    assert_eq!(outcome, Outcome::True, "with what is declared and with its parameters");
    let other = Condition::new(condition.text(), object(json!({ "most": 4 })));
    assert_ne!(other, condition);
}

/// Of what a condition with this text is asked, with this path and these tags.
fn asked_of(text: &str, path: &str, tags: Value, work: &Work) -> Outcome {
    let condition = checked(text, json!({})).expect("it is well-formed");
    let resource = object(json!({ "tags": tags }));
    let facts = Facts { path: Some(path), resource: Some(&resource), ..Facts::NONE }.on("doc", "7");
    condition.evaluate(Subject { principal: ANN, groups: &[] }, None, &facts, (0, work))
}

#[test]
fn what_is_long_is_not_looked_at_and_errs() {
    let like = "context.path like \"*b\"";
    let of_path = |length: usize| asked_of(like, &"a".repeat(length), json!([]), &Work::default());
    assert_eq!(of_path(GIVEN_MAX), Outcome::False);
    assert_eq!(of_path(GIVEN_MAX + 1), Outcome::Error("`path` has more than 1024 bytes".to_owned()));
    let of_tags = |tags: Value| {
        let text = "resource has tags && resource.tags.contains(\"x\")";
        asked_of(text, "", tags, &Work::default())
    };
    let texts = |count: usize, length: usize| json!(vec!["a".repeat(length); count]);
    assert_eq!(of_tags(texts(MEMBERS_MAX, 40)), Outcome::False);
    for too_much in [texts(MEMBERS_MAX + 1, 1), texts(MEMBERS_MAX, 41)] {
        assert!(matches!(of_tags(too_much), Outcome::Error(_)), "it is not as if it were not there");
    }
    let unasked =
        asked_of("context.now < datetime(\"2027-01-01\")", &"a".repeat(9_999), json!([]), &Work::default());
    assert_eq!(unasked, Outcome::True, "what is not asked for may be long");
}

#[test]
fn one_decision_and_one_batch_have_so_much_work() {
    let pattern = format!("context.path like \"*{}b\"", "a".repeat(126));
    let (path, work) = ("a".repeat(GIVEN_MAX), Work::default());
    // A pattern is looked for from each place: (127 + 2) · 1,024 steps, the path, and what any costs.
    let each = 129 * 1024 + 1024 + 1_000;
    for number in 1..=3 {
        assert_eq!(asked_of(&pattern, &path, json!([]), &work), Outcome::False);
        assert_eq!(work.left(), DECISION_MAX - number * each);
    }
    assert!(
        matches!(asked_of(&pattern, &path, json!([]), &work), Outcome::Error(_)),
        "the fourth is too much"
    );
    assert!(
        matches!(asked_of("context.mfa", "", json!([]), &work), Outcome::Error(_)),
        "and so are all others"
    );

    let (batch, condition) = (Batch::default(), checked(&pattern, json!({})).expect("it is well-formed"));
    let facts = Facts { path: Some(&path), batch: Some(&batch), ..Facts::NONE };
    let subject = Subject { principal: ANN, groups: &[] };
    let ask = || condition.evaluate(subject, None, &facts, (0, &Work::default()));
    let asked = (0..10_000).take_while(|_| ask() == Outcome::False).count();
    assert_eq!(u64::try_from(asked).expect("few"), BATCH_MAX / each);
    assert!(batch.is_spent());
}

#[test]
fn patterns_are_few_and_short() {
    let like = |length: usize| format!("context.path like \"{}*\"", "a".repeat(length - 1));
    assert!(checked(&like(128), json!({})).is_ok() && checked(&like(129), json!({})).is_err());
    let many = |count: usize| {
        (0..count).map(|own| format!("context.path like \"{own}*\"")).collect::<Vec<_>>().join(" || ")
    };
    assert!(checked(&many(8), json!({})).is_ok() && checked(&many(9), json!({})).is_err());
    // One that is stored already is kept, and never holds.
    let stored = Condition::new(&many(9), Map::new());
    let facts = Facts { path: Some("0"), ..Facts::NONE };
    let outcome =
        stored.evaluate(Subject { principal: ANN, groups: &[] }, None, &facts, (0, &Work::default()));
    assert!(matches!(outcome, Outcome::Error(_)));
}
