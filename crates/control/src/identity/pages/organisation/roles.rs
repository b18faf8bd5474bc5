//! Roles of the organisation's own.

use rowhouse_domain::access::is_for_operator;
use rowhouse_domain::refusal::Refusal;
use serde_json::{Value, json};

use super::fields::Fields;
use super::incomplete;
use super::visit::{Said, Visit};
use crate::api::own::Call;

pub async fn did(visit: &Visit<'_>, fields: &Fields) -> Result<Said, Refusal> {
    match fields.text("step") {
        "make" => {
            let role = json!({
                "name": fields.text("name"),
                "title": fields.text("title"),
                "permissions": fields.all("permission"),
                "inherits": fields.all("inherits"),
            });
            visit.post("/v1/roles", role).await?;
            Ok(Said::good("The role is made. Give it to somebody on the page of people."))
        }
        "change" => {
            let change = json!({
                "title": fields.text("title"),
                "permissions": fields.all("permission"),
                "inherits": fields.all("inherits"),
            });
            let path = format!("/v1/roles/{}", fields.id("name")?);
            visit.call(Call { method: "PATCH", path: &path, body: Some(change), version: None }).await?;
            Ok(Said::good("The role is changed, for everybody who has it."))
        }
        "delete" => {
            let path = format!("/v1/roles/{}", fields.id("name")?);
            visit.delete(&path).await?;
            Ok(Said::good("The role is gone."))
        }
        _ => Err(incomplete()),
    }
}

/// What a role of the catalogue is for; empty for others.
fn purpose(role: &Value) -> &'static str {
    match role["name"].as_str().filter(|_| !role["catalog"].is_null()) {
        Some("readonly" | "viewer") => "For who looks and changes nothing.",
        Some("operator" | "user") => {
            "For most people: sees what there is and makes more, changes and deletes nothing."
        }
        Some("developer") => {
            "For who builds on the product: makes, changes and deletes, and handles API keys."
        }
        Some("admin") => "Everything in your organisation, its people, roles and keys included.",
        Some("tenant_admin") => {
            "For who runs your organisation: everything in it. The last one who has it stays."
        }
        _ => "",
    }
}

/// Permissions as they are shown: patterns in words.
fn said(permissions: &Value) -> Vec<String> {
    let all = permissions.as_array().into_iter().flatten().filter_map(Value::as_str);
    let words = |permission: &str| match permission.split_once(':') {
        Some(("*", "*")) => "everything".to_owned(),
        Some((kind, "*")) => format!("everything about {}", kind.replace('_', " ")),
        Some(("*", action)) => format!("{action} everything"),
        _ => permission.to_owned(),
    };
    all.map(words).collect()
}

/// All roles, with whether they are the organisation's own.
pub async fn all(visit: &Visit<'_>) -> Result<Vec<Value>, Refusal> {
    let listed = visit.get("/v1/roles").await?;
    let roles = listed["items"].as_array().cloned().unwrap_or_default();
    let one = |role: Value| {
        json!({
            "name": role["name"], "title": role["title"], "permissions": role["permissions"],
            "inherits": role["inherits"], "own": role["catalog"].is_null(),
            "may": said(&role["permissions"]), "purpose": purpose(&role),
        })
    };
    // Roles on the platform are the operator's to give.
    let is_tenants = |role: &Value| !role["name"].as_str().is_some_and(is_for_operator);
    Ok(roles.into_iter().filter(is_tenants).map(one).collect())
}

/// What only the platform as a whole has: in a tenant's role it would give nothing, and so it is not offered. The API takes it.
const OPERATORS: [&str; 15] = [
    "catalog",
    "cell",
    "doctor",
    "enforcement",
    "firewall",
    "fleet",
    "instance",
    "journal",
    "limit",
    "node",
    "route",
    "service",
    "system",
    "tables",
    "tier",
];

pub async fn view(visit: &Visit<'_>) -> Result<Value, Refusal> {
    let roles = all(visit).await?;
    let one = roles.iter().find(|role| role["name"] == visit.one && role["own"] == true);
    let others: Vec<&Value> = roles.iter().filter(|role| role["name"] != visit.one).collect();
    let types = visit.get("/v1/access/resource_types").await?;
    let types = types["items"].as_array().into_iter().flatten();
    let types: Vec<Value> = types.filter_map(|kind| choice(kind, one)).collect();
    Ok(json!({ "one": one, "others": others, "roles": roles, "types": types }))
}

/// What can be ticked of a resource type; nothing is lost that a role has already.
fn choice(kind: &Value, one: Option<&Value>) -> Option<Value> {
    let name = kind["name"].as_str()?;
    let has = |permission: &str| permission.split_once(':').is_some_and(|(own, _)| own == name);
    let mut had = one.and_then(|role| role["permissions"].as_array()).into_iter().flatten();
    if OPERATORS.contains(&name) && !had.any(|permission| permission.as_str().is_some_and(has)) {
        return None;
    }
    let closed = kind["not_composable"].as_array().cloned().unwrap_or_default();
    let actions = kind["actions"].as_array().into_iter().flatten();
    let open: Vec<&Value> = actions.filter(|action| !closed.contains(action)).collect();
    (!open.is_empty()).then(|| json!({ "name": name, "actions": open }))
}
