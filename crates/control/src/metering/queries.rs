//! SQL of usage.

/// Every meter.
pub const METERS: &str = "SELECT name, version, definition FROM metering.meters ORDER BY name";

/// Adds rows of usage that are not there yet, and what is new among them to their windows. Windows are locked in the order of their key, so two workers cannot deadlock.
pub const ADD_USAGE: &str = "WITH incoming AS ( \
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[], $5::text[], $6::bigint[], \
                 $7::uuid[], $8::text[], $9::text[], $10::smallint[], $11::text[], $12::text[]) \
             AS row (tenant_id, meter, meter_version, at, quantity, sequence, \
                 request_id, endpoint, principal, status, source, event_id) \
     ), fresh AS ( \
         INSERT INTO metering.usage (tenant_id, meter, meter_version, at, quantity, node, lane, sequence, \
             request_id, endpoint, principal, status, source, event_id) \
         SELECT tenant_id, meter, meter_version, at, quantity::numeric, $13, $14, sequence, \
             request_id, endpoint, principal, status, source, event_id \
         FROM incoming \
         ON CONFLICT DO NOTHING \
         RETURNING tenant_id, meter, meter_version, at, quantity \
     ) \
     INSERT INTO metering.windows (tenant_id, meter, meter_version, minute, events, quantity) \
     SELECT tenant_id, meter, meter_version, date_trunc('minute', at, 'UTC'), count(*), sum(quantity) \
     FROM fresh GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 4, 3 \
     ON CONFLICT (tenant_id, meter, minute, meter_version) DO UPDATE SET \
         events = windows.events + EXCLUDED.events, \
         quantity = windows.quantity + EXCLUDED.quantity";

/// All statements of the transaction see the same; it must be the first one.
pub const ONE_INSTANT: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";

/// One meter.
pub const METER: &str = "SELECT name, version, definition FROM metering.meters WHERE name = $1";

/// Σ of a tenant's windows of one meter.
pub const TOTAL: &str = "SELECT coalesce(sum(events), 0)::bigint, coalesce(sum(quantity), 0)::text \
     FROM metering.windows WHERE tenant_id = $1 AND meter = $2 AND minute >= $3 AND minute < $4";

/// Σ of a tenant's windows, by meter.
pub const TOTALS: &str = "SELECT meter, sum(events)::bigint, sum(quantity)::text \
     FROM metering.windows WHERE tenant_id = $1 AND minute >= $2 AND minute < $3 GROUP BY meter";

/// Σ of a tenant's windows of the named meters, each from an instant of its own.
pub const TOTALS_SINCE: &str = "SELECT own.tenant_id, own.meter, sum(own.quantity)::text \
     FROM unnest($1::text[], $2::timestamptz[]) AS wanted (meter, since) \
     JOIN metering.windows AS own ON own.meter = wanted.meter AND own.minute >= wanted.since \
     WHERE own.tenant_id = $3 \
     GROUP BY 1, 2";

/// The same for all tenants that the transaction sees; `$3` is the earliest of the instants.
pub const ALL_TOTALS_SINCE: &str = "SELECT own.tenant_id, own.meter, sum(own.quantity)::text \
     FROM unnest($1::text[], $2::timestamptz[]) AS wanted (meter, since) \
     JOIN metering.windows AS own ON own.meter = wanted.meter AND own.minute >= wanted.since \
     WHERE own.minute >= $3 \
     GROUP BY 1, 2";

/// Σ by step, from one page's start on.
pub const BUCKETS: &str = "SELECT date_trunc($5, minute, $6), sum(events)::bigint, sum(quantity)::text \
     FROM metering.windows WHERE tenant_id = $1 AND meter = $2 AND minute >= $3 AND minute < $4 \
     GROUP BY 1 ORDER BY 1 LIMIT $7";

/// Rows behind the windows, in the order of their time, behind the last one of the page before.
pub const ROWS: &str = "SELECT at, node, lane, sequence, quantity::text, meter_version, \
         request_id, endpoint, principal, status, source, event_id \
     FROM metering.usage \
     WHERE tenant_id = $1 AND meter = $2 AND at >= $3 AND at < $4 \
       AND (at, node, lane, sequence) > ($5, $6, $7, $8) \
     ORDER BY at, node, lane, sequence LIMIT $9";

/// Events that were not counted, the first of them.
pub const LEFT_OUT: &str = "SELECT source, event_id, reason FROM metering.left_out \
     WHERE tenant_id = $1 AND at >= $3 AND at < $4 AND $2 = ANY (meters) \
     ORDER BY at, node, lane, sequence LIMIT $5";

/// Single values in the order in which they hold, for meters that are not plain sums.
pub const VALUES: &str = "SELECT at, coalesce(event_id, request_id::text) COLLATE \"C\", quantity::text FROM metering.usage \
     WHERE tenant_id = $1 AND meter = $2 AND at >= $3 AND at < $4 \
     ORDER BY at, 2 LIMIT $5";

/// The value that holds at an instant.
pub const LAST_BEFORE: &str = "SELECT quantity::text FROM metering.usage \
     WHERE tenant_id = $1 AND meter = $2 AND at < $3 \
     ORDER BY at DESC, coalesce(event_id, request_id::text) COLLATE \"C\" DESC LIMIT 1";

/// The sum of all changes before an instant.
pub const SUM_BEFORE: &str = "SELECT coalesce(sum(quantity), 0)::text FROM metering.usage \
     WHERE tenant_id = $1 AND meter = $2 AND at < $3";

/// The values that hold now, of the named meters, of all tenants that the transaction sees or of one.
pub const LEVELS: &str = "SELECT tenant_id, meter, quantity::text FROM metering.levels \
     WHERE meter = ANY ($1) AND ($2::uuid IS NULL OR tenant_id = $2)";

/// Keeps the last of new values where none is later. `$4` are ids, which decide where times are equal.
pub const RAISE_LEVELS: &str = "INSERT INTO metering.levels (tenant_id, meter, at, id, quantity) \
     SELECT DISTINCT ON (tenant_id, meter) tenant_id, meter, at, id, quantity::numeric \
     FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::text[]) \
         AS row (tenant_id, meter, at, id, quantity) \
     ORDER BY tenant_id, meter, at DESC, id COLLATE \"C\" DESC \
     ON CONFLICT (tenant_id, meter) DO UPDATE SET at = EXCLUDED.at, id = EXCLUDED.id, \
         quantity = EXCLUDED.quantity \
     WHERE (EXCLUDED.at, EXCLUDED.id) > (levels.at, levels.id)";

/// Claims identities that nobody holds. Of one identity that stands twice, the first row wins.
pub const CLAIM: &str = "INSERT INTO metering.claims (claim, content, node, lane, sequence) \
     SELECT claim, content, $4, $5, sequence \
     FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS row (claim, content, sequence) \
     ON CONFLICT DO NOTHING";

/// Who holds claims.
pub const HOLDERS: &str =
    "SELECT claim, content, node, lane, sequence FROM metering.claims WHERE claim = ANY ($1)";

/// Keeps events that count.
pub const KEEP_COUNTED: &str = "INSERT INTO metering.events \
         (tenant_id, claim, source, event_id, type, at, received_at, data) \
     SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], \
         $6::timestamptz[], $7::timestamptz[], $8::text[]) \
     ON CONFLICT DO NOTHING";

/// Keeps events that do not count; `$9` has each one's meters, separated by commas.
pub const KEEP_LEFT_OUT: &str = "INSERT INTO metering.left_out \
         (node, lane, tenant_id, at, sequence, source, event_id, type, meters, reason) \
     SELECT $1, $2, tenant_id, at, sequence, source, event_id, type, string_to_array(meters, ','), reason \
     FROM unnest($3::uuid[], $4::timestamptz[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[], \
             $10::text[]) AS row (tenant_id, at, sequence, source, event_id, type, meters, reason) \
     ON CONFLICT DO NOTHING";

/// Σ of the windows of pairs of tenant and meter, each from an instant of its own.
pub const TOTALS_OF: &str = "SELECT wanted.tenant_id, wanted.meter, own.quantity::text \
     FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS wanted (tenant_id, meter, since), \
     LATERAL (SELECT sum(quantity) AS quantity FROM metering.windows AS counted \
         WHERE counted.tenant_id = wanted.tenant_id AND counted.meter = wanted.meter \
           AND counted.minute >= wanted.since) AS own \
     WHERE own.quantity IS NOT NULL";

/// Σ of all windows in a stretch, by tenant and meter, and the last minute of each.
pub const ALL_WITHIN: &str = "SELECT tenant_id, meter, sum(quantity)::text, max(minute) \
     FROM metering.windows \
     WHERE minute >= $1 AND minute < $2 AND ($3::uuid IS NULL OR tenant_id = $3) \
     GROUP BY 1, 2";

/// A tenant's windows of one meter, for a simulation.
pub const MINUTES: &str = "SELECT minute, sum(quantity)::text FROM metering.windows \
     WHERE tenant_id = $1 AND meter = $2 AND minute >= $3 AND minute < $4 \
     GROUP BY 1 ORDER BY 1 LIMIT $5";

/// The values that hold now, and since when.
pub const LEVELS_AT: &str = "SELECT tenant_id, meter, quantity::text, at FROM metering.levels \
     WHERE meter = ANY ($1) AND ($2::uuid IS NULL OR tenant_id = $2)";
