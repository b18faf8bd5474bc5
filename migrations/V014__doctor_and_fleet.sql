-- What is known of the tenants' databases: the health of cells, drift, and the rollouts of migrations over the fleet.

-- Until a cell has been examined its statements are judged as if it had the known holes.
ALTER TABLE tenancy.cells
    ADD COLUMN strict boolean NOT NULL DEFAULT true,
    ADD COLUMN server_version text,
    ADD COLUMN examined_at timestamptz;

-- Functions that a service's migrations define: its statements may call them.
ALTER TABLE tenancy.service_tables
    ADD COLUMN functions text[] NOT NULL DEFAULT '{}';

-- What the doctor found when it last looked; one row a finding.
CREATE TABLE tenancy.findings (
    cell text NOT NULL,
    database text NOT NULL,
    code text NOT NULL,
    object text NOT NULL,
    severity text NOT NULL,
    found_at timestamptz NOT NULL,
    CONSTRAINT findings_pkey PRIMARY KEY (cell, database, code, object),
    CONSTRAINT findings_cell_fkey FOREIGN KEY (cell) REFERENCES tenancy.cells (name) ON DELETE CASCADE
);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.findings TO rowhouse_app;

-- One rollout of a service's migrations over all places.
CREATE TABLE tenancy.rollouts (
    rollout_id uuid NOT NULL,
    service text NOT NULL,
    version integer NOT NULL,
    waves text[] NOT NULL,
    on_failure text NOT NULL,
    state text NOT NULL,
    wave integer NOT NULL DEFAULT 0,
    reason text,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT rollouts_pkey PRIMARY KEY (rollout_id),
    CONSTRAINT rollouts_on_failure_check CHECK (on_failure IN ('stop', 'continue')),
    CONSTRAINT rollouts_state_check CHECK (state IN ('running', 'stopped', 'done', 'incomplete'))
);
-- One at a time for each service.
CREATE UNIQUE INDEX rollouts_busy_key ON tenancy.rollouts (service) WHERE state = 'running';
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.rollouts TO rowhouse_app;

-- A schema that a rollout brings to its version. The version itself stands in the schema's database, in the transaction of
-- the migration; this is how far the rollout knows it got.
CREATE TABLE tenancy.rollout_targets (
    rollout_id uuid NOT NULL,
    cell text NOT NULL,
    database text NOT NULL,
    schema text NOT NULL,
    tenant_id uuid,
    wave integer NOT NULL,
    state text NOT NULL DEFAULT 'waiting',
    attempts integer NOT NULL DEFAULT 0,
    run_at timestamptz NOT NULL,
    problem text,
    -- The process that works on it; after a restart its own are free again at once.
    node text,
    at timestamptz,
    CONSTRAINT rollout_targets_pkey PRIMARY KEY (rollout_id, cell, database, schema),
    CONSTRAINT rollout_targets_rollout_fkey FOREIGN KEY (rollout_id) REFERENCES tenancy.rollouts (rollout_id) ON DELETE CASCADE,
    CONSTRAINT rollout_targets_state_check CHECK (state IN ('waiting', 'running', 'done', 'failed', 'skipped'))
);
CREATE INDEX rollout_targets_due ON tenancy.rollout_targets (rollout_id, wave, cell, run_at) WHERE state IN ('waiting', 'running');
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.rollout_targets TO rowhouse_app;
