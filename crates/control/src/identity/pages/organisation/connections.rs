//! The organisation's own provider, set up step by step: its address, what it is told of us, what it tells us, a test, and on.

use std::collections::BTreeMap;

use rowhouse_domain::refusal::{Refusal, kind};
use serde_json::{Value, json};

use super::fields::Fields;
use super::visit::{Said, Visit};
use super::{incomplete, roles};
use crate::api::own::Call;
use crate::identity::pages::sso_report;

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
            let mut body = json!({
                "name": before["name"], "issuer": before["issuer"], "client_id": fields.text("client_id"),
                "is_public": secret.is_empty() && !keeps, "email_domains": fields.words("domains"), "roles": fields.all("role"),
                "role_claim": Some(fields.text("role_claim")).filter(|own| !own.is_empty()),
                "role_map": role_map(fields.text("role_map"))?,
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
            visit.delete(&path).await?;
            Ok(Said::good("It is gone. Who came in by it still belongs to your organisation."))
        }
        _ => Err(incomplete()),
    }
}

/// Which roles follow a value of the claim: one a line, as in `admins = tenant_admin, developer`.
fn role_map(text: &str) -> Result<BTreeMap<String, Vec<String>>, Refusal> {
    let mut map = BTreeMap::<String, Vec<String>>::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let wrong = || {
            let refusal = Refusal::new(&kind::INVALID, "Groups and roles are not well-formed.");
            refusal.field("/role_map", "malformed", "a line for each group, as in `admins = tenant_admin`")
        };
        let (value, roles) = line.rsplit_once('=').ok_or_else(wrong)?;
        let roles = roles.split(',').map(str::trim).filter(|role| !role.is_empty()).map(str::to_owned);
        let roles: Vec<String> = roles.collect();
        if value.trim().is_empty() || roles.is_empty() {
            return Err(wrong());
        }
        map.entry(value.trim().to_owned()).or_default().extend(roles);
    }
    Ok(map)
}

/// The same as it is typed.
fn lines(map: &Value) -> String {
    let roles = |own: &Value| -> Vec<String> {
        let all = own.as_array().into_iter().flatten().filter_map(Value::as_str);
        all.map(str::to_owned).collect()
    };
    let all = map.as_object().into_iter().flatten();
    all.map(|(value, own)| format!("{value} = {}", roles(own).join(", "))).collect::<Vec<_>>().join("\n")
}

pub async fn view(visit: &Visit<'_>, with: &Value) -> Result<Value, Refusal> {
    let mut listed = visit.get(PATH).await?;
    let mut all = listed["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    for row in &mut all {
        let id = row["id"].as_str().unwrap_or_default().to_owned();
        row["role_lines"] = json!(lines(&row["role_map"]));
        row["is_draft"] = json!(row["client_id"] == NO_CLIENT);
        let test = visit.get(&format!("{PATH}/{id}/test")).await.unwrap_or_default();
        row["result"] = test["result"].clone();
        row["lines"] = json!(sso_report::lines(&test["result"]));
        row["warnings"] = json!(sso_report::warnings(&test["result"]));
        row["claims"] = json!(sso_report::claims(&test["result"]));
        if with["connection"] == row["id"] {
            row["test_url"] = with["url"].clone();
        }
    }
    let hosts = visit.list("/v1/hosts").await.unwrap_or_default();
    let is_proven = |host: &&Value| matches!(host["state"].as_str(), Some("verified" | "active" | "failing"));
    let proven: Vec<&Value> = hosts.iter().filter(is_proven).map(|host| &host["name"]).collect();
    Ok(json!({ "connections": all, "proven": proven, "roles": roles::all(visit).await.unwrap_or_default() }))
}
