//! Who may, on what, and what (AuthZEN 1.0 §8). Exact, in the order of ids, page by page; over who was ever granted something or
//! belongs to the tenant, and over the things that are registered or that a grant names.
//!
//! Where roles may not be active together, what is active is answered, not what could be had by choosing: in the session that the subject's
//! properties name, and for everybody else as in a session in which nothing was chosen.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use rowhouse_domain::access::{Batch, Facts, Permit};
use rowhouse_domain::refusal::Refusal;
use serde_json::{Map, Value, json};

use super::question::Judge;
use super::wire::{Action, Asked, Entity, PageBody, Sought, context, field, malformed};
use super::work::TOO_MUCH;
use crate::Shared;
use crate::access::{Rules, resource_queries, stored};
use crate::api::{Answer, Caller, cursor};

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;
/// Why it is not known whether one may.
const MISSING: &str = "context_missing";

/// Which principals of a kind may do an action on a resource, each in a session in which nothing was chosen, but in that which the subject's
/// property `session` names.
#[utoipa::path(
    post, path = "/access/v1/search/subject", operation_id = "access.search_subject", tag = "access",
    request_body = Object, responses((status = 200, body = Object))
)]
pub async fn search_subject(
    State(control): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Asked(asked): Asked,
) -> Answer<Json<Value>> {
    let judge = Judge::of(&control, &caller, &headers).await?;
    let (sought, action): (Sought, Action) = (field(&asked, "subject")?, field(&asked, "action")?);
    let resource: Entity = field(&asked, "resource")?;
    let context = context(&asked)?;
    let batch = Batch::default();
    let facts = Facts {
        batch: Some(&batch),
        action: Some(&action.properties),
        resource: Some(&resource.properties),
        ..Facts::of_context(context)
    };
    let mut undecided = 0;
    let mut may = |id: &String| {
        let subject = judge.subject(&caller, &sought.with_id(id));
        let reason = judge.decide(subject.as_ref(), &action.name, (&resource.kind, &resource.id), facts);
        undecided += u64::from(reason == MISSING);
        reason == "granted"
    };
    let ids = match sought.kind.as_str() {
        "api_key" => {
            let own = caller.directory().keys.iter().filter(|(_, key)| key.tenant == judge.tenant);
            own.map(|(_, key)| key.id.to_string()).collect()
        }
        kind => {
            let of_kind = judge.table.principals().filter(|principal| principal.kind.as_str() == kind);
            of_kind.map(|principal| principal.to_string()).collect::<Vec<_>>()
        }
    };
    let found = ids.into_iter().filter(|id| may(id)).collect();
    let told = |id: &String| json!({ "type": sought.kind, "id": id });
    let query = (
        "subject",
        json!([
            sought.kind,
            action.name,
            resource.kind,
            resource.id,
            action.properties,
            resource.properties,
            sought.properties,
            context
        ]),
    );
    Ok(Json(page(&control, (&judge, query, undecided, &batch), &asked, (found, told))?))
}

/// On which resources of a type a subject may do an action, in the session that its property `session` names.
#[utoipa::path(
    post, path = "/access/v1/search/resource", operation_id = "access.search_resource", tag = "access",
    request_body = Object, responses((status = 200, body = Object))
)]
pub async fn search_resource(
    State(control): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Asked(asked): Asked,
) -> Answer<Json<Value>> {
    let judge = Judge::of(&control, &caller, &headers).await?;
    let judge = judge.knowing((&control, &caller), asked.get("subject").into_iter()).await?;
    let (subject, action): (Entity, Action) = (field(&asked, "subject")?, field(&asked, "action")?);
    let sought: Sought = field(&asked, "resource")?;
    let context = context(&asked)?;
    let who = judge.subject(&caller, &subject);
    let permit = caller.permit("access:evaluate", Some(judge.tenant))?;
    let mut found = known_things(&control, &permit, (&judge, &sought.kind)).await?;
    let batch = Batch::default();
    let facts = Facts {
        batch: Some(&batch),
        action: Some(&action.properties),
        principal: Some(&subject.properties),
        ..Facts::of_context(context)
    };
    let mut undecided = 0;
    found.retain(|id| {
        let reason = judge.decide(who.as_ref(), &action.name, (&sought.kind, id), facts);
        undecided += u64::from(reason == MISSING);
        reason == "granted"
    });
    let told = |id: &String| json!({ "type": sought.kind, "id": id });
    let query = (
        "resource",
        json!([
            subject.kind,
            subject.id,
            action.name,
            sought.kind,
            action.properties,
            subject.properties,
            context
        ]),
    );
    Ok(Json(page(&control, (&judge, query, undecided, &batch), &asked, (found, told))?))
}

/// Things of a type that are registered or that a grant names.
async fn known_things(
    control: &Shared,
    permit: &Permit,
    (judge, kind): (&Judge, &str),
) -> Result<Vec<String>, Refusal> {
    let transaction = control.store.read(permit).await?;
    let all = resource_queries::list(&transaction, (judge.tenant, kind, None), i64::MAX).await?;
    let mut ids: Vec<String> = all.into_iter().map(|resource| resource.name.id).collect();
    let rules = Rules::load_for(&transaction, judge.tenant).await?;
    let named = stored::of_one(&transaction, judge.tenant, &rules).await?.grants.into_iter();
    let named = named.filter_map(|grant| grant.resource).filter(|name| name.kind == kind);
    ids.extend(named.map(|name| name.id));
    transaction.finish().await?;
    Ok(ids)
}

/// What a subject may do on a resource, in the session that its property `session` names.
#[utoipa::path(
    post, path = "/access/v1/search/action", operation_id = "access.search_action", tag = "access",
    request_body = Object, responses((status = 200, body = Object))
)]
pub async fn search_action(
    State(control): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Asked(asked): Asked,
) -> Answer<Json<Value>> {
    let judge = Judge::of(&control, &caller, &headers).await?;
    let judge = judge.knowing((&control, &caller), asked.get("subject").into_iter()).await?;
    let (subject, resource): (Entity, Entity) = (field(&asked, "subject")?, field(&asked, "resource")?);
    let context = context(&asked)?;
    let who = judge.subject(&caller, &subject);
    let batch = Batch::default();
    let facts = Facts {
        batch: Some(&batch),
        principal: Some(&subject.properties),
        resource: Some(&resource.properties),
        ..Facts::of_context(context)
    };
    let mut undecided = 0;
    let mut may = |action: &String| {
        let reason = judge.decide(who.as_ref(), action, (&resource.kind, &resource.id), facts);
        undecided += u64::from(reason == MISSING);
        reason == "granted"
    };
    let of_type = judge.permissions.all().filter_map(|name| name.split_once(':'));
    let found = of_type
        .filter(|(kind, _)| *kind == resource.kind)
        .map(|(_, action)| action.to_owned())
        .filter(|action| may(action))
        .collect();
    let query = (
        "action",
        json!([
            subject.kind,
            subject.id,
            resource.kind,
            resource.id,
            subject.properties,
            resource.properties,
            context
        ]),
    );
    let told = |name: &String| json!({ "name": name });
    Ok(Json(page(&control, (&judge, query, undecided, &batch), &asked, (found, told))?))
}

/// One page of everything that was found.
fn page(
    control: &Shared,
    (judge, (what, query), undecided, batch): (&Judge, (&str, Value), u64, &Batch),
    asked: &Map<String, Value>,
    (mut found, told): (Vec<String>, impl Fn(&String) -> Value),
) -> Result<Value, Refusal> {
    if batch.is_spent() {
        return Err(malformed(TOO_MUCH));
    }
    let PageBody { limit, token } = match asked.get("page") {
        None => PageBody::default(),
        Some(_) => field(asked, "page")?,
    };
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(malformed(&format!("`limit` is 1 to {LIMIT_MAX}.")));
    }
    found.sort_unstable();
    found.dedup();
    let query = format!("search {what} {} {query}", judge.tenant);
    let opened = match token.is_empty() {
        true => None,
        false => Some(
            cursor::open(control, &query, &token)
                .map_err(|_| malformed("The token is not of this query."))?,
        ),
    };
    // The version under which the page before was made, then its last id.
    let after = opened.as_deref().and_then(|opened| opened.split_once(' '));
    let total = found.len();
    let from = after.map_or(0, |(_, last)| found.partition_point(|id| id.as_str() <= last));
    let shown: Vec<Value> = found[from..].iter().take(limit as usize).map(told).collect();
    let ends_at = from + shown.len();
    let next = match ends_at < total {
        true => cursor::seal(control, &query, &format!("{} {}", judge.table.version, found[ends_at - 1])),
        false => String::new(),
    };
    let changed = after.is_some_and(|(version, _)| version != judge.table.version.to_string());
    let mut page = json!({ "next_token": next, "count": shown.len(), "total": total });
    if changed {
        page["properties"] = json!({ "changed": true });
    }
    let mut answer = json!({ "page": page, "results": shown });
    if undecided > 0 {
        // Some could be among them if more were known.
        answer["page"].as_object_mut().expect("it is one").remove("total");
        answer["context"] = json!({ "undecided": undecided });
    }
    Ok(answer)
}
