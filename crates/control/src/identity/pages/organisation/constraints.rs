//! What nobody has together, or not at the same time.

use rowhouse_domain::refusal::{Problem, Refusal, kind};
use serde_json::{Value, json};

use super::fields::Fields;
use super::names::{Names, utc};
use super::visit::{Said, Visit};
use super::{incomplete, roles};

const PATH: &str = "/v1/constraints";
/// So many of those who have too much are named.
const NAMED_MAX: usize = 20;

pub async fn did(visit: &Visit<'_>, fields: &Fields) -> Result<Said, Refusal> {
    match fields.text("step") {
        "make" => {
            let wanted = json!({
                "name": fields.text("name"),
                "kind": if fields.text("kind") == "dynamic" { "dynamic" } else { "static" },
                "roles": fields.all("role"),
                "permissions": fields.words("permissions"),
                "at_most": fields.number("at_most").clamp(0, 32),
            });
            match visit.post(PATH, wanted.clone()).await {
                Ok(_) => {}
                Err(refusal) if is_made(visit, &refusal, &wanted).await => {}
                Err(refusal) => return Err(with_names(visit, refusal).await),
            }
            Ok(Said::good("They are kept apart from now on."))
        }
        "delete" => {
            match visit.delete(&format!("{PATH}/{}", fields.id("name")?)).await {
                // Pressed twice: it is gone either way.
                Err(refusal) if refusal.code() != kind::NOT_FOUND.code => Err(refusal),
                _ => Ok(Said::good("They are kept apart no longer.")),
            }
        }
        _ => Err(incomplete()),
    }
}

/// Whether the very same is there already: the form was sent twice.
async fn is_made(visit: &Visit<'_>, refusal: &Refusal, wanted: &Value) -> bool {
    if refusal.code() != kind::ROLE_NAME_TAKEN.code {
        return false;
    }
    let all = visit.get(PATH).await.unwrap_or_default();
    let is_same = |row: &Value| {
        ["name", "kind", "roles", "permissions", "at_most"].iter().all(|own| row[own] == wanted[own])
    };
    all["items"].as_array().into_iter().flatten().any(is_same)
}

/// A refusal for those who have too much already, with their names.
async fn with_names(visit: &Visit<'_>, refusal: Refusal) -> Refusal {
    if refusal.code() != kind::SOD_VIOLATION.code {
        return refusal;
    }
    let told = Problem::new(&refusal, "", String::new()).members;
    let offences = told.get("offences").and_then(Value::as_array).cloned().unwrap_or_default();
    let names = Names::of(visit).await;
    let said = "It would hold at once, and somebody has too much already. Take something from them first.";
    let named = Refusal::new(&kind::SOD_VIOLATION, said);
    let named = offences.iter().take(NAMED_MAX).fold(named, |named, offence| {
        let who = names.name(offence["principal"].as_str().unwrap_or_default());
        let words =
            format!("{who} has {}, as of {}", joined(&offence["together"], "and"), utc(&offence["from"]));
        named.field("", "together", words)
    });
    match offences.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => named.field("", "together", format!("and {more} more")),
    }
}

pub async fn view(visit: &Visit<'_>) -> Result<Value, Refusal> {
    let listed = visit.get(PATH).await?;
    let all = listed["items"].as_array().into_iter().flatten().map(|row| {
        json!({
            "name": row["name"], "words": words(row), "is_own": row["owner"] == "tenant",
            "is_dynamic": row["kind"] == "dynamic",
        })
    });
    Ok(json!({
        "constraints": all.collect::<Vec<_>>(),
        "roles": roles::all(visit).await.unwrap_or_default(),
    }))
}

/// What it means.
fn words(row: &Value) -> String {
    let at_most = row["at_most"].as_u64().unwrap_or_default();
    let count = |name: &str| row[name].as_array().map_or(0, Vec::len);
    let of_roles = count("roles") > 0;
    let (own, verb) = if of_roles { ("roles", "has") } else { ("permissions", "has the permissions") };
    let is_pair = count(own) == 2 && at_most == 1;
    let list = joined(&row[own], if is_pair { "and" } else { "or" });
    match (row["kind"] == "dynamic", is_pair) {
        (false, true) => format!("Nobody {verb} {list} together."),
        (false, false) => format!("Nobody has more than {at_most} of these {own}: {list}."),
        (true, true) => format!("Who has {list} acts in one of them at a time, and says in which."),
        (true, false) => format!(
            "Who has more than {at_most} of these roles acts in at most {at_most} of them at a time, and says in which: {list}."
        ),
    }
}

fn joined(names: &Value, last: &str) -> String {
    let all: Vec<&str> = names.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match all.split_last() {
        Some((end, [])) => (*end).to_owned(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_says_what_it_means() {
        let said = |kind: &str, roles: &[&str], permissions: &[&str], at_most: u32| {
            words(&json!({ "kind": kind, "roles": roles, "permissions": permissions, "at_most": at_most }))
        };
        assert_eq!(said("static", &["a", "b"], &[], 1), "Nobody has a and b together.");
        assert_eq!(
            said("static", &["a", "b", "c"], &[], 2),
            "Nobody has more than 2 of these roles: a, b or c."
        );
        assert_eq!(
            said("static", &[], &["x:y", "x:z"], 1),
            "Nobody has the permissions x:y and x:z together."
        );
        assert_eq!(
            said("dynamic", &["a", "b"], &[], 1),
            "Who has a and b acts in one of them at a time, and says in which."
        );
        assert!(said("dynamic", &["a", "b", "c"], &[], 1).contains("at most 1 of them at a time"));
    }
}
