-- Roles, and what every feature shares: notices, idempotency, jobs, positions of projections, the audit outbox.
-- A feature writes only its own schema; these belong to `api`, `journal` and `audit`.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rowhouse_app') THEN
        CREATE ROLE rowhouse_app NOLOGIN NOBYPASSRLS;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rowhouse_sequencer') THEN
        CREATE ROLE rowhouse_sequencer NOLOGIN NOBYPASSRLS;
    END IF;
END $$;

CREATE SCHEMA api;
CREATE SCHEMA journal;
CREATE SCHEMA audit;
GRANT USAGE ON SCHEMA api, journal, audit TO rowhouse_app;
GRANT USAGE ON SCHEMA audit, journal TO rowhouse_sequencer;

-- The tenant that the running transaction is for, or NULL on the platform. The second lock behind `Permit`.
CREATE FUNCTION api.current_tenant() RETURNS uuid STABLE PARALLEL SAFE
LANGUAGE sql AS $$ SELECT nullif(current_setting('rowhouse.tenant', true), '')::uuid $$;

-- Whether the running transaction may see rows of `tenant`. Without a scope it sees nothing.
CREATE FUNCTION api.sees(tenant uuid) RETURNS boolean STABLE PARALLEL SAFE
LANGUAGE sql AS $$
    SELECT CASE current_setting('rowhouse.scope', true)
        WHEN 'platform' THEN true
        WHEN 'tenant' THEN tenant = nullif(current_setting('rowhouse.tenant', true), '')::uuid
        ELSE false
    END
$$;
GRANT EXECUTE ON FUNCTION api.current_tenant(), api.sees(uuid) TO rowhouse_app, rowhouse_sequencer;

-- What a change touched. Rows become visible in the order of `id`: the commit holds advisory lock 7241.
CREATE TABLE api.notices (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    tenant_id uuid,
    subject text,
    at timestamptz NOT NULL
);
GRANT SELECT, INSERT, DELETE ON api.notices TO rowhouse_app;

CREATE TABLE api.idempotency (
    principal text NOT NULL,
    tenant text NOT NULL,
    method text NOT NULL,
    path text NOT NULL,
    key text NOT NULL,
    body_sha256 bytea NOT NULL,
    status smallint,
    answer jsonb,
    location text,
    created_at timestamptz NOT NULL,
    CONSTRAINT idempotency_pkey PRIMARY KEY (principal, tenant, method, path, key)
);
CREATE INDEX idempotency_by_age ON api.idempotency (created_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON api.idempotency TO rowhouse_app;

-- Work outside a request that is safe to do twice.
CREATE TABLE api.jobs (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    payload jsonb NOT NULL,
    run_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    leased_until timestamptz,
    last_problem text,
    done_at timestamptz
);
CREATE INDEX jobs_due ON api.jobs (run_at) WHERE done_at IS NULL;
GRANT SELECT, INSERT, UPDATE, DELETE ON api.jobs TO rowhouse_app;

-- How far a projection has read each lane; moved in the transaction of its effect.
CREATE TABLE journal.positions (
    projection text NOT NULL,
    node text NOT NULL,
    lane text NOT NULL,
    sequence bigint NOT NULL,
    CONSTRAINT positions_pkey PRIMARY KEY (projection, node, lane)
);
GRANT SELECT, INSERT, UPDATE ON journal.positions TO rowhouse_app, rowhouse_sequencer;

-- Records that a projection could not take, kept with the reason.
CREATE TABLE journal.quarantine (
    projection text NOT NULL,
    node text NOT NULL,
    lane text NOT NULL,
    sequence bigint NOT NULL,
    kind smallint NOT NULL,
    payload bytea NOT NULL,
    problem text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT quarantine_pkey PRIMARY KEY (projection, node, lane, sequence)
);
GRANT SELECT, INSERT, DELETE ON journal.quarantine TO rowhouse_app;

-- Events of changes, written in the transaction of the change; the sequencer takes them out.
CREATE TABLE audit.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    draft jsonb NOT NULL,
    at timestamptz NOT NULL
);
GRANT INSERT ON audit.outbox TO rowhouse_app;
GRANT SELECT, DELETE ON audit.outbox TO rowhouse_sequencer;
