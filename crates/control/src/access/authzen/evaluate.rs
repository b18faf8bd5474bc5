//! One question, or up to a thousand (AuthZEN 1.0 §6, §7).

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use rowhouse_domain::access::Batch;
use rowhouse_domain::refusal::Refusal;
use serde_json::{Map, Value, json};

use super::question::Judge;
use super::wire::{Action, Asked, Entity, context, field, malformed};
use super::work::{TOO_MUCH, off_the_threads};
use crate::Shared;
use crate::api::{Answer, Caller};

/// At most so many questions at once.
const ITEMS_MAX: usize = 1_000;

/// Whether a subject may do an action on a resource.
#[utoipa::path(
    post, path = "/access/v1/evaluation", operation_id = "access.evaluate", tag = "access",
    request_body = Object, responses((status = 200, body = Object))
)]
pub async fn evaluation(
    State(control): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Asked(asked): Asked,
) -> Answer<Json<Value>> {
    let judge = Judge::of(&control, &caller, &headers).await?;
    let judge = judge.knowing((&control, &caller), asked.get("subject").into_iter()).await?;
    Ok(Json(one(&judge, &caller, &[&asked], &Batch::default())?))
}

/// What the first of `asked` does not say, the next does.
fn one(
    judge: &Judge,
    caller: &Caller,
    asked: &[&Map<String, Value>],
    batch: &Batch,
) -> Result<Value, Refusal> {
    let of = |name: &str| {
        let says = asked.iter().find(|own| own.contains_key(name));
        says.or(asked.last()).copied().ok_or_else(|| malformed(&format!("`{name}` is missing.")))
    };
    let subject: Entity = field(of("subject")?, "subject")?;
    let action: Action = field(of("action")?, "action")?;
    let resource: Entity = field(of("resource")?, "resource")?;
    let context = context(of("context")?)?;
    let reason = judge.evaluate(caller, &subject, &action, &resource, (context, batch));
    if batch.is_spent() {
        return Err(malformed(TOO_MUCH));
    }
    let context = json!({ "reason": reason, "version": judge.version });
    Ok(json!({ "decision": reason == "granted", "context": context }))
}

/// Many questions; what they have in common is said once, and an item's own replaces it whole.
#[utoipa::path(
    post, path = "/access/v1/evaluations", operation_id = "access.evaluate_many", tag = "access",
    request_body = Object, responses((status = 200, body = Object))
)]
pub async fn evaluations(
    State(control): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Asked(mut asked): Asked,
) -> Answer<Json<Value>> {
    let judge = Judge::of(&control, &caller, &headers).await?;
    let items = match asked.remove("evaluations") {
        None => Vec::new(),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(malformed("`evaluations`: expected a list.").into()),
    };
    let judge = match items.len() <= ITEMS_MAX {
        true => judge.knowing((&control, &caller), subjects(&asked, &items)).await?,
        false => judge,
    };
    if items.is_empty() {
        return Ok(Json(one(&judge, &caller, &[&asked], &Batch::default())?));
    }
    if items.len() > ITEMS_MAX {
        return Err(malformed(&format!("`evaluations`: at most {ITEMS_MAX}.")).into());
    }
    let last = deciding(&asked)?;
    let answers =
        off_the_threads(caller.tenant(), move || all(&judge, &caller, (&asked, &items), last)).await?;
    Ok(Json(json!({ "evaluations": answers })))
}

/// All that are asked about.
fn subjects<'a>(asked: &'a Map<String, Value>, items: &'a [Value]) -> impl Iterator<Item = &'a Value> {
    asked.get("subject").into_iter().chain(items.iter().filter_map(|item| item.get("subject")))
}

/// Until there is nothing left to decide. All have so much work together; an item that finds none left is defective.
fn all(
    judge: &Judge,
    caller: &Caller,
    (asked, items): (&Map<String, Value>, &[Value]),
    last: Option<bool>,
) -> Vec<Value> {
    let (batch, mut answers) = (Batch::default(), Vec::with_capacity(items.len()));
    for item in items {
        let answer = item_of(judge, caller, (asked, item), &batch);
        let ends = last == answer["decision"].as_bool();
        answers.push(answer);
        if ends {
            break;
        }
    }
    answers
}

/// The decision after which no further item is looked at.
fn deciding(asked: &Map<String, Value>) -> Result<Option<bool>, Refusal> {
    let semantic = match asked.get("options") {
        None => return Ok(None),
        Some(Value::Object(options)) => options.get("evaluations_semantic"),
        Some(_) => return Err(malformed("`options`: expected an object.")),
    };
    match semantic.map(Value::as_str) {
        None | Some(Some("execute_all")) => Ok(None),
        Some(Some("deny_on_first_deny")) => Ok(Some(false)),
        Some(Some("permit_on_first_permit")) => Ok(Some(true)),
        Some(_) => Err(malformed(
            "`evaluations_semantic` is execute_all, deny_on_first_deny or permit_on_first_permit.",
        )),
    }
}

/// A defective item is denied, with what is wrong with it; the others go on.
fn item_of(
    judge: &Judge,
    caller: &Caller,
    (common, item): (&Map<String, Value>, &Value),
    batch: &Batch,
) -> Value {
    let answer = match item {
        _ if batch.is_spent() => Err(malformed(TOO_MUCH)),
        Value::Object(own) => one(judge, caller, &[own, common], batch),
        _ => Err(malformed("An evaluation is an object.")),
    };
    answer.unwrap_or_else(|refusal| {
        let error = json!({ "status": 400, "message": refusal.detail() });
        json!({ "decision": false, "context": { "error": error } })
    })
}
