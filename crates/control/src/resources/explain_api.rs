//! Explaining a quota: where the limit and the figure come from, what changed when and why, and what was told.

use axum::Json;
use axum::extract::{Path, State};
use jiff::Timestamp;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::resources::{Action, Facts, QuotaMode, QuotaRuleDraft, QuotaState, Template, evaluate};
use rowhouse_store::StoreError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::quantity_of;
use super::assess::quantity;
use super::check::hundredths;
use super::enforcement::known_meter;
use super::shown::Seen;
use super::{QuotaSource, collect, overrides, queries};
use crate::Shared;
use crate::api::{Answer, Body, Caller, Parameters, TenantParameter};
use crate::catalog::QuotaLimit;
use crate::metering;

/// Most changes of state and messages that are told.
const TOLD_MAX: i64 = 20;

/// The routes of explaining.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(evaluate_quota)).routes(routes!(explain_quota))
}

/// Figures to be evaluated; nothing is read or stored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Figures {
    /// A decimal string, or `unlimited`.
    limit: String,
    /// Used.
    usage: String,
    /// Promised.
    #[serde(default = "zero")]
    reserved: String,
    /// Asked for.
    #[serde(default = "one")]
    quantity: String,
    /// `hard`, `soft` or `grace`.
    #[serde(default)]
    #[schema(value_type = String)]
    mode: QuotaMode,
    /// Percentages of warning and alert.
    thresholds: Option<[u8; 2]>,
    /// Of mode `grace`.
    grace_percent: Option<u16>,
    /// Of mode `grace`.
    grace_hours: Option<u16>,
    /// What is done at the limit; `refuse` if not said.
    #[schema(value_type = Option<String>)]
    action: Option<Action>,
}

fn zero() -> String {
    "0".to_owned()
}
fn one() -> String {
    "1".to_owned()
}

/// What follows from figures.
#[derive(Debug, Serialize, ToSchema)]
struct Evaluated {
    /// `ok`, `warning`, `alert` or `enforced`.
    #[schema(value_type = String)]
    state: QuotaState,
    /// Two digits; `null` for no limit and a limit of 0.
    utilization_percentage: Option<String>,
    /// What is left.
    #[schema(value_type = Option<String>)]
    available: Option<Quantity>,
    /// The first threshold's part of the limit.
    #[schema(value_type = Option<String>)]
    warning_threshold: Option<Quantity>,
    /// Above it.
    is_near_limit: bool,
    /// Above the limit.
    is_over_limit: bool,
    /// Whether the quantity would be admitted.
    would_allow: bool,
    /// The message of the state.
    #[schema(value_type = Option<String>)]
    message: Option<Template>,
    /// What is done.
    #[schema(value_type = Option<String>)]
    action: Option<Action>,
}

/// The rule that decides, with figures of one's own.
#[utoipa::path(post, path = "/v1/quotas/evaluate", operation_id = "resources.evaluate_quota", tag = "resources",
    request_body = Figures, responses((status = 200, body = Evaluated)))]
async fn evaluate_quota(caller: Caller, body: Body<Figures>) -> Answer<Json<Evaluated>> {
    caller.permit("quota:read", caller.home())?;
    let Figures {
        limit,
        usage,
        reserved,
        quantity: asked,
        mode,
        thresholds,
        grace_percent,
        grace_hours,
        action,
    } = body.value;
    let limit = match limit.as_str() {
        "unlimited" => None,
        limit => Some(quantity_of(limit, "/limit")?.units()),
    };
    let draft = QuotaRuleDraft {
        mode: Some(mode),
        thresholds,
        grace_percent,
        grace_hours,
        action: Some(action.unwrap_or(Action::Refuse)),
        ..QuotaRuleDraft::default()
    };
    let rule = draft.rule("any").map_err(|problem| {
        Refusal::new(&kind::INVALID, "The rule does not hold together.").field(
            format!("/{}", problem.field),
            "invalid",
            problem.detail,
        )
    })?;
    let facts = Facts {
        usage: quantity_of(&usage, "/usage")?.units(),
        reserved: quantity_of(&reserved, "/reserved")?.units(),
        limit,
        quantity: quantity_of(&asked, "/quantity")?.units(),
    };
    let found = evaluate(&facts, &rule);
    Ok(Json(Evaluated {
        state: found.state,
        utilization_percentage: found.utilization_hundredths.map(hundredths),
        available: found.available.map(quantity),
        warning_threshold: found.warning_threshold.map(quantity),
        is_near_limit: found.is_near_limit,
        is_over_limit: found.is_over_limit,
        would_allow: found.would_allow,
        message: found.message,
        action: found.action,
    }))
}

/// Why a quota stands as it does.
#[derive(Debug, Serialize, ToSchema)]
struct Explained {
    /// The limit.
    limit: LimitExplained,
    /// The figure.
    usage: UsageExplained,
    /// Parts of the quota that are lent to gateways; on one machine gateway and authority share their memory, and
    /// nothing is lent.
    #[schema(value_type = Vec<Object>)]
    slices: Vec<Value>,
    /// The last changes of state, newest first.
    transitions: Vec<TransitionTold>,
    /// The last messages, newest first.
    messages: Vec<MessageTold>,
}

#[derive(Debug, Serialize, ToSchema)]
struct LimitExplained {
    /// A decimal string, or `unlimited`.
    value: String,
    /// `tier` or `override`.
    from: QuotaSource,
    /// The tenant's tier.
    tier: String,
    /// What the override says, if there is one.
    #[schema(value_type = Option<Object>)]
    r#override: Option<Value>,
    /// What the rule says.
    #[schema(value_type = Object)]
    rule: Value,
}

#[derive(Debug, Serialize, ToSchema)]
struct UsageExplained {
    /// In the window, or what exists.
    #[schema(value_type = String)]
    value: Quantity,
    /// `records`, `storage`, `table`, `memberships` or `pushed`.
    collector: String,
    /// The instant to which the figure is complete.
    #[schema(value_type = Option<String>, format = DateTime)]
    complete_to: Option<Timestamp>,
    /// What the last measurement said, if it failed.
    problem: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct TransitionTold {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// State before.
    from: String,
    /// State after.
    to: String,
    /// What was used then.
    usage: String,
    /// The limit then.
    quota: Option<String>,
    /// What made somebody look.
    because: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct MessageTold {
    /// As in `quota_warning`.
    template: String,
    /// When it was left for the tenant's administrators.
    #[schema(value_type = String, format = DateTime)]
    sent_at: Timestamp,
}

/// Where a tenant's limit and usage come from, what changed, and what was told.
#[utoipa::path(get, path = "/v1/quotas/{meter}/explain", operation_id = "resources.explain_quota",
    tag = "resources", params(("meter" = String, Path), TenantParameter),
    responses((status = 200, body = Explained)))]
async fn explain_quota(
    State(control): State<Shared>,
    caller: Caller,
    Path(meter): Path<String>,
    Parameters(query): Parameters<TenantParameter>,
) -> Answer<Json<Explained>> {
    let tenant = caller.one_tenant(query.tenant.as_deref())?;
    let permit = caller.permit("quota:read", Some(tenant))?;
    let seen = Seen::read(&control, &permit, tenant, None).await?;
    let note = known_meter(&seen.transaction, &meter).await?;
    let quota = seen.quota(&meter);
    let measured = seen.measurements.iter().find(|own| own.meter == meter);
    let own = overrides::get(&seen.transaction, tenant, &meter).await?;
    let is_own = seen.row.quota_overrides.contains_key(&meter);
    let words = |(own, by, at): (overrides::Override, String, Timestamp)| serde_json::json!({"limit": own.value, "until": own.until, "reason": own.reason, "set_by": by, "at": at});
    let limit = LimitExplained {
        value: quota
            .and_then(|quota| quota.limit)
            .map_or("unlimited".to_owned(), |own| quantity(own).to_string()),
        from: if is_own { QuotaSource::Override } else { QuotaSource::Tier },
        tier: seen.row.tier.clone(),
        r#override: own.filter(|_| is_own).map(words),
        rule: rule_told(quota),
    };
    let as_of = quota.map(|quota| quota.as_of_us).filter(|at_us| *at_us != 0);
    let usage = UsageExplained {
        value: quantity(quota.map_or(0, |quota| quota.used)),
        collector: match measured.filter(|own| own.collector == collect::MEMBERSHIPS) {
            Some(own) => own.collector.clone(),
            None => collect::collector_of(&meter, quota.map(|quota| &*quota.rule), &note).to_owned(),
        },
        complete_to: match as_of {
            Some(at_us) => Timestamp::from_microsecond(at_us).ok(),
            None => metering::complete_to(&control),
        },
        problem: measured.and_then(|own| own.problem.clone()),
    };
    let transitions = transitions(&seen, &meter).await?;
    let messages = messages(&seen, &meter).await?;
    seen.transaction.finish().await?;
    Ok(Json(Explained { limit, usage, slices: Vec::new(), transitions, messages }))
}

fn rule_told(quota: Option<&rowhouse_domain::directory::Quota>) -> Value {
    quota.map_or(Value::Null, |quota| {
        let rule = &quota.rule;
        serde_json::json!({
            "window": rule.window.word(), "time_zone": rule.zone, "mode": rule.mode, "action": rule.action,
            "thresholds": [rule.warning_percent, rule.alert_percent], "grace_percent": rule.grace_percent,
            "grace_hours": rule.grace_hours, "flag": rule.flag, "collect": rule.collect,
        })
    })
}

async fn transitions(seen: &Seen, meter: &str) -> Result<Vec<TransitionTold>, StoreError> {
    let rows = seen.transaction.query(queries::TRANSITIONS, &[&seen.row.id.0, &meter, &TOLD_MAX]).await?;
    let plain = |text: &str| QuotaLimit::parse(text).map_or(text.to_owned(), |limit| shown(limit, text));
    let told = |row: &tokio_postgres::Row| TransitionTold {
        at: row.get(0),
        from: row.get(1),
        to: row.get(2),
        usage: plain(row.get(3)),
        quota: row.get::<_, Option<&str>>(4).map(plain),
        because: row.get(5),
    };
    Ok(rows.iter().map(told).collect())
}

/// Without the zeros that the database keeps.
fn shown(limit: QuotaLimit, text: &str) -> String {
    match limit {
        QuotaLimit::Units(units) => quantity(units).to_string(),
        QuotaLimit::Unlimited => text.to_owned(),
    }
}

async fn messages(seen: &Seen, meter: &str) -> Result<Vec<MessageTold>, StoreError> {
    let rows = seen.transaction.query(queries::MESSAGES, &[&seen.row.id.0, &meter, &TOLD_MAX]).await?;
    let told = |row: &tokio_postgres::Row| MessageTold { template: row.get(0), sent_at: row.get(1) };
    Ok(rows.iter().map(told).collect())
}
