//! Subscriptions, the running invoice and previews.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use rowhouse_domain::billing::invoice::Invoice;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::running::{Running, zone_name};
use super::subscription::{self, Subscription};
use super::{draft, explain, period_of, simulate};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, TenantParameter, cursor};
use crate::metering::{Span, at_one_instant, complete_to};
use crate::{Control, Shared};

/// The routes of billing.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_subscriptions))
        .routes(routes!(read_running))
        .routes(routes!(preview_invoice))
        .routes(routes!(explain::explain_line))
        .routes(routes!(simulate::simulate_price))
}

/// A subscription.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriptionAnswer {
    /// Its id.
    pub id: String,
    /// Whose.
    pub tenant: String,
    /// The plan.
    pub plan: String,
    /// The plan's version when it was chosen.
    pub plan_version: i64,
    /// `active` or `ended`.
    pub state: &'static str,
    /// ISO 4217.
    pub currency: String,
    /// The zone in which its periods begin and end.
    pub zone: String,
    /// The instant whose day and time all periods keep.
    #[schema(value_type = String, format = DateTime)]
    pub anchor: Timestamp,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}

impl From<Subscription> for SubscriptionAnswer {
    fn from(own: Subscription) -> Self {
        SubscriptionAnswer {
            id: subscription_id(own.id),
            tenant: own.tenant.to_string(),
            plan: own.plan.name,
            plan_version: own.plan_version,
            state: if own.ended_at.is_some() { "ended" } else { "active" },
            currency: own.plan.currency.to_string(),
            zone: zone_name(&own.zone).to_owned(),
            anchor: own.anchor,
            started_at: own.started_at,
            ended_at: own.ended_at,
        }
    }
}

fn subscription_id(id: Uuid) -> String {
    format!("subscription_{}", rowhouse_domain::id::encode(id.as_u128()))
}

/// Subscriptions, ended ones too.
#[utoipa::path(
    get,
    path = "/v1/subscriptions",
    operation_id = "billing.list_subscriptions",
    tag = "billing",
    params(Page),
    responses((status = 200, body = List<SubscriptionAnswer>))
)]
pub async fn list_subscriptions(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Answer<Json<List<SubscriptionAnswer>>> {
    let tenant = caller.scope(page.tenant.as_deref())?;
    let permit = caller.permit("subscription:read", tenant)?;
    let limit = page.size()?;
    let seal = format!("subscriptions {tenant:?}");
    let after: Option<Uuid> = cursor::after(&control, &seal, page.cursor.as_deref())?;
    let transaction = control.store.read(&permit).await?;
    let mut found = subscription::list(&transaction, tenant, after, limit + 1).await?;
    transaction.finish().await?;
    let next_cursor = cursor::cut(&control, &seal, &mut found, limit, |own| own.id.to_string());
    let items = found.into_iter().map(SubscriptionAnswer::from).collect();
    Ok(Json(List { items, next_cursor }))
}

/// An invoice that is not issued.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunningInvoice {
    /// The invoice object.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub invoice: Invoice,
    /// The plan and its version.
    pub plan: String,
    /// Every request and event that was recorded by this instant is billed here; `null` while that is not known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub complete_to: Option<Timestamp>,
}

/// What the tenant would be billed for the current period if it ended now.
#[utoipa::path(
    get,
    path = "/v1/billing/running",
    operation_id = "billing.read_running",
    tag = "billing",
    params(TenantParameter),
    responses((status = 200, body = RunningInvoice))
)]
pub async fn read_running(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(query): Parameters<TenantParameter>,
) -> Answer<Json<RunningInvoice>> {
    let tenant = caller.one_tenant(query.tenant.as_deref())?;
    answer(&control, &caller, tenant, None).await
}

/// Which period to preview.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewRequest {
    /// A billing period of the subscription; default: the current one.
    pub period: Option<PreviewPeriod>,
}

/// A billing period, named by its boundaries.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewPeriod {
    /// Its first instant.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// The first instant behind it.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
}

/// The invoice of a period as it would be now; nothing is stored.
#[utoipa::path(
    post,
    path = "/v1/invoices/preview",
    operation_id = "billing.preview_invoice",
    tag = "billing",
    params(TenantParameter),
    request_body = PreviewRequest,
    responses((status = 200, body = RunningInvoice))
)]
pub async fn preview_invoice(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(query): Parameters<TenantParameter>,
    body: Body<PreviewRequest>,
) -> Answer<Json<RunningInvoice>> {
    let tenant = caller.one_tenant(query.tenant.as_deref())?;
    answer(&control, &caller, tenant, body.value.period).await
}

async fn answer(
    control: &Control,
    caller: &Caller,
    tenant: TenantId,
    period: Option<PreviewPeriod>,
) -> Answer<Json<RunningInvoice>> {
    let permit = caller.permit("invoice:read", Some(tenant))?;
    // Asked first, so that what is answered is at least that complete.
    let complete_to = complete_to(control);
    let transaction = control.store.read(&permit).await?;
    let (subscription, running) = run(control, &transaction, tenant, period).await?;
    transaction.finish().await?;
    let plan = format!("{}@{}", subscription.plan.name, subscription.plan_version);
    Ok(Json(RunningInvoice { invoice: running.invoice, plan, complete_to }))
}

/// The draft of a period, or of the current one, as of one instant of the database.
pub(super) async fn run(
    control: &Control,
    transaction: &Transaction,
    tenant: TenantId,
    period: Option<PreviewPeriod>,
) -> Answer<(Subscription, Running)> {
    at_one_instant(transaction).await?;
    let none = || Refusal::new(&kind::NO_SUBSCRIPTION, "The tenant is not subscribed to a plan.");
    let subscription = subscription::current(transaction, tenant).await?.ok_or_else(none)?;
    let now = control.clock().now();
    let span = chosen(&subscription, period, now)?;
    let running = draft(transaction, &subscription, span, now).await.map_err(Refusal::from)?;
    Ok((subscription, running))
}

fn chosen(own: &Subscription, period: Option<PreviewPeriod>, now: Timestamp) -> Result<Span, Refusal> {
    let of = |at| period_of(own.anchor, &own.zone, at).map_err(|error| not_a_period(&error.to_string()));
    let Some(PreviewPeriod { from, to }) = period else { return of(now) };
    if from < own.started_at {
        return Err(not_a_period("the subscription began later"));
    }
    let span = of(from)?;
    if (span.from, span.to) != (from, to) {
        return Err(not_a_period(&format!("that time lies in the period {} to {}", span.from, span.to)));
    }
    Ok(span)
}

fn not_a_period(why: &str) -> Refusal {
    Refusal::new(&kind::INVALID, "This is not a billing period of the subscription.")
        .field("/period", "unknown", why)
}
