//! The organisation's own domains: claimed, proven by a record in DNS, given up.

use rowhouse_domain::refusal::Refusal;
use serde_json::{Value, json};

use super::fields::Fields;
use super::incomplete;
use super::visit::{Said, Visit};

const PATH: &str = "/v1/hosts";

pub async fn did(visit: &Visit<'_>, fields: &Fields) -> Result<Said, Refusal> {
    match fields.text("step") {
        "claim" => {
            // Whoever pastes an address of theirs means its domain.
            let typed = fields.text("name").to_ascii_lowercase();
            let name = typed.rsplit_once('@').map_or(typed.as_str(), |(_, domain)| domain);
            visit.post(PATH, json!({ "name": name })).await?;
            Ok(Said::good("Add the record below where your domain's DNS is kept, then have it looked for."))
        }
        "verify" => {
            let host = visit.post(&format!("{PATH}/{}/verify", fields.id("host")?), json!({})).await?;
            Ok(match host["state"].as_str() {
                Some("verified" | "active") => Said::good("The record is there: the domain is yours here."),
                _ => Said { good: "", with: Value::Null },
            })
        }
        "remove" => {
            visit.delete(&format!("{PATH}/{}", fields.id("host")?)).await?;
            Ok(Said::good("The domain is given up."))
        }
        _ => Err(incomplete()),
    }
}

pub async fn view(visit: &Visit<'_>) -> Result<Value, Refusal> {
    let mut hosts = visit.list(PATH).await?;
    hosts.retain(|host| host["state"] != "quarantined");
    Ok(json!({ "hosts": hosts }))
}
