//! On random models and questions, and on all small ones, the compiled engine, the explanation and the plain reading say the
//! same.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use super::naive::{CONDITIONS, Rules, Said};
use crate::access::*;
use crate::id::SessionId;

const CASES: u32 = 300;
const ACTIONS: [&str; 3] = ["read", "write", "own"];
const KINDS: [&str; 2] = ["doc", "folder"];

fn principal(number: u128) -> Principal {
    Principal { kind: PrincipalKind::User, id: Uuid::from_u128(number) }
}

fn thing(number: usize) -> ResourceName {
    ResourceName { kind: KINDS[number % 2].into(), id: number.to_string() }
}

fn interval() -> impl Strategy<Value = Interval> {
    prop_oneof![
        3 => Just(Interval::ALWAYS),
        1 => (0..6i64, 0..6i64).prop_map(|(from, until)| Interval { from_us: from, until_us: until }),
        1 => (0..6i64).prop_map(|until| Interval::new(None, Some(until))),
    ]
}

fn holder() -> impl Strategy<Value = Holder> {
    prop_oneof![
        3 => (0..3u128).prop_map(|number| Holder::Principal(principal(number))),
        2 => (0..4u128).prop_map(|number| Holder::Group(Uuid::from_u128(100 + number))),
        1 => Just(Holder::Everyone),
    ]
}

fn pattern() -> impl Strategy<Value = String> {
    let kind = prop_oneof![4 => prop::sample::select(&KINDS[..]), 1 => Just("*")];
    let action = prop_oneof![4 => prop::sample::select(&ACTIONS[..]), 1 => Just("*")];
    (kind, action).prop_map(|(kind, action)| format!("{kind}:{action}"))
}

fn grant() -> impl Strategy<Value = Grant> {
    let target = prop_oneof![
        pattern().prop_map(GrantTarget::Permission),
        (0..4u8).prop_map(|role| GrantTarget::Role(format!("role{role}"))),
    ];
    let effect = prop_oneof![3 => Just(GrantEffect::Allow), 1 => Just(GrantEffect::Deny)];
    let resource = prop::option::of((0..5usize).prop_map(thing));
    let condition = prop_oneof![3 => Just(None), 1 => prop::sample::select(&CONDITIONS[..]).prop_map(Some)];
    (holder(), effect, target, resource, interval(), condition).prop_map(
        |(holder, effect, target, resource, interval, condition)| Grant {
            id: Uuid::nil(),
            holder,
            effect,
            target,
            resource,
            interval,
            condition: condition.map(|text| Condition::new(text, Default::default())),
        },
    )
}

/// Roles, groups and things point only at lower numbers, so that there are no circles.
fn rules() -> impl Strategy<Value = Rules> {
    let role = (prop::collection::vec(pattern(), 0..3), prop::collection::vec(0..4usize, 0..2));
    let member = (0..4u128, prop_oneof![(0..3u128).prop_map(Ok), (0..4u128).prop_map(Err)], interval());
    let parents = prop::collection::vec((prop::option::of(0..5usize), prop::option::of(0..3u128)), 5);
    let implies = prop::sample::select(vec![0, 1, 2, 3]);
    let some = || prop::collection::btree_set(0..4usize, 2..4);
    let apart = prop::collection::vec((some(), 1..2u32), 0..3);
    let chosen = prop::collection::vec(prop::collection::btree_set(0..4usize, 0..3), 2);
    let sessions = (0..4u128, apart, chosen);
    (
        prop::collection::vec(role, 4),
        prop::collection::vec(grant(), 0..8),
        prop::collection::vec(member, 0..6),
        parents,
        implies,
        sessions,
    )
        .prop_map(|(roles, mut grants, members, parents, implies, (people, apart, chosen))| {
            grants.iter_mut().enumerate().for_each(|(at, grant)| grant.id = Uuid::from_u128(at as u128));
            let memberships = members.into_iter().filter_map(|(group, member, interval)| {
                let member = match member {
                    Ok(user) => Holder::Principal(principal(user)),
                    Err(other) if other < group => Holder::Group(Uuid::from_u128(100 + other)),
                    Err(_) => return None,
                };
                Some(Membership { group: Uuid::from_u128(100 + group), member, interval })
            });
            let held = parents.into_iter().enumerate();
            Rules {
                types: KINDS.map(|kind| resource_type(kind, implies)).to_vec(),
                roles: roles.into_iter().enumerate().map(role_of).collect(),
                grants,
                memberships: memberships.collect(),
                resources: held
                    .map(|(at, (parent, owner))| Resource {
                        name: thing(at),
                        parent: parent.filter(|parent| *parent < at).map(thing),
                        attributes: owner.into_iter().map(owned_by).collect(),
                    })
                    .collect(),
                principals: (0..people).map(principal).collect(),
                apart: apart.into_iter().map(kept_apart).collect(),
                chosen: chosen.into_iter().zip(0..).map(in_session).collect(),
            }
        })
}

fn kept_apart((roles, at_most): (BTreeSet<usize>, u32)) -> Constraint {
    let roles = roles.into_iter().map(|role| format!("role{role}")).collect();
    Constraint { name: "apart".into(), kind: ConstraintKind::Dynamic, roles, permissions: vec![], at_most }
}

/// The first person has chosen in one session, the second in another.
fn in_session((roles, who): (BTreeSet<usize>, u128)) -> Chosen {
    let active = roles.into_iter().map(|role| format!("role{role}")).collect();
    Chosen { session: Some(session(who)), principal: principal(who), active }
}

fn session(of: u128) -> SessionId {
    SessionId(Uuid::from_u128(900 + of))
}

fn owned_by(owner: u128) -> (String, serde_json::Value) {
    ("owner".to_owned(), principal(owner).to_string().into())
}

fn role_of((at, (permissions, inherits)): (usize, (Vec<String>, Vec<usize>))) -> RoleDefinition {
    let inherits = inherits.into_iter().filter(|parent| *parent < at).map(|parent| format!("role{parent}"));
    RoleDefinition {
        name: format!("role{at}"),
        title: String::new(),
        permissions,
        inherits: inherits.collect(),
        ..RoleDefinition::default()
    }
}

fn resource_type(name: &str, implies: u8) -> ResourceType {
    let mut all = BTreeMap::new();
    if implies & 1 == 1 {
        all.insert("write".to_owned(), vec!["read".to_owned()]);
    }
    if implies & 2 == 2 {
        all.insert("own".to_owned(), vec!["write".to_owned()]);
    }
    let actions = ACTIONS.map(str::to_owned).to_vec();
    let attribute = |name: &str, kind, of| Attribute { name: name.to_owned(), kind, required: true, of };
    let attributes = vec![
        attribute("owner", AttributeKind::Text, Described::Resource),
        attribute("risk", AttributeKind::Integer, Described::Context),
    ];
    ResourceType { name: name.to_owned(), actions, implies: all, attributes, ..ResourceType::default() }
}

/// What is known of the request at each of the instants.
const SAID: [Said; 6] = [
    Said { mfa: None, risk: None },
    Said { mfa: None, risk: Some(0) },
    Said { mfa: Some(true), risk: None },
    Said { mfa: Some(false), risk: Some(5) },
    Said { mfa: None, risk: Some(1) },
    Said { mfa: Some(false), risk: Some(i64::MAX) },
];

fn context(said: Said) -> serde_json::Map<String, serde_json::Value> {
    let mfa = said.mfa.map(|mfa| ("mfa".to_owned(), mfa.into()));
    mfa.into_iter().chain(said.risk.map(|risk| ("risk".to_owned(), risk.into()))).collect()
}

/// Asks everything that can be asked of these rules; how many questions it were.
fn agree(rules: &Rules) -> u64 {
    let types = rules.types.iter().map(|kind| (kind.name.clone(), kind.actions.clone())).collect();
    let mut permissions = Permissions::new(&types).expect("few");
    for kind in &rules.types {
        permissions = permissions.with_attributes(&kind.name, &kind.attributes);
        permissions = permissions.with_implies(&kind.name, &kind.implies).expect("no circle");
    }
    let roles = RoleCatalogue::new(&rules.roles, &permissions).expect("no circle");
    let model = Model {
        permissions: &permissions,
        roles: &roles,
        grants: &rules.grants,
        memberships: &rules.memberships,
        resources: &rules.resources,
        principals: &rules.principals,
        sessions: Sessions { apart: &rules.apart, chosen: &rules.chosen },
    };
    let table = model.compile(1);
    let things: Vec<Option<ResourceName>> =
        std::iter::once(None).chain((0..5).map(thing).map(Some)).collect();
    let mut asked = 0;
    // In no session, in one in which something was chosen, and in another's.
    let mut sessions = vec![None];
    if !rules.chosen.is_empty() {
        sessions.extend([Some(session(0)), Some(session(1))]);
    }
    let askers = (0..3).flat_map(|who| sessions.iter().map(move |own| (principal(who), *own)));
    for (who, session) in askers {
        for on in &things {
            let key = on.as_ref().map(ResourceName::key);
            for now_us in [0, 2, 3, 5] {
                // Each moment another thing is known of the request.
                let said = SAID[now_us as usize];
                let context = context(said);
                let named = on.as_ref().map(|name| (name.kind.as_str(), name.id.as_str()));
                let facts = Facts { thing: named, ..Facts::of_context(&context) };
                let at = (now_us, &facts);
                let all = table.effective_in((&who, session), key, at);
                // Sessions without roles of their own share what is signed about their person.
                let shared = table.session_with_roles(&who, session);
                assert_eq!(table.effective_in((&who, shared), key, at), all, "{who} in {session:?}");
                if key.is_none() {
                    let reach = table.within_reach(&who, now_us);
                    assert!(all.is_subset(&reach), "{who} in {session:?} at {now_us} of {rules:#?}");
                }
                for (bit, name) in permissions.bits() {
                    let parts = name.split_once(':').expect("type:action");
                    let plain = rules.decide((who, session), parts, on.as_ref(), (now_us, said));
                    let rights = table.rights_in(&who, session);
                    let compiled = match key {
                        Some(key) => may_on(&table, rights, bit, key, at),
                        None => may(rights, bit, at),
                    };
                    let told = explain_in(&model, (who, session), bit, key, at);
                    let asking = || {
                        format!(
                            "{who} in {session:?} {name} {on:?} at {now_us} knowing {said:?} of {rules:#?}"
                        )
                    };
                    assert_eq!(compiled, plain, "{}", asking());
                    assert_eq!(told.reason, plain, "{}", asking());
                    assert_eq!(all.contains(bit), plain == Reason::Granted, "{}", asking());
                    proves(&model, &told, ((who, session), bit, key, at), &asking);
                    asked += 1;
                }
            }
        }
    }
    asked
}

type Asker = (Principal, Option<SessionId>);

/// The proof alone, as the only grant, comes to the same.
fn proves(
    model: &Model<'_>,
    told: &Explained<'_>,
    (who, bit, key, at): (Asker, PermissionId, Option<ResourceKey>, (i64, &Facts<'_>)),
    asking: &impl Fn() -> String,
) {
    assert_eq!(
        told.because.is_some(),
        matches!(told.reason, Reason::Granted | Reason::Denied),
        "{}",
        asking()
    );
    if let Some(proof) = &told.because {
        let alone = [proof.grant.clone()];
        let alone = Model { grants: &alone, ..*model };
        assert_eq!(explain_in(&alone, who, bit, key, at).reason, told.reason, "{}", asking());
    }
}

/// What is held for a time may be done at each instant of it.
fn held_is_held(rules: &Rules) {
    let types = rules.types.iter().map(|kind| (kind.name.clone(), kind.actions.clone())).collect();
    let permissions = Permissions::new(&types).expect("few");
    let roles = RoleCatalogue::new(&rules.roles, &permissions).expect("no circle");
    let model = Model {
        permissions: &permissions,
        roles: &roles,
        grants: &rules.grants,
        memberships: &rules.memberships,
        resources: &rules.resources,
        principals: &rules.principals,
        sessions: Sessions { apart: &rules.apart, chosen: &rules.chosen },
    };
    let table = model.compile(1);
    for who in (0..3).map(principal) {
        for on in std::iter::once(None).chain((0..5).map(|at| Some(thing(at).key()))) {
            let held = table.held(&who, None, on, Interval { from_us: 1, until_us: 4 }, None);
            for now_us in 1..4 {
                assert!(held.is_subset(&table.effective(&who, on, now_us)));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    /// Each case asks 1,296 questions: 388,800 in all.
    #[test]
    fn the_compiled_engine_says_what_the_rules_say(rules in rules()) {
        prop_assert_eq!(agree(&rules), 3 * 3 * 6 * 4 * 6);
        held_is_held(&rules);
    }
}

/// Two roles of up to three permissions each, inheriting or not, given or denied to a person or to a group that they are in.
#[test]
fn every_small_model_agrees() {
    let sets: Vec<Vec<String>> = (0..8u8)
        .map(|bits| {
            (0..3).filter(|at| bits >> at & 1 == 1).map(|at| format!("doc:{}", ACTIONS[at])).collect()
        })
        .collect();
    let holders = [Holder::Principal(principal(0)), Holder::Group(Uuid::from_u128(100)), Holder::Everyone];
    for (first, second) in sets.iter().flat_map(|one| sets.iter().map(move |two| (one, two))) {
        for inherits in [vec![], vec![0]] {
            let roles = [(first.clone(), vec![]), (second.clone(), inherits)];
            for (holder, effect) in holders
                .iter()
                .flat_map(|holder| [GrantEffect::Allow, GrantEffect::Deny].map(|effect| (*holder, effect)))
            {
                let grant = |at: u128, holder, effect| Grant {
                    id: Uuid::from_u128(at),
                    holder,
                    effect,
                    target: GrantTarget::Role(format!("role{at}")),
                    resource: None,
                    interval: Interval::ALWAYS,
                    condition: None,
                };
                let group = Uuid::from_u128(100);
                let member = Holder::Principal(principal(0));
                agree(&Rules {
                    types: KINDS.map(|kind| resource_type(kind, 0)).to_vec(),
                    roles: roles.clone().into_iter().enumerate().map(role_of).collect(),
                    grants: vec![grant(0, holders[0], GrantEffect::Allow), grant(1, holder, effect)],
                    memberships: vec![Membership { group, member, interval: Interval::ALWAYS }],
                    resources: vec![],
                    principals: vec![principal(0), principal(1)],
                    apart: vec![],
                    chosen: vec![],
                });
            }
        }
    }
}
