//! Who belongs to the organisation: invited, given roles, removed.

use rowhouse_domain::refusal::Refusal;
use serde_json::{Value, json};

use super::{Fields, Said, Visit, incomplete, list, roles};
use crate::api::own::Call;

pub async fn did(visit: &Visit<'_>, fields: &Fields) -> Result<Said, Refusal> {
    match fields.text("step") {
        "invite" => {
            let roles = fields.all("role");
            visit.post("/v1/invitations", json!({ "email": fields.text("email"), "roles": roles })).await?;
            Ok(Said::good("The invitation is on its way."))
        }
        "resend" => {
            visit.post(&format!("/v1/invitations/{}/resend", fields.id("invitation")?), json!({})).await?;
            Ok(Said::good("It is sent again. The link before is void."))
        }
        "revoke" => {
            delete(visit, &format!("/v1/invitations/{}", fields.id("invitation")?)).await?;
            Ok(Said::good("The invitation is taken back."))
        }
        "give" => {
            let principal = json!({ "kind": "user", "id": fields.id("user")? });
            visit.post("/v1/grants", json!({ "principal": principal, "role": fields.text("role") })).await?;
            Ok(Said::good("The role is given."))
        }
        "take" => {
            delete(visit, &format!("/v1/grants/{}", fields.id("grant")?)).await?;
            Ok(Said::good("The role is taken away."))
        }
        "remove" => {
            delete(visit, &format!("/v1/users/{}", fields.id("user")?)).await?;
            Ok(Said::good("The person does not belong to your organisation any more."))
        }
        _ => Err(incomplete()),
    }
}

async fn delete(visit: &Visit<'_>, path: &str) -> Result<(), Refusal> {
    visit.call(Call { method: "DELETE", path, body: None, version: None }).await.map(drop)
}

pub async fn view(visit: &Visit<'_>) -> Result<Value, Refusal> {
    let mut people = list(visit, "/v1/users").await?;
    let grants = list(visit, "/v1/grants").await.unwrap_or_default();
    for person in &mut people {
        let own = grants.iter().filter(|grant| {
            grant["principal"]["id"] == person["id"]
                && grant["role"].is_string()
                && grant["resource"].is_null()
        });
        let own: Vec<Value> = own.map(|grant| json!({ "id": grant["id"], "role": grant["role"] })).collect();
        person["grants"] = json!(own);
    }
    let invitations = list(visit, "/v1/invitations").await.unwrap_or_default();
    let roles = roles::all(visit).await?;
    let shipped: Vec<&Value> = roles.iter().filter(|role| role["own"] == false).collect();
    Ok(json!({ "people": people, "invitations": invitations, "roles": roles, "shipped": shipped }))
}
