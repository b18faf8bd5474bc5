//! What operators do to tenants, at random: everything that takes long, and some that stops or takes back another.

use serde_json::{Value, json};

use super::attempt;
use crate::platform::{Call, Platform, text};

/// Most tenants that are there at once: the machine is small, and a server of one's own takes room.
const TENANTS_MAX: usize = 8;

/// A small generator of its own, so that a run can be repeated: xorshift64*.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

/// One act and how often it is done, of all their weights.
type Weighted = (u64, Act);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Provision,
    ChangeTier,
    Move,
    BackUp,
    Restore,
    Verify,
    Export,
    Suspend,
    Resume,
    Leave,
    LeaveLater,
    Reinstate,
    Cancel,
    RemoveCopy,
}

const ACTS: [Weighted; 14] = [
    (22, Act::Provision),
    (12, Act::ChangeTier),
    (14, Act::Move),
    (10, Act::BackUp),
    (12, Act::Restore),
    (4, Act::Verify),
    (8, Act::Export),
    (4, Act::Suspend),
    (4, Act::Resume),
    (16, Act::Leave),
    (3, Act::LeaveLater),
    (3, Act::Reinstate),
    (6, Act::Cancel),
    (4, Act::RemoveCopy),
];

const LEVELS: [(&str, &str); 10] = [
    ("basic", "shared"),
    ("professional", "shared"),
    ("basic", "schema"),
    ("professional", "schema"),
    ("enterprise", "schema"),
    ("enterprise", "database"),
    ("enterprise", "database"),
    ("premium", "database"),
    ("premium", "instance"),
    ("enterprise", "instance"),
];

fn act(random: &mut Random) -> Act {
    let mut at = random.below(ACTS.iter().map(|(weight, _)| weight).sum());
    for (weight, act) in ACTS {
        if at < weight {
            return act;
        }
        at -= weight;
    }
    unreachable!("`at` is below the sum of all weights")
}

/// The items of a list; `None` if the connection broke.
async fn items(platform: &Platform, path: &str) -> Option<Vec<Value>> {
    let (_, list) = attempt(platform, Call::get(path)).await?;
    Some(list["items"].as_array().cloned().unwrap_or_default())
}

/// Begins one random change that fits, if one does. `None` if the connection broke: the power is off.
pub async fn begin_something(platform: &Platform, random: &mut Random, number: u32) -> Option<()> {
    let tenants = items(platform, "/v1/tenants?limit=200").await?;
    let living: Vec<&Value> = tenants
        .iter()
        .filter(|tenant| tenant["code"] != "operator")
        .filter(|tenant| ["active", "suspended"].contains(&tenant["status"].as_str().unwrap_or("")))
        .collect();
    let act = act(random);
    if act == Act::Provision || living.is_empty() {
        return match living.len() < TENANTS_MAX {
            true => provision(platform, random, number).await,
            false => Some(()),
        };
    }
    let tenant = *random.one_of(&living);
    let code = text(&tenant["code"]);
    let order = |verb: &str, body: Value| Call::post(&format!("/v1/tenants/{code}/{verb}"), body);
    let call = match act {
        Act::ChangeTier => {
            let tier = random.one_of(&["basic", "professional", "enterprise", "premium"]);
            order("change_tier", json!({"tier": tier, "effective": "now", "allow_over_quota": true}))
        }
        Act::Move => {
            let isolation =
                random.one_of(&["shared", "schema", "schema", "database", "database", "instance"]);
            order("move", json!({"isolation": isolation}))
        }
        Act::BackUp => Call::post(&format!("/v1/backups?tenant={code}"), json!({"note": "at random"})),
        Act::Restore => Call::post(&format!("/v1/restores?tenant={code}"), json!({})),
        Act::Verify => {
            let backups = items(platform, &format!("/v1/backups?tenant={code}")).await?;
            let Some(whole) = backups.iter().find(|backup| backup["state"] == "ok") else { return Some(()) };
            Call::post(&format!("/v1/backups/{}/verify", text(&whole["id"])), json!({}))
        }
        Act::Export => order("export", json!({"format": "jsonl"})),
        Act::Suspend => {
            let mode = random.one_of(&["blocked", "read_only"]);
            order("suspend", json!({"mode": mode, "reason": "at random"}))
        }
        Act::Resume => order("resume", json!({"reason": "at random"})),
        Act::Leave => order("decommission", json!({"retention_days": 0, "reason": "at random"})),
        Act::LeaveLater => order("decommission", json!({"retention_days": 30, "reason": "at random"})),
        Act::Reinstate => {
            let leaving: Vec<&Value> =
                tenants.iter().filter(|tenant| tenant["status"] == "leaving").collect();
            if leaving.is_empty() {
                return Some(());
            }
            let code = text(&random.one_of(&leaving)["code"]);
            Call::post(&format!("/v1/tenants/{code}/reinstate"), json!({"reason": "at random"}))
        }
        Act::Cancel => {
            let running = items(platform, "/v1/operations?state=running&limit=200").await?;
            if running.is_empty() {
                return Some(());
            }
            let id = text(&random.one_of(&running)["id"]);
            Call::post(&format!("/v1/operations/{id}/cancel"), json!({"reason": "at random"}))
        }
        Act::RemoveCopy => {
            let copies = items(platform, &format!("/v1/restores?tenant={code}")).await?;
            let Some(open) = copies.iter().find(|copy| copy["state"] == "open") else { return Some(()) };
            Call::get(&format!("/v1/restores/{}", text(&open["id"]))).method(http::Method::DELETE)
        }
        Act::Provision => unreachable!("it was begun above"),
    };
    let (status, body) = attempt(platform, call).await?;
    // A refusal is as good as a change; what we did wrong is not.
    assert!(status < 500 || status == 503, "{act:?} of {code}: {status} {body}");
    Some(())
}

async fn provision(platform: &Platform, random: &mut Random, number: u32) -> Option<()> {
    let (tier, isolation) = random.one_of(&LEVELS);
    let code = format!("life{number}");
    let body = json!({"code": code, "company_name": code, "tier": tier, "isolation": isolation});
    let (status, body) = attempt(platform, Call::post("/v1/tenants", body)).await?;
    assert!(status < 500 || status == 503, "{tier} on {isolation}: {status} {body}");
    Some(())
}
