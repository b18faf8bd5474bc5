//! Runs steps one after another.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::change::change;
use super::diff::{Diff, diff};
use super::step::{AskedParty, AskedThing, Party, Step};
use super::world::{Ready, World};
use crate::access::{
    Explained, Facts, GrantTarget, Reason, ResourceKey, Step as Proof, explain, may, may_on,
};

/// What became of one step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// What.
    pub result: Outcome,
    /// The id of a grant that was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Why a question was answered so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The grant that proves an allow, or a denial by grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<Vec<Via>>,
    /// Why a change was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// What that is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The change was made.
    Ok,
    /// It was not; the rest goes on.
    Refused,
    /// The question is answered with yes.
    Allow,
    /// With no.
    Deny,
}

/// A grant and how it comes to the principal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Via {
    /// The grant.
    pub grant: String,
    /// The groups on the way, then the role.
    pub via: Vec<Value>,
}

/// Everything that was told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Simulated {
    /// In the order of the steps.
    pub steps: Vec<Told>,
    /// What is different at the end.
    pub diff: Diff,
}

/// Runs `steps` on a copy of `world`, beginning at `at`. The difference is between the world at its beginning and at the last
/// step's time.
///
/// # Errors
/// If the world itself cannot be compiled, its code: that of a tenant always can.
pub fn run(world: &World, at: Timestamp, steps: Vec<Step>) -> Result<Simulated, &'static str> {
    let mut world = world.clone();
    if world == World::default() {
        // Nobody has registered them: whoever is named belongs to it.
        world.people = steps.iter().filter_map(Step::names).collect();
    }
    let first = world.ready().map_err(|refused| refused.code)?;
    let mut ready = world.ready().map_err(|refused| refused.code)?;
    let from_us = at.as_microsecond();
    let (mut now_us, mut grants) = (from_us, 0);
    let mut told = Vec::with_capacity(steps.len());
    for step in steps {
        told.push(match step {
            Step::SetTime { at } => {
                now_us = at.as_microsecond();
                TOLD
            }
            Step::Check { principal, permission, resource, context } => {
                check(&ready, (&principal, &permission, resource.as_ref()), (&context, now_us))
            }
            step => match change(&world, &ready, step, (grants + 1, now_us)) {
                Ok((next, id)) => {
                    grants += usize::from(id.is_some());
                    ready = next.ready().expect("the change has compiled it");
                    world = next;
                    Told { id, ..TOLD }
                }
                Err(refused) => Told {
                    result: Outcome::Refused,
                    code: Some(refused.code),
                    detail: Some(refused.detail),
                    ..TOLD
                },
            },
        });
    }
    Ok(Simulated { steps: told, diff: diff((&first, from_us), (&ready, now_us)) })
}

const TOLD: Told =
    Told { result: Outcome::Ok, id: None, reason: None, because: None, code: None, detail: None };

fn check(
    ready: &Ready,
    (asked, permission, thing): (&AskedParty, &str, Option<&AskedThing>),
    (context, now_us): (&Map<String, Value>, i64),
) -> Told {
    let denied =
        |reason| Told { result: Outcome::Deny, reason: Some(reason), because: Some(Vec::new()), ..TOLD };
    let Some(bit) = ready.permissions.id(permission) else { return denied("unknown_permission") };
    let Some(principal) = ready.names.known(&Party::new(&asked.kind, &asked.id)) else {
        return denied(Reason::NoGrant.as_str());
    };
    let key = thing.map(|thing| ResourceKey::new(&thing.kind, &thing.id));
    let called = ready.names.called();
    let facts = Facts {
        called: Some(&called),
        thing: thing.map(|thing| (thing.kind.as_str(), thing.id.as_str())),
        principal: Some(&asked.attributes),
        resource: thing.map(|thing| &thing.attributes),
        ..Facts::of_context(context)
    };
    let at = (now_us, &facts);
    let rights = ready.table.rights(&principal);
    let reason = match key {
        Some(key) => may_on(&ready.table, rights, bit, key, at),
        None => may(rights, bit, at),
    };
    let model = ready.model();
    let Explained { because, .. } = explain(&model, principal, bit, key, at);
    Told {
        result: if reason == Reason::Granted { Outcome::Allow } else { Outcome::Deny },
        reason: Some(reason.as_str()),
        because: Some(because.iter().map(|proof| via(ready, proof)).collect()),
        ..TOLD
    }
}

fn via(ready: &Ready, proof: &Proof<'_>) -> Via {
    let groups = proof.through.iter().map(|id| serde_json::json!({ "group": ready.names.party(*id).id }));
    let role = match &proof.grant.target {
        GrantTarget::Role(role) => Some(serde_json::json!({ "role": role })),
        GrantTarget::Permission(_) => None,
    };
    let grant = ready.grant_ids[proof.grant.id.as_u128() as usize].clone();
    Via { grant, via: groups.chain(role).collect() }
}
