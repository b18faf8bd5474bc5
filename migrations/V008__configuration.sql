-- What tenants set for themselves: configuration items, and overrides of feature flags.

-- Flags that the operator declares; a table of definitions as those of V002.
CREATE TABLE tenancy.flags (
    name text NOT NULL,
    definition jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    catalog text,
    updated_at timestamptz NOT NULL,
    CONSTRAINT flags_pkey PRIMARY KEY (name)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.flags TO rowhouse_app;

-- A sensitive value stands only in `sealed`, any other only in `value`. `bytes` is the length of the value as JSON.
CREATE TABLE tenancy.configuration (
    tenant_id uuid NOT NULL,
    category text NOT NULL,
    key text NOT NULL,
    value jsonb,
    sealed bytea,
    fingerprint text,
    bytes integer NOT NULL,
    description text NOT NULL,
    audience text NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by text NOT NULL,
    CONSTRAINT configuration_pkey PRIMARY KEY (tenant_id, category, key),
    CONSTRAINT configuration_one_value CHECK ((value IS NULL) <> (sealed IS NULL)),
    CONSTRAINT configuration_fingerprint CHECK ((sealed IS NULL) = (fingerprint IS NULL)),
    CONSTRAINT configuration_audience CHECK (audience IN ('services', 'gateway', 'portal', 'none'))
);
ALTER TABLE tenancy.configuration ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenancy.configuration FORCE ROW LEVEL SECURITY;
CREATE POLICY configuration_scope ON tenancy.configuration
    USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.configuration TO rowhouse_app;

-- The last version of an item that was deleted: one that is made again goes on counting, so that no ETag returns.
CREATE TABLE tenancy.configuration_ended (
    tenant_id uuid NOT NULL,
    category text NOT NULL,
    key text NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT configuration_ended_pkey PRIMARY KEY (tenant_id, category, key)
);
ALTER TABLE tenancy.configuration_ended ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenancy.configuration_ended FORCE ROW LEVEL SECURITY;
CREATE POLICY configuration_ended_scope ON tenancy.configuration_ended
    USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.configuration_ended TO rowhouse_app;

-- A tenant's own value of a flag. One whose time is over is without effect; it stays until it is replaced or removed.
CREATE TABLE tenancy.feature_overrides (
    tenant_id uuid NOT NULL,
    flag text NOT NULL,
    value jsonb NOT NULL,
    reason text NOT NULL,
    until timestamptz,
    by_operator boolean NOT NULL,
    set_by text NOT NULL,
    set_at timestamptz NOT NULL,
    CONSTRAINT feature_overrides_pkey PRIMARY KEY (tenant_id, flag)
);
CREATE INDEX feature_overrides_until ON tenancy.feature_overrides (until) WHERE until IS NOT NULL;
ALTER TABLE tenancy.feature_overrides ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenancy.feature_overrides FORCE ROW LEVEL SECURITY;
CREATE POLICY feature_overrides_scope ON tenancy.feature_overrides
    USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.feature_overrides TO rowhouse_app;
