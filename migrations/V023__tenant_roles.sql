-- Roles that tenants make themselves, of what the operator lets them compose.
CREATE TABLE access.tenant_roles (
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    title text NOT NULL DEFAULT '',
    permissions text[] NOT NULL DEFAULT '{}',
    inherits text[] NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT tenant_roles_pkey PRIMARY KEY (tenant_id, name)
);
ALTER TABLE access.tenant_roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.tenant_roles FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_roles_scope ON access.tenant_roles
    USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON access.tenant_roles TO rowhouse_app;
