//! Programs of the organisation: service accounts, what they may do, and the keys that they come with.

use rowhouse_domain::refusal::Refusal;
use serde_json::{Value, json};

use super::fields::Fields;
use super::names::Names;
use super::visit::{Said, Visit};
use super::{incomplete, people, roles};

pub async fn did(visit: &Visit<'_>, fields: &Fields) -> Result<Said, Refusal> {
    match fields.text("step") {
        "account" => {
            let body = json!({ "name": fields.text("name"), "description": fields.text("description") });
            visit.post("/v1/service_accounts", body).await?;
            Ok(Said::good("The service account is made. Give it a role, then make a key for it."))
        }
        "give" => {
            people::give(visit, ("service_account", fields.id("account")?), fields, "The role is given.")
                .await
        }
        "take" => {
            visit.delete(&format!("/v1/grants/{}", fields.id("grant")?)).await?;
            Ok(Said::good("The role is taken away, from the account's keys too."))
        }
        "make" => {
            let mut body = json!({
                "name": fields.text("name"),
                "owner": { "kind": "service_account", "id": fields.id("account")? },
                "roles": fields.all("role"),
                "permissions": fields.words("permissions"),
                "allowed_ips": fields.words("allowed_ips"),
            });
            if let Some(until) = fields.end_of_day("until")? {
                body["expires_at"] = json!(until);
            }
            let made = visit.post("/v1/keys", body).await?;
            Ok(Said {
                good: "The key is made.",
                with: json!({ "secret": made["key"], "name": made["name"] }),
            })
        }
        step => {
            let path = format!("/v1/keys/{}", fields.id("key")?);
            match step {
                "rotate" => {
                    let body = json!({ "grace_seconds": fields.number("hours").clamp(0, 2_160) * 3_600 });
                    let made = visit.post(&format!("{path}/rotate"), body).await?;
                    let with =
                        json!({ "secret": made["key"], "name": made["name"], "grace": made["grace_until"] });
                    Ok(Said { good: "There is a new key in its place.", with })
                }
                "revoke" => {
                    let reason = Some(fields.text("reason")).filter(|own| !own.is_empty());
                    let reason = reason.unwrap_or("revoked by an administrator");
                    visit.post(&format!("{path}/revoke"), json!({ "reason": reason })).await?;
                    Ok(Said::good("The key is refused from now on, for ever."))
                }
                "disable" => {
                    visit.post(&format!("{path}/disable"), json!({})).await?;
                    Ok(Said::good("The key is refused until you switch it on."))
                }
                "enable" => {
                    visit.post(&format!("{path}/enable"), json!({})).await?;
                    Ok(Said::good("The key works again."))
                }
                _ => Err(incomplete()),
            }
        }
    }
}

pub async fn view(visit: &Visit<'_>, with: &Value) -> Result<Value, Refusal> {
    let keys = visit.list("/v1/keys").await?;
    let mut accounts = visit.list("/v1/service_accounts").await.unwrap_or_default();
    let grants = visit.list("/v1/grants").await.unwrap_or_default();
    people::with_grants(&mut accounts, &grants);
    for account in &mut accounts {
        let own = keys.iter().filter(|key| key["owner"]["id"] == account["id"]);
        let (over, open): (Vec<&Value>, Vec<&Value>) = own.partition(|key| is_over(key));
        let (open, over) = (json!(open), json!(over));
        account["keys"] = open;
        account["over"] = over;
    }
    let roles = roles::all(visit).await.unwrap_or_default();
    let shipped: Vec<&Value> = roles.iter().filter(|role| role["own"] == false).collect();
    let of_people = of_people(visit, &keys).await;
    Ok(
        json!({ "accounts": accounts, "roles": roles, "shipped": shipped, "made": with, "of_people": of_people }),
    )
}

/// Keys that act for people, with whose they are.
async fn of_people(visit: &Visit<'_>, keys: &[Value]) -> Vec<Value> {
    let own = keys.iter().filter(|key| key["owner"]["kind"] == "user" && !is_over(key));
    let own: Vec<&Value> = own.collect();
    if own.is_empty() {
        return Vec::new();
    }
    let names = Names::of(visit).await;
    own.into_iter().map(|key| json!({ "key": key, "whose": names.principal(&key["owner"]) })).collect()
}

fn is_over(key: &Value) -> bool {
    matches!(key["state"].as_str(), Some("revoked" | "expired"))
}
