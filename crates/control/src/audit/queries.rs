//! The SQL of the event log.

/// What waits to be sequenced, oldest first. A second sequencer waits here for the first one's end.
pub const OUTBOX: &str = "SELECT id, event_id, tenant_id, draft, at FROM audit.outbox ORDER BY id LIMIT $1 FOR UPDATE";
/// Takes out what was sequenced.
pub const TAKE_OUT: &str = "DELETE FROM audit.outbox WHERE id = ANY ($1)";

/// Opens a log, if it is not there.
pub const OPEN_LOG: &str = "INSERT INTO audit.logs (tenant_id, origin, root, frontier, opened_at) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id) DO NOTHING";
/// A log as the next leaf finds it.
pub const LOCK_LOG: &str = "SELECT origin, incarnation, size, frontier, last_rx, counter \
     FROM audit.logs WHERE tenant_id = $1 FOR UPDATE";
/// Moves a log on; no row if another sequencer did.
pub const MOVE_LOG: &str = "UPDATE audit.logs SET size = $3, root = $4, frontier = $5, last_rx = $6, counter = $7 \
     WHERE tenant_id = $1 AND size = $2";
/// Adds leaves.
pub const ADD_EVENTS: &str = "INSERT INTO audit.events \
     (tenant_id, idx, rx, ts, id, ev, ty, out, actor, tgt, leaf, leaf_hash) \
     SELECT $1, e.idx, e.rx, e.ts, e.id, e.ev, e.ty, e.out, e.actor, string_to_array(e.tgt, E'\\x1f'), e.leaf, e.leaf_hash \
     FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], \
         $9::text[], $10::text[], $11::text[], $12::bytea[]) \
         AS e (idx, rx, ts, id, ev, ty, out, actor, tgt, leaf, leaf_hash)";

/// The boot of a lane.
pub const LANE: &str = "SELECT boot FROM audit.lanes WHERE node = $1 AND lane = $2";
/// A lane was started anew.
pub const START_LANE: &str = "INSERT INTO audit.lanes (node, lane, boot) VALUES ($1, $2, $3) \
     ON CONFLICT (node, lane) DO UPDATE SET boot = EXCLUDED.boot";

/// Logs with leaves that no checkpoint covers.
pub const MOVED_LOGS: &str = "SELECT tenant_id, origin, size, root FROM audit.logs \
     WHERE size > checkpoint_size ORDER BY tenant_id LIMIT 1000";
/// Keeps a checkpoint.
pub const ADD_CHECKPOINT: &str =
    "INSERT INTO audit.checkpoints (tenant_id, size, note, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
/// Notes how far checkpoints reach.
pub const COVERED: &str =
    "UPDATE audit.logs SET checkpoint_size = $2 WHERE tenant_id = $1 AND checkpoint_size < $2";

/// All logs.
pub const LOGS: &str = "SELECT tenant_id, origin, size, root, checkpoint_size FROM audit.logs ORDER BY tenant_id";
/// One log.
pub const LOG: &str = "SELECT origin, size, root, checkpoint_size FROM audit.logs WHERE tenant_id = $1";
/// Its newest checkpoint.
pub const NEWEST_CHECKPOINT: &str =
    "SELECT note FROM audit.checkpoints WHERE tenant_id = $1 ORDER BY size DESC LIMIT 1";
/// All its checkpoints, oldest first.
pub const CHECKPOINTS: &str = "SELECT note FROM audit.checkpoints WHERE tenant_id = $1 ORDER BY size";
/// Hashes of the first leaves.
pub const LEAF_HASHES: &str =
    "SELECT leaf_hash FROM audit.events WHERE tenant_id = $1 AND idx < $2 ORDER BY idx";
/// Everything of a log, in order.
pub const WHOLE: &str = "SELECT idx, rx, ts, id, ev, out, actor, tgt, leaf, leaf_hash \
     FROM audit.events WHERE tenant_id = $1 ORDER BY idx";
/// One page of a log from an index on, filtered.
pub const SEARCH: &str = "SELECT idx, leaf, leaf_hash FROM audit.events \
     WHERE tenant_id = $1 AND idx > $2 AND ($3::text IS NULL OR ev = $3) AND ($4::text IS NULL OR ty = $4) \
       AND ($5::text IS NULL OR out = $5) AND ($6::text IS NULL OR actor LIKE '%:' || $6) \
       AND ($7::text IS NULL OR $7 = ANY (tgt)) \
     ORDER BY idx LIMIT $8";
/// One event by its id.
pub const EVENT: &str =
    "SELECT tenant_id, idx, leaf, leaf_hash FROM audit.events WHERE id = $1 ORDER BY tenant_id LIMIT 1";
