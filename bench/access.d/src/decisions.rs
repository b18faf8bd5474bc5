//! A decision without and about a thing.

use std::hint::black_box;

use rowhouse_domain::access::*;
use rowhouse_domain::directory::Directory;
use rowhouse_domain::id::TenantId;

use crate::fixture::{EACH, Fixture, NOW_US, TENANTS, folder, principal, tenant_id};
use crate::measure::{Figures, Random, alone_p99, batches};

/// What is asked: made beforehand, so that making it is not measured.
pub struct Question {
    pub tenant: TenantId,
    pub who: Principal,
    pub permission: PermissionId,
}

/// As the gateway asks about who has signed in.
#[inline(never)]
pub fn check(directory: &Directory, asked: &Question) -> Decision {
    let tenant = directory.tenants.get(&asked.tenant).ok_or(Reason::NoGrant)?;
    decide(&tenant.access, Some(tenant.id), asked.who, asked.permission, NOW_US)
}

/// The same on a route that is about a thing.
#[inline(never)]
fn check_on(directory: &Directory, asked: &Question, (kind, id): (&str, &str)) -> Decision {
    let tenant = directory.tenants.get(&asked.tenant).ok_or(Reason::NoGrant)?;
    let rights = tenant.access.rights(&asked.who);
    let thing = || ResourceKey::new(kind, id);
    decide_on((&tenant.access, tenant.id), (asked.who, None), rights, (asked.permission, thing), NOW_US)
}

pub fn measure(fixture: &Fixture, count: usize, figures: &mut Figures) {
    let directory = &fixture.directory;
    let bits: Vec<PermissionId> = fixture.permissions.bits().map(|(bit, _)| bit).collect();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut question = |_| {
        let tenant = random.below(TENANTS);
        let who = principal(tenant, random.below(EACH));
        Question { tenant: tenant_id(tenant), who, permission: bits[random.below(bits.len())] }
    };
    let cold: Vec<Question> = (0..count).map(&mut question).collect();
    let ask = |asked: &Question| {
        let _ = black_box(check(directory, asked));
    };
    let allowed = cold.iter().filter(|asked| check(directory, asked).is_ok()).count();
    figures.put("allowed_share", allowed as f64 / count as f64);
    figures.put("check_p50_ns", batches(&cold, ask));
    figures.put("check_p99_ns", alone_p99(&cold, ask));
    let hot: Vec<Question> = (0..count)
        .map(|_| Question {
            tenant: tenant_id(7),
            who: principal(7, 1),
            permission: bits[random.below(bits.len())],
        })
        .collect();
    let hot_p50 = batches(&hot, ask);
    figures.put("hot_p50_ns", hot_p50);
    figures.put("hot_p99_ns", alone_p99(&hot, ask));
    figures.put("hot_millions_a_second", 1e3 / hot_p50);

    // About the innermost of five folders, by those who were granted something on the outermost.
    let delete = fixture.permissions.id("type01:delete").expect("declared");
    let things: Vec<Question> = (0..count)
        .map(|_| {
            let tenant = random.below(TENANTS);
            // Viewers, who may it by nothing else.
            let who = principal(tenant, random.below(EACH / 30) * 30);
            Question { tenant: tenant_id(tenant), who, permission: delete }
        })
        .collect();
    let innermost = folder(4);
    let about = (&*innermost.kind, &*innermost.id);
    assert!(things.iter().all(|asked| check_on(directory, asked, about).is_ok()), "by what holds it");
    assert!(things.iter().all(|asked| check(directory, asked).is_err()), "by nothing else");
    let ask_on = |asked: &Question| {
        let _ = black_box(check_on(directory, asked, black_box(about)));
    };
    figures.put("on_thing_p50_ns", batches(&things, ask_on));
    figures.put("on_thing_p99_ns", alone_p99(&things, ask_on));

    let counted = allocation_counter::measure(|| {
        cold.iter().chain(&hot).for_each(ask);
        things.iter().for_each(ask_on);
    });
    figures.put("allocations", counted.count_total as f64);
    assert_eq!(counted.count_total, 0, "a decision allocates nothing");
}
