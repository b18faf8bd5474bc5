-- Attacks that are tried on the shared databases every day, and what became of them.

CREATE TABLE tenancy.probes (
    run_id uuid NOT NULL,
    number integer NOT NULL,
    cell text NOT NULL,
    database text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    on_table text NOT NULL,
    expected text NOT NULL,
    found text NOT NULL,
    held boolean NOT NULL,
    tried_at timestamptz NOT NULL,
    CONSTRAINT probes_pkey PRIMARY KEY (run_id, number),
    CONSTRAINT probes_kind_check CHECK (kind IN ('read', 'write', 'forge', 'replay', 'key', 'catalog'))
);
-- For: when was this cell last probed; what is too old.
CREATE INDEX probes_cell_tried_at ON tenancy.probes (cell, tried_at DESC);
CREATE INDEX probes_tried_at ON tenancy.probes (tried_at);
GRANT SELECT, INSERT, DELETE ON tenancy.probes TO rowhouse_app;

-- Evidence: one row a probe.
CREATE VIEW tenancy.evidence_probes WITH (security_invoker = true) AS
SELECT run_id, number, cell, database, kind, name, on_table, expected, found, held, tried_at
  FROM tenancy.probes;
GRANT SELECT ON tenancy.evidence_probes TO rowhouse_app;
