-- Programs that people sign in to with their account here. One of the operator is for people of all tenants. `secret` is a keyed hash; none
-- for programs on people's own devices.
CREATE TABLE identity.applications (
    application_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    redirect_uris text[] NOT NULL,
    secret bytea,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    CONSTRAINT applications_pkey PRIMARY KEY (application_id)
);
CREATE INDEX applications_by_tenant ON identity.applications (tenant_id, application_id);

-- A code that an application was given, as a keyed hash. `session_id` is the browser's, `used_for` the one that it became: a code that is
-- shown again ends that. `tenant_id` is where the person is signed in. `nonce` and `scope` are what the application asked with.
CREATE TABLE identity.authorization_codes (
    digest bytea NOT NULL,
    application_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    session_id uuid NOT NULL,
    evidence jsonb NOT NULL,
    redirect_uri text NOT NULL,
    challenge text NOT NULL,
    nonce text NOT NULL,
    scope text NOT NULL,
    expires_at timestamptz NOT NULL,
    used_for uuid,
    CONSTRAINT authorization_codes_pkey PRIMARY KEY (digest),
    CONSTRAINT authorization_codes_application_fkey FOREIGN KEY (application_id)
        REFERENCES identity.applications (application_id) ON DELETE CASCADE
);
CREATE INDEX authorization_codes_by_age ON identity.authorization_codes (expires_at);
CREATE INDEX authorization_codes_by_application ON identity.authorization_codes (application_id);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['applications', 'authorization_codes'] LOOP
        EXECUTE format('ALTER TABLE identity.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE identity.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY %I ON identity.%I USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id))',
            t || '_scope', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON identity.%I TO rowhouse_app', t);
    END LOOP;
END $$;

-- Of a session that an application was given: it alone refreshes it, and it ends with the application.
ALTER TABLE identity.sessions ADD COLUMN application_id uuid;
CREATE INDEX sessions_by_application ON identity.sessions (application_id) WHERE application_id IS NOT NULL AND ended_at IS NULL;

-- As before, and with the tenant's applications and codes.
CREATE FUNCTION identity.erase_applications(erased_tenant uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    scope_before text := current_setting('rowhouse.scope', true);
BEGIN
    PERFORM set_config('rowhouse.scope', 'platform', true);
    DELETE FROM identity.authorization_codes WHERE tenant_id = erased_tenant;
    DELETE FROM identity.applications WHERE tenant_id = erased_tenant;
    PERFORM set_config('rowhouse.scope', scope_before, true);
END $$;
REVOKE EXECUTE ON FUNCTION identity.erase_applications(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.erase_applications(uuid) TO rowhouse_app;
