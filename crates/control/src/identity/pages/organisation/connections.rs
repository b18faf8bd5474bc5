//! The organisation's own provider, set up step by step: its address, what it is told of us, what it tells us, a test, and on.

use rowhouse_domain::refusal::Refusal;
use serde_json::{Value, json};

use super::{Fields, Said, Visit, incomplete, roles};
use crate::api::own::Call;

const PATH: &str = "/v1/connections";
/// Stands for the client id until the provider has given one.
const NO_CLIENT: &str = "not-registered-yet";

pub async fn did(visit: &Visit<'_>, fields: &Fields) -> Result<Said, Refusal> {
    let step = fields.text("step");
    if step == "begin" {
        let body = json!({
            "name": fields.text("name"), "issuer": fields.text("issuer"), "client_id": NO_CLIENT, "is_public": true,
            "creates_members": false,
        });
        visit.post(PATH, body).await?;
        return Ok(Said::good("The provider was found."));
    }
    let path = format!("{PATH}/{}", fields.id("connection")?);
    match step {
        "client" => {
            let before = visit.get(&path).await?;
            let secret = fields.text("client_secret");
            let keeps = secret.is_empty() && before["has_secret"] == true;
            let domains: Vec<&str> =
                fields.text("domains").split([',', ' ']).filter(|own| !own.is_empty()).collect();
            let mut body = json!({
                "name": before["name"], "issuer": before["issuer"], "client_id": fields.text("client_id"),
                "is_public": secret.is_empty() && !keeps, "email_domains": domains, "roles": fields.all("role"),
                "role_claim": before["role_claim"], "role_map": before["role_map"],
                "creates_members": fields.text("creates") == "yes", "proves_mfa": fields.text("mfa") == "yes",
                "assumes_verified": fields.text("verified") == "yes",
            });
            if !secret.is_empty() {
                body["client_secret"] = json!(secret);
            }
            let version = before["version"].as_i64();
            visit.call(Call { method: "PUT", path: &path, body: Some(body), version }).await?;
            Ok(Said::good("Kept. Now test it."))
        }
        "test" => {
            let test = visit.post(&format!("{path}/test"), json!({})).await?;
            let id = fields.text("connection");
            Ok(Said { good: "The test is ready.", with: json!({ "connection": id, "url": test["url"] }) })
        }
        "on" => {
            visit.post(&format!("{path}/state"), json!({ "state": "active" })).await?;
            Ok(Said::good("It stands on your sign-in page now."))
        }
        "off" => {
            visit.post(&format!("{path}/state"), json!({ "state": "off" })).await?;
            Ok(Said::good("Nobody comes in by it now."))
        }
        "remove" => {
            visit.call(Call { method: "DELETE", path: &path, body: None, version: None }).await?;
            Ok(Said::good("It is gone. Who came in by it still belongs to your organisation."))
        }
        _ => Err(incomplete()),
    }
}

pub async fn view(visit: &Visit<'_>, with: &Value) -> Result<Value, Refusal> {
    let mut listed = visit.get(PATH).await?;
    let mut all = listed["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    for row in &mut all {
        let id = row["id"].as_str().unwrap_or_default().to_owned();
        row["is_draft"] = json!(row["client_id"] == NO_CLIENT);
        let test = visit.get(&format!("{PATH}/{id}/test")).await.unwrap_or_default();
        row["result"] = test["result"].clone();
        row["claims"] = json!(serde_json::to_string_pretty(&test["result"]["claims"]).unwrap_or_default());
        if with["connection"] == row["id"] {
            row["test_url"] = with["url"].clone();
        }
    }
    Ok(json!({ "connections": all, "roles": roles::all(visit).await? }))
}
