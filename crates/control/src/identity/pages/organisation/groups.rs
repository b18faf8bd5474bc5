//! Groups: who is in them, and what everybody in them has.

use rowhouse_domain::refusal::{Refusal, kind};
use serde_json::{Value, json};

use super::fields::Fields;
use super::visit::{Said, Visit};
use super::{incomplete, people, roles};
use crate::api::own::Call;

const PATH: &str = "/v1/groups";

pub async fn did(visit: &Visit<'_>, fields: &Fields) -> Result<Said, Refusal> {
    match fields.text("step") {
        "make" => {
            visit.post(PATH, json!({ "name": fields.text("name"), "title": fields.text("title") })).await?;
            Ok(Said::good("The group is made. Nobody is in it yet."))
        }
        "add" => {
            let path = member(fields)?;
            let mut body = json!({});
            if let Some(until) = fields.end_of_day("until")? {
                body["valid_until"] = json!(until);
            }
            visit.call(Call { method: "PUT", path: &path, body: Some(body), version: None }).await?;
            Ok(Said::good("They are in the group, and have what it has."))
        }
        "out" => {
            visit.delete(&member(fields)?).await?;
            Ok(Said::good("They are not in the group any more."))
        }
        "give" => {
            people::give(
                visit,
                ("group", fields.id("group")?),
                fields,
                "Everybody in the group has the role.",
            )
            .await
        }
        "take" => {
            visit.delete(&format!("/v1/grants/{}", fields.id("grant")?)).await?;
            Ok(Said::good("The role is taken from the group."))
        }
        "delete" => {
            visit.delete(&format!("{PATH}/{}", fields.id("group")?)).await?;
            Ok(Said::good("The group is gone, and what it was given with it."))
        }
        _ => Err(incomplete()),
    }
}

/// The path of somebody in a group: `member` is the kind, a colon and the id.
fn member(fields: &Fields) -> Result<String, Refusal> {
    let (kind, id) = fields.text("member").split_once(':').ok_or_else(incomplete)?;
    match super::fields::is_id(id) && matches!(kind, "user" | "service_account" | "group") {
        true => Ok(format!("{PATH}/{}/members/{kind}/{id}", fields.id("group")?)),
        false => Err(incomplete()),
    }
}

pub async fn view(visit: &Visit<'_>) -> Result<Value, Refusal> {
    let mut groups = visit.list(PATH).await?;
    let grants = visit.list("/v1/grants").await.unwrap_or_default();
    people::with_grants(&mut groups, &grants);
    let Some(mut one) = groups.iter().find(|group| group["id"] == visit.one).cloned() else {
        return Ok(json!({ "groups": groups }));
    };
    let candidates = candidates(visit, &groups).await;
    let members = match visit.list(&format!("{PATH}/{}/members", visit.one)).await {
        Err(refusal) if refusal.code() == kind::NOT_FOUND.code => return Ok(json!({ "groups": groups })),
        members => members?,
    };
    let named = members.into_iter().map(|mut member| {
        let whom = reference(&member["principal"]);
        let known = candidates.iter().find(|own| own["whom"] == whom.as_str());
        member["name"] = known.map_or_else(|| member["principal"]["id"].clone(), |own| own["name"].clone());
        member["whom"] = json!(whom);
        member
    });
    one["members"] = named.collect();
    let is_in = |own: &&Value| {
        own["whom"] == format!("group:{}", visit.one)
            || one["members"]
                .as_array()
                .is_some_and(|all| all.iter().any(|in_it| in_it["whom"] == own["whom"]))
    };
    let others: Vec<&Value> = candidates.iter().filter(|own| !is_in(own)).collect();
    Ok(json!({ "one": one, "others": others, "roles": roles::all(visit).await.unwrap_or_default() }))
}

fn reference(principal: &Value) -> String {
    let text = |name: &str| principal[name].as_str().unwrap_or_default().to_owned();
    format!("{}:{}", text("kind"), text("id"))
}

/// Who can be in a group, by name.
async fn candidates(visit: &Visit<'_>, groups: &[Value]) -> Vec<Value> {
    let mut all = Vec::new();
    let mut add = |kind: &str, row: &Value, name: String| {
        let id = row["id"].as_str().unwrap_or_default();
        all.push(json!({ "whom": format!("{kind}:{id}"), "name": name }));
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for person in visit.list("/v1/users").await.unwrap_or_default() {
        add("user", &person, format!("{} ({})", text(&person["full_name"]), text(&person["email"])));
    }
    for account in visit.list("/v1/service_accounts").await.unwrap_or_default() {
        add("service_account", &account, format!("{} (service account)", text(&account["name"])));
    }
    for group in groups {
        add("group", group, format!("{} (group)", text(&group["name"])));
    }
    all
}
