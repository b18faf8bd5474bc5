//! What the organisation asks of who signs in: tried first, with whom it would touch, then set.

use rowhouse_domain::refusal::Refusal;
use serde_json::{Value, json};

use super::{Fields, Said, Visit, incomplete, list};
use crate::api::own::Call;

const PATH: &str = "/v1/sign_in_policy";

/// The policy as it is, with what the form says.
async fn wanted(visit: &Visit<'_>, fields: &Fields) -> Result<Value, Refusal> {
    let mut policy = visit.get(PATH).await?;
    if let Some(own) = policy.as_object_mut() {
        own.remove("version");
    }
    policy["mfa"] = json!(fields.text("mfa"));
    policy["mfa_grace_days"] = json!(fields.number("days"));
    policy["single_sign_on"] = json!(fields.text("single_sign_on"));
    Ok(policy)
}

pub async fn did(visit: &Visit<'_>, fields: &Fields) -> Result<Said, Refusal> {
    let policy = wanted(visit, fields).await?;
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
    let mut view = json!({ "policy": policy, "seen": with["seen"], "wanted": with["wanted"] });
    let locked = with["seen"]["would_lose_entry"].as_array().cloned().unwrap_or_default();
    if !locked.is_empty() {
        let people = list(visit, "/v1/users").await?;
        let theirs: Vec<Value> = people.into_iter().filter(|person| locked.contains(&person["id"])).collect();
        view["locked"] = json!(theirs);
    }
    Ok(view)
}
