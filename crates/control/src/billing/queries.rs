//! SQL of subscriptions.

/// A plan as it is declared now.
pub const PLAN: &str = "SELECT version, definition FROM billing.plans WHERE name = $1";

/// The subscription that is in force, locked against another change.
pub const LOCK_CURRENT: &str = "SELECT subscription_id, tenant_id, plan, plan_version, snapshot, currency, zone, \
         anchor, started_at, ended_at \
     FROM billing.subscriptions WHERE tenant_id = $1 AND ended_at IS NULL FOR UPDATE";

/// The subscription that is in force.
pub const CURRENT: &str = "SELECT subscription_id, tenant_id, plan, plan_version, snapshot, currency, zone, \
         anchor, started_at, ended_at \
     FROM billing.subscriptions WHERE tenant_id = $1 AND ended_at IS NULL";

/// Subscriptions that the transaction sees, behind the last one of the page before.
pub const LIST: &str = "SELECT subscription_id, tenant_id, plan, plan_version, snapshot, currency, zone, \
         anchor, started_at, ended_at \
     FROM billing.subscriptions \
     WHERE ($1::uuid IS NULL OR tenant_id = $1) AND ($2::uuid IS NULL OR subscription_id > $2) \
     ORDER BY subscription_id LIMIT $3";

/// Ends a subscription.
pub const END: &str = "UPDATE billing.subscriptions SET ended_at = $2 WHERE subscription_id = $1";

/// Begins a subscription.
pub const BEGIN: &str = "INSERT INTO billing.subscriptions (subscription_id, tenant_id, plan, plan_version, \
         snapshot, currency, zone, anchor, started_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)";
