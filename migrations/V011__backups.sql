-- Tenants' keys and residency; backups, restored copies and exports of tenants.

-- Sealed with the master key; NULL once destroyed, which erases everything under it.
CREATE TABLE tenancy.tenant_keys (
    tenant_id uuid NOT NULL,
    sealed bytea,
    created_at timestamptz NOT NULL,
    destroyed_at timestamptz,
    CONSTRAINT tenant_keys_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT tenant_keys_destroyed CHECK ((sealed IS NULL) = (destroyed_at IS NOT NULL))
);
ALTER TABLE tenancy.tenant_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenancy.tenant_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_keys_scope ON tenancy.tenant_keys USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE ON tenancy.tenant_keys TO rowhouse_app;

-- Regions or zones that narrow where the tenant's bytes may rest; empty: no narrowing.
ALTER TABLE tenancy.tenants ADD COLUMN IF NOT EXISTS residency text[] NOT NULL DEFAULT '{}';
