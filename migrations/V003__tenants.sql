-- Tenants, where they lie, and the long changes of their lives.

CREATE TABLE tenancy.tenants (
    tenant_id uuid NOT NULL,
    code text NOT NULL,
    company_name text NOT NULL,
    tier text NOT NULL CONSTRAINT tenants_tier_fkey REFERENCES tenancy.tiers (name),
    isolation text NOT NULL,
    region text NOT NULL,
    status text NOT NULL,
    status_before text,
    suspension jsonb,
    quota_overrides jsonb NOT NULL DEFAULT '{}',
    billing_contact jsonb NOT NULL DEFAULT '{}',
    metadata jsonb NOT NULL DEFAULT '{}',
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    activated_at timestamptz,
    suspended_at timestamptz,
    terminated_at timestamptz,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT tenants_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT tenants_code_key UNIQUE (code),
    CONSTRAINT tenants_isolation_check CHECK (isolation IN ('shared', 'schema', 'database', 'instance')),
    CONSTRAINT tenants_status_check CHECK (status IN
        ('provisioning', 'failed', 'active', 'suspended', 'migrating', 'leaving', 'terminated'))
);
ALTER TABLE tenancy.tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenancy.tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenants_scope ON tenancy.tenants USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.tenants TO rowhouse_app;

-- A cell is one PostgreSQL cluster and the tenants placed on it.
CREATE TABLE tenancy.cells (
    name text NOT NULL,
    region text NOT NULL,
    kind text NOT NULL,
    host text NOT NULL,
    port integer NOT NULL,
    state text NOT NULL DEFAULT 'open',
    created_at timestamptz NOT NULL,
    CONSTRAINT cells_pkey PRIMARY KEY (name)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.cells TO rowhouse_app;

-- Raised by every change that services must hear of: places, their rights, keys, installed tables.
CREATE TABLE tenancy.plane (
    is_only boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT plane_pkey PRIMARY KEY (is_only),
    CONSTRAINT plane_only_check CHECK (is_only)
);
INSERT INTO tenancy.plane DEFAULT VALUES;
GRANT SELECT, UPDATE ON tenancy.plane TO rowhouse_app;

-- The key that signs tenant contexts of one database of a cell, sealed with the master key.
CREATE TABLE tenancy.context_keys (
    cell text NOT NULL,
    database text NOT NULL,
    key_id text NOT NULL,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT context_keys_pkey PRIMARY KEY (cell, database, key_id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.context_keys TO rowhouse_app;

-- Where one tenant lies.
CREATE TABLE tenancy.places (
    tenant_id uuid NOT NULL,
    cell text NOT NULL,
    database text NOT NULL,
    login text NOT NULL,
    epoch bigint NOT NULL,
    -- What the tenant may do, and what its database has been told.
    rights text NOT NULL DEFAULT 'rwd',
    rights_applied text NOT NULL DEFAULT 'rwd',
    state text NOT NULL,
    CONSTRAINT places_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT places_state_check CHECK (state IN ('importing', 'settled', 'fenced', 'moved')),
    CONSTRAINT places_cell_fkey FOREIGN KEY (cell) REFERENCES tenancy.cells (name)
);
ALTER TABLE tenancy.places ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenancy.places FORCE ROW LEVEL SECURITY;
CREATE POLICY places_scope ON tenancy.places USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.places TO rowhouse_app;

-- What a service declares to lie in tenants' databases: its manifest and migrations.
CREATE TABLE tenancy.service_tables (
    service text NOT NULL,
    version integer NOT NULL,
    manifest text NOT NULL,
    migrations jsonb NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT service_tables_pkey PRIMARY KEY (service)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.service_tables TO rowhouse_app;

-- A service's tables as they are installed in one schema; `tenant_id` is NULL for the shared ones.
CREATE TABLE tenancy.installations (
    cell text NOT NULL,
    database text NOT NULL,
    schema text NOT NULL,
    service text NOT NULL,
    tenant_id uuid,
    version integer NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT installations_pkey PRIMARY KEY (cell, database, schema)
);
CREATE INDEX installations_by_tenant ON tenancy.installations (tenant_id);
ALTER TABLE tenancy.installations ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenancy.installations FORCE ROW LEVEL SECURITY;
CREATE POLICY installations_scope ON tenancy.installations
    USING (tenant_id IS NULL OR api.sees(tenant_id)) WITH CHECK (tenant_id IS NULL OR api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.installations TO rowhouse_app;

CREATE SCHEMA lifecycle;
GRANT USAGE ON SCHEMA lifecycle TO rowhouse_app;

CREATE TABLE lifecycle.sagas (
    saga_id uuid NOT NULL,
    kind text NOT NULL,
    kind_version integer NOT NULL,
    tenant_id uuid,
    params jsonb NOT NULL,
    state text NOT NULL,
    problem jsonb,
    result jsonb,
    executor uuid,
    generation bigint NOT NULL DEFAULT 0,
    lease_until timestamptz,
    run_at timestamptz NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT sagas_pkey PRIMARY KEY (saga_id),
    CONSTRAINT sagas_state_check CHECK (state IN ('running', 'unwinding', 'done', 'undone', 'stuck', 'abandoned'))
);
CREATE INDEX sagas_due ON lifecycle.sagas (run_at) WHERE state IN ('running', 'unwinding');
-- One changing saga per tenant.
CREATE UNIQUE INDEX sagas_busy_key ON lifecycle.sagas (tenant_id) WHERE state IN ('running', 'unwinding', 'stuck');
ALTER TABLE lifecycle.sagas ENABLE ROW LEVEL SECURITY;
ALTER TABLE lifecycle.sagas FORCE ROW LEVEL SECURITY;
CREATE POLICY sagas_scope ON lifecycle.sagas USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE ON lifecycle.sagas TO rowhouse_app;

-- The log of a saga. The primary key stops two executors.
CREATE TABLE lifecycle.saga_steps (
    saga_id uuid NOT NULL CONSTRAINT saga_steps_saga_fkey REFERENCES lifecycle.sagas (saga_id),
    step text NOT NULL,
    attempt integer NOT NULL,
    event text NOT NULL,
    output jsonb,
    problem text,
    generation bigint NOT NULL,
    at timestamptz NOT NULL,
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT saga_steps_pkey PRIMARY KEY (saga_id, step, attempt, event),
    CONSTRAINT saga_steps_event_check CHECK (event IN
        ('started', 'succeeded', 'failed', 'undo_started', 'undone', 'undo_failed', 'skipped', 'resumed', 'abandoned'))
);
GRANT SELECT, INSERT ON lifecycle.saga_steps TO rowhouse_app;

-- What exists outside the control database for a tenant; `intent` before it is made.
CREATE TABLE lifecycle.inventory (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    external_id text NOT NULL,
    saga_id uuid NOT NULL,
    step text NOT NULL,
    state text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT inventory_pkey PRIMARY KEY (tenant_id, kind, external_id),
    CONSTRAINT inventory_state_check CHECK (state IN ('intent', 'observed', 'gone'))
);
ALTER TABLE lifecycle.inventory ENABLE ROW LEVEL SECURITY;
ALTER TABLE lifecycle.inventory FORCE ROW LEVEL SECURITY;
CREATE POLICY inventory_scope ON lifecycle.inventory USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE ON lifecycle.inventory TO rowhouse_app;

CREATE SCHEMA deploy;
GRANT USAGE ON SCHEMA deploy TO rowhouse_app;

-- The server and application of a dedicated tenant: desired and observed are two columns.
CREATE TABLE deploy.instances (
    tenant_id uuid NOT NULL,
    cell text NOT NULL,
    desired jsonb NOT NULL,
    observed jsonb NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL,
    CONSTRAINT instances_pkey PRIMARY KEY (tenant_id)
);
ALTER TABLE deploy.instances ENABLE ROW LEVEL SECURITY;
ALTER TABLE deploy.instances FORCE ROW LEVEL SECURITY;
CREATE POLICY instances_scope ON deploy.instances USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON deploy.instances TO rowhouse_app;
