//! Compiling a tenant of 10,000 people anew, and explaining one decision in it.

use std::hint::black_box;

use rowhouse_domain::access::*;
use uuid::Uuid;

use crate::fixture::{EACH, Fixture, NOW_US, folder, folders, grant, principal, role_of};
use crate::measure::{Figures, Random, calls_us};

const PEOPLE: usize = 10_000;
const GROUPS: usize = 100;
const IN_EACH: usize = 50;

/// Each has a role; a hundred groups of fifty have one besides; one in ten has a grant on a thing, one in a hundred one for a time.
pub fn measure(fixture: &Fixture, rounds: usize, figures: &mut Figures) {
    let who = |number: usize| principal(number / EACH, number % EACH);
    let people: Vec<Principal> = (0..PEOPLE).map(who).collect();
    let role = |number: usize| GrantTarget::Role(role_of(number).into());
    let mut grants: Vec<Grant> = (0..PEOPLE).map(|number| grant(who(number), role(number), None)).collect();
    let group = |number: usize| Uuid::from_u128(1 << 100 | number as u128);
    let of_groups =
        |number| Grant { holder: Holder::Group(group(number)), ..grant(who(0), role(number), None) };
    grants.extend((0..GROUPS).map(of_groups));
    let delete = || GrantTarget::Permission("type01:delete".into());
    grants.extend((0..PEOPLE).step_by(10).map(|number| grant(who(number), delete(), Some(folder(number)))));
    let week = Interval { from_us: NOW_US, until_us: NOW_US + 7 * 86_400_000_000 };
    grants.extend((0..PEOPLE).step_by(100).map(|n| Grant { interval: week, ..grant(who(n), role(2), None) }));
    grants.iter_mut().enumerate().for_each(|(at, own)| own.id = Uuid::from_u128(at as u128));
    let mut random = Random(0x94D0_49BB_1331_11EB);
    let member = |at| Membership {
        group: group(at / IN_EACH),
        member: Holder::Principal(who(random.below(PEOPLE))),
        interval: Interval::ALWAYS,
    };
    let memberships: Vec<Membership> = (0..GROUPS * IN_EACH).map(member).collect();
    let resources = folders();
    let model = Model {
        permissions: &fixture.permissions,
        roles: &fixture.roles,
        grants: &grants,
        memberships: &memberships,
        resources: &resources,
        principals: &people,
        sessions: Sessions::default(),
    };
    let (p50, _) = calls_us(rounds.max(10), |_| drop(black_box(model.compile(1))));
    figures.put("compile_10000_ms", p50 / 1e3);
    let table = model.compile(1);
    let bits: Vec<PermissionId> = fixture.permissions.bits().map(|(bit, _)| bit).collect();
    let (p50, p99) = calls_us(rounds * 10, |_| {
        let (who, bit) = (people[random.below(PEOPLE)], bits[random.below(bits.len())]);
        let explained = explain(&model, who, bit, None, NOW_US);
        assert_eq!(explained.reason, may(table.rights(&who), bit, NOW_US), "the same as the decision");
        black_box(explained);
    });
    figures.put("explain_ms", p50 / 1e3);
    figures.put("explain_p99_ms", p99 / 1e3);
}
