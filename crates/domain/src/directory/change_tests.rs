use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::access::{AccessTable, PermissionSet, Principal, PrincipalKind};
use crate::directory::Quota;
use crate::id::{KeyId, SessionId};
use crate::keys::{Environment, KeyStanding, KeyState};
use crate::limits::{Algorithm, Rule};
use crate::tenancy::{Isolation, Service, Status};

/// One edit of a directory.
#[derive(Debug, Clone)]
enum Edit {
    Put { tenant: u8, code: u8, used: i64 },
    Leave { tenant: u8 },
    Key { key: u8, tenant: u8, revoked: bool },
    NoKey { key: u8 },
    Host { name: u8, tenant: u8 },
    NoHost { name: u8 },
    Frame { region: u8 },
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        (0u8..6, 0u8..8, any::<i64>()).prop_map(|(tenant, code, used)| Edit::Put { tenant, code, used }),
        (0u8..6).prop_map(|tenant| Edit::Leave { tenant }),
        (0u8..9, 0u8..6, any::<bool>()).prop_map(|(key, tenant, revoked)| Edit::Key { key, tenant, revoked }),
        (0u8..9).prop_map(|key| Edit::NoKey { key }),
        (0u8..5, 0u8..6).prop_map(|(name, tenant)| Edit::Host { name, tenant }),
        (0u8..5).prop_map(|name| Edit::NoHost { name }),
        (0u8..3).prop_map(|region| Edit::Frame { region }),
    ];
    proptest::collection::vec(edit, 0..40)
}

fn tenant_id(number: u8) -> TenantId {
    TenantId(Uuid::from_u128(u128::from(number) + 1))
}

fn tenant(number: u8, code: &str, used: i64) -> Tenant {
    let principal = Principal { kind: PrincipalKind::User, id: Uuid::from_u128(9) };
    Tenant {
        id: tenant_id(number),
        code: code.into(),
        tier: "basic".into(),
        isolation: Isolation::Shared,
        region: "eu1".into(),
        status: Status::Active,
        service: Service::Full,
        api_access: true,
        features: vec!["sso".into()],
        enforcements: Vec::new(),
        imposed: Vec::new(),
        access: Arc::new(AccessTable::default()),
        limits: vec![None, Rule::new(Algorithm::TokenBucket, 10, 1_000, Some(20)).ok()],
        quotas: vec![Quota {
            used: i128::from(used) << 60,
            ..Quota::of_meter("stamps_created", Some(i128::MAX))
        }],
        upstreams: vec![(0, vec![Arc::from("10.0.0.1:80")])],
        ended_sessions: Arc::from([SessionId(principal.id)]),
        issuers: Arc::default(),
        authorities: Arc::default(),
        version: used.unsigned_abs(),
    }
}

fn key(number: u8, tenant: u8, revoked: bool) -> Key {
    Key {
        id: KeyId(Uuid::from_u128(u128::from(number))),
        tenant: tenant_id(tenant),
        owner: Principal { kind: PrincipalKind::User, id: Uuid::from_u128(3) },
        environment: Environment::Live,
        standing: KeyStanding {
            state: if revoked { KeyState::Revoked } else { KeyState::Active },
            not_before_us: None,
            expires_at_us: Some(5),
            owner_enabled: true,
        },
        digest: [number; 32],
        pepper: 1,
        permits: PermissionSet::default(),
        narrowed: None,
        family: KeyId(Uuid::from_u128(u128::from(number))),
    }
}

fn public_id(number: u8) -> PublicId {
    PublicId::parse(&format!("key000000{number}")).expect("ten")
}

/// A first version: no control plane's is without permissions.
fn begun() -> Directory {
    let types = BTreeMap::from([("stamp".to_owned(), vec!["read".to_owned()])]);
    let permissions = Arc::new(Permissions::new(&types).expect("one permission"));
    Directory { version: 1, permissions, ..Directory::empty() }
}

/// As the control plane would: a code is one tenant's at a time.
fn edit(directory: &mut Directory, edit: &Edit) {
    match edit {
        Edit::Put { tenant: number, code, used } => {
            let code = format!("code-{code}");
            if directory.codes.get(code.as_str()).is_none_or(|holder| holder.id == tenant_id(*number)) {
                directory.forget_tenant(tenant_id(*number));
                directory.put_tenant(tenant(*number, &code, *used));
            }
        }
        Edit::Leave { tenant } => directory.forget_tenant(tenant_id(*tenant)),
        Edit::Key { key: number, tenant, revoked } => {
            directory.keys.insert(public_id(*number), Arc::new(key(*number, *tenant, *revoked)));
        }
        Edit::NoKey { key } => directory.keys.remove(&public_id(*key)),
        Edit::Host { name, tenant } => {
            directory.hosts.insert(format!("h{name}.example").into(), tenant_id(*tenant));
        }
        Edit::NoHost { name } => directory.hosts.remove(format!("h{name}.example").as_str()),
        Edit::Frame { region } => {
            let naming = Naming { region: format!("r{region}"), ..Naming::default() };
            directory.naming = Arc::new(naming);
        }
    }
}

/// Everything that two directories can differ in, in order.
fn told(directory: &Directory) -> BTreeMap<String, String> {
    let json = |value: &dyn erased::Text| value.text();
    let mut all = BTreeMap::new();
    all.insert("version".to_owned(), directory.version.to_string());
    all.insert("frame".to_owned(), json(&Frame::of(directory)));
    for (id, tenant) in directory.tenants.iter() {
        all.insert(format!("tenant {id}"), json(&**tenant));
    }
    for (code, tenant) in directory.codes.iter() {
        all.insert(format!("code {code}"), tenant.id.to_string());
    }
    for (id, key) in directory.keys.iter() {
        all.insert(format!("key {}", id.as_str()), json(&**key));
    }
    for (name, tenant) in directory.hosts.iter() {
        all.insert(format!("host {name}"), tenant.to_string());
    }
    all
}

mod erased {
    pub trait Text {
        fn text(&self) -> String;
    }
    impl<T: serde::Serialize> Text for T {
        fn text(&self) -> String {
            serde_json::to_string(self).expect("text and numbers")
        }
    }
}

/// What arrives of a change that is sent in parts.
fn sent(change: Change, entries_max: usize) -> Vec<Change> {
    let written = |part: &Change| serde_json::to_string(part).expect("text and numbers");
    let read = |text: String| serde_json::from_str(&text).expect("it was written so");
    change.parts(entries_max).iter().map(|part| read(written(part))).collect()
}

proptest! {
    #[test]
    fn a_change_leads_from_one_version_to_the_other(
        first in edits(), second in edits(), entries_max in 1usize..7
    ) {
        let mut older = begun();
        first.iter().for_each(|one| edit(&mut older, one));
        let mut newer = older.clone();
        newer.version = 2;
        second.iter().for_each(|one| edit(&mut newer, one));

        let mut far = Directory::empty();
        sent(Change::between(None, &older), entries_max).into_iter().for_each(|part| far.apply(part).expect("whole"));
        prop_assert_eq!(told(&far), told(&older));
        let parts = sent(Change::between(Some(&older), &newer), entries_max);
        let last = parts.len() - 1;
        for (place, part) in parts.into_iter().enumerate() {
            prop_assert_eq!(far.version, 1);
            prop_assert_eq!(part.is_last, place == last);
            far.apply(part).expect("it follows");
        }
        prop_assert_eq!(told(&far), told(&newer));
    }
}

#[test]
fn a_change_from_another_version_is_not_applied() {
    let (older, newer) = (begun(), Directory { version: 2, ..Directory::empty() });
    let mut far = Directory { version: 7, ..Directory::empty() };
    let change = Change::between(Some(&older), &newer);
    assert_eq!(far.apply(change), Err(BadChange::From { from: 1, here: 7 }));
    assert_eq!(far.version, 7);
}

#[test]
fn what_did_not_change_is_not_told() {
    let mut older = Directory { version: 1, ..Directory::empty() };
    for number in 0..6 {
        edit(&mut older, &Edit::Put { tenant: number, code: number, used: 0 });
        edit(&mut older, &Edit::Key { key: number, tenant: number, revoked: false });
    }
    let mut newer = Directory { version: 2, ..older.clone() };
    // Built anew with the same content, as the keys of a tenant are whose usage moved.
    edit(&mut newer, &Edit::Key { key: 1, tenant: 1, revoked: false });
    edit(&mut newer, &Edit::Key { key: 2, tenant: 2, revoked: true });
    let change = Change::between(Some(&older), &newer);
    assert_eq!((change.entries(), change.keys.len(), change.frame.is_none()), (1, 1, true));
}
