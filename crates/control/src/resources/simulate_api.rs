//! What another limit would have done, from usage that was recorded.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::resources::{
    Calendar, QuotaRule, QuotaRuleDraft, QuotaState, QuotaWindow, Simulation, simulate,
};
use rowhouse_store::Transaction;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::quantity_of;
use super::assess::quantity;
use super::enforcement::known_meter;
use crate::Shared;
use crate::api::{Answer, Body, Caller};
use crate::metering::{self, MeterNote, Span};
use crate::{billing, tenancy};

/// Most minutes or samples of one simulation.
const RECORDED_MAX: i64 = 200_000;
/// Most windows of one simulation.
const WINDOWS_MAX: usize = 10_000;
/// Most tenants of one simulation of a tier.
const TENANTS_MAX: usize = 10_000;

/// The routes of simulations.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(simulate_quota))
}

/// A limit to be tried on what was recorded.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Question {
    /// One tenant …
    tenant: Option<String>,
    /// … or all of a tier; operators only.
    tier: Option<String>,
    /// The meter.
    meter: String,
    /// A decimal string, or `unlimited`.
    limit: String,
    /// `hour`, `day`, `month`, `billing_period` or `none`; as the meter ships if not said.
    #[schema(value_type = Option<String>)]
    window: Option<QuotaWindow>,
    /// From this instant.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// Until before this instant.
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
}

/// What a limit would have done.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Simulated {
    /// To one tenant.
    Tenant {
        /// Windows that the stretch touches.
        windows: usize,
        /// Windows that came above the first threshold.
        warned: usize,
        /// Windows that came to the second threshold.
        alerted: usize,
        /// Windows that came to the limit.
        enforced: usize,
        /// When the limit was first reached.
        #[schema(value_type = Option<String>, format = DateTime)]
        first_enforced_at: Option<Timestamp>,
        /// What would have been refused.
        #[schema(value_type = String)]
        refused: Quantity,
        /// Windows with usage, in order.
        by_window: Vec<WindowShown>,
    },
    /// To a tier.
    Tier {
        /// How many tenants it has.
        tenants: usize,
        /// How many would have been warned at least once.
        warned: usize,
        /// How many alerted.
        alerted: usize,
        /// How many stopped.
        enforced: usize,
        /// What would have been refused in all.
        #[schema(value_type = String)]
        refused: Quantity,
    },
}

#[derive(Debug, Serialize, ToSchema)]
struct WindowShown {
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    start: Timestamp,
    /// What was used in it, or the highest level.
    #[schema(value_type = String)]
    usage: Quantity,
    /// When the limit was reached.
    #[schema(value_type = Option<String>, format = DateTime)]
    enforced_at: Option<Timestamp>,
    /// What was used beyond.
    #[schema(value_type = String)]
    refused: Quantity,
}

/// What another limit would have done to a tenant, or to a tier, from usage that was recorded.
#[utoipa::path(post, path = "/v1/quotas/simulate", operation_id = "resources.simulate_quota", tag = "resources",
    request_body = Question, responses((status = 200, body = Simulated)))]
async fn simulate_quota(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<Question>,
) -> Answer<Json<Simulated>> {
    let question = body.value;
    let trial = Trial::of(&question)?;
    match (&question.tenant, &question.tier) {
        (tenant, None) => {
            let tenant = caller.one_tenant(tenant.as_deref())?;
            let permit = caller.permit("quota:read", Some(tenant))?;
            let transaction = control.store.read(&permit).await?;
            let meter = known_meter(&transaction, &question.meter).await?;
            let found = trial.one(&transaction, tenant, &meter).await?;
            transaction.finish().await?;
            Ok(Json(trial.shown(&found)))
        }
        (None, Some(tier)) => {
            let permit = caller.permit("quota:read", None)?;
            Ok(Json(of_tier(&control, &permit, &trial, tier).await?))
        }
        (Some(_), Some(_)) => {
            let refusal = Refusal::new(&kind::INVALID, "Either one tenant or one tier.");
            Err(refusal.field("/tier", "too_many", "only one of `tenant` and `tier`").into())
        }
    }
}

/// A question that was understood.
struct Trial {
    meter: String,
    rule: QuotaRule,
    limit: Option<i128>,
    span: Span,
}

impl Trial {
    fn of(question: &Question) -> Result<Self, Refusal> {
        let limit = match question.limit.as_str() {
            "unlimited" => None,
            limit => Some(quantity_of(limit, "/limit")?.units()),
        };
        if question.from >= question.to {
            let refusal = Refusal::new(&kind::INVALID, "The stretch is empty.");
            return Err(refusal.field("/to", "out_of_bounds", "after `from`"));
        }
        let draft = QuotaRuleDraft { window: question.window, ..QuotaRuleDraft::default() };
        let rule = draft.rule(&question.meter).map_err(|problem| {
            Refusal::new(&kind::INVALID, "The rule does not hold together.").field(
                format!("/{}", problem.field),
                "invalid",
                problem.detail,
            )
        })?;
        let span = Span { from: question.from, to: question.to };
        Ok(Trial { meter: question.meter.clone(), rule, limit, span })
    }

    async fn one(
        &self,
        transaction: &Transaction,
        tenant: TenantId,
        meter: &MeterNote,
    ) -> Result<Simulation, Refusal> {
        let needs_own = self.rule.window == QuotaWindow::BillingPeriod;
        let own = if needs_own { billing::calendars(transaction, Some(tenant)).await? } else { Vec::new() };
        let calendar = own.into_iter().next().map(|(_, calendar)| calendar).unwrap_or_default();
        let span = self.span;
        let limit = RECORDED_MAX + 1;
        let recorded = match meter.is_additive() {
            true => metering::minutes(transaction, tenant, &self.meter, span, limit).await?,
            false => metering::level_records(transaction, tenant, &self.meter, span, limit).await?,
        };
        if recorded.len() as i64 == limit {
            return Err(too_long());
        }
        let shown = |(at, value): (Timestamp, Quantity)| {
            let value = Quantity::rounded(&meter.shown(&value.to_ratio())).unwrap_or_default();
            (at.as_microsecond(), value.units())
        };
        let recorded: Vec<(i64, i128)> = recorded.into_iter().map(shown).collect();
        Ok(simulate(&self.rule, self.limit, &self.starts(&calendar)?, &recorded))
    }

    /// When the windows of the stretch begin. What exists is looked at by the day.
    fn starts(&self, calendar: &Calendar) -> Result<Vec<i64>, Refusal> {
        let window = if self.rule.window.is_standing() { QuotaWindow::Day } else { self.rule.window };
        let (from_us, to_us) = (self.span.from.as_microsecond(), self.span.to.as_microsecond());
        let mut starts = Vec::new();
        let mut at_us = from_us;
        while at_us < to_us {
            if starts.len() == WINDOWS_MAX {
                return Err(too_long());
            }
            let (start_us, end_us) = calendar.bounds_us(window, at_us);
            starts.push(start_us);
            at_us = end_us;
        }
        Ok(starts)
    }

    fn shown(&self, found: &Simulation) -> Simulated {
        let instant = |at_us: i64| Timestamp::from_microsecond(at_us).unwrap_or(self.span.from);
        let used = found.windows.iter().filter(|window| window.usage != 0);
        Simulated::Tenant {
            windows: found.windows.len(),
            warned: found.at_least(QuotaState::Warning),
            alerted: found.at_least(QuotaState::Alert),
            enforced: found.at_least(QuotaState::Enforced),
            first_enforced_at: found.first_enforced_us().map(instant),
            refused: quantity(found.refused()),
            by_window: used
                .map(|window| WindowShown {
                    start: instant(window.from_us),
                    usage: quantity(window.usage),
                    enforced_at: window.enforced_at_us.map(instant),
                    refused: quantity(window.refused),
                })
                .collect(),
        }
    }
}

fn too_long() -> Refusal {
    Refusal::new(&kind::INVALID, "The stretch is too long for one simulation.").field(
        "/from",
        "out_of_bounds",
        "at most 10,000 windows and 200,000 recorded minutes",
    )
}

async fn of_tier(control: &Shared, permit: &Permit, trial: &Trial, tier: &str) -> Result<Simulated, Refusal> {
    let transaction = control.store.read(permit).await?;
    metering::at_one_instant(&transaction).await?;
    let meter = known_meter(&transaction, &trial.meter).await?;
    let tenants = tenancy::load_tenants(&transaction, None).await?;
    let of_tier: Vec<_> = tenants.into_iter().filter(|row| row.tier == tier).collect();
    if of_tier.len() > TENANTS_MAX {
        return Err(Refusal::new(&kind::INVALID, "The tier has too many tenants for one simulation."));
    }
    let mut counts = [0; 3];
    let mut refused = 0_i128;
    for row in &of_tier {
        let found = trial.one(&transaction, row.id, &meter).await?;
        let states = [QuotaState::Warning, QuotaState::Alert, QuotaState::Enforced];
        for (count, state) in counts.iter_mut().zip(states) {
            *count += usize::from(found.at_least(state) > 0);
        }
        refused = refused.saturating_add(found.refused());
    }
    transaction.finish().await?;
    let [warned, alerted, enforced] = counts;
    Ok(Simulated::Tier { tenants: of_tier.len(), warned, alerted, enforced, refused: quantity(refused) })
}
