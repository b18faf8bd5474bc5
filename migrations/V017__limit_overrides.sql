-- Numbers that hold for one tenant in place of a limit's own. One whose time is over is without effect; it stays until it
-- is replaced or removed.
CREATE TABLE limits.overrides (
    tenant_id uuid NOT NULL,
    limit_name text NOT NULL,
    value jsonb NOT NULL,
    reason text NOT NULL,
    until timestamptz,
    set_by text NOT NULL,
    set_at timestamptz NOT NULL,
    CONSTRAINT overrides_pkey PRIMARY KEY (tenant_id, limit_name)
);
CREATE INDEX overrides_by_limit ON limits.overrides (limit_name, tenant_id);
CREATE INDEX overrides_until ON limits.overrides (until) WHERE until IS NOT NULL;
ALTER TABLE limits.overrides ENABLE ROW LEVEL SECURITY;
ALTER TABLE limits.overrides FORCE ROW LEVEL SECURITY;
CREATE POLICY overrides_scope ON limits.overrides USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON limits.overrides TO rowhouse_app;
