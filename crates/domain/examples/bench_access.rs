//! What a decision costs: over 200,000 principals in 1,000 tenants at random, and over one that is hot. Prints one line of JSON.
//!
//! Times are of batches of 16, divided: a single decision is shorter than reading the clock. So a single slow one shows as a
//! sixteenth of itself. Nothing is allocated: a decision borrows and answers a word.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use rowhouse_domain::access::*;
use uuid::Uuid;

const TENANTS: usize = 1_000;
const EACH: usize = 200;
const CHECKS: usize = 2_000_000;
const BATCH: usize = 16;

fn principal(tenant: usize, number: usize) -> Principal {
    // As UUIDs of the seventh version are: the time in front, random at the end.
    let mixed = (tenant * EACH + number) as u128;
    let id = mixed << 80 | mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C834) >> 48;
    Principal { kind: PrincipalKind::User, id: Uuid::from_u128(id) }
}

fn permissions() -> Permissions {
    let actions = ["create", "read", "update", "delete"].map(str::to_owned).to_vec();
    let types = (0..60).map(|number| (format!("type{number:02}"), actions.clone()));
    Permissions::new(&types.collect::<BTreeMap<_, _>>()).expect("240 fit")
}

fn roles(permissions: &Permissions) -> RoleCatalogue {
    let role = |name: &str, own: Vec<String>, inherits: &[&str]| RoleDefinition {
        name: name.into(),
        title: String::new(),
        permissions: own,
        inherits: inherits.iter().map(|one| (*one).to_owned()).collect(),
    };
    let all = [
        role("viewer", vec!["*:read".into()], &[]),
        role("editor", (0..30).map(|n| format!("type{n:02}:update")).collect(), &["viewer"]),
        role("admin", vec!["*:*".into()], &["editor"]),
    ];
    RoleCatalogue::new(&all, permissions).expect("no circle")
}

fn grant(holder: Principal, target: GrantTarget, resource: Option<ResourceName>) -> Grant {
    Grant {
        id: Uuid::nil(),
        holder: Holder::Principal(holder),
        effect: GrantEffect::Allow,
        target,
        resource,
        interval: Interval::ALWAYS,
    }
}

fn folder(number: usize) -> ResourceName {
    ResourceName { kind: "type01".into(), id: format!("folder{number}") }
}

/// One principal in ten has a grant on a thing besides its role; things lie four deep.
fn table(tenant: usize, permissions: &Permissions, roles: &RoleCatalogue) -> AccessTable {
    let role = |number: usize| GrantTarget::Role(["viewer", "editor", "admin"][number % 3].into());
    let mut grants: Vec<Grant> =
        (0..EACH).map(|number| grant(principal(tenant, number), role(number), None)).collect();
    grants.extend((0..EACH).step_by(10).map(|number| {
        grant(principal(tenant, number), GrantTarget::Permission("type01:delete".into()), Some(folder(0)))
    }));
    let resources: Vec<Resource> =
        (1..5).map(|n| Resource { name: folder(n), parent: Some(folder(n - 1)) }).collect();
    let model = Model {
        permissions,
        roles,
        grants: &grants,
        memberships: &[],
        resources: &resources,
        principals: &[],
    };
    model.compile(1)
}

/// Nanoseconds of one decision at each share of the batches.
fn measured(mut decide: impl FnMut(usize)) -> [f64; 2] {
    let mut batches = Vec::with_capacity(CHECKS / BATCH);
    for batch in 0..CHECKS / BATCH {
        let begun = Instant::now();
        (0..BATCH).for_each(|at| decide(batch * BATCH + at));
        batches.push(begun.elapsed().as_nanos() as f64 / BATCH as f64);
    }
    batches.sort_unstable_by(f64::total_cmp);
    [batches[batches.len() / 2], batches[batches.len() * 99 / 100]]
}

fn main() {
    let permissions = permissions();
    let roles = roles(&permissions);
    let begun = Instant::now();
    let tables: Vec<AccessTable> = (0..TENANTS).map(|tenant| table(tenant, &permissions, &roles)).collect();
    let compiled_ms = begun.elapsed().as_millis();
    let bits: Vec<PermissionId> = permissions.bits().map(|(bit, _)| bit).collect();
    // Asked in an order that no cache foresees, made beforehand so that making it is not measured.
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let asked: Vec<(usize, Principal, PermissionId)> = (0..CHECKS)
        .map(|_| {
            let (tenant, number) = (random() % TENANTS, random() % EACH);
            (tenant, principal(tenant, number), bits[random() % bits.len()])
        })
        .collect();
    let spread = measured(|at| {
        let (tenant, who, bit) = &asked[at];
        let table = &tables[*tenant];
        black_box(may(table.rights(black_box(who)), *bit, 0));
    });
    let (hot_tenant, hot_who, _) = asked[0];
    let hot = measured(|at| {
        black_box(may(tables[hot_tenant].rights(black_box(&hot_who)), asked[at].2, 0));
    });
    let leaf = folder(4).key();
    let delete = permissions.id("type01:delete").expect("declared");
    let on_thing = measured(|at| {
        let tenant = asked[at].0;
        let rights = tables[tenant].rights(&principal(tenant, 0));
        black_box(may_on(&tables[tenant], rights, delete, black_box(leaf), 0));
    });
    println!(
        "{{\"principals\":{},\"tenants\":{TENANTS},\"compile_tenant_ms\":{:.3},\"check_p50_ns\":{:.1},\"check_p99_ns\":{:.1},\
         \"hot_p50_ns\":{:.1},\"hot_p99_ns\":{:.1},\"on_thing_p50_ns\":{:.1},\"on_thing_p99_ns\":{:.1}}}",
        TENANTS * EACH,
        compiled_ms as f64 / TENANTS as f64,
        spread[0],
        spread[1],
        hot[0],
        hot[1],
        on_thing[0],
        on_thing[1]
    );
}
