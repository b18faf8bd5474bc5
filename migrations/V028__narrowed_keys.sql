-- What narrows a key beyond its rights, and when it was used last.

ALTER TABLE keys.keys
    ADD COLUMN allowed_ips text[] NOT NULL DEFAULT '{}',
    ADD COLUMN resources jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN limits jsonb NOT NULL DEFAULT '[]',
    DROP COLUMN last_used_at;

-- Written by the projection of use, at most once a minute for a key, and never on the request.
CREATE TABLE keys.last_uses (
    key_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    at timestamptz NOT NULL,
    ip text NOT NULL,
    endpoint text NOT NULL,
    CONSTRAINT last_uses_pkey PRIMARY KEY (key_id)
);
ALTER TABLE keys.last_uses ENABLE ROW LEVEL SECURITY;
ALTER TABLE keys.last_uses FORCE ROW LEVEL SECURITY;
CREATE POLICY last_uses_scope ON keys.last_uses USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON keys.last_uses TO rowhouse_app;
