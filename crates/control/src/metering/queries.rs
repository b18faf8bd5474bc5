//! SQL of usage.

/// Name and version of every meter.
pub const METER_VERSIONS: &str = "SELECT name, version FROM metering.meters";

/// Adds rows of usage that are not there yet, and what is new among them to their windows. Answers the tenants
/// and meters whose windows grew. Windows are locked in the order of their key, so two workers cannot deadlock.
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
         quantity = windows.quantity + EXCLUDED.quantity \
     RETURNING tenant_id, meter";
