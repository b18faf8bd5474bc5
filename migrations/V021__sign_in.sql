-- How people sign in: tries, sign-ins under way, sessions, factors, links, and what a tenant asks of them.

-- What proves a person, and what counts against guessing, is nobody's to see: only work on the platform reaches it.

-- `key` is a keyed hash of a name, a device or a person, whether or not there is one of that name. `attempts` count towards the lock,
-- `consecutive` towards closing the password until it is set anew.
CREATE TABLE identity.throttles (
    key bytea NOT NULL,
    attempts integer NOT NULL,
    consecutive integer NOT NULL,
    locked_until timestamptz,
    changed_at timestamptz NOT NULL,
    CONSTRAINT throttles_pkey PRIMARY KEY (key)
);
CREATE INDEX throttles_by_age ON identity.throttles (changed_at);

-- A sign-in whose first proof was given. `digest` is the keyed hash of what its client holds. `evidence` is a list of
-- {"kind", "at"}; `code_digest` that of a code that was mailed. `guesses` are wrong codes.
CREATE TABLE identity.flows (
    digest bytea NOT NULL,
    user_id uuid NOT NULL,
    wanted_tenant uuid,
    state text NOT NULL,
    evidence jsonb NOT NULL,
    guesses integer NOT NULL DEFAULT 0,
    code_digest bytea,
    code_until timestamptz,
    throttle bytea,
    ip text NOT NULL,
    agent text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT flows_pkey PRIMARY KEY (digest),
    CONSTRAINT flows_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (user_id),
    CONSTRAINT flows_state_check CHECK (state IN ('open', 'done'))
);
CREATE INDEX flows_by_age ON identity.flows (expires_at);
CREATE INDEX flows_by_user ON identity.flows (user_id);

-- `sealed` is the secret of `totp`. `last_step` is the newest step whose code was taken: no older or equal one ever is.
CREATE TABLE identity.factors (
    factor_id uuid NOT NULL,
    user_id uuid NOT NULL,
    kind text NOT NULL,
    label text NOT NULL,
    state text NOT NULL,
    sealed bytea,
    last_step bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz,
    CONSTRAINT factors_pkey PRIMARY KEY (factor_id),
    CONSTRAINT factors_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (user_id),
    CONSTRAINT factors_kind_check CHECK (kind IN ('totp')),
    CONSTRAINT factors_state_check CHECK (state IN ('pending', 'active', 'revoked'))
);
CREATE INDEX factors_by_user ON identity.factors (user_id);

-- A row goes when its code is used.
CREATE TABLE identity.recovery_codes (
    user_id uuid NOT NULL,
    digest bytea NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT recovery_codes_pkey PRIMARY KEY (user_id, digest),
    CONSTRAINT recovery_codes_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (user_id)
);

-- Links that are mailed. One of a purpose is open for a person at a time; a row goes when its link is used.
CREATE TABLE identity.links (
    user_id uuid NOT NULL,
    purpose text NOT NULL,
    digest bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT links_pkey PRIMARY KEY (user_id, purpose),
    CONSTRAINT links_digest_key UNIQUE (digest),
    CONSTRAINT links_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (user_id),
    CONSTRAINT links_purpose_check CHECK (purpose IN ('reset', 'unlock'))
);

-- Hashes of the passwords a person had before, newest first by time.
CREATE TABLE identity.former_passwords (
    user_id uuid NOT NULL,
    set_at timestamptz NOT NULL,
    salt bytea NOT NULL,
    digest bytea NOT NULL,
    memory_kib integer NOT NULL,
    passes integer NOT NULL,
    CONSTRAINT former_passwords_pkey PRIMARY KEY (user_id, set_at),
    CONSTRAINT former_passwords_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (user_id)
);

-- One row: raising it makes all keys that sign tokens other ones.
CREATE TABLE identity.token_keys (
    one boolean NOT NULL DEFAULT true,
    generation integer NOT NULL,
    CONSTRAINT token_keys_pkey PRIMARY KEY (one),
    CONSTRAINT token_keys_one_check CHECK (one)
);
INSERT INTO identity.token_keys (generation) VALUES (1);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['throttles', 'flows', 'factors', 'recovery_codes', 'links', 'former_passwords', 'token_keys'] LOOP
        EXECUTE format('ALTER TABLE identity.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE identity.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY %I ON identity.%I USING (current_setting(''rowhouse.scope'', true) = ''platform'') '
            'WITH CHECK (current_setting(''rowhouse.scope'', true) = ''platform'')', t || '_platform', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON identity.%I TO rowhouse_app', t);
    END LOOP;
END $$;

-- A person in one tenant, signed in. `digest` is the keyed hash of a browser's cookie; none for a session that lives by tokens.
-- `ended_at` is never taken back; the row stays as long as a token of it may be good, and longer for the record.
CREATE TABLE identity.sessions (
    session_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    digest bytea,
    evidence jsonb NOT NULL,
    assurance smallint NOT NULL,
    auth_time timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    idle_until timestamptz NOT NULL,
    absolute_until timestamptz NOT NULL,
    ip text NOT NULL,
    agent text NOT NULL,
    ended_at timestamptz,
    ended_because text,
    CONSTRAINT sessions_pkey PRIMARY KEY (session_id),
    CONSTRAINT sessions_digest_key UNIQUE (digest),
    CONSTRAINT sessions_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (user_id),
    CONSTRAINT sessions_assurance_check CHECK (assurance BETWEEN 1 AND 3),
    CONSTRAINT sessions_ended_check CHECK ((ended_at IS NULL) = (ended_because IS NULL))
);
CREATE INDEX sessions_by_user ON identity.sessions (user_id, session_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_tenant ON identity.sessions (tenant_id, session_id);
-- What the directory looks for.
CREATE INDEX sessions_ended ON identity.sessions (ended_at) WHERE ended_at IS NOT NULL;

-- Each is used once. The one that is used again says that somebody has a copy: its session ends.
CREATE TABLE identity.refresh_tokens (
    digest bytea NOT NULL,
    tenant_id uuid NOT NULL,
    session_id uuid NOT NULL,
    successor bytea,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (digest),
    CONSTRAINT refresh_tokens_session_fkey FOREIGN KEY (session_id) REFERENCES identity.sessions (session_id) ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_by_session ON identity.refresh_tokens (session_id);

-- Browsers that a person trusts: tries on one count for themselves, so that nobody else's wrong tries shut it out.
CREATE TABLE identity.devices (
    digest bytea NOT NULL,
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    agent text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT devices_pkey PRIMARY KEY (digest),
    CONSTRAINT devices_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (user_id)
);
CREATE INDEX devices_by_user ON identity.devices (user_id);

-- What a tenant asks of people who enter it; none is the default.
CREATE TABLE identity.sign_in_policies (
    tenant_id uuid NOT NULL,
    policy jsonb NOT NULL,
    grace_from timestamptz NOT NULL,
    version bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL,
    CONSTRAINT sign_in_policies_pkey PRIMARY KEY (tenant_id)
);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['sessions', 'refresh_tokens', 'devices', 'sign_in_policies'] LOOP
        EXECUTE format('ALTER TABLE identity.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE identity.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY %I ON identity.%I USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id))',
            t || '_scope', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON identity.%I TO rowhouse_app', t);
    END LOOP;
END $$;

-- As before, and with all that proves these persons.
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
