//! What a decision costs: over 200,000 principals in 1,000 tenants at random, over one that is hot, on a thing, and under a
//! condition; and what the same question costs a Cedar policy set. Prints one line of JSON. `--quick` asks a tenth as often.
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
/// Conditions asked, each timed alone: one is far longer than reading the clock.
const CONDITIONS: usize = 200_000;
/// A whole policy set is slower yet.
const CEDAR: usize = 20_000;
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
        condition: None,
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
    let resources: Vec<Resource> = (1..5)
        .map(|n| Resource { name: folder(n), parent: Some(folder(n - 1)), attributes: Default::default() })
        .collect();
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
fn measured(checks: usize, mut decide: impl FnMut(usize)) -> [f64; 2] {
    let mut batches = Vec::with_capacity(checks / BATCH);
    for batch in 0..checks / BATCH {
        let begun = Instant::now();
        (0..BATCH).for_each(|at| decide(batch * BATCH + at));
        batches.push(begun.elapsed().as_nanos() as f64 / BATCH as f64);
    }
    batches.sort_unstable_by(f64::total_cmp);
    [batches[batches.len() / 2], batches[batches.len() * 99 / 100]]
}

/// Microseconds of one question at each share, timed one by one.
fn alone(count: usize, mut ask: impl FnMut(usize)) -> [f64; 2] {
    let mut all: Vec<f64> = (0..count)
        .map(|at| {
            let begun = Instant::now();
            ask(at);
            begun.elapsed().as_nanos() as f64 / 1e3
        })
        .collect();
    all.sort_unstable_by(f64::total_cmp);
    [all[all.len() / 2], all[all.len() * 99 / 100]]
}

/// A grant to one principal under a condition on the request and on time, asked with both known.
fn under_a_condition(permissions: &Permissions, roles: &RoleCatalogue, count: usize) -> [f64; 2] {
    let text =
        "context.mfa && context.ip.isInRange(ip(\"10.0.0.0/8\")) && context.now < datetime(\"2030-01-01\")";
    let set = permissions.matching("type01:read").expect("declared");
    let condition =
        Condition::check(text, Default::default(), &permissions.kinds(&set)).expect("well-formed");
    let read = GrantTarget::Permission("type01:read".into());
    let grants = [Grant { condition: Some(condition), ..grant(principal(0, 0), read, None) }];
    let model =
        Model { permissions, roles, grants: &grants, memberships: &[], resources: &[], principals: &[] };
    let table = model.compile(1);
    let bit = permissions.id("type01:read").expect("declared");
    let facts = Facts { mfa: Some(true), ip: "10.1.2.3".parse().ok(), ..Facts::NONE };
    let who = principal(0, 0);
    alone(count, |_| {
        let reason = may(table.rights(black_box(&who)), bit, (1_795_348_800_000_000, &facts));
        assert_eq!(black_box(reason), Reason::Granted);
    })
}

/// One tenant's roles as a Cedar policy set: a principal is in its role, a policy for each role and type.
fn cedar(count: usize) -> [f64; 2] {
    use cedar_policy::{Authorizer, Context, Entities, EntityUid, PolicySet, Request};
    let mut text = String::new();
    for kind in 0..60 {
        text += &format!(
            "permit(principal in Role::\"viewer\", action == Action::\"read\", resource is Type{kind:02});\n"
        );
        text += &format!("permit(principal in Role::\"admin\", action, resource is Type{kind:02});\n");
    }
    let policies: PolicySet = text.parse().expect("policies");
    let people: Vec<serde_json::Value> = (0..EACH)
        .map(|number| {
            let role = ["viewer", "admin"][number % 2];
            serde_json::json!({ "uid": { "type": "User", "id": number.to_string() }, "attrs": {},
                "parents": [{ "type": "Role", "id": role }] })
        })
        .collect();
    let entities = Entities::from_json_value(people.into(), None).expect("entities");
    let authorizer = Authorizer::new();
    let uid = |text: String| text.parse::<EntityUid>().expect("a name");
    let read = uid("Action::\"read\"".into());
    alone(count, |at| {
        let who = uid(format!("User::\"{}\"", at % EACH));
        let what = uid(format!("Type{:02}::\"1\"", at % 60));
        let request = Request::new(who, read.clone(), what, Context::empty(), None).expect("a request");
        black_box(authorizer.is_authorized(&request, &policies, &entities));
    })
}

fn main() {
    let share = if std::env::args().any(|own| own == "--quick") { 10 } else { 1 };
    let checks = 2_000_000 / share;
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
    let asked: Vec<(usize, Principal, PermissionId)> = (0..checks)
        .map(|_| {
            let (tenant, number) = (random() % TENANTS, random() % EACH);
            (tenant, principal(tenant, number), bits[random() % bits.len()])
        })
        .collect();
    let spread = measured(checks, |at| {
        let (tenant, who, bit) = &asked[at];
        let table = &tables[*tenant];
        black_box(may(table.rights(black_box(who)), *bit, 0));
    });
    let (hot_tenant, hot_who, _) = asked[0];
    let hot = measured(checks, |at| {
        black_box(may(tables[hot_tenant].rights(black_box(&hot_who)), asked[at].2, 0));
    });
    let leaf = folder(4).key();
    let delete = permissions.id("type01:delete").expect("declared");
    let on_thing = measured(checks, |at| {
        let tenant = asked[at].0;
        let rights = tables[tenant].rights(&principal(tenant, 0));
        black_box(may_on(&tables[tenant], rights, delete, black_box(leaf), 0));
    });
    let conditional = under_a_condition(&permissions, &roles, CONDITIONS / share);
    let cedar = cedar(CEDAR / share);
    println!(
        "{{\"bench\":\"access\",\"figures\":{{\"principals\":{},\"tenants\":{TENANTS},\"compile_tenant_ms\":{:.3},\"check_p50_ns\":{:.1},\"check_p99_ns\":{:.1},\
         \"hot_p50_ns\":{:.1},\"hot_p99_ns\":{:.1},\"on_thing_p50_ns\":{:.1},\"on_thing_p99_ns\":{:.1},\
         \"conditional_p50_us\":{:.2},\"conditional_p99_us\":{:.2},\"cedar_p50_us\":{:.2},\"cedar_p99_us\":{:.2},\"vs_cedar\":{:.1}}}}}",
        TENANTS * EACH,
        compiled_ms as f64 / TENANTS as f64,
        spread[0],
        spread[1],
        hot[0],
        hot[1],
        on_thing[0],
        on_thing[1],
        conditional[0],
        conditional[1],
        cedar[0],
        cedar[1],
        cedar[0] * 1e3 / spread[0]
    );
}
