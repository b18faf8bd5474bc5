//! A decision allocates nothing: counted by the allocator, for every sort of grant but one with a condition.

use std::collections::BTreeMap;
use std::hint::black_box;

use rowhouse_domain::access::*;
use uuid::Uuid;

const NOW_US: i64 = 50;

fn who(number: u128) -> Principal {
    Principal { kind: PrincipalKind::User, id: Uuid::from_u128(number) }
}

fn folder(number: usize) -> ResourceName {
    ResourceName { kind: "folder".into(), id: number.to_string() }
}

fn permissions() -> Permissions {
    let actions = || ["read", "update"].map(str::to_owned).to_vec();
    let types = BTreeMap::from([("doc".to_owned(), actions()), ("folder".to_owned(), actions())]);
    Permissions::new(&types).expect("four")
}

/// One with a role, one for a time, one forbidden, and one with a grant on the outermost of five folders.
fn table(permissions: &Permissions) -> AccessTable {
    let reader = RoleDefinition {
        name: "reader".into(),
        title: String::new(),
        permissions: vec!["*:read".into()],
        inherits: vec![],
        ..RoleDefinition::default()
    };
    let roles = RoleCatalogue::new(&[reader], permissions).expect("a role");
    let grant = |number, effect, interval, resource| Grant {
        id: Uuid::from_u128(number),
        holder: Holder::Principal(who(number)),
        effect,
        target: GrantTarget::Role("reader".into()),
        resource,
        interval,
        condition: None,
    };
    let (always, now) = (Interval::ALWAYS, Interval { from_us: 0, until_us: 100 });
    let grants = [
        grant(1, GrantEffect::Allow, always, None),
        grant(2, GrantEffect::Allow, now, None),
        grant(3, GrantEffect::Allow, always, None),
        grant(3, GrantEffect::Deny, always, None),
        grant(4, GrantEffect::Allow, always, Some(folder(0))),
        grant(5, GrantEffect::Allow, always, None),
        grant(5, GrantEffect::Deny, now, None),
    ];
    let held =
        |n: usize| Resource { name: folder(n), parent: Some(folder(n - 1)), attributes: Default::default() };
    let resources: Vec<Resource> = (1..5).map(held).collect();
    let model = Model {
        permissions,
        roles: &roles,
        grants: &grants,
        memberships: &[],
        resources: &resources,
        principals: &[],
        sessions: Sessions::default(),
    };
    model.compile(1)
}

#[test]
fn a_decision_allocates_nothing() {
    let permissions = permissions();
    let table = table(&permissions);
    let read = permissions.id("folder:read").expect("declared");
    let everything = permissions.matching("*:*").expect("declared");
    let tenant = rowhouse_domain::id::TenantId::from_u128(1);
    let expected = [
        (1, Ok(()), Ok(())),
        (2, Ok(()), Ok(())),
        (3, Err(Reason::Denied), Err(Reason::Denied)),
        (4, Err(Reason::NoGrant), Ok(())),
        (5, Err(Reason::Denied), Err(Reason::Denied)),
        (6, Err(Reason::NoGrant), Err(Reason::NoGrant)),
    ];
    for (number, on_all, on_folder) in expected {
        let who = who(number);
        let mut found = None;
        let counted = allocation_counter::measure(|| {
            let rights = table.rights(black_box(&who));
            let thing = || ResourceKey::new("folder", "4");
            let about = decide_on((&table, tenant), (who, None), rights, (read, thing), NOW_US);
            let by_key = decide_key(&table, Some(tenant), who, &everything, who, read, NOW_US);
            let all = decide(&table, Some(tenant), who, read, NOW_US);
            found = Some((all.map(drop), about.map(drop), by_key.is_ok()));
        });
        assert_eq!(found, Some((on_all, on_folder, on_all.is_ok())), "{number}");
        assert_eq!(counted.count_total, 0, "{number}");
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocation_counter::measure(|| drop(black_box(vec![1_u8; 10]))).count_total, 1);
}
