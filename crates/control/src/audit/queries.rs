//! The SQL of the event log.

/// Takes the oldest of what waits to be sequenced out. A second sequencer waits here for the first one's end.
pub const TAKE_OUT: &str = "DELETE FROM audit.outbox \
     WHERE id IN (SELECT id FROM audit.outbox ORDER BY id LIMIT $1) \
     RETURNING id, event_id, tenant_id, draft, at";

/// Opens a log, if it is not there.
pub const OPEN_LOG: &str = "INSERT INTO audit.logs (tenant_id, origin, root, frontier, opened_at) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id) DO NOTHING";
/// A log as the next leaf finds it.
pub const LOCK_LOG: &str = "SELECT origin, incarnation, size, root, frontier, last_rx, counter, closed_at IS NOT NULL AS is_closed \
     FROM audit.logs WHERE tenant_id = $1 FOR UPDATE";
/// Moves a log on; no row if another sequencer did.
pub const MOVE_LOG: &str = "UPDATE audit.logs SET size = $3, root = $4, frontier = $5, last_rx = $6, counter = $7 \
     WHERE tenant_id = $1 AND size = $2";
/// Those of these logs that take nothing more.
pub const CLOSED_LOGS: &str =
    "SELECT tenant_id FROM audit.logs WHERE tenant_id = ANY ($1) AND closed_at IS NOT NULL";
/// Lets a log take nothing more.
pub const CLOSE_LOG: &str = "UPDATE audit.logs SET closed_at = $2 WHERE tenant_id = $1 AND closed_at IS NULL";
/// Adds leaves.
pub const ADD_EVENTS: &str = "INSERT INTO audit.events \
         (tenant_id, idx, rx, ts, id, ev, ty, out, actor, tgt, leaf, leaf_hash) \
     SELECT $1, e.idx, e.rx, e.ts, e.id, e.ev, e.ty, e.out, e.actor, e.tgt::text[], e.leaf, e.leaf_hash \
     FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], \
         $9::text[], $10::text[], $11::text[], $12::bytea[]) \
         AS e (idx, rx, ts, id, ev, ty, out, actor, tgt, leaf, leaf_hash)";

/// Adds roots of subtrees that are complete.
pub const ADD_SUBTREES: &str = "INSERT INTO audit.subtrees (tenant_id, level, number, root) \
     SELECT $1, s.level, s.number, s.root \
     FROM unnest($2::smallint[], $3::bigint[], $4::bytea[]) AS s (level, number, root)";
/// Roots of a stretch of subtrees.
pub const SUBTREES: &str = "SELECT root FROM audit.subtrees \
     WHERE tenant_id = $1 AND level = $2 AND number >= $3 AND number < $4 ORDER BY number";

/// The boot of a lane, and how many of its records are lost.
pub const LANE: &str = "SELECT boot, lost FROM audit.lanes WHERE node = $1 AND lane = $2";
/// Keeps both.
pub const KEEP_LANE: &str = "INSERT INTO audit.lanes (node, lane, boot, lost) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (node, lane) DO UPDATE SET boot = EXCLUDED.boot, lost = EXCLUDED.lost \
     WHERE (lanes.boot, lanes.lost) <> (EXCLUDED.boot, EXCLUDED.lost)";
/// The last counter of a lane in each of these logs.
pub const EMITTERS: &str = "SELECT tenant_id, counter FROM audit.emitters \
     WHERE node = $1 AND lane = $2 AND tenant_id = ANY ($3)";
/// Keeps the last counters.
pub const KEEP_EMITTERS: &str = "INSERT INTO audit.emitters (node, lane, tenant_id, counter) \
     SELECT $1, $2, e.tenant_id, e.counter FROM unnest($3::uuid[], $4::bigint[]) AS e (tenant_id, counter) \
     ON CONFLICT (node, lane, tenant_id) DO UPDATE SET counter = EXCLUDED.counter";
/// A lane's counters begin again.
pub const FORGET_EMITTERS: &str = "DELETE FROM audit.emitters WHERE node = $1 AND lane = $2";

/// Logs with leaves that no checkpoint covers.
pub const MOVED_LOGS: &str =
    "SELECT tenant_id FROM audit.logs WHERE size > checkpoint_size ORDER BY tenant_id LIMIT $1";
/// A log, its last leaf's number (−1 if it has none), and the note it signed at a size.
pub const EXAMINE: &str = "SELECT l.origin, l.size, l.root, l.frontier, \
         (SELECT coalesce(max(e.idx), -1) FROM audit.events e WHERE e.tenant_id = l.tenant_id) AS last, \
         (SELECT c.note FROM audit.checkpoints c WHERE c.tenant_id = l.tenant_id AND c.size = $2) AS note \
     FROM audit.logs l WHERE l.tenant_id = $1";
/// Keeps a checkpoint.
pub const ADD_CHECKPOINT: &str = "INSERT INTO audit.checkpoints (tenant_id, size, note, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
/// Notes how far checkpoints reach.
pub const COVERED: &str =
    "UPDATE audit.logs SET checkpoint_size = $2 WHERE tenant_id = $1 AND checkpoint_size < $2";

/// Everything that the transaction reads is of one moment.
pub const ONE_MOMENT: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
/// Logs in the order of their tenants, one or all, after one.
pub const LOGS: &str = "SELECT tenant_id, origin, size, root, checkpoint_size, closed_at FROM audit.logs \
     WHERE ($1::uuid IS NULL OR tenant_id = $1) AND tenant_id > $2 ORDER BY tenant_id LIMIT $3";
/// One log.
pub const LOG: &str =
    "SELECT tenant_id, origin, size, root, checkpoint_size, closed_at FROM audit.logs WHERE tenant_id = $1";
/// Its newest checkpoint.
pub const NEWEST_CHECKPOINT: &str =
    "SELECT note, size FROM audit.checkpoints WHERE tenant_id = $1 ORDER BY size DESC LIMIT 1";
/// All its checkpoints, oldest first.
pub const CHECKPOINTS: &str = "SELECT note FROM audit.checkpoints WHERE tenant_id = $1 ORDER BY size";
/// Hashes of a stretch of leaves.
pub const LEAF_HASHES: &str =
    "SELECT leaf_hash FROM audit.events WHERE tenant_id = $1 AND idx >= $2 AND idx < $3 ORDER BY idx";
/// Every row of a log, in order.
pub const WHOLE: &str = "SELECT idx, rx, ts, id, ev, out, actor, tgt, leaf, leaf_hash \
     FROM audit.events WHERE tenant_id = $1 ORDER BY idx";
/// One page of a log between two indexes, filtered, oldest first.
pub const SEARCH: &str = "SELECT idx, id, leaf, leaf_hash FROM audit.events \
     WHERE tenant_id = $1 AND idx > $2 AND idx < $3 AND ($4::text IS NULL OR ev = $4) \
       AND ($5::text IS NULL OR ty = $5) AND ($6::text IS NULL OR out = $6) \
       AND ($7::text IS NULL OR substr(actor, strpos(actor, ':') + 1) = $7) \
       AND ($8::text IS NULL OR $8 = ANY (tgt)) \
       AND ($9::bigint IS NULL OR rx >= $9) AND ($10::bigint IS NULL OR rx < $10) \
     ORDER BY idx LIMIT $11";
/// The same, newest first.
pub const SEARCH_BACK: &str = "SELECT idx, id, leaf, leaf_hash FROM audit.events \
     WHERE tenant_id = $1 AND idx > $2 AND idx < $3 AND ($4::text IS NULL OR ev = $4) \
       AND ($5::text IS NULL OR ty = $5) AND ($6::text IS NULL OR out = $6) \
       AND ($7::text IS NULL OR substr(actor, strpos(actor, ':') + 1) = $7) \
       AND ($8::text IS NULL OR $8 = ANY (tgt)) \
       AND ($9::bigint IS NULL OR rx >= $9) AND ($10::bigint IS NULL OR rx < $10) \
     ORDER BY idx DESC LIMIT $11";
/// One event by its id.
pub const EVENT: &str = "SELECT tenant_id, idx, id, leaf, leaf_hash FROM audit.events WHERE id = $1 LIMIT 1";
