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

-- Copies of one tenant's rows. What lies outside is the file; a row is first.
CREATE TABLE lifecycle.backups (
    backup_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    cause text NOT NULL,
    -- The day that a scheduled one is of.
    day date,
    note text NOT NULL,
    state text NOT NULL,
    region text NOT NULL,
    cell text,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    run_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    lease_until timestamptz,
    problem text,
    taken_at timestamptz,
    finished_at timestamptz,
    expires_at timestamptz NOT NULL,
    file text,
    file_sha256 text,
    manifest_sha256 text,
    bytes bigint,
    rows bigint,
    services jsonb NOT NULL DEFAULT '{}',
    last_verified_at timestamptz,
    verified jsonb,
    CONSTRAINT backups_pkey PRIMARY KEY (backup_id),
    CONSTRAINT backups_kind_check CHECK (kind IN ('snapshot')),
    CONSTRAINT backups_state_check CHECK (state IN ('running', 'ok', 'failed', 'expired', 'shredded')),
    CONSTRAINT backups_ok_check CHECK (state <> 'ok' OR (file IS NOT NULL AND taken_at IS NOT NULL))
);
CREATE UNIQUE INDEX backups_day_key ON lifecycle.backups (tenant_id, day) WHERE day IS NOT NULL;
CREATE INDEX backups_by_tenant ON lifecycle.backups (tenant_id, backup_id);
CREATE INDEX backups_due ON lifecycle.backups (run_at) WHERE state = 'running';
CREATE INDEX backups_expiring ON lifecycle.backups (expires_at) WHERE state IN ('ok', 'failed');
ALTER TABLE lifecycle.backups ENABLE ROW LEVEL SECURITY;
ALTER TABLE lifecycle.backups FORCE ROW LEVEL SECURITY;
CREATE POLICY backups_scope ON lifecycle.backups USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE ON lifecycle.backups TO rowhouse_app;

-- What a backup was restored to: a database of its own beside the living one, for a time.
CREATE TABLE lifecycle.restores (
    restore_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    backup_id uuid NOT NULL CONSTRAINT restores_backup_fkey REFERENCES lifecycle.backups (backup_id),
    operation_id uuid NOT NULL,
    mode text NOT NULL,
    state text NOT NULL,
    cell text NOT NULL,
    place jsonb NOT NULL,
    -- The login's password, sealed with the tenant's key.
    secret bytea,
    rows bigint,
    services jsonb NOT NULL DEFAULT '{}',
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT restores_pkey PRIMARY KEY (restore_id),
    CONSTRAINT restores_mode_check CHECK (mode IN ('beside', 'verify')),
    CONSTRAINT restores_state_check CHECK (state IN ('running', 'open', 'failed', 'expired'))
);
CREATE INDEX restores_by_tenant ON lifecycle.restores (tenant_id, restore_id);
CREATE INDEX restores_expiring ON lifecycle.restores (expires_at) WHERE state = 'open';
ALTER TABLE lifecycle.restores ENABLE ROW LEVEL SECURITY;
ALTER TABLE lifecycle.restores FORCE ROW LEVEL SECURITY;
CREATE POLICY restores_scope ON lifecycle.restores USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE ON lifecycle.restores TO rowhouse_app;

-- Everything of a tenant for it to take along; the file lies sealed.
CREATE TABLE lifecycle.exports (
    export_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    operation_id uuid NOT NULL,
    state text NOT NULL,
    region text NOT NULL,
    file text,
    -- Names and lengths of what is in it, in order.
    contents jsonb,
    bytes bigint,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT exports_pkey PRIMARY KEY (export_id),
    CONSTRAINT exports_state_check CHECK (state IN ('running', 'ok', 'failed', 'expired'))
);
CREATE INDEX exports_by_tenant ON lifecycle.exports (tenant_id, export_id);
CREATE INDEX exports_expiring ON lifecycle.exports (expires_at) WHERE state = 'ok';
ALTER TABLE lifecycle.exports ENABLE ROW LEVEL SECURITY;
ALTER TABLE lifecycle.exports FORCE ROW LEVEL SECURITY;
CREATE POLICY exports_scope ON lifecycle.exports USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE ON lifecycle.exports TO rowhouse_app;
