//! SQL of quotas.

/// Levels that are known.
pub const LEVELS: &str = "SELECT tenant_id, meter, level::text, at FROM resources.measurements \
     WHERE level IS NOT NULL AND ($1::uuid IS NULL OR tenant_id = $1)";

/// How measuring goes.
pub const MEASUREMENTS: &str = "SELECT tenant_id, meter, collector, level::text, at, due_at, failures, problem \
     FROM resources.measurements WHERE $1::uuid IS NULL OR tenant_id = $1 ORDER BY tenant_id, meter";

/// What is due.
pub const DUE: &str = "SELECT tenant_id, meter, collector, level::text, at, due_at, failures, problem \
     FROM resources.measurements WHERE due_at <= $1 ORDER BY due_at, tenant_id, meter LIMIT $2";

/// Keeps a level unless a later one is known.
pub const KEEP_LEVEL: &str = "INSERT INTO resources.measurements AS known \
         (tenant_id, meter, collector, level, at, due_at) \
     VALUES ($1, $2, $3, $4::text::numeric, $5, $6) \
     ON CONFLICT (tenant_id, meter) DO UPDATE SET collector = EXCLUDED.collector, level = EXCLUDED.level, \
         at = EXCLUDED.at, due_at = EXCLUDED.due_at, failures = 0, problem = NULL \
     WHERE known.at IS NULL OR known.at <= EXCLUDED.at";

/// Keeps a level of what is still to be measured, unless a later one is known.
pub const RENEW_LEVEL: &str = "UPDATE resources.measurements \
     SET level = $3::text::numeric, at = $4, due_at = CASE WHEN due_at = $6 THEN $5 ELSE due_at END, \
         failures = 0, problem = NULL \
     WHERE tenant_id = $1 AND meter = $2 AND (at IS NULL OR at <= $4)";

/// Keeps the last and the highest level of a minute.
pub const KEEP_SAMPLE: &str = "INSERT INTO resources.samples AS known (tenant_id, meter, minute, at, level, peak) \
     VALUES ($1, $2, date_trunc('minute', $3::timestamptz, 'UTC'), $3, $4::text::numeric, $4::text::numeric) \
     ON CONFLICT (tenant_id, meter, minute) DO UPDATE SET \
         at = EXCLUDED.at, level = EXCLUDED.level, peak = greatest(known.peak, EXCLUDED.level)";

/// Notes that a measurement failed.
pub const FAILED: &str = "UPDATE resources.measurements \
     SET failures = failures + 1, problem = $3, due_at = $4 WHERE tenant_id = $1 AND meter = $2 \
     RETURNING failures";

/// Enters what is to be measured.
pub const SCHEDULE: &str = "INSERT INTO resources.measurements AS known (tenant_id, meter, collector, due_at) \
     SELECT tenant_id, meter, collector, $4::timestamptz \
     FROM unnest($1::uuid[], $2::text[], $3::text[]) AS wanted (tenant_id, meter, collector) \
     ON CONFLICT (tenant_id, meter) DO UPDATE SET collector = EXCLUDED.collector, due_at = EXCLUDED.due_at \
     WHERE known.collector <> EXCLUDED.collector";

/// Has a level measured at once by its own collector; a service's rows that a tier counts instead stay what is counted.
/// Due a moment earlier each time, so that who measures just now sees that it was asked for again.
pub const MEASURE_SOON: &str = "INSERT INTO resources.measurements AS known (tenant_id, meter, collector, due_at) \
     VALUES ($1, $2, $3, $4) ON CONFLICT (tenant_id, meter) DO UPDATE \
     SET collector = EXCLUDED.collector, due_at = least(known.due_at, EXCLUDED.due_at) - interval '1 microsecond' \
     WHERE known.collector <> 'table'";

/// What measures a level now.
pub const COLLECTOR: &str =
    "SELECT collector FROM resources.measurements WHERE tenant_id = $1 AND meter = $2";

/// Makes a tenant's levels due; as [`MEASURE_SOON`].
pub const MAKE_DUE: &str = "UPDATE resources.measurements \
     SET due_at = least(due_at, $2) - interval '1 microsecond' \
     WHERE due_at IS NOT NULL AND tenant_id = $1";

/// Takes a measurement out.
pub const FORGET_MEASUREMENT: &str =
    "DELETE FROM resources.measurements WHERE tenant_id = $1 AND meter = $2 AND collector <> 'pushed'";

/// What is remembered.
pub const STANDINGS: &str = "SELECT tenant_id, meter, window_from, state, told, round, below_since, \
         reached_told_at, excess_since, imposed \
     FROM resources.standings WHERE $1::uuid IS NULL OR tenant_id = $1";

/// Remembers.
pub const KEEP_STANDING: &str = "INSERT INTO resources.standings (tenant_id, meter, window_from, state, told, \
         round, below_since, reached_told_at, excess_since, imposed) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
     ON CONFLICT (tenant_id, meter) DO UPDATE SET window_from = EXCLUDED.window_from, state = EXCLUDED.state, \
         told = EXCLUDED.told, round = EXCLUDED.round, below_since = EXCLUDED.below_since, \
         reached_told_at = EXCLUDED.reached_told_at, excess_since = EXCLUDED.excess_since, \
         imposed = EXCLUDED.imposed";

/// Forgets.
pub const DROP_STANDING: &str = "DELETE FROM resources.standings WHERE tenant_id = $1 AND meter = $2";

/// One evaluation of a tenant at a time.
pub const ONE_AT_A_TIME: &str = "SELECT pg_advisory_xact_lock(7244, hashtext($1::uuid::text))";

/// What is imposed, with the lift that holds at `$2`.
pub const ENFORCEMENTS: &str = "SELECT e.tenant_id, e.meter, e.cause, e.action, e.flag, e.since, e.usage_at::text, \
         e.until, e.reason, e.set_by, l.until, l.reason \
     FROM resources.enforcements e \
     LEFT JOIN resources.lifts l ON l.tenant_id = e.tenant_id AND l.meter = e.meter AND l.until > $2 \
     WHERE ($1::uuid IS NULL OR e.tenant_id = $1) AND (e.until IS NULL OR e.until > $2) \
     ORDER BY e.tenant_id, e.meter, e.cause";

/// Lifts that hold.
pub const LIFTS: &str = "SELECT tenant_id, meter, until, reason, set_by FROM resources.lifts \
     WHERE ($1::uuid IS NULL OR tenant_id = $1) AND until > $2 ORDER BY tenant_id, meter";

/// Imposes.
pub const IMPOSE: &str = "INSERT INTO resources.enforcements \
         (tenant_id, meter, cause, action, flag, since, usage_at, until, reason, set_by) \
     VALUES ($1, $2, $3, $4, $5, $6, $7::text::numeric, $8, $9, $10) \
     ON CONFLICT (tenant_id, meter, cause) DO UPDATE SET action = EXCLUDED.action, flag = EXCLUDED.flag, \
         usage_at = EXCLUDED.usage_at, until = EXCLUDED.until, reason = EXCLUDED.reason, \
         set_by = EXCLUDED.set_by";

/// Takes an enforcement away.
pub const FREE: &str =
    "DELETE FROM resources.enforcements WHERE tenant_id = $1 AND meter = $2 AND cause = $3";

/// Lifts by hand.
pub const LIFT: &str = "INSERT INTO resources.lifts (tenant_id, meter, until, reason, set_by, at) \
     VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT (tenant_id, meter) DO UPDATE SET until = EXCLUDED.until, reason = EXCLUDED.reason, \
         set_by = EXCLUDED.set_by, at = EXCLUDED.at";

/// Ends a lift.
pub const UNLIFT: &str = "DELETE FROM resources.lifts WHERE tenant_id = $1 AND meter = $2";

/// Takes a tenant's enforcements and lifts out that are over; answers how many.
pub const EXPIRE_ENFORCEMENTS: &str = "DELETE FROM resources.enforcements WHERE tenant_id = $1 AND cause <> 'quota' AND until <= $2 \
     RETURNING meter, cause";
/// As before.
pub const EXPIRE_LIFTS: &str =
    "DELETE FROM resources.lifts WHERE tenant_id = $1 AND until <= $2 RETURNING meter";

/// Overrides of a tenant that are over.
pub const EXPIRE_OVERRIDES: &str =
    "DELETE FROM resources.overrides WHERE tenant_id = $1 AND until <= $2 RETURNING meter, value";

/// Of whom something is over by `$1` that was set by hand.
pub const OVER: &str = "SELECT tenant_id FROM resources.enforcements WHERE cause <> 'quota' AND until <= $1 \
     UNION SELECT tenant_id FROM resources.lifts WHERE until <= $1 \
     UNION SELECT tenant_id FROM resources.overrides WHERE until <= $1";

/// Everybody of whom something is remembered, imposed, lifted or overridden.
pub const REMEMBERED: &str = "SELECT tenant_id FROM resources.standings \
     UNION SELECT tenant_id FROM resources.enforcements UNION SELECT tenant_id FROM resources.lifts \
     UNION SELECT tenant_id FROM resources.overrides WHERE until IS NOT NULL";

/// Whose storage may not grow now.
pub const FULL: &str = "SELECT DISTINCT e.tenant_id FROM resources.enforcements e \
     WHERE e.action = 'block_writes' AND (e.until IS NULL OR e.until > $1) \
       AND ($2::uuid IS NULL OR e.tenant_id = $2) \
       AND NOT EXISTS (SELECT FROM resources.lifts l \
           WHERE l.tenant_id = e.tenant_id AND l.meter = e.meter AND l.until > $1)";

/// Keeps why a quota is overridden.
pub const KEEP_OVERRIDE: &str = "INSERT INTO resources.overrides \
         (tenant_id, meter, value, until, reason, set_by, at) VALUES ($1, $2, $3, $4, $5, $6, $7) \
     ON CONFLICT (tenant_id, meter) DO UPDATE SET value = EXCLUDED.value, until = EXCLUDED.until, \
         reason = EXCLUDED.reason, set_by = EXCLUDED.set_by, at = EXCLUDED.at";

/// Forgets it.
pub const DROP_OVERRIDE: &str = "DELETE FROM resources.overrides WHERE tenant_id = $1 AND meter = $2";

/// Why a quota is overridden.
pub const OVERRIDE: &str = "SELECT value, until, reason, set_by, at FROM resources.overrides \
     WHERE tenant_id = $1 AND meter = $2";

/// Keeps a change of state.
pub const KEEP_TRANSITION: &str = "INSERT INTO resources.transitions \
         (tenant_id, meter, at, from_state, to_state, usage, quota, because) \
     VALUES ($1, $2, $3, $4, $5, $6::text::numeric, $7::text::numeric, $8)";

/// The last changes of state.
pub const TRANSITIONS: &str = "SELECT at, from_state, to_state, usage::text, quota::text, because \
     FROM resources.transitions WHERE tenant_id = $1 AND meter = $2 ORDER BY seq DESC LIMIT $3";

/// Takes old changes of state out, some at a time.
pub const SWEEP_TRANSITIONS: &str = "DELETE FROM resources.transitions WHERE ctid = ANY (ARRAY( \
         SELECT ctid FROM resources.transitions WHERE at < $1 LIMIT 10000))";

/// Takes old samples out, some at a time.
pub const SWEEP_SAMPLES: &str = "DELETE FROM resources.samples WHERE ctid = ANY (ARRAY( \
         SELECT ctid FROM resources.samples WHERE minute < $1 LIMIT 10000))";

/// Keeps a message, once.
pub const KEEP_MESSAGE: &str = "INSERT INTO resources.messages \
         (message_id, tenant_id, meter, window_from, template, round, at, data) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT ON CONSTRAINT messages_once_key DO NOTHING";

/// The last messages of a quota.
pub const MESSAGES: &str = "SELECT template, at FROM resources.messages \
     WHERE tenant_id = $1 AND meter = $2 ORDER BY at DESC, message_id DESC LIMIT $3";

/// The limit that was seen last.
pub const LAST_LIMITS: &str = "SELECT DISTINCT ON (tenant_id, meter) tenant_id, meter, quota::text \
     FROM resources.limits_seen WHERE $1::uuid IS NULL OR tenant_id = $1 ORDER BY tenant_id, meter, at DESC";

/// Keeps limits that are new.
pub const KEEP_LIMITS: &str = "INSERT INTO resources.limits_seen (tenant_id, meter, at, quota) \
     SELECT tenant_id, meter, $3::timestamptz, quota::numeric \
     FROM unnest($1::uuid[], $2::text[], $4::text[]) AS seen (tenant_id, meter, quota) \
     ON CONFLICT DO NOTHING";

/// How many levels are too old.
pub const STALE_COUNT: &str = "SELECT count(*) FROM resources.measurements WHERE failures >= $1";

/// Levels at the end of a day, the highest of it, and when the last was taken: what was carried into the day counts.
pub const DAY_LEVELS: &str = "SELECT m.tenant_id, m.meter, \
         coalesce(day.level, before.level)::text, \
         greatest(coalesce(day.peak, before.level), coalesce(before.level, day.peak))::text, \
         coalesce(day.at, $1) \
     FROM (SELECT DISTINCT tenant_id, meter FROM resources.measurements \
           WHERE level IS NOT NULL AND ($3::uuid IS NULL OR tenant_id = $3)) AS m \
     LEFT JOIN LATERAL (SELECT level FROM resources.samples s \
         WHERE s.tenant_id = m.tenant_id AND s.meter = m.meter AND s.minute < $1 \
         ORDER BY s.minute DESC LIMIT 1) AS before ON true \
     LEFT JOIN LATERAL (SELECT max(peak) AS peak, max(at) AS at, \
             (array_agg(level ORDER BY minute DESC))[1] AS level FROM resources.samples s \
         WHERE s.tenant_id = m.tenant_id AND s.meter = m.meter AND s.minute >= $1 AND s.minute < $2) AS day ON true \
     WHERE coalesce(day.level, before.level) IS NOT NULL";

/// The limits that held last before the end of a day.
pub const DAY_LIMITS: &str = "SELECT DISTINCT ON (tenant_id, meter) tenant_id, meter, quota::text \
     FROM resources.limits_seen WHERE at < $1 AND ($2::uuid IS NULL OR tenant_id = $2) \
     ORDER BY tenant_id, meter, at DESC";

/// Keeps rows of a day. One that is closed and the same stays untouched.
pub const KEEP_DAYS: &str = "INSERT INTO resources.usage_days AS known (usage_id, tenant_id, resource_type, \
         usage_date, current_usage, peak_usage, quota, unit, created_at, updated_at, closed) \
     SELECT usage_id, tenant_id, meter, $7::date, current::numeric, peak::numeric, quota::numeric, unit, \
         $8::timestamptz, at, $9::boolean \
     FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $10::text[], \
             $11::timestamptz[]) \
         AS row (usage_id, tenant_id, meter, current, peak, quota, unit, at) \
     ON CONFLICT (usage_id) DO UPDATE SET current_usage = EXCLUDED.current_usage, \
         peak_usage = EXCLUDED.peak_usage, quota = EXCLUDED.quota, unit = EXCLUDED.unit, \
         updated_at = EXCLUDED.updated_at, closed = EXCLUDED.closed \
     WHERE (known.current_usage, known.peak_usage, known.quota, known.unit, known.updated_at, known.closed) \
         IS DISTINCT FROM (EXCLUDED.current_usage, EXCLUDED.peak_usage, EXCLUDED.quota, EXCLUDED.unit, \
             EXCLUDED.updated_at, EXCLUDED.closed)";

/// Days of a tenant.
pub const DAYS: &str = "SELECT usage_date::text, resource_type, current_usage::text, peak_usage::text, quota::text, \
         unit, billable_usage::text, unit_cost::text, total_cost::text, currency, closed \
     FROM resources.usage_days \
     WHERE tenant_id = $1 AND usage_date >= $2 AND usage_date <= $3 AND ($4::text IS NULL OR resource_type = $4) \
       AND (usage_date, resource_type) > ($5, $6) \
     ORDER BY usage_date, resource_type LIMIT $7";

/// The first day that is open; `None` before the first of all.
pub const FIRST_OPEN: &str = "SELECT min(usage_date)::text FROM resources.usage_days WHERE NOT closed";

/// Throws days of a tenant away.
pub const DROP_DAYS: &str = "DELETE FROM resources.usage_days WHERE tenant_id = $1";

/// The last closed days of one meter, newest first.
pub const LAST_DAYS: &str = "SELECT current_usage::text FROM resources.usage_days \
     WHERE tenant_id = $1 AND resource_type = $2 AND closed ORDER BY usage_date DESC LIMIT $3";

/// Puts a measurement off.
pub const POSTPONE: &str = "UPDATE resources.measurements SET due_at = $3 WHERE tenant_id = $1 AND meter = $2 AND due_at IS NOT NULL";
