-- Domains of tenants' own. A name belongs to one tenant at a time.

CREATE TABLE tenancy.hosts (
    host_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    vouched_by text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT hosts_pkey PRIMARY KEY (host_id),
    CONSTRAINT hosts_name_key UNIQUE (name)
);
CREATE INDEX hosts_by_tenant ON tenancy.hosts (tenant_id, host_id);
ALTER TABLE tenancy.hosts ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenancy.hosts FORCE ROW LEVEL SECURITY;
CREATE POLICY hosts_scope ON tenancy.hosts USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, DELETE ON tenancy.hosts TO rowhouse_app;
