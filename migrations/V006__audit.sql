-- The event logs: one RFC 6962 Merkle log for each tenant, and one for the operator. Events are only ever inserted,
-- and only by the sequencer; columns filter, what is shown is rendered from `leaf`.

CREATE TABLE audit.logs (
    tenant_id uuid NOT NULL,
    origin text NOT NULL,
    incarnation bigint NOT NULL DEFAULT 1,
    size bigint NOT NULL DEFAULT 0,
    root bytea NOT NULL,
    frontier bytea NOT NULL,
    last_rx bigint NOT NULL DEFAULT 0,
    counter bigint NOT NULL DEFAULT 0,
    checkpoint_size bigint NOT NULL DEFAULT 0,
    opened_at timestamptz NOT NULL,
    CONSTRAINT logs_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT logs_origin_key UNIQUE (origin)
);
-- Logs that have leaves no checkpoint covers.
CREATE INDEX logs_moved ON audit.logs (tenant_id) WHERE size > checkpoint_size;

-- No foreign key to the log: it would be looked at for every leaf, and the sequencer has its row locked.
CREATE TABLE audit.events (
    tenant_id uuid NOT NULL,
    idx bigint NOT NULL,
    rx bigint NOT NULL,
    ts bigint NOT NULL,
    id text NOT NULL,
    ev text NOT NULL,
    ty text NOT NULL,
    out text NOT NULL,
    actor text NOT NULL,
    tgt text[] NOT NULL,
    leaf text NOT NULL,
    leaf_hash bytea NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (tenant_id, idx)
);
-- Not unique, so that no row that somebody put there can hold up the sequencer; verification finds a second one.
CREATE INDEX events_by_id ON audit.events (id);
CREATE INDEX events_by_name ON audit.events (tenant_id, ev, idx);
CREATE INDEX events_by_actor ON audit.events (tenant_id, substr(actor, strpos(actor, ':') + 1), idx);

-- Roots of complete subtrees: of 256 leaves at level 1, of 65,536 at level 2, and so on. Proofs are made from them.
CREATE TABLE audit.subtrees (
    tenant_id uuid NOT NULL,
    level smallint NOT NULL,
    number bigint NOT NULL,
    root bytea NOT NULL,
    CONSTRAINT subtrees_pkey PRIMARY KEY (tenant_id, level, number)
);

CREATE TABLE audit.checkpoints (
    tenant_id uuid NOT NULL CONSTRAINT checkpoints_log_fkey REFERENCES audit.logs (tenant_id),
    size bigint NOT NULL,
    note text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT checkpoints_pkey PRIMARY KEY (tenant_id, size)
);

-- The boot in which each lane of a journal is being read, and how many of its records are known to be lost and not
-- yet spoken of in a log.
CREATE TABLE audit.lanes (
    node text NOT NULL,
    lane text NOT NULL,
    boot bigint NOT NULL,
    lost bigint NOT NULL,
    CONSTRAINT lanes_pkey PRIMARY KEY (node, lane)
);

-- The last counter each log got from a lane, in the lane's present boot.
CREATE TABLE audit.emitters (
    node text NOT NULL,
    lane text NOT NULL,
    tenant_id uuid NOT NULL,
    counter bigint NOT NULL,
    CONSTRAINT emitters_pkey PRIMARY KEY (node, lane, tenant_id)
);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['logs', 'events', 'subtrees', 'checkpoints'] LOOP
        EXECUTE format('ALTER TABLE audit.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE audit.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY %I ON audit.%I USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id))',
            t || '_scope', t);
    END LOOP;
END $$;

GRANT SELECT ON audit.logs, audit.events, audit.subtrees, audit.checkpoints TO rowhouse_app;
GRANT SELECT, INSERT ON audit.events, audit.subtrees, audit.checkpoints TO rowhouse_sequencer;
GRANT SELECT, INSERT, UPDATE ON audit.logs, audit.lanes TO rowhouse_sequencer;
GRANT SELECT, INSERT, UPDATE, DELETE ON audit.emitters TO rowhouse_sequencer;
GRANT INSERT ON journal.quarantine TO rowhouse_sequencer;
GRANT USAGE ON SCHEMA api TO rowhouse_sequencer;
