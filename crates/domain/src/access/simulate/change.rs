//! One change: whether it can be, whether who makes it may, and the world after it.

use serde_json::json;

use super::step::{GrantValue, Party, Step};
use super::world::{Ready, Refused, World, WorldGrant, WorldMembership, kind};
use crate::access::{
    Breach, Condition, Constraint, GrantEffect, GrantTarget, Interval, Offence, PermissionSet, Permissions,
    Principal, ResourceName, ResourceType, RoleDefinition,
};

/// At most so many of who would have too much are named.
const OFFENCES_SHOWN: usize = 100;

/// What a change gives to somebody: permissions on something, for a time. Lifting a denial gives too.
struct Given {
    set: PermissionSet,
    thing: Option<ResourceName>,
    interval: Interval,
    condition: Option<Condition>,
}

/// The world after `step`, and the id of what was made.
pub(super) fn change(
    world: &World,
    before: &Ready,
    step: Step,
    (number, now_us): (usize, i64),
) -> Result<(World, Option<String>), Refused> {
    let mut next = world.clone();
    if let Step::Activate { principal, roles } = &step {
        active(before, principal, roles, now_us)?;
    }
    // Who is given something, or is put into a group, belongs to the tenant.
    next.people.extend(step.names());
    let (id, actor, act) = put(&mut next, step, number)?;
    let after = next.ready()?;
    if let Some(actor) = actor {
        authorised(before, &after, (world, &next), &actor, act)?;
    }
    kept_apart(&next, &after, now_us)?;
    within_bounds(&after, now_us)?;
    if administered(before) && !administered(&after) {
        return Err(Refused::new("access.last_admin", json!({})));
    }
    Ok((next, id))
}

type Put = (Option<String>, Option<Party>, &'static str);

fn put(next: &mut World, step: Step, number: usize) -> Result<Put, Refused> {
    let unknown = |what: &str, name: &str| Refused::new("api.not_found", json!({ what: name }));
    Ok(match step {
        Step::PutResourceType { value, r#as } => {
            let kind = ResourceType {
                name: value.name.clone(),
                service: "simulated".into(),
                actions: value.actions,
                implies: value.implies,
                parent: value.parent,
                not_composable: Vec::new(),
                sensitive: Vec::new(),
                audit: Default::default(),
                role_defaults: value.role_defaults,
                attributes: value.attributes,
            };
            next.types.insert(value.name, kind);
            (None, r#as, "*:*")
        }
        Step::DeleteResourceType { name, r#as } => {
            next.types.remove(&name).ok_or_else(|| unknown("resource_type", &name))?;
            (None, r#as, "*:*")
        }
        Step::PutRole { value, r#as } => {
            predefined(next, &value.name)?;
            value.inherits.iter().chain(&value.requires).try_for_each(|role| open(next, role))?;
            let existed = next.roles.contains_key(&value.name);
            let role = RoleDefinition {
                name: value.name.clone(),
                title: String::new(),
                permissions: value.permissions,
                inherits: value.inherits,
                requires: value.requires,
                max_members: value.max_members,
            };
            bounded(next, &role)?;
            next.roles.insert(value.name, role);
            (None, r#as, if existed { "role:update" } else { "role:create" })
        }
        Step::DeleteRole { name, r#as } => {
            predefined(next, &name)?;
            next.roles.remove(&name).ok_or_else(|| unknown("role", &name))?;
            next.grants.retain(|_, grant| grant.target != GrantTarget::Role(name.clone()));
            (None, r#as, "role:delete")
        }
        Step::PutGroup { value, r#as } => {
            next.groups.insert(value.name);
            (None, r#as, "group:create")
        }
        Step::DeleteGroup { name, r#as } => {
            if !next.groups.remove(&name) {
                return Err(unknown("group", &name));
            }
            let own = Party::new("group", &name);
            next.memberships.retain(|one| one.group != name && one.member != own);
            next.grants.retain(|_, grant| grant.holder != own);
            (None, r#as, "group:delete")
        }
        Step::AddMember { group, principal, valid_from, valid_until, r#as } => {
            known(next, &Party::new("group", &group))?;
            known(next, &principal)?;
            let micros = |time: Option<jiff::Timestamp>| time.map(|time| time.as_microsecond());
            let interval = interval(micros(valid_from), micros(valid_until))?;
            next.memberships.retain(|one| one.group != group || one.member != principal);
            next.memberships.push(WorldMembership { group: group.clone(), member: principal, interval });
            circle(next, &group, &mut Vec::new())?;
            (None, r#as, "group:update")
        }
        Step::RemoveMember { group, principal, r#as } => {
            let count = next.memberships.len();
            next.memberships.retain(|one| one.group != group || one.member != principal);
            if next.memberships.len() == count {
                return Err(unknown("member", &principal.id));
            }
            (None, r#as, "group:update")
        }
        Step::PutGrant { value, r#as } => {
            let id = format!("grant_sim_{number}");
            let grant = grant(next, value)?;
            let denies = grant.effect == GrantEffect::Deny;
            next.grants.insert(id.clone(), grant);
            (Some(id), r#as, if denies { "grant:deny" } else { "grant:create" })
        }
        Step::DeleteGrant { id, r#as } => {
            let gone = next.grants.remove(&id).ok_or_else(|| unknown("grant", &id))?;
            (None, r#as, if gone.effect == GrantEffect::Deny { "grant:deny" } else { "grant:delete" })
        }
        Step::PutConstraint { value, r#as } => {
            constraint(next, &value)?;
            next.constraints.insert(value.name.clone(), value);
            (None, r#as, "constraint:create")
        }
        Step::DeleteConstraint { name, r#as } => {
            next.constraints.remove(&name).ok_or_else(|| unknown("constraint", &name))?;
            (None, r#as, "constraint:delete")
        }
        Step::Activate { principal, roles } => {
            next.active.insert(principal, roles);
            (None, None, "")
        }
        Step::PutResource { value, r#as } => {
            let name = ResourceName { kind: value.kind, id: value.id };
            next.attributes.insert(name.clone(), value.attributes);
            next.resources.insert(name.clone(), value.parent.map(|parent| parent.name()));
            chain(next, &name)?;
            (None, r#as, "resource:update")
        }
        Step::DeleteResource { value, r#as } => {
            next.attributes.remove(&value.name());
            next.resources.remove(&value.name()).ok_or_else(|| unknown("resource", &value.id))?;
            (None, r#as, "resource:delete")
        }
        Step::Check { .. } | Step::SetTime { .. } => {
            unreachable!("these change nothing and are not sent here")
        }
    })
}

fn constraint(world: &World, value: &Constraint) -> Result<(), Refused> {
    if let Some((field, wanted)) = value.faults().first() {
        return Err(Refused::new("api.invalid", json!({ "field": field, "wanted": wanted })));
    }
    if let Some(role) = value.roles.iter().find(|role| !world.roles.contains_key(*role)) {
        return Err(Refused::new("access.unknown_role", json!({ "role": role })));
    }
    let permissions = world.permissions()?;
    match value.permissions.iter().find(|name| permissions.id(name).is_none()) {
        Some(name) => Err(Refused::new("access.unknown_permission", json!({ "permission": name }))),
        None => Ok(()),
    }
}

/// Who makes roles active has them, and no constraint of kind `dynamic` keeps them apart.
fn active(before: &Ready, party: &Party, roles: &[String], now_us: i64) -> Result<(), Refused> {
    let nobody = || Refused::new("api.not_found", json!({ "principal": party }));
    let who = before.names.known(party).ok_or_else(nobody)?;
    let model = before.model();
    let has = model.activity(who, roles, now_us);
    let lacking = |role: &&String| !has.active.contains(*role) && !has.inactive.contains(*role);
    if let Some(role) = roles.iter().find(lacking) {
        return Err(Refused::new("access.unknown_role", json!({ "role": role })));
    }
    match model.excluding(roles) {
        None => Ok(()),
        Some((constraint, together)) => {
            let detail = json!({ "constraint": constraint.name, "together": together });
            Err(Refused::new("access.roles_exclude_each_other", detail))
        }
    }
}

/// Nobody has together what is kept apart.
fn kept_apart(world: &World, ready: &Ready, now_us: i64) -> Result<(), Refused> {
    let constraints: Vec<Constraint> = world.constraints.values().cloned().collect();
    let offences = ready.model().offences(&constraints, now_us);
    let Some(first) = offences.first() else { return Ok(()) };
    let who = |offence: &Offence| match offence.principal {
        Some(principal) => json!(ready.names.party(principal.id)),
        None => json!(Party::new("everyone", "")),
    };
    let all: Vec<_> = offences.iter().take(OFFENCES_SHOWN).map(who).collect();
    let detail = json!({ "constraint": first.constraint, "together": first.together, "principals": all, "count": offences.len() });
    Err(Refused::new("access.sod_violation", detail))
}

/// What a role asks of those who have it can be asked.
fn bounded(world: &World, role: &RoleDefinition) -> Result<(), Refused> {
    if let Some((field, wanted)) = role.bound_faults().first() {
        return Err(Refused::new("api.invalid", json!({ "field": field, "wanted": wanted })));
    }
    match role.requires.iter().find(|name| !world.roles.contains_key(*name)) {
        Some(name) => Err(Refused::new("access.unknown_role", json!({ "role": name }))),
        None => Ok(()),
    }
}

/// Roles have as many members as they may, and these have what the roles require.
fn within_bounds(ready: &Ready, now_us: i64) -> Result<(), Refused> {
    let party = |principal: &Principal| ready.names.party(principal.id);
    match ready.model().breaches(now_us).first() {
        None => Ok(()),
        Some(Breach::TooMany { role, most, members, .. }) => {
            let members: Vec<&Party> = members.iter().take(OFFENCES_SHOWN).map(party).collect();
            let detail = json!({ "role": role, "max_members": most, "members": members });
            Err(Refused::new("access.too_many_members", detail))
        }
        Some(Breach::Missing { role, required, principal, .. }) => {
            let who = principal.as_ref().map_or(json!(Party::new("everyone", "")), |own| json!(party(own)));
            let detail = json!({ "role": role, "required": required, "principal": who });
            Err(Refused::new("access.missing_prerequisite", detail))
        }
    }
}

/// A role that can be given, or be part of one.
fn open(world: &World, role: &str) -> Result<(), Refused> {
    match world.reserved.contains(role) {
        true => Err(Refused::new("access.unknown_role", json!({ "role": role }))),
        false => Ok(()),
    }
}

fn predefined(world: &World, role: &str) -> Result<(), Refused> {
    match world.predefined.contains(role) {
        true => Err(Refused::new("access.predefined", json!({ "role": role }))),
        false => Ok(()),
    }
}

/// A single principal is anybody; a group must be there.
fn known(world: &World, party: &Party) -> Result<(), Refused> {
    let is_known = match party.kind.as_str() {
        "group" => world.groups.contains(&party.id),
        "everyone" => true,
        _ => kind(party).is_some(),
    };
    match is_known {
        true => Ok(()),
        false => Err(Refused::new("api.not_found", json!({ "principal": party }))),
    }
}

fn interval(from_us: Option<i64>, until_us: Option<i64>) -> Result<Interval, Refused> {
    let interval = Interval::new(from_us, until_us);
    match interval.is_empty() {
        true => Err(Refused::new("api.invalid", json!({ "valid_until": "after `valid_from`" }))),
        false => Ok(interval),
    }
}

fn grant(world: &World, value: GrantValue) -> Result<WorldGrant, Refused> {
    known(world, &value.principal)?;
    value.role.iter().try_for_each(|role| open(world, role))?;
    let invalid = |field: &str| Refused::new("api.invalid", json!({ "field": field }));
    let target = match (value.role, value.permission) {
        (Some(role), None) if world.roles.contains_key(&role) => GrantTarget::Role(role),
        (Some(role), None) => return Err(Refused::new("access.unknown_role", json!({ "role": role }))),
        (None, Some(permission)) => {
            if world.permissions()?.matching(&permission).is_none() {
                return Err(Refused::new("access.unknown_permission", json!({ "permission": permission })));
            }
            GrantTarget::Permission(permission)
        }
        _ => return Err(invalid("role")),
    };
    let effect = match value.effect.as_deref() {
        None | Some("allow") => GrantEffect::Allow,
        Some("deny") => GrantEffect::Deny,
        Some(_) => return Err(invalid("effect")),
    };
    let condition = match value.condition {
        Some(text) => Some(condition(world, &target, (&text, value.parameters))?),
        None if !value.parameters.is_empty() => return Err(invalid("parameters")),
        None => None,
    };
    let micros = |time: Option<jiff::Timestamp>| time.map(|time| time.as_microsecond());
    Ok(WorldGrant {
        holder: value.principal,
        effect,
        target,
        resource: value.resource.map(|thing| thing.name()),
        interval: interval(micros(value.valid_from), micros(value.valid_until))?,
        condition,
    })
}

/// A condition, checked against what the types declare that the grant is about.
fn condition(
    world: &World,
    target: &GrantTarget,
    (text, parameters): (&str, serde_json::Map<String, serde_json::Value>),
) -> Result<Condition, Refused> {
    let permissions = world.permissions()?;
    let set = match target {
        GrantTarget::Role(role) => world.closed_roles(&permissions)?.permissions(role).copied(),
        GrantTarget::Permission(pattern) => permissions.matching(pattern),
    };
    let set = permissions.closed(&set.unwrap_or_default());
    Condition::check(text, parameters, &permissions.kinds(&set)).map_err(|fault| {
        let detail = json!({ "line": fault.line, "column": fault.column, "message": fault.message });
        Refused::new("access.bad_condition", detail)
    })
}

fn circle(world: &World, group: &str, path: &mut Vec<String>) -> Result<(), Refused> {
    let closed = path.iter().any(|before| before == group);
    path.push(group.to_owned());
    if closed {
        return Err(Refused::new("access.cycle", json!({ "path": path })));
    }
    let own = Party::new("group", group);
    for up in world.memberships.iter().filter(|one| one.member == own) {
        circle(world, &up.group, path)?;
    }
    path.pop();
    Ok(())
}

fn chain(world: &World, name: &ResourceName) -> Result<(), Refused> {
    let mut path = vec![name];
    while let Some(Some(parent)) = world.resources.get(*path.last().expect("it starts with one")) {
        let closed = path.contains(&parent);
        path.push(parent);
        let ids = || path.iter().map(|one| format!("{}/{}", one.kind, one.id)).collect::<Vec<_>>();
        if closed {
            return Err(Refused::new("access.cycle", json!({ "path": ids() })));
        }
        if path.len() > 17 {
            return Err(Refused::new("access.too_many", json!({ "path": ids() })));
        }
    }
    Ok(())
}

/// Nobody gives what he does not hold: on what contains it, for a time that contains it. The act itself is a permission
/// too, where the world declares it.
fn authorised(
    before: &Ready,
    after: &Ready,
    worlds: (&World, &World),
    actor: &Party,
    act: &str,
) -> Result<(), Refused> {
    let nobody = || Refused::new("access.denied", json!({ "permission": act }));
    let principal = before.names.known(actor).ok_or_else(nobody)?;
    let held = |thing: Option<&ResourceName>, interval, under: Option<&Condition>| {
        before.table.held(&principal, None, thing.map(ResourceName::key), interval, under)
    };
    let all = held(None, Interval::ALWAYS, None);
    let may_act = match before.permissions.matching(act) {
        Some(set) => set.is_subset(&all),
        None => true,
    };
    if !may_act {
        return Err(nobody());
    }
    // Who declares types holds everything, and is given what is new.
    if act == "*:*" {
        return Ok(());
    }
    for given in given(before, after, worlds) {
        let mut missing = given.set;
        missing.subtract(&translated(
            before,
            after,
            &held(given.thing.as_ref(), given.interval, given.condition.as_ref()),
        ));
        if !missing.is_empty() {
            let missing = after.permissions.names_of(&missing);
            return Err(Refused::new("access.escalation", json!({ "missing": missing })));
        }
    }
    Ok(())
}

/// A set of the permissions before as one of those after.
fn translated(before: &Ready, after: &Ready, set: &PermissionSet) -> PermissionSet {
    let same = before.permissions.names_of(set).into_iter().filter_map(|name| after.permissions.id(name));
    let mut all = PermissionSet::default();
    same.for_each(|bit| all.insert(bit));
    all
}

/// Everything that the change could give to anybody: what changed roles gained or denying ones lost, what new grants allow and
/// taken back ones denied, and for each changed membership what its group and those above it hold.
fn given(before: &Ready, after: &Ready, (old, new): (&World, &World)) -> Vec<Given> {
    let mut all = Vec::new();
    for name in new.roles.keys().chain(old.roles.keys()) {
        let was =
            before.roles.permissions(name).map(|set| translated(before, after, set)).unwrap_or_default();
        let is = after.roles.permissions(name).copied().unwrap_or_default();
        let (mut gained, mut lost) = (after.permissions.closed(&is), was);
        gained.subtract(&after.permissions.closed(&was));
        lost.subtract(&is);
        all.push(Given { set: gained, thing: None, interval: Interval::ALWAYS, condition: None });
        let denies = |one: &WorldGrant| {
            one.effect == GrantEffect::Deny && matches!(&one.target, GrantTarget::Role(role) if role == name)
        };
        if old.grants.values().any(denies) {
            all.push(Given { set: lost, thing: None, interval: Interval::ALWAYS, condition: None });
        }
    }
    let both = |effect| {
        let added = new.grants.iter().filter(|(id, one)| old.grants.get(*id) != Some(one));
        let gone = old.grants.iter().filter(|(id, one)| new.grants.get(*id) != Some(one));
        match effect {
            GrantEffect::Allow => added.map(|(_, one)| one).collect::<Vec<_>>(),
            GrantEffect::Deny => added.chain(gone).map(|(_, one)| one).collect(),
        }
    };
    for effect in [GrantEffect::Allow, GrantEffect::Deny] {
        for one in both(effect).into_iter().filter(|one| one.effect == effect) {
            all.push(of(after, one, Interval::ALWAYS));
        }
    }
    let moved = new.memberships.iter().filter(|one| !old.memberships.contains(one));
    moved.for_each(|one| of_membership(after, new, one, GrantEffect::Allow, &mut all));
    let left = old.memberships.iter().filter(|one| !new.memberships.contains(one));
    left.for_each(|one| of_membership(after, old, one, GrantEffect::Deny, &mut all));
    // A thing that moves under another is reached by the grants on it.
    moved_things(after, (old, new), GrantEffect::Allow, &mut all);
    // One that moves away is out of reach of the denials there.
    moved_things(after, (new, old), GrantEffect::Deny, &mut all);
    all
}

/// What grants of `effect` say of each thing that is held otherwise in the second world than in the first.
fn moved_things(after: &Ready, (from, to): (&World, &World), effect: GrantEffect, all: &mut Vec<Given>) {
    for (name, parent) in
        to.resources.iter().filter(|(name, parent)| from.resources.get(*name) != Some(parent))
    {
        let mut up = parent.clone();
        while let Some(holder) = up {
            let here = |one: &&WorldGrant| one.effect == effect && one.resource.as_ref() == Some(&holder);
            for one in to.grants.values().filter(here) {
                all.push(Given { thing: Some(name.clone()), ..of(after, one, Interval::ALWAYS) });
            }
            up = to.resources.get(&holder).cloned().flatten();
        }
    }
}

fn of(after: &Ready, one: &WorldGrant, interval: Interval) -> Given {
    Given {
        set: set(&after.permissions, after, one),
        thing: one.resource.clone(),
        interval: one.interval.and(interval),
        condition: one.condition.clone(),
    }
}

fn set(permissions: &Permissions, after: &Ready, one: &WorldGrant) -> PermissionSet {
    let set = match &one.target {
        GrantTarget::Role(role) => after.roles.permissions(role).copied(),
        GrantTarget::Permission(pattern) => permissions.matching(pattern),
    };
    permissions.closed(&set.unwrap_or_default())
}

fn of_membership(
    after: &Ready,
    world: &World,
    membership: &WorldMembership,
    effect: GrantEffect,
    all: &mut Vec<Given>,
) {
    let mut open = vec![membership.group.clone()];
    let mut seen = Vec::new();
    while let Some(group) = open.pop() {
        if seen.contains(&group) {
            continue;
        }
        let own = Party::new("group", &group);
        let grants = world.grants.values().filter(|one| one.holder == own && one.effect == effect);
        all.extend(grants.map(|one| of(after, one, membership.interval)));
        open.extend(world.memberships.iter().filter(|one| one.member == own).map(|one| one.group.clone()));
        seen.push(group);
    }
}

/// Whether some person holds everything, without end.
fn administered(ready: &Ready) -> bool {
    let Some(all) = ready.permissions.matching("*:*") else { return false };
    let mut users = ready.table.principals().filter(|one| one.kind == crate::access::PrincipalKind::User);
    users.any(|user| all.is_subset(&ready.table.held(&user, None, None, Interval::ALWAYS, None)))
}
