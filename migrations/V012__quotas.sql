-- Where tenants stand against their quotas: what was measured, what was told, what is imposed, and the days of it.

CREATE SCHEMA resources;
GRANT USAGE ON SCHEMA resources TO rowhouse_app;

-- Whether a tenant's place may grow: a full storage quota takes the right to write, not those to read and delete.
ALTER TABLE tenancy.places ADD COLUMN may_grow boolean NOT NULL DEFAULT true;

-- What exists of a meter, as it was last measured or pushed, and when it is measured again.
CREATE TABLE resources.measurements (
    tenant_id uuid NOT NULL,
    meter text NOT NULL,
    collector text NOT NULL,
    level numeric(38, 12),
    at timestamptz,
    due_at timestamptz,
    failures integer NOT NULL DEFAULT 0,
    problem text,
    CONSTRAINT measurements_pkey PRIMARY KEY (tenant_id, meter),
    CONSTRAINT measurements_level_check CHECK ((level IS NULL) = (at IS NULL))
);
CREATE INDEX measurements_due ON resources.measurements (due_at) WHERE due_at IS NOT NULL;
ALTER TABLE resources.measurements ENABLE ROW LEVEL SECURITY;
ALTER TABLE resources.measurements FORCE ROW LEVEL SECURITY;
CREATE POLICY measurements_scope ON resources.measurements
    USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON resources.measurements TO rowhouse_app;

-- Every level that was measured, by the minute: the last one, and the highest. The days are made of these.
CREATE TABLE resources.samples (
    tenant_id uuid NOT NULL,
    meter text NOT NULL,
    minute timestamptz NOT NULL,
    at timestamptz NOT NULL,
    level numeric(38, 12) NOT NULL,
    peak numeric(38, 12) NOT NULL,
    CONSTRAINT samples_pkey PRIMARY KEY (tenant_id, meter, minute)
);
CREATE INDEX samples_by_minute ON resources.samples (minute);
ALTER TABLE resources.samples ENABLE ROW LEVEL SECURITY;
ALTER TABLE resources.samples FORCE ROW LEVEL SECURITY;
CREATE POLICY samples_scope ON resources.samples USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON resources.samples TO rowhouse_app;

-- What is remembered of a quota between two figures. Who was never near a limit has no row.
CREATE TABLE resources.standings (
    tenant_id uuid NOT NULL,
    meter text NOT NULL,
    window_from timestamptz NOT NULL,
    state text NOT NULL,
    told text NOT NULL,
    round integer NOT NULL,
    below_since timestamptz,
    reached_told_at timestamptz,
    excess_since timestamptz,
    imposed boolean NOT NULL,
    CONSTRAINT standings_pkey PRIMARY KEY (tenant_id, meter)
);
ALTER TABLE resources.standings ENABLE ROW LEVEL SECURITY;
ALTER TABLE resources.standings FORCE ROW LEVEL SECURITY;
CREATE POLICY standings_scope ON resources.standings USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON resources.standings TO rowhouse_app;

-- What is imposed on a tenant: by its quota, by hand, or for what it owes.
CREATE TABLE resources.enforcements (
    tenant_id uuid NOT NULL,
    meter text NOT NULL,
    cause text NOT NULL,
    action text NOT NULL,
    flag text NOT NULL,
    since timestamptz NOT NULL,
    usage_at numeric(38, 12),
    until timestamptz,
    reason text,
    set_by text NOT NULL,
    CONSTRAINT enforcements_pkey PRIMARY KEY (tenant_id, meter, cause),
    CONSTRAINT enforcements_cause_check CHECK (cause IN ('quota', 'operator', 'billing')),
    CONSTRAINT enforcements_action_check
        CHECK (action IN ('block_writes', 'throttle', 'block_creation', 'refuse', 'notify'))
);
ALTER TABLE resources.enforcements ENABLE ROW LEVEL SECURITY;
ALTER TABLE resources.enforcements FORCE ROW LEVEL SECURITY;
CREATE POLICY enforcements_scope ON resources.enforcements
    USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON resources.enforcements TO rowhouse_app;

-- Enforcements lifted by hand: until then nothing is imposed for the meter, whatever usage says.
CREATE TABLE resources.lifts (
    tenant_id uuid NOT NULL,
    meter text NOT NULL,
    until timestamptz NOT NULL,
    reason text NOT NULL,
    set_by text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT lifts_pkey PRIMARY KEY (tenant_id, meter)
);
ALTER TABLE resources.lifts ENABLE ROW LEVEL SECURITY;
ALTER TABLE resources.lifts FORCE ROW LEVEL SECURITY;
CREATE POLICY lifts_scope ON resources.lifts USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON resources.lifts TO rowhouse_app;

-- Why and until when a tenant's quota differs from its tier's. The value itself stands with the tenant.
CREATE TABLE resources.overrides (
    tenant_id uuid NOT NULL,
    meter text NOT NULL,
    value text NOT NULL,
    until timestamptz,
    reason text NOT NULL,
    set_by text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT overrides_pkey PRIMARY KEY (tenant_id, meter)
);
ALTER TABLE resources.overrides ENABLE ROW LEVEL SECURITY;
ALTER TABLE resources.overrides FORCE ROW LEVEL SECURITY;
CREATE POLICY overrides_scope ON resources.overrides USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON resources.overrides TO rowhouse_app;

-- Every change of state, for explaining. The audit log tells the same for ever.
CREATE TABLE resources.transitions (
    tenant_id uuid NOT NULL,
    meter text NOT NULL,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL,
    from_state text NOT NULL,
    to_state text NOT NULL,
    usage numeric(38, 12) NOT NULL,
    quota numeric(38, 12),
    because text NOT NULL,
    CONSTRAINT transitions_pkey PRIMARY KEY (tenant_id, meter, seq)
);
CREATE INDEX transitions_by_age ON resources.transitions (at);
ALTER TABLE resources.transitions ENABLE ROW LEVEL SECURITY;
ALTER TABLE resources.transitions FORCE ROW LEVEL SECURITY;
CREATE POLICY transitions_scope ON resources.transitions
    USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, DELETE ON resources.transitions TO rowhouse_app;

-- What tenants are told. Once per quota, window, threshold and time that it was armed.
CREATE TABLE resources.messages (
    message_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    meter text NOT NULL,
    window_from timestamptz NOT NULL,
    template text NOT NULL,
    round integer NOT NULL,
    at timestamptz NOT NULL,
    data jsonb NOT NULL,
    CONSTRAINT messages_pkey PRIMARY KEY (message_id),
    CONSTRAINT messages_once_key UNIQUE (tenant_id, meter, window_from, template, round)
);
ALTER TABLE resources.messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE resources.messages FORCE ROW LEVEL SECURITY;
CREATE POLICY messages_scope ON resources.messages USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT ON resources.messages TO rowhouse_app;

-- Which limit held from when on: a day's row says what was allowed on that day.
CREATE TABLE resources.limits_seen (
    tenant_id uuid NOT NULL,
    meter text NOT NULL,
    at timestamptz NOT NULL,
    quota numeric(38, 12),
    CONSTRAINT limits_seen_pkey PRIMARY KEY (tenant_id, meter, at)
);
ALTER TABLE resources.limits_seen ENABLE ROW LEVEL SECURITY;
ALTER TABLE resources.limits_seen FORCE ROW LEVEL SECURITY;
CREATE POLICY limits_seen_scope ON resources.limits_seen
    USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT ON resources.limits_seen TO rowhouse_app;

-- Usage by the tenant's civil day: a projection of samples, limits and metered usage that can be made anew.
CREATE TABLE resources.usage_days (
    usage_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    resource_type text NOT NULL,
    usage_date date NOT NULL,
    current_usage numeric(38, 12) NOT NULL,
    peak_usage numeric(38, 12) NOT NULL,
    quota numeric(38, 12),
    unit text NOT NULL,
    billable_usage numeric(38, 12),
    unit_cost numeric(38, 12),
    total_cost numeric(38, 12),
    currency text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    closed boolean NOT NULL,
    CONSTRAINT usage_days_pkey PRIMARY KEY (usage_id),
    CONSTRAINT usage_days_key UNIQUE (tenant_id, resource_type, usage_date)
);
CREATE INDEX usage_days_open ON resources.usage_days (usage_date) WHERE NOT closed;
ALTER TABLE resources.usage_days ENABLE ROW LEVEL SECURITY;
ALTER TABLE resources.usage_days FORCE ROW LEVEL SECURITY;
CREATE POLICY usage_days_scope ON resources.usage_days
    USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON resources.usage_days TO rowhouse_app;
