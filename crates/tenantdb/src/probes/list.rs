//! The probes: fifty attempts of one tenant on another, of six kinds. Each runs in a transaction of the attacker's own, on a row that
//! another tenant has written.

/// What a probe goes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The victim's rows.
    Read,
    /// Changing them, or writing in its name.
    Write,
    /// A context of the attacker's own making.
    Forge,
    /// A context that was somebody's.
    Replay,
    /// What contexts are signed with.
    Key,
    /// The catalog, the server and its other sessions.
    Catalog,
}

impl Kind {
    /// The word in answers and rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Read => "read",
            Kind::Write => "write",
            Kind::Forge => "forge",
            Kind::Replay => "replay",
            Kind::Key => "key",
            Kind::Catalog => "catalog",
        }
    }
}

/// One attempt.
#[derive(Debug, PartialEq, Eq)]
pub struct Probe {
    /// What it goes for.
    pub kind: Kind,
    /// Unique.
    pub name: &'static str,
    /// `{table}` is one with a row of the attacker and one of the `{victim}`. Contexts: `{altered}` the attacker's with the victim's id,
    /// `{guessed}` the victim's signed with another key, `{stolen}` of the victim's own backend (`{pid}`), `{expired}` the victim's for
    /// this backend whose time is up, `{stale}` of another epoch, `{weak}` with the right to read only, `{raised}` that with more written in.
    pub sql: &'static str,
    /// SQLSTATEs of which one must come; if none is named anything may come that tells nothing of the victim.
    pub expected: &'static [&'static str],
}

const DENIED: &[&str] = &["42501"];
const NO_CONTEXT: &[&str] = &["RH001"];
const UNSEEN: &[&str] = &[];

/// All of them.
pub fn all() -> &'static [Probe] {
    PROBES
}

const fn probe(
    kind: Kind,
    name: &'static str,
    sql: &'static str,
    expected: &'static [&'static str],
) -> Probe {
    Probe { kind, name, sql, expected }
}

#[rustfmt::skip]
static PROBES: &[Probe] = &[
    probe(Kind::Read, "all rows", "SELECT * FROM {table}", &["ok"]),
    probe(Kind::Read, "rows of the victim's id", "SELECT * FROM {table} WHERE tenant_id = '{victim}'", &["ok"]),
    probe(Kind::Read, "rows, to be changed", "SELECT * FROM {table} FOR UPDATE", &["ok"]),
    probe(Kind::Read, "policies switched off", "SET LOCAL row_security = off; SELECT * FROM {table}", DENIED),
    probe(Kind::Read, "a division that tells", "SELECT * FROM {table} WHERE 1 / (CASE WHEN marker <> 'own' THEN 0 ELSE 1 END) = 1", &["ok"]),
    probe(Kind::Read, "a cast that tells", "SELECT * FROM {table} WHERE CASE WHEN marker = 'own' THEN true ELSE marker::int > 0 END", &["ok"]),
    probe(Kind::Read, "rows as XML", "SELECT query_to_xml('SELECT * FROM {table}', true, true, '')", UNSEEN),
    probe(Kind::Read, "rows as statistics", "SELECT * FROM ts_stat('SELECT to_tsvector(marker) FROM {table}')", UNSEEN),
    probe(Kind::Read, "a cursor that is held", "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM {table}; COMMIT; FETCH ALL FROM c; CLOSE c", UNSEEN),
    probe(Kind::Read, "a cursor without a context", "COMMIT; BEGIN; DECLARE c CURSOR FOR SELECT * FROM {table}; FETCH ALL FROM c", NO_CONTEXT),
    probe(Kind::Read, "a plan without a context", "PREPARE rh_p AS SELECT * FROM {table}; EXECUTE rh_p; COMMIT; BEGIN; EXECUTE rh_p", NO_CONTEXT),
    probe(Kind::Read, "a copy to a program", "COPY {table} TO PROGRAM 'cat'", DENIED),
    probe(Kind::Read, "a copy to a file", "COPY {table} TO '/tmp/rh-probe'", DENIED),
    probe(Kind::Write, "all rows changed", "UPDATE {table} SET marker = 'changed'; COMMIT; BEGIN", &["ok", "RH001"]),
    probe(Kind::Write, "a row in the victim's name", "INSERT INTO {table} (tenant_id, id, marker) VALUES ('{victim}', gen_random_uuid(), 'x')", DENIED),
    probe(Kind::Write, "a row given to the victim", "UPDATE {table} SET tenant_id = '{victim}'", DENIED),
    probe(Kind::Write, "the victim's key taken over", "INSERT INTO {table} (tenant_id, id, marker) VALUES ('{victim}', '{victim}', 'x') ON CONFLICT (tenant_id, id) DO UPDATE SET marker = 'y'", DENIED),
    probe(Kind::Write, "a merge", "MERGE INTO {table} t USING (VALUES ('{victim}'::uuid)) v(id) ON t.id = v.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (tenant_id, id, marker) VALUES (v.id, v.id, 'x')", DENIED),
    probe(Kind::Write, "the table emptied", "TRUNCATE {table}", DENIED),
    probe(Kind::Write, "the victim's rows deleted", "DELETE FROM {table} WHERE tenant_id = '{victim}'; COMMIT; BEGIN", &["ok"]),
    probe(Kind::Write, "deleted without the right", "SELECT set_config('rh.ctx', '{weak}', true); DELETE FROM {table}", &["RH003"]),
    probe(Kind::Write, "a place made", "INSERT INTO rh.place VALUES ('{victim}', 'rh_app', 1, 'rwd')", DENIED),
    probe(Kind::Forge, "a context altered", "SELECT set_config('rh.ctx', '{altered}', true); SELECT * FROM {table}", NO_CONTEXT),
    probe(Kind::Forge, "a context signed with a guessed key", "SELECT rh.enter('{guessed}', true); SELECT * FROM {table}", NO_CONTEXT),
    probe(Kind::Forge, "no context", "RESET rh.ctx; SELECT * FROM {table}", NO_CONTEXT),
    probe(Kind::Forge, "an empty context", "SELECT set_config('rh.ctx', '', true); SELECT * FROM {table}", NO_CONTEXT),
    probe(Kind::Forge, "a context that cannot be read", "SELECT set_config('rh.ctx', 'r1.' || repeat('.', 100000), true); SELECT * FROM {table}", NO_CONTEXT),
    probe(Kind::Forge, "rights raised by hand", "SELECT set_config('rh.ctx', '{raised}', true); DELETE FROM {table}", NO_CONTEXT),
    probe(Kind::Forge, "another verifier", "CREATE OR REPLACE FUNCTION rh.tenant(need text) RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'", DENIED),
    probe(Kind::Replay, "another backend's context", "SELECT rh.enter('{stolen}', true); SELECT * FROM {table}", NO_CONTEXT),
    probe(Kind::Replay, "another backend's context, for the session", "SET rh.ctx = '{stolen}'; SELECT * FROM {table}", NO_CONTEXT),
    probe(Kind::Replay, "a context whose time is up", "SELECT rh.enter('{expired}', true); SELECT * FROM {table}", NO_CONTEXT),
    probe(Kind::Replay, "a context of another epoch", "SELECT rh.enter('{stale}', true)", &["RH002"]),
    probe(Kind::Key, "the keys", "SELECT * FROM rh.key", DENIED),
    probe(Kind::Key, "the keys, counted", "SELECT count(*) FROM rh.key", DENIED),
    probe(Kind::Key, "the places", "SELECT * FROM rh.place", DENIED),
    probe(Kind::Key, "the guard's role", "SELECT set_config('role', 'rh_guard', false)", DENIED),
    probe(Kind::Key, "the mover's session", "SET SESSION AUTHORIZATION rh_mover_1", DENIED),
    probe(Kind::Key, "a key file", "SELECT pg_read_file('postgresql.conf')", DENIED),
    probe(Kind::Catalog, "other sessions", "SELECT * FROM pg_stat_activity", DENIED),
    probe(Kind::Catalog, "what values are common", "SELECT * FROM pg_stats", DENIED),
    probe(Kind::Catalog, "how large a table is", "SELECT pg_total_relation_size('{table}')", DENIED),
    probe(Kind::Catalog, "passwords", "SELECT * FROM pg_authid", DENIED),
    probe(Kind::Catalog, "another's backend ended", "SELECT pg_terminate_backend({pid})", DENIED),
    probe(Kind::Catalog, "a lock that keeps the victim out", "SELECT pg_advisory_lock(hashtextextended('{victim}', 7240))", DENIED),
    probe(Kind::Catalog, "a policy less", "DROP POLICY rh_tenant ON {table}", DENIED),
    probe(Kind::Catalog, "no policies", "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY", DENIED),
    probe(Kind::Catalog, "a grant", "GRANT SELECT ON {table} TO PUBLIC", DENIED),
    probe(Kind::Catalog, "a temporary table", "CREATE TEMP TABLE rh_t AS SELECT * FROM {table}", DENIED),
    probe(Kind::Catalog, "all that is owned, dropped", "DROP OWNED BY CURRENT_USER", DENIED),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_fifty_of_six_kinds() {
        assert_eq!(PROBES.len(), 50);
        let mut names: Vec<_> = PROBES.iter().map(|probe| probe.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 50, "each has a name of its own");
        for kind in [Kind::Read, Kind::Write, Kind::Forge, Kind::Replay, Kind::Key, Kind::Catalog] {
            assert!(PROBES.iter().filter(|probe| probe.kind == kind).count() >= 4, "{kind:?}");
        }
    }
}
