//! Who belongs to the organisation: invited, given roles, helped, removed.

use rowhouse_domain::refusal::{Refusal, kind};
use serde_json::{Value, json};

use super::fields::Fields;
use super::visit::{Said, Visit};
use super::{belonging, incomplete, roles, ways};
use crate::identity::pages::{account, agent};

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
            visit.delete(&format!("/v1/invitations/{}", fields.id("invitation")?)).await?;
            Ok(Said::good("The invitation is taken back."))
        }
        "give" => give(visit, ("user", fields.id("user")?), fields, "The role is given.").await,
        "take" => {
            visit.delete(&format!("/v1/grants/{}", fields.id("grant")?)).await?;
            Ok(Said::good("The role is taken away."))
        }
        "end" => {
            visit.delete(&format!("/v1/sessions/{}", fields.id("session")?)).await?;
            Ok(Said::good("The session is over."))
        }
        step => {
            let path = format!("/v1/users/{}", fields.id("user")?);
            let (action, good) = match step {
                "suspend" => ("suspend", "They may not enter until you say so."),
                "resume" => ("resume", "They may enter again."),
                "unlock" => ("unlock", "Their password is looked at again."),
                "reset" => ("reset_factors", "They set up a new second factor when they sign in."),
                "remove" => {
                    visit.delete(&path).await?;
                    return Ok(Said::good("The person does not belong to your organisation any more."));
                }
                _ => return Err(incomplete()),
            };
            visit.post(&format!("{path}/{action}"), json!({})).await?;
            Ok(Said::good(good))
        }
    }
}

/// Gives a role on the whole tenant, perhaps until the end of a day; `good` if that takes no second person.
pub async fn give(
    visit: &Visit<'_>,
    holder: (&str, &str),
    fields: &Fields,
    good: &'static str,
) -> Result<Said, Refusal> {
    let mut grant = json!({ "principal": { "kind": holder.0, "id": holder.1 }, "role": fields.text("role") });
    if let Some(until) = fields.end_of_day("until")? {
        grant["valid_until"] = json!(until);
    }
    let made = visit.post("/v1/grants", grant).await?;
    let waits = made["approval_id"].is_string();
    Ok(Said::good(if waits {
        "It waits for a second person: see Approvals. Nothing is given yet."
    } else {
        good
    }))
}

/// What each was granted of roles on the whole tenant, to be shown with each of `holders`.
pub fn with_grants(holders: &mut [Value], grants: &[Value]) {
    for holder in holders {
        let own = grants.iter().filter(|grant| {
            grant["principal"]["id"] == holder["id"]
                && grant["role"].is_string()
                && grant["resource"].is_null()
        });
        let own = own.map(|grant| {
            json!({
                "id": grant["id"], "role": grant["role"], "state": grant["state"],
                "effect": grant["effect"], "until": grant["valid_until"], "condition": grant["condition"],
            })
        });
        holder["grants"] = own.collect();
    }
}

pub async fn view(visit: &Visit<'_>) -> Result<Value, Refusal> {
    let roles = roles::all(visit).await.unwrap_or_default();
    if let Some(one) = one(visit).await? {
        return Ok(json!({ "one": one, "roles": roles }));
    }
    let grants = visit.list("/v1/grants").await.unwrap_or_default();
    let mut people = visit.list("/v1/users").await?;
    with_grants(&mut people, &grants);
    let invitations = visit.list("/v1/invitations").await.unwrap_or_default();
    Ok(json!({ "people": people, "invitations": invitations, "roles": roles }))
}

/// The one whom the page is about; none if they do not belong to the organisation, or not any more.
async fn one(visit: &Visit<'_>) -> Result<Option<Value>, Refusal> {
    if visit.one.is_empty() {
        return Ok(None);
    }
    let person = match visit.get(&format!("/v1/users/{}", visit.one)).await {
        Ok(person) if person["status"] != "removed" => person,
        Ok(_) => return Ok(None),
        Err(refusal) if refusal.code() == kind::NOT_FOUND.code => return Ok(None),
        Err(refusal) => return Err(refusal),
    };
    let mut all = [person];
    let grants = visit.list(&format!("/v1/grants?principal={}", visit.one)).await.unwrap_or_default();
    with_grants(&mut all, &grants);
    let [mut person] = all;
    person["groups"] = json!(belonging::of(visit, visit.one).await);
    let sessions = visit.get(&format!("/v1/sessions?user={}", visit.one)).await.unwrap_or_default();
    let sessions = sessions["items"].as_array().into_iter().flatten().map(|row| {
        let mut row = row.clone();
        row["agent"] = json!(agent::name(row["agent"].as_str().unwrap_or_default()));
        row
    });
    person["sessions"] = sessions.collect();
    let path = format!("/v1/users/{}/explain_sign_in", visit.one);
    let explained = visit.post(&path, json!({})).await.ok();
    person["entry"] = explained.as_ref().map(ways::in_words).unwrap_or_default();
    let kinds = person["factors"].as_array().into_iter().flatten().filter_map(Value::as_str);
    person["factors"] = kinds.map(account::kind_of).collect();
    Ok(Some(person))
}
