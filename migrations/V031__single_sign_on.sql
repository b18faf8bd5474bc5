-- Tenants' own providers of identities, and who of whom is which person here.

-- How people of a tenant sign in at its own provider (OpenID Connect). `client_secret` is sealed; none for a client without. `discovery` and
-- `key_set` lie here as they were fetched. `role_map`: {value of the claim: [roles]}. `tested_version` is the version that a sign-in for a test
-- got through with.
CREATE TABLE identity.connections (
    connection_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    issuer text NOT NULL,
    client_id text NOT NULL,
    client_secret bytea,
    email_domains text[] NOT NULL,
    roles text[] NOT NULL,
    role_claim text,
    role_map jsonb NOT NULL,
    creates_members boolean NOT NULL,
    proves_mfa boolean NOT NULL,
    assumes_verified boolean NOT NULL,
    state text NOT NULL,
    discovery jsonb NOT NULL,
    key_set text NOT NULL,
    fetched_at timestamptz NOT NULL,
    tried_at timestamptz NOT NULL,
    last_problem text,
    tested_version bigint,
    test_result jsonb,
    version bigint NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    CONSTRAINT connections_pkey PRIMARY KEY (connection_id),
    CONSTRAINT connections_name_key UNIQUE (tenant_id, name),
    CONSTRAINT connections_state_check CHECK (state IN ('off', 'active'))
);
-- Which connection an address leads to.
CREATE INDEX connections_by_domain ON identity.connections USING gin (email_domains) WHERE state = 'active';

-- Who a person is at a provider: never an address, which can become somebody else's. `roles` are those that the connection gave.
CREATE TABLE identity.provider_links (
    connection_id uuid NOT NULL,
    subject text NOT NULL,
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    roles text[] NOT NULL,
    linked_at timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    CONSTRAINT provider_links_pkey PRIMARY KEY (connection_id, subject),
    CONSTRAINT provider_links_user_key UNIQUE (connection_id, user_id),
    CONSTRAINT provider_links_connection_fkey FOREIGN KEY (connection_id)
        REFERENCES identity.connections (connection_id) ON DELETE CASCADE,
    CONSTRAINT provider_links_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (user_id)
);
CREATE INDEX provider_links_by_user ON identity.provider_links (user_id);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['connections', 'provider_links'] LOOP
        EXECUTE format('ALTER TABLE identity.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE identity.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY %I ON identity.%I USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id))',
            t || '_scope', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON identity.%I TO rowhouse_app', t);
    END LOOP;
END $$;

-- Answers of providers that were taken, as keyed hashes, so that none is taken twice by any replica.
CREATE TABLE identity.provider_answers (
    digest bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT provider_answers_pkey PRIMARY KEY (digest)
);
CREATE INDEX provider_answers_by_age ON identity.provider_answers (expires_at);
ALTER TABLE identity.provider_answers ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.provider_answers FORCE ROW LEVEL SECURITY;
CREATE POLICY provider_answers_platform ON identity.provider_answers
    USING (current_setting('rowhouse.scope', true) = 'platform')
    WITH CHECK (current_setting('rowhouse.scope', true) = 'platform');
GRANT SELECT, INSERT, DELETE ON identity.provider_answers TO rowhouse_app;

-- As before, and with the tenant's connections.
CREATE OR REPLACE FUNCTION identity.erase_people(
    erased_tenant uuid, erased_at timestamptz,
    OUT memberships bigint, OUT users bigint, OUT invitations bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    scope_before text := current_setting('rowhouse.scope', true);
    members uuid[];
    homeless uuid[];
BEGIN
    PERFORM set_config('rowhouse.scope', 'platform', true);
    DELETE FROM identity.invitations WHERE tenant_id = erased_tenant;
    GET DIAGNOSTICS invitations = ROW_COUNT;
    DELETE FROM identity.refresh_tokens WHERE tenant_id = erased_tenant;
    DELETE FROM identity.sessions WHERE tenant_id = erased_tenant;
    DELETE FROM identity.devices WHERE tenant_id = erased_tenant;
    DELETE FROM identity.sign_in_policies WHERE tenant_id = erased_tenant;
    DELETE FROM identity.provider_links WHERE tenant_id = erased_tenant;
    DELETE FROM identity.connections WHERE tenant_id = erased_tenant;
    WITH gone AS (DELETE FROM identity.memberships WHERE tenant_id = erased_tenant RETURNING user_id)
    SELECT coalesce(array_agg(user_id), '{}') INTO members FROM gone;
    memberships := cardinality(members);
    SELECT coalesce(array_agg(u.user_id), '{}') INTO homeless FROM identity.users u
        WHERE u.user_id = ANY (members)
          AND NOT EXISTS (SELECT FROM identity.memberships m WHERE m.user_id = u.user_id);
    DELETE FROM identity.passwords WHERE user_id = ANY (homeless);
    DELETE FROM identity.former_passwords WHERE user_id = ANY (homeless);
    DELETE FROM identity.factors WHERE user_id = ANY (homeless);
    DELETE FROM identity.recovery_codes WHERE user_id = ANY (homeless);
    DELETE FROM identity.links WHERE user_id = ANY (homeless);
    DELETE FROM identity.flows WHERE user_id = ANY (homeless);
    UPDATE identity.users SET email = NULL, email_key = NULL, email_verified_at = NULL, full_name = '', timezone = 'UTC',
        language = 'en', status = 'erased', last_sign_in_at = NULL, updated_at = erased_at, version = version + 1
        WHERE user_id = ANY (homeless);
    users := cardinality(homeless);
    PERFORM set_config('rowhouse.scope', scope_before, true);
END $$;
