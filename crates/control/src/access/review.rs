//! `/v1/access/review`: who has what, since when and from whom, for the people who look it over. Complete, never silently cut.

use std::collections::{HashMap, HashSet};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use rowhouse_domain::access::{
    Condition, GrantTarget, Holder, Interval, Principal, PrincipalKind, State as Standing,
};
use rowhouse_domain::directory::Directory;
use rowhouse_domain::id::{GroupId, KeyId, OPERATOR_TENANT, ServiceAccountId, UserId};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::queries::{self, Filter, GrantRow, bound};
use super::{Authority, Rules, stored};
use crate::Shared;
use crate::api::{Answer, Caller, List, Parameters};

/// The routes of this part.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(review))
}

/// `?tenant=&format=`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReviewParameters {
    /// Which tenant.
    tenant: Option<String>,
    /// `json`, the default, or `csv` (RFC 4180, with a head line).
    format: Option<String>,
}

/// Something that somebody has or is denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReviewRow {
    /// Who; `everyone` for whoever belongs to the tenant.
    principal: String,
    /// The group by which they have it, if it is not their own.
    via: Option<String>,
    /// `allow` or `deny`.
    effect: &'static str,
    /// A role, or a permission `type:action`.
    what: String,
    /// `type:id` of a thing; the whole tenant if not said.
    resource: Option<String>,
    /// A Cedar expression.
    condition: Option<String>,
    /// `pending`, `active` or `expired`.
    state: &'static str,
    /// Since when.
    valid_from: Option<String>,
    /// Until when.
    valid_until: Option<String>,
    /// Which grant.
    grant: String,
    /// By whom.
    granted_by: String,
    /// When.
    granted_at: String,
    /// Why.
    reason: String,
    /// Whether who gave it could give it today; not known of Rowhouse itself and of keys that are gone.
    giver_still_could: Option<bool>,
}

/// Who has what in a tenant, by principal, as it is stored at this moment.
#[utoipa::path(
    get, path = "/v1/access/review", operation_id = "access.review", tag = "access",
    params(ReviewParameters), responses((status = 200, body = List<ReviewRow>))
)]
async fn review(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<ReviewParameters>,
) -> Answer<Response> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("grant:read", Some(tenant))?;
    let csv = match asked.format.as_deref() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => {
            let refusal = Refusal::new(&kind::INVALID, "There is no such format.");
            return Err(refusal.field("/format", "unknown", "json or csv").into());
        }
    };
    let transaction = control.store.read(&permit).await?;
    let rules = Rules::load_for(&transaction, tenant).await.map_err(Refusal::from)?;
    let stored = stored::of_one(&transaction, tenant, &rules).await?;
    let filter = Filter { tenant: Some(tenant.0), ..Filter::default() };
    let grants = queries::list(&transaction, &filter, i64::from(i32::MAX)).await?;
    transaction.finish().await?;
    let model = stored.model(&rules);
    let now_us = caller.now_us();
    let givers = givers(caller.directory(), &grants);
    let mut rows = Vec::new();
    for grant in &grants {
        let could = givers.get(grant.granted_by.as_str()).map(|giver| {
            let handed = model.handed(&grant.definition);
            let could = |home| {
                let authority = Authority::of_person(caller.directory(), (home, *giver), (tenant, now_us));
                rules.refuse_handing(&authority, std::slice::from_ref(&handed)).is_ok()
            };
            could(tenant) || could(OPERATOR_TENANT)
        });
        let base = row(grant, (could, now_us));
        let mut all = model.holders(grant.definition.holder, grant.definition.interval);
        if let Holder::Group(_) = grant.definition.holder
            && all.is_empty()
        {
            // A group without members is nobody, and still to be looked over.
            rows.push(ReviewRow { principal: "nobody".to_owned(), ..base.clone() });
        }
        all.sort_unstable();
        rows.extend(all.into_iter().map(|(who, when)| for_whom(&base, who, (when, now_us))));
    }
    rows.sort_by(|one, other| (&one.principal, &one.grant).cmp(&(&other.principal, &other.grant)));
    Ok(if csv { as_csv(&rows) } else { Json(List::whole(rows)).into_response() })
}

fn row(grant: &GrantRow, (could, now_us): (Option<bool>, i64)) -> ReviewRow {
    let definition = &grant.definition;
    let what = match &definition.target {
        GrantTarget::Role(name) | GrantTarget::Permission(name) => name.clone(),
    };
    let via = match definition.holder {
        Holder::Group(group) => Some(GroupId(group).to_string()),
        Holder::Principal(_) | Holder::Everyone => None,
    };
    let end = |us: i64| bound(us).map(|time: Timestamp| time.to_string());
    ReviewRow {
        principal: String::new(),
        via,
        effect: definition.effect.as_str(),
        what,
        resource: definition.resource.as_ref().map(|thing| format!("{}:{}", thing.kind, thing.id)),
        condition: definition.condition.as_ref().map(|own: &Condition| own.text().to_owned()),
        state: state(definition.interval, now_us),
        valid_from: end(definition.interval.from_us),
        valid_until: end(definition.interval.until_us),
        grant: grant.id.to_string(),
        granted_by: grant.granted_by.clone(),
        granted_at: grant.created_at.to_string(),
        reason: grant.reason.clone(),
        giver_still_could: could,
    }
}

fn state(interval: Interval, now_us: i64) -> &'static str {
    match interval.state(now_us) {
        Standing::Pending => "pending",
        Standing::Active => "active",
        Standing::Expired | Standing::Never => "expired",
    }
}

/// A membership may end before the grant does.
fn for_whom(base: &ReviewRow, who: Option<Principal>, (when, now_us): (Interval, i64)) -> ReviewRow {
    let end = |us: i64| bound(us).map(|time| time.to_string());
    ReviewRow {
        principal: who.map_or("everyone".to_owned(), |own| own.to_string()),
        state: state(when, now_us),
        valid_from: end(when.from_us),
        valid_until: end(when.until_us),
        ..base.clone()
    }
}

/// Who stands behind the words of stored principals: a key's owner for it, as long as there is the key.
fn givers<'g>(directory: &Directory, grants: &'g [GrantRow]) -> HashMap<&'g str, Principal> {
    let words: HashSet<&str> = grants.iter().map(|grant| grant.granted_by.as_str()).collect();
    let keys: HashMap<KeyId, &str> =
        words.iter().filter_map(|text| Some((text.parse::<KeyId>().ok()?, *text))).collect();
    let user = |text: &str| text.parse::<UserId>().map(|id| (PrincipalKind::User, id.0)).ok();
    let account =
        |text: &str| text.parse::<ServiceAccountId>().map(|id| (PrincipalKind::ServiceAccount, id.0)).ok();
    let alone = words.iter().filter_map(|text| {
        let (kind, id) = user(text).or_else(|| account(text))?;
        Some((*text, Principal { kind, id }))
    });
    let mut all: HashMap<&str, Principal> = alone.collect();
    if !keys.is_empty() {
        let of_keys = directory.keys.iter().filter_map(|(_, key)| Some((*keys.get(&key.id)?, key.owner)));
        all.extend(of_keys);
    }
    all
}

const HEAD: [&str; 14] = [
    "principal",
    "via",
    "effect",
    "what",
    "resource",
    "condition",
    "state",
    "valid_from",
    "valid_until",
    "grant",
    "granted_by",
    "granted_at",
    "reason",
    "giver_still_could",
];

fn as_csv(rows: &[ReviewRow]) -> Response {
    let mut text = HEAD.join(",") + "\r\n";
    for row in rows {
        let could = row.giver_still_could.map_or("", |could| if could { "true" } else { "false" });
        let cells: [&str; 14] = [
            &row.principal,
            row.via.as_deref().unwrap_or_default(),
            row.effect,
            &row.what,
            row.resource.as_deref().unwrap_or_default(),
            row.condition.as_deref().unwrap_or_default(),
            row.state,
            row.valid_from.as_deref().unwrap_or_default(),
            row.valid_until.as_deref().unwrap_or_default(),
            &row.grant,
            &row.granted_by,
            &row.granted_at,
            &row.reason,
            could,
        ];
        text.push_str(&cells.map(cell).join(","));
        text.push_str("\r\n");
    }
    let headers: [(HeaderName, &str); 2] = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"access-review.csv\""),
    ];
    (headers, text).into_response()
}

/// Quoted where it must be (RFC 4180 §2), and never what a spreadsheet takes for a formula: reasons and ids are anybody's words.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    match text.contains(['"', ',', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_are_no_formulas() {
        let rows = [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=1+1", "'=1+1"),
            ("@x,\ny", "\"'@x,\ny\""),
            ("", ""),
        ];
        for (text, wanted) in rows {
            assert_eq!(cell(text), wanted);
        }
    }
}
