//! What the organisation asks of who signs in: tried first, with whom it would touch, then set.

use rowhouse_domain::refusal::Refusal;
use serde_json::{Value, json};

use super::fields::Fields;
use super::incomplete;
use super::visit::{Said, Visit};
use crate::api::own::Call;

const PATH: &str = "/v1/sign_in_policy";

/// So many of those who would have no way in are named.
const NAMED_MAX: usize = 20;

/// Numbers that the page shows, by their names in the form and where they stand in the policy.
const NUMBERS: [(&str, &str); 9] = [
    ("days", "/mfa_grace_days"),
    ("length", "/password/length_min"),
    ("history", "/password/history"),
    ("attempts", "/lockout/attempts"),
    ("minutes", "/lockout/minutes"),
    ("idle", "/session/idle_min"),
    ("hours", "/session/absolute_hours"),
    ("step_up", "/step_up_min"),
    ("trusted", "/trusted_device_days"),
];

/// The policy as it is, with what the form says; what a form does not have stays.
async fn wanted(visit: &Visit<'_>, fields: &Fields) -> Result<Value, Refusal> {
    let mut policy = visit.get(PATH).await?;
    if let Some(own) = policy.as_object_mut() {
        own.remove("version");
    }
    for name in ["mfa", "single_sign_on"] {
        if fields.has(name) {
            policy[name] = json!(fields.text(name));
        }
    }
    for (name, at) in NUMBERS {
        if fields.has(name)
            && let Some(place) = policy.pointer_mut(at)
        {
            *place = json!(fields.text(name).parse::<i64>().map_err(|_| incomplete())?);
        }
    }
    // A list without a tick is not in the form at all.
    if fields.has("with_factors") {
        policy["factors"] = json!(fields.all("factors"));
    }
    Ok(policy)
}

pub async fn did(visit: &Visit<'_>, fields: &Fields) -> Result<Said, Refusal> {
    // What was looked at is what is set: the page says it back as a whole.
    let policy = match fields.text("policy") {
        "" => wanted(visit, fields).await?,
        text => serde_json::from_str(text).map_err(|_| incomplete())?,
    };
    match fields.text("step") {
        "preview" => {
            let seen = visit.post("/v1/sign_in_policy/preview", json!({ "policy": policy })).await?;
            let with = json!({ "seen": seen, "wanted": policy });
            Ok(Said { good: "", with })
        }
        "set" => {
            let call = Call {
                method: "PUT",
                path: PATH,
                body: Some(policy),
                version: Some(fields.number("version")),
            };
            visit.call(call).await?;
            Ok(Said::good("It is asked from now on."))
        }
        _ => Err(incomplete()),
    }
}

pub async fn view(visit: &Visit<'_>, with: &Value) -> Result<Value, Refusal> {
    let policy = visit.get(PATH).await?;
    let mut view = json!({ "policy": policy, "seen": with["seen"], "wanted": with["wanted"],
        "wanted_text": with["wanted"].to_string() });
    let lost = with["seen"]["would_lose_entry"].as_array().into_iter().flatten();
    let mut locked = Vec::new();
    for id in lost.filter_map(Value::as_str).take(NAMED_MAX) {
        locked.push(visit.get(&format!("/v1/users/{id}")).await?);
    }
    let count = with["seen"]["would_lose_entry_count"].as_u64().unwrap_or_default();
    view["locked_more"] = json!(count.saturating_sub(locked.len() as u64));
    view["locked"] = json!(locked);
    Ok(view)
}
