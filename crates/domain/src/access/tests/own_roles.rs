//! A tenant's own roles: what is refused when they are written, and what is left of them when the operator changes its mind.

use std::collections::BTreeMap;

use crate::access::*;

fn kind(name: &str, not_composable: &[&str]) -> ResourceType {
    ResourceType {
        name: name.into(),
        actions: ["read", "write"].map(str::to_owned).to_vec(),
        implies: BTreeMap::from([("write".to_owned(), vec!["read".to_owned()])]),
        not_composable: not_composable.iter().map(|action| (*action).to_owned()).collect(),
        ..ResourceType::default()
    }
}

fn permissions(types: &[ResourceType]) -> Permissions {
    let actions = types.iter().map(|kind| (kind.name.clone(), kind.actions.clone())).collect();
    let all = Permissions::new(&actions).expect("few");
    types.iter().fold(all, |all, kind| all.with_implies(&kind.name, &kind.implies).expect("no circle"))
}

fn role(name: &str, permissions: &[&str], inherits: &[&str]) -> RoleDefinition {
    let own = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
    RoleDefinition {
        name: name.into(),
        title: String::new(),
        permissions: own(permissions),
        inherits: own(inherits),
        ..RoleDefinition::default()
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let types = [kind("doc", &["write"]), kind("vault", &["read", "write"])];
    let permissions = permissions(&types);
    let shipped = [role("viewer", &["*:read"], &[]), role("platform_admin", &["*:*"], &[])];
    let shipped = RoleCatalogue::new(&shipped, &permissions).expect("shipped");
    let composable = composable(&types, &permissions);
    let check = |own: &[RoleDefinition]| match check_tenant_roles(&shipped, own, &permissions, &composable) {
        Ok(()) => "fits".to_owned(),
        Err(error) => error.to_string(),
    };
    let rows = [
        (vec![role("a", &["doc:read"], &["viewer"])], "fits"),
        (vec![role("a", &["doc:*"], &[])], "fits"),
        (vec![role("a", &[], &["b"]), role("b", &[], &[])], "fits"),
        (vec![role("viewer", &[], &[])], "`viewer` is a role of the catalogue and stays as it is"),
        (vec![role("a", &["doc:fly"], &[])], "role `a` lists `doc:fly`, which no resource type declares"),
        (
            vec![role("a", &["doc:write"], &[])],
            "role `a` lists `doc:write`, which tenants cannot put into roles of their own",
        ),
        (
            vec![role("a", &["vault:*"], &[])],
            "role `a` lists `vault:*`, which tenants cannot put into roles of their own",
        ),
        (
            vec![role("a", &["*:read"], &[])],
            "role `a` lists `*:read`, which tenants cannot put into roles of their own",
        ),
        (
            vec![role("a", &[], &["platform_admin"])],
            "role `a` inherits `platform_admin`, which does not exist or cannot be extended",
        ),
        (
            vec![role("a", &[], &["b"]), role("b", &[], &["a"])],
            "roles inherit or require each other in a circle: a → b → a",
        ),
    ];
    for (own, expected) in rows {
        assert_eq!(check(&own), expected);
    }
}

#[test]
fn what_the_operator_withdraws_leaves_every_role_at_once() {
    let own = [
        role("a", &["doc:*"], &["b"]),
        role("b", &["vault:read", "doc:gone", "*:*"], &["platform_admin", "a"]),
    ];
    let left = |types: &[ResourceType]| {
        let permissions = permissions(types);
        let shipped =
            RoleCatalogue::new(&[role("platform_admin", &["*:*"], &[])], &permissions).expect("one");
        let roles = shipped.with_tenant(&own, &permissions, &composable(types, &permissions));
        permissions.names_of(roles.permissions("a").expect("it is there")).join(" ")
    };
    assert_eq!(left(&[kind("doc", &[]), kind("vault", &[])]), "doc:read doc:write vault:read");
    assert_eq!(left(&[kind("doc", &["write"]), kind("vault", &["read"])]), "doc:read");
    assert_eq!(left(&[kind("vault", &["read"])]), "");
}

#[test]
fn a_circle_of_implied_actions_is_refused_and_a_denial_is_not_extended() {
    let types = [kind("doc", &[])];
    let permissions = permissions(&types);
    let circle = BTreeMap::from([
        ("read".to_owned(), vec!["write".to_owned()]),
        ("write".to_owned(), vec!["read".to_owned()]),
    ]);
    let error = permissions.clone().with_implies("doc", &circle).expect_err("a circle");
    assert_eq!(error.to_string(), "actions imply each other in a circle: read → write → read");
    let unknown = BTreeMap::from([("read".to_owned(), vec!["fly".to_owned()])]);
    assert_eq!(
        permissions.clone().with_implies("doc", &unknown).expect_err("unknown").to_string(),
        "`doc:fly` is not declared"
    );
    let ann = Principal { kind: PrincipalKind::User, id: uuid::Uuid::from_u128(1) };
    let grant = |effect, pattern: &str| GrantDefinition {
        principal: ann,
        effect,
        target: GrantTarget::Permission(pattern.into()),
        valid_from_us: None,
        valid_until_us: None,
    };
    let grants = [grant(GrantEffect::Allow, "doc:write"), grant(GrantEffect::Deny, "doc:write")];
    let ask = |grants: &[GrantDefinition], name: &str| {
        let table = compile(1, grants, &RoleCatalogue::default(), &permissions);
        may(table.rights(&ann), permissions.id(name).expect("declared"), 0)
    };
    assert_eq!(ask(&grants[..1], "doc:read"), Reason::Granted);
    assert_eq!((ask(&grants, "doc:write"), ask(&grants, "doc:read")), (Reason::Denied, Reason::Granted));
}
