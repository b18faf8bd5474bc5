//! Leaves: their exact bytes, reading back, bounds; and the list of types and names.
use proptest::prelude::*;

use super::{
    canonical::{Object, Reject},
    canonical_tests::values,
    catalog::{self, EVENTS, EventType, RetentionClass, Severity},
    leaf::*,
    row::Row,
};

fn draft() -> EventDraft {
    let actor = Party { kind: PartyKind::User, subject: "sub_4f".into() };
    let target = Target { kind: "grant".into(), id: "grant_01".into() };
    EventDraft::listed(
        "event_01".into(),
        "access.role_assigned",
        "create",
        1_700_000_000_000_000,
        actor,
        target,
    )
    .unwrap()
}

fn leaf(draft: EventDraft) -> Leaf {
    let emitter = Emitter { node: "node-a/0".into(), boot: 7, counter: 1 };
    let place = Placement {
        log: "audit.example.com/t/tenant_01".into(),
        emitter,
        recorded_at_us: 1_700_000_000_000_001,
    };
    Leaf { place, draft }
}

#[test]
fn a_leaf_has_these_bytes() {
    assert_eq!(
        leaf(draft()).render().unwrap(),
        concat!(
            r#"{"ac":"create","act":16,"actor":{"k":"user","s":"sub_4f"},"cls":3007,"em":{"b":7,"c":1,"n":"node-a/0"},"#,
            r#""ev":"access.role_assigned","id":"event_01","log":"audit.example.com/t/tenant_01","out":"success","#,
            r#""rc":"security","rx":1700000000000001,"tgt":[{"id":"grant_01","k":"grant"}],"ts":1700000000000000,"#,
            r#""ty":"role_assigned","v":1}"#
        )
    );
}

#[test]
fn every_field_is_read_back() {
    let mut full = draft();
    full.outcome = Outcome::Failure;
    full.code = Some("access.denied".into());
    full.retention = Some(RetentionClass::Default);
    full.on_behalf_of = Some(Party { kind: PartyKind::Operator, subject: "op_1".into() });
    full.targets.push(Target { kind: "role".into(), id: "auditor".into() });
    full.source = Source { country: Some("DE".into()), network: Some(3320) };
    full.context = Context {
        request_id: Some("req_1".into()),
        trace_id: Some("0af7".into()),
        session_id: Some("session_1".into()),
        cause: Some("event_00".into()),
        endpoint: Some("POST /v1/grants".into()),
        directory_version: Some(12),
    };
    full.details.set("before", Object::new());
    full.personal.entry("sub_4f".into()).or_default().insert("/actor/email".into(), "c0ffee".into());
    full.attachments.push(Attachment { sha256: "ab".into(), bytes: 5, media_type: "text/plain".into() });
    let leaf = leaf(full.clone());
    assert_eq!(Leaf::read(leaf.render().unwrap().as_bytes()), Ok(leaf));
    let kept = serde_json::to_string(&full).unwrap();
    assert_eq!(serde_json::from_str::<EventDraft>(&kept).unwrap(), full, "an outbox keeps it as JSON");
}

#[test]
fn the_columns_are_a_function_of_the_leaf() {
    let row = Row::of(13, &leaf(draft()));
    assert_eq!(
        (row.actor.as_str(), row.tgt[0].as_str(), row.out.as_str()),
        ("user:sub_4f", "grant:grant_01", "success")
    );
    let edited = Row { out: "failure".into(), rx: 1, ..row.clone() };
    assert_eq!(row.differences(&edited), ["rx", "out"]);
}

#[test]
fn bounds_are_kept() {
    let rendered = |change: fn(&mut EventDraft)| {
        let mut draft = draft();
        change(&mut draft);
        leaf(draft).render().unwrap_err()
    };
    assert_eq!(rendered(|d| d.targets.clear()), LeafError::Targets);
    assert_eq!(rendered(|d| d.targets = vec![d.targets[0].clone(); 9]), LeafError::Targets);
    assert_eq!(rendered(|d| d.event = "Role Assigned".into()), LeafError::EventName);
    assert_eq!(rendered(|d| d.event = format!("a.{}", "b".repeat(63))), LeafError::EventName);
    assert_eq!(rendered(|d| d.details.set("x", "y".repeat(33_000))), LeafError::DetailsTooLarge);
    assert_eq!(rendered(|d| d.details.set("x", i64::MAX)), LeafError::Rejected(Reject::IntegerRange));
    assert_eq!(rendered(|d| d.actor.subject = "x".repeat(70_000)), LeafError::Rejected(Reject::TooLarge));
    assert_eq!(rendered(|d| d.actor.subject = "\0".into()), LeafError::Rejected(Reject::NulForbidden));
}

#[test]
fn time_in_a_log_only_rises() {
    assert_eq!(next_recorded_at(10, 50), 50);
    assert_eq!(next_recorded_at(50, 50), 51);
    assert_eq!(next_recorded_at(90, 50), 91);
}

#[test]
fn the_types_are_those_of_the_format() {
    let all: Vec<_> = EventType::all().collect();
    assert_eq!(all.len(), 23);
    for event_type in all {
        assert_eq!(EventType::parse(event_type.name()), Some(event_type), "the table's order is the enum's");
        let json = serde_json::to_string(&event_type).unwrap();
        assert_eq!(json, format!("\"{}\"", event_type.name()));
    }
    assert_eq!(EventType::parse("nothing"), None);
    assert_eq!(EventType::SecurityViolation.severity(), Severity::Critical);
    assert_eq!(
        (EventType::KeyChanged.activity("create"), EventType::KeyChanged.activity("delete")),
        (18, 19)
    );
    assert_eq!(EventType::TenantChanged.class() * 100 + EventType::TenantChanged.activity("create"), 300_401);
    let days: Vec<_> =
        [EventType::Login, EventType::DataRead, EventType::System].map(|t| t.retention().days()).into();
    assert_eq!(days, [2_555, 1_095, 365]);
}

#[test]
fn listed_names_are_distinct_and_well_formed() {
    let mut names: Vec<_> = EVENTS.iter().map(|event| event.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a name is listed once");
    for event in EVENTS {
        assert!(catalog::is_event_name(event.name), "{}", event.name);
        assert_eq!(catalog::find(event.name), Some(event));
    }
    for bad in ["access", "Access.x", "access.", ".x", "access.role assigned", "a.1x"] {
        assert!(!catalog::is_event_name(bad), "{bad}");
    }
}

/// Names given to `Change::new` and `EventDraft::listed` anywhere in the workspace: one that is not listed would
/// be recorded as a rendering that failed.
#[test]
fn every_name_written_in_the_tree_is_listed() {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (mut folders, mut seen) = (vec![crates.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for name in written_names(&text) {
                    assert!(catalog::find(name).is_some(), "{}: {name} is not listed", path.display());
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 0);
}

/// The first text literal among the arguments of each call that names an event.
fn written_names(text: &str) -> impl Iterator<Item = &str> {
    let calls = ["Change::new(", "EventDraft::listed("].into_iter().flat_map(|call| text.split(call).skip(1));
    let literals = calls.filter_map(|rest| rest.split(&[')', ';'][..]).next()?.split('"').nth(1));
    literals.filter(|name| catalog::is_event_name(name))
}

proptest! {
    #[test]
    fn reading_undoes_rendering(details in values(), counter in 1i64..1_000_000, text in "[ -~€]{0,20}", event_type in 0usize..23, class in 0usize..4) {
        let mut draft = draft();
        draft.details.set("x", details);
        draft.code = Some(text);
        draft.event_type = EventType::all().nth(event_type).unwrap();
        let classes = [None, Some(RetentionClass::Security), Some(RetentionClass::DataAccess), Some(RetentionClass::Default)];
        draft.retention = classes[class].filter(|class| *class != draft.event_type.retention());
        let mut leaf = leaf(draft);
        leaf.place.emitter.counter = counter;
        prop_assert_eq!(Leaf::read(leaf.render().unwrap().as_bytes()), Ok(leaf));
    }
}
