//! Which plan a tenant is on. A subscription keeps the plan as it was when it was chosen: a later change of the
//! catalogue does not change what was agreed.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rowhouse_domain::billing::plan::{Plan, PlanDraft};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{StoreError, Transaction};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::queries;

const MINUTE_US: i64 = 60_000_000;

/// A tenant's subscription to a plan.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Its id.
    pub id: Uuid,
    /// Whose.
    pub tenant: TenantId,
    /// The plan as it was when it was chosen.
    pub plan: Plan,
    /// The plan's version then.
    pub plan_version: i64,
    /// The zone in which its periods begin and end.
    pub zone: TimeZone,
    /// The instant whose day and time all periods keep.
    pub anchor: Timestamp,
    /// When it began; a whole minute.
    pub started_at: Timestamp,
    /// When it ended, if it did; a whole minute.
    pub ended_at: Option<Timestamp>,
}

/// A tenant was not subscribed.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The catalogue has no such plan.
    #[error("there is no plan `{plan}`")]
    UnknownPlan {
        /// Which one.
        plan: String,
    },
    /// The plan breaks the rules.
    #[error("the plan `{plan}` cannot be billed: {problem}")]
    BadPlan {
        /// Which one.
        plan: String,
        /// The first thing that is wrong.
        problem: String,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SubscribeError> for Refusal {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::UnknownPlan { .. } => Refusal::new(
                &kind::INVALID,
                format!("The tenant cannot be subscribed: {error}."),
            )
            .field("/plan", "unknown", "the name of a plan of the catalogue"),
            SubscribeError::BadPlan { .. } => {
                Refusal::new(&kind::BAD_PRICE, format!("The tenant cannot be subscribed: {error}."))
            }
            SubscribeError::Store(error) => error.into(),
        }
    }
}

/// Puts `tenant` on `plan` from the minute of `now` on; the subscription before ends there. A tenant who is on
/// this version of the plan already stays as it is, so a step of a saga may call it twice.
pub async fn subscribe(
    transaction: &Transaction,
    tenant: TenantId,
    plan: &str,
    now: Timestamp,
) -> Result<Subscription, SubscribeError> {
    let (version, snapshot) = declared(transaction, plan).await?;
    let parsed = read_plan(plan, &snapshot)?;
    let minute = Timestamp::from_microsecond(now.as_microsecond().div_euclid(MINUTE_US) * MINUTE_US)
        .expect("the start of a minute is as near as the minute");
    if let Some(row) = transaction.query_opt(queries::LOCK_CURRENT, &[&tenant.0]).await? {
        let before = subscription(&row)?;
        if before.plan.name == plan && before.plan_version == version {
            return Ok(before);
        }
        transaction.execute(queries::END, &[&before.id, &minute]).await?;
    }
    let id = transaction.store().entropy().uuid_v7(now.as_microsecond());
    let currency = parsed.currency.to_string();
    transaction
        .execute(
            queries::BEGIN,
            &[&id, &tenant.0, &plan, &version, &Json(&snapshot), &currency, &"UTC", &minute],
        )
        .await?;
    Ok(Subscription {
        id,
        tenant,
        plan: parsed,
        plan_version: version,
        zone: TimeZone::UTC,
        anchor: minute,
        started_at: minute,
        ended_at: None,
    })
}

/// Takes back a subscription that was never of use: it ends when it began, so nothing is billed. Whether there was one.
pub async fn cancel(transaction: &Transaction, tenant: TenantId) -> Result<bool, StoreError> {
    let Some(row) = transaction.query_opt(queries::LOCK_CURRENT, &[&tenant.0]).await? else {
        return Ok(false);
    };
    let running = subscription(&row)?;
    transaction.execute(queries::END, &[&running.id, &running.started_at]).await?;
    Ok(true)
}

/// Ends the running subscription with the minute of `now`; its plan, if there was one.
pub async fn end(
    transaction: &Transaction,
    tenant: TenantId,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let Some(row) = transaction.query_opt(queries::LOCK_CURRENT, &[&tenant.0]).await? else {
        return Ok(None);
    };
    let running = subscription(&row)?;
    let minute = Timestamp::from_microsecond(now.as_microsecond().div_euclid(MINUTE_US) * MINUTE_US)
        .expect("the start of a minute is as near as the minute");
    transaction.execute(queries::END, &[&running.id, &minute.max(running.started_at)]).await?;
    Ok(Some(running.plan.name))
}

/// A plan as it is declared now.
pub(super) async fn read_declared(transaction: &Transaction, plan: &str) -> Result<Plan, SubscribeError> {
    let (_, snapshot) = declared(transaction, plan).await?;
    read_plan(plan, &snapshot)
}

async fn declared(transaction: &Transaction, plan: &str) -> Result<(i64, Value), SubscribeError> {
    let row = transaction.query_opt(queries::PLAN, &[&plan]).await?;
    let row = row.ok_or_else(|| SubscribeError::UnknownPlan { plan: plan.to_owned() })?;
    Ok((row.get(0), row.get(1)))
}

fn read_plan(name: &str, definition: &Value) -> Result<Plan, SubscribeError> {
    let bad = |problem: String| SubscribeError::BadPlan { plan: name.to_owned(), problem };
    let draft: PlanDraft =
        serde_json::from_value(definition.clone()).map_err(|error| bad(error.to_string()))?;
    draft.plan().map_err(|problems| {
        let first = problems.first().map(|problem| format!("{} {}", problem.pointer, problem.detail));
        bad(first.unwrap_or_default())
    })
}

/// The subscription that is in force.
pub async fn current(
    transaction: &Transaction,
    tenant: TenantId,
) -> Result<Option<Subscription>, StoreError> {
    let row = transaction.query_opt(queries::CURRENT, &[&tenant.0]).await?;
    row.map(|row| subscription(&row)).transpose()
}

/// Subscriptions, ended ones too, in the order of their beginning; at most `limit`, behind `after`.
pub async fn list(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Subscription>, StoreError> {
    let tenant = tenant.map(|tenant| tenant.0);
    let rows = transaction.query(queries::LIST, &[&tenant, &after, &limit]).await?;
    rows.iter().map(subscription).collect()
}

fn subscription(row: &Row) -> Result<Subscription, StoreError> {
    let stored = |what| StoreError::Stored { what };
    let name: String = row.get(2);
    let plan = read_plan(&name, &row.get::<_, Value>(4)).map_err(|_| stored("the plan of a subscription"))?;
    let zone = TimeZone::get(row.get(6)).map_err(|_| stored("the zone of a subscription"))?;
    Ok(Subscription {
        id: row.get(0),
        tenant: TenantId(row.get::<_, Uuid>(1)),
        plan,
        plan_version: row.get(3),
        zone,
        anchor: row.get(7),
        started_at: row.get(8),
        ended_at: row.get(9),
    })
}
