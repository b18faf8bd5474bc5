//! A role for a time, asked for by who needs it: whoever belongs to the organisation asks, and sees what became of it; who could give it decides on
//! the page of approvals.

use rowhouse_domain::refusal::Refusal;
use serde_json::{Value, json};

use super::fields::Fields;
use super::names::Names;
use super::visit::{Said, Visit};
use super::{approvals, incomplete, roles};

/// What is called so at the API.
const OPERATION: &str = "access.request";

pub async fn did(visit: &Visit<'_>, fields: &Fields) -> Result<Said, Refusal> {
    match fields.text("step") {
        "ask" => ask(visit, fields).await,
        "withdraw" => approvals::did(visit, fields).await,
        _ => Err(incomplete()),
    }
}

async fn ask(visit: &Visit<'_>, fields: &Fields) -> Result<Said, Refusal> {
    let role = fields.text("role");
    // Pressed twice, or forgotten: what waits already waits on.
    if own(visit).await?.iter().any(|row| row["state"] == "pending" && row["request"]["role"] == role) {
        return Ok(Said::good("You have asked for it already. It waits for somebody who can give it."));
    }
    let minutes = fields.number("minutes");
    let body = json!({ "role": role, "minutes": minutes, "reason": fields.text("reason") });
    visit.post("/v1/access/requests", body).await?;
    Ok(Said::good("It is asked for. Somebody who can give it decides; what becomes of it stands here."))
}

/// What the person has asked for, the newest first: all that waits, and lately what does not.
async fn own(visit: &Visit<'_>) -> Result<Vec<Value>, Refusal> {
    let mut rows = approvals::rows(visit).await?;
    rows.retain(|row| row["operation"] == OPERATION && row["requested_by"] == visit.me.as_str());
    Ok(rows)
}

pub async fn view(visit: &Visit<'_>) -> Result<Value, Refusal> {
    let names = Names::of(visit).await;
    let rows = own(visit).await?;
    let shown = |row: &Value| approvals::shown(visit, &names, row);
    let (waiting, over): (Vec<&Value>, Vec<&Value>) = rows.iter().partition(|row| row["state"] == "pending");
    let waiting: Vec<Value> = waiting.into_iter().map(shown).collect();
    let over: Vec<Value> = over.into_iter().take(approvals::DECIDED_MAX).map(shown).collect();
    // Who may not read the roles says the name that they were told.
    let roles = roles::all(visit).await.ok();
    Ok(json!({ "waiting": waiting, "over": over, "roles": roles }))
}
