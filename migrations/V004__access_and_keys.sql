-- Who may do what, and the keys that machines use.

-- Raised in the transaction of each change of a tenant's access.
CREATE TABLE access.versions (
    tenant_id uuid NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT versions_pkey PRIMARY KEY (tenant_id)
);
ALTER TABLE access.versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.versions FORCE ROW LEVEL SECURITY;
CREATE POLICY versions_scope ON access.versions USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE ON access.versions TO rowhouse_app;

CREATE TABLE access.grants (
    grant_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    principal_kind text NOT NULL,
    principal_id uuid NOT NULL,
    effect text NOT NULL,
    role text,
    permission text,
    valid_from timestamptz,
    valid_until timestamptz,
    reason text NOT NULL DEFAULT '',
    granted_by text NOT NULL,
    created_at timestamptz NOT NULL,
    removed_at timestamptz,
    CONSTRAINT grants_pkey PRIMARY KEY (grant_id),
    CONSTRAINT grants_effect_check CHECK (effect IN ('allow', 'deny')),
    CONSTRAINT grants_target_check CHECK (num_nonnulls(role, permission) = 1)
);
CREATE INDEX grants_by_tenant ON access.grants (tenant_id) WHERE removed_at IS NULL;
ALTER TABLE access.grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.grants FORCE ROW LEVEL SECURITY;
CREATE POLICY grants_scope ON access.grants USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE ON access.grants TO rowhouse_app;

CREATE SCHEMA keys;
GRANT USAGE ON SCHEMA keys TO rowhouse_app;

CREATE TABLE keys.service_accounts (
    service_account_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    disabled boolean NOT NULL DEFAULT false,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT service_accounts_pkey PRIMARY KEY (service_account_id),
    CONSTRAINT service_accounts_name_key UNIQUE (tenant_id, name)
);
ALTER TABLE keys.service_accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE keys.service_accounts FORCE ROW LEVEL SECURITY;
CREATE POLICY service_accounts_scope ON keys.service_accounts
    USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE ON keys.service_accounts TO rowhouse_app;

CREATE TABLE keys.keys (
    key_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    public_id text NOT NULL,
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    hint text NOT NULL,
    environment text NOT NULL,
    owner_kind text NOT NULL,
    owner_id uuid NOT NULL,
    roles text[] NOT NULL DEFAULT '{}',
    permissions text[] NOT NULL DEFAULT '{}',
    services text[],
    tags text[] NOT NULL DEFAULT '{}',
    metadata jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL,
    not_before timestamptz,
    expires_at timestamptz,
    family uuid NOT NULL,
    replaces uuid,
    replaced_by uuid,
    digest bytea NOT NULL,
    pepper integer NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_reason text,
    last_used_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT keys_pkey PRIMARY KEY (key_id),
    CONSTRAINT keys_public_id_key UNIQUE (public_id),
    CONSTRAINT keys_state_check CHECK (state IN ('active', 'disabled', 'revoked'))
);
CREATE INDEX keys_by_tenant ON keys.keys (tenant_id, key_id);
ALTER TABLE keys.keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE keys.keys FORCE ROW LEVEL SECURITY;
CREATE POLICY keys_scope ON keys.keys USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE ON keys.keys TO rowhouse_app;
