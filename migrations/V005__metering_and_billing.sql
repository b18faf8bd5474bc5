-- Usage, counted once; subscriptions.

GRANT SELECT, INSERT ON journal.quarantine TO rowhouse_sequencer;

-- What one record of the journal, or one reported event, added to one meter. The place in the journal is its
-- identity, so reading a stretch of the journal again adds nothing. Every window is the sum of its rows here.
CREATE TABLE metering.usage (
    tenant_id uuid NOT NULL,
    meter text NOT NULL,
    meter_version bigint NOT NULL,
    at timestamptz NOT NULL,
    quantity numeric(38, 12) NOT NULL,
    node text NOT NULL,
    lane text NOT NULL,
    sequence bigint NOT NULL,
    request_id uuid,
    endpoint text,
    principal text,
    status smallint,
    source text,
    event_id text,
    CONSTRAINT usage_pkey PRIMARY KEY (tenant_id, meter, at, node, lane, sequence),
    CONSTRAINT usage_origin_check CHECK (num_nonnulls(request_id, event_id) = 1)
);
ALTER TABLE metering.usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE metering.usage FORCE ROW LEVEL SECURITY;
CREATE POLICY usage_scope ON metering.usage USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT ON metering.usage TO rowhouse_app;

-- Usage by the minute (UTC). `usage_pkey` and this key both begin with tenant and meter: no reading passes over
-- another tenant's rows.
CREATE TABLE metering.windows (
    tenant_id uuid NOT NULL,
    meter text NOT NULL,
    meter_version bigint NOT NULL,
    minute timestamptz NOT NULL,
    events bigint NOT NULL,
    quantity numeric(38, 12) NOT NULL,
    CONSTRAINT windows_pkey PRIMARY KEY (tenant_id, meter, minute, meter_version)
);
ALTER TABLE metering.windows ENABLE ROW LEVEL SECURITY;
ALTER TABLE metering.windows FORCE ROW LEVEL SECURITY;
CREATE POLICY windows_scope ON metering.windows USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE ON metering.windows TO rowhouse_app;

-- For readings that span all tenants: what was used since a window of quotas began.
CREATE INDEX windows_by_minute ON metering.windows (minute);

-- The value that holds now, of meters whose values replace each other: that of the greatest (time, id).
CREATE TABLE metering.levels (
    tenant_id uuid NOT NULL,
    meter text NOT NULL,
    at timestamptz NOT NULL,
    id text COLLATE "C" NOT NULL,
    quantity numeric(38, 12) NOT NULL,
    CONSTRAINT levels_pkey PRIMARY KEY (tenant_id, meter)
);
ALTER TABLE metering.levels ENABLE ROW LEVEL SECURITY;
ALTER TABLE metering.levels FORCE ROW LEVEL SECURITY;
CREATE POLICY levels_scope ON metering.levels USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE ON metering.levels TO rowhouse_app;

-- What makes an event count once, for ever: 128 bits of SHA-256 over tenant, source and id.
CREATE TABLE metering.claims (
    claim uuid NOT NULL,
    content uuid NOT NULL,
    node text NOT NULL,
    lane text NOT NULL,
    sequence bigint NOT NULL,
    CONSTRAINT claims_pkey PRIMARY KEY (claim)
);
GRANT SELECT, INSERT ON metering.claims TO rowhouse_app;

-- Reported events that were counted; `data` is the JSON text as it was sent.
CREATE TABLE metering.events (
    tenant_id uuid NOT NULL,
    claim uuid NOT NULL,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    source text NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    data text,
    CONSTRAINT events_pkey PRIMARY KEY (tenant_id, claim)
);
ALTER TABLE metering.events ENABLE ROW LEVEL SECURITY;
ALTER TABLE metering.events FORCE ROW LEVEL SECURITY;
CREATE POLICY events_scope ON metering.events USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT ON metering.events TO rowhouse_app;

-- Reported events that were not counted, and why.
CREATE TABLE metering.left_out (
    tenant_id uuid NOT NULL,
    at timestamptz NOT NULL,
    node text NOT NULL,
    lane text NOT NULL,
    sequence bigint NOT NULL,
    source text NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    meters text[] NOT NULL,
    reason text NOT NULL,
    CONSTRAINT left_out_pkey PRIMARY KEY (tenant_id, at, node, lane, sequence),
    CONSTRAINT left_out_reason_check CHECK (reason IN ('duplicate', 'conflict'))
);
ALTER TABLE metering.left_out ENABLE ROW LEVEL SECURITY;
ALTER TABLE metering.left_out FORCE ROW LEVEL SECURITY;
CREATE POLICY left_out_scope ON metering.left_out USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT ON metering.left_out TO rowhouse_app;

-- Which plan a tenant is on, with the plan as it was when it was chosen.
CREATE TABLE billing.subscriptions (
    subscription_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    plan text NOT NULL,
    plan_version bigint NOT NULL,
    snapshot jsonb NOT NULL,
    currency text NOT NULL,
    zone text NOT NULL,
    anchor timestamptz NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    CONSTRAINT subscriptions_pkey PRIMARY KEY (subscription_id)
);
-- One subscription of a tenant is in force at a time.
CREATE UNIQUE INDEX subscriptions_current_key ON billing.subscriptions (tenant_id) WHERE ended_at IS NULL;
CREATE INDEX subscriptions_by_tenant ON billing.subscriptions (tenant_id, started_at);
ALTER TABLE billing.subscriptions ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing.subscriptions FORCE ROW LEVEL SECURITY;
CREATE POLICY subscriptions_scope ON billing.subscriptions
    USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE ON billing.subscriptions TO rowhouse_app;
