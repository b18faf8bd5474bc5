//! What waits for a second person: exactly what would be given, to be said yes or no to. What was asked for is kept as it was sent, and
//! a yes gives nothing beyond what is shown here.

use std::collections::BTreeMap;

use rowhouse_domain::refusal::{Refusal, kind};
use serde_json::{Value, json};

use super::fields::Fields;
use super::incomplete;
use super::names::{Names, utc};
use super::visit::{Said, Visit};

const PATH: &str = "/v1/approvals";
const SETTINGS: &str = "/v1/access/settings";
/// So many of those that are decided are shown.
pub const DECIDED_MAX: usize = 20;

pub async fn did(visit: &Visit<'_>, fields: &Fields) -> Result<Said, Refusal> {
    let step = fields.text("step");
    let (good, ended) = match step {
        "approve" => ("It is done.", "done"),
        "refuse" => ("It is refused. Nothing has happened.", "refused"),
        "withdraw" => ("It is taken back. Nothing has happened.", "withdrawn"),
        "by_two" | "by_one" => return set(visit, step == "by_two").await,
        _ => return Err(incomplete()),
    };
    let path = format!("{PATH}/{}", fields.id("approval")?);
    let reason = json!({ "reason": fields.text("reason") });
    match visit.post(&format!("{path}/{step}"), reason).await {
        Ok(_) => Ok(Said::good(good)),
        // Pressed twice: the first time has done it.
        Err(refusal) if refusal.code() == kind::APPROVAL_STALE.code => {
            let now = visit.get(&path).await.unwrap_or_default();
            let is_own = now["state"] == ended && now["decided_by"] == visit.me.as_str();
            if is_own { Ok(Said::good(good)) } else { Err(refusal) }
        }
        Err(refusal) => Err(refusal),
    }
}

async fn set(visit: &Visit<'_>, by_two: bool) -> Result<Said, Refusal> {
    let now = visit.put(SETTINGS, json!({ "approve_sensitive_grants": by_two })).await?;
    let waits = now["approval_id"].is_string();
    Ok(Said::good(match (waits, by_two) {
        (true, _) => "It waits for a second person now. Until then it takes two as before.",
        (false, true) => "It takes two people from now on.",
        (false, false) => "One person alone gives them from now on.",
    }))
}

/// All that waits, and of the newest 200 what does not.
pub async fn rows(visit: &Visit<'_>) -> Result<Vec<Value>, Refusal> {
    let mut rows = visit.list(&format!("{PATH}?state=pending")).await?;
    let mut lately = visit.get(&format!("{PATH}?limit=200")).await?;
    if let Value::Array(lately) = lately["items"].take() {
        rows.extend(lately.into_iter().filter(|row| row["state"] != "pending"));
    }
    Ok(rows)
}

pub async fn view(visit: &Visit<'_>) -> Result<Value, Refusal> {
    let rows = rows(visit).await?;
    // Who may not read grants is shown their own; who has none of their own is shown that they may not.
    if let (Err(refusal), true) = (visit.get("/v1/grants?limit=1").await, rows.is_empty()) {
        return Err(refusal);
    }
    let names = Names::of(visit).await;
    let (waiting, decided): (Vec<&Value>, Vec<&Value>) =
        rows.iter().partition(|row| row["state"] == "pending");
    let shown = |row: &&Value| shown(visit, &names, row);
    let waiting: Vec<Value> = waiting.iter().map(shown).collect();
    let decided: Vec<Value> = decided.iter().take(DECIDED_MAX).map(shown).collect();
    let settings = visit.get(SETTINGS).await.unwrap_or_default();
    Ok(json!({ "waiting": waiting, "decided": decided, "by_two": settings["approve_sensitive_grants"] }))
}

/// One, in words.
pub fn shown(visit: &Visit<'_>, names: &Names, row: &Value) -> Value {
    let request = &row["request"];
    let is_of = |operation: &str| row["operation"] == operation;
    let whom = if is_of("access.request") { &row["requested_by"] } else { &request["principal"]["id"] };
    let is_for_me = *whom == visit.me.as_str();
    let whom = match is_of("access.request") {
        true => names.name(whom.as_str().unwrap_or_default()),
        false => names.principal(&request["principal"]),
    };
    let failed = row["result"]["detail"].as_str().filter(|_| row["state"] == "failed");
    json!({
        "id": row["id"],
        "what": what(row, &whom),
        "on": on(&request["resource"]),
        "gives": by_type(&row["would"]["gives"]),
        "from": utc(&row["would"]["valid_from"]),
        "until": until(row),
        "condition": request["condition"],
        "parameters": request["parameters"].as_object().map(|own| json!(own).to_string()),
        "reason": row["reason"],
        "asked_by": names.name(row["requested_by"].as_str().unwrap_or_default()),
        "asked_at": utc(&row["requested_at"]),
        "expires": utc(&row["expires_at"]),
        "is_own": row["requested_by"] == visit.me.as_str(),
        "is_for_me": is_for_me,
        "state": state(row["state"].as_str().unwrap_or_default()),
        "failed": failed,
        "decided_by": names.name(row["decided_by"].as_str().unwrap_or_default()),
        "decided_at": utc(&row["decided_at"]),
        "decision_reason": row["decision_reason"],
        "sent": serde_json::to_string_pretty(request).unwrap_or_default(),
    })
}

fn what(row: &Value, whom: &str) -> String {
    let request = &row["request"];
    let text = |name: &str| request[name].as_str();
    match (row["operation"].as_str().unwrap_or_default(), text("role"), text("permission")) {
        ("access.settings", ..) => "One person alone may give what is sensitive again".to_owned(),
        (_, Some(role), _) => format!("The role {role} for {whom}"),
        (_, None, Some(permission)) => format!("The permission {permission} for {whom}"),
        (other, ..) => other.to_owned(),
    }
}

/// How long it would be had.
fn until(row: &Value) -> String {
    match (row["request"]["minutes"].as_u64(), utc(&row["would"]["valid_until"])) {
        (Some(minutes), _) => format!("{minutes} minutes after the yes"),
        (None, end) if end.is_empty() => "without end".to_owned(),
        (None, end) => end,
    }
}

fn on(resource: &Value) -> String {
    match (resource["type"].as_str(), resource["id"].as_str()) {
        (Some(kind), Some(id)) => format!("{} {id}, and what it holds", kind.replace('_', " ")),
        _ => "everything in your organisation".to_owned(),
    }
}

/// Permissions by what they are about: `stamp: create, read`.
fn by_type(permissions: &Value) -> Value {
    let mut all: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for permission in permissions.as_array().into_iter().flatten().filter_map(Value::as_str) {
        let (kind, action) = permission.split_once(':').unwrap_or((permission, ""));
        all.entry(kind.replace('_', " ")).or_default().push(action);
    }
    all.into_iter().map(|(kind, actions)| json!({ "kind": kind, "actions": actions })).collect()
}

fn state(state: &str) -> &'static str {
    match state {
        "done" => "approved, and done",
        "failed" => "approved, but it did not fit any more: nothing was done",
        "refused" => "refused",
        "withdrawn" => "taken back",
        "expired" => "over: nobody decided in time",
        _ => "waits",
    }
}
