//! Positions and quarantine.

/// The position of one lane.
pub const POSITION: &str =
    "SELECT sequence FROM journal.positions WHERE projection = $1 AND node = $2 AND lane = $3";

/// Sets the first position of a lane; no row if another worker was first.
pub const BEGIN_POSITION: &str = "INSERT INTO journal.positions (projection, node, lane, sequence) \
     VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";

/// Moves a position from where it was read; no row if another worker moved it.
pub const MOVE_POSITION: &str = "UPDATE journal.positions SET sequence = $4 \
     WHERE projection = $1 AND node = $2 AND lane = $3 AND sequence = $5";

/// Keeps a frame that could not be projected.
pub const QUARANTINE: &str = "INSERT INTO journal.quarantine \
         (projection, node, lane, sequence, kind, payload, problem, at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
