-- What nobody in a tenant may have together: separation of duty.

CREATE TABLE access.constraints (
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    roles text[] NOT NULL,
    permissions text[] NOT NULL,
    at_most integer NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT constraints_pkey PRIMARY KEY (tenant_id, name)
);
ALTER TABLE access.constraints ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.constraints FORCE ROW LEVEL SECURITY;
CREATE POLICY constraints_scope ON access.constraints USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON access.constraints TO rowhouse_app;
