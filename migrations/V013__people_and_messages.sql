-- Messages to people: what is queued with a change, until it is sent or left for a person.

CREATE SCHEMA messages;
GRANT USAGE ON SCHEMA messages TO rowhouse_app;

-- One template with one key is one message in a tenant, for ever. A message to a role (`administrators`, …) becomes
-- `expanded` when it is due: its children, one for each address, name it as their parent.
-- `content` holds address and values, sealed; it is gone after 7 days.
CREATE TABLE messages.messages (
    message_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    template text NOT NULL,
    key text NOT NULL,
    parent uuid,
    audience text NOT NULL,
    user_id uuid,
    hint text,
    content bytea,
    priority smallint NOT NULL,
    state text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL,
    expires_at timestamptz,
    provider_id text,
    problem text,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    sent_at timestamptz,
    CONSTRAINT messages_pkey PRIMARY KEY (message_id),
    CONSTRAINT messages_once UNIQUE (tenant_id, template, key),
    CONSTRAINT messages_key_check CHECK (length(key) BETWEEN 1 AND 300),
    CONSTRAINT messages_audience_check
        CHECK (audience IN ('address', 'user', 'administrators', 'billing_contact', 'operators')),
    CONSTRAINT messages_state_check
        CHECK (state IN ('queued', 'sending', 'sent', 'failed', 'suppressed', 'expanded'))
);
-- `next_try_at` of one that is being sent is the end of its lease.
CREATE INDEX messages_due ON messages.messages (priority, next_try_at) WHERE state IN ('queued', 'sending');
CREATE INDEX messages_by_tenant ON messages.messages (tenant_id, message_id);
CREATE INDEX messages_dead ON messages.messages (message_id) WHERE state = 'failed';
CREATE INDEX messages_with_content ON messages.messages (created_at) WHERE content IS NOT NULL;
ALTER TABLE messages.messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE messages.messages FORCE ROW LEVEL SECURITY;
CREATE POLICY messages_scope ON messages.messages USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON messages.messages TO rowhouse_app;

-- People. A person has one user and belongs to any number of tenants.

CREATE SCHEMA identity;
GRANT USAGE ON SCHEMA identity TO rowhouse_app;

-- `email_key` is what two spellings of one address have in common; empty of both once the person is erased.
CREATE TABLE identity.users (
    user_id uuid NOT NULL,
    email text,
    email_key text,
    email_verified_at timestamptz,
    full_name text NOT NULL DEFAULT '',
    timezone text NOT NULL DEFAULT 'UTC',
    language text NOT NULL DEFAULT 'en',
    status text NOT NULL,
    last_sign_in_at timestamptz,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT users_pkey PRIMARY KEY (user_id),
    CONSTRAINT users_email_key UNIQUE (email_key),
    CONSTRAINT users_status_check CHECK (status IN ('active', 'disabled', 'erased')),
    CONSTRAINT users_erased_check CHECK ((status = 'erased') = (email_key IS NULL))
);

CREATE TABLE identity.memberships (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    status text NOT NULL,
    source text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    last_active_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT memberships_pkey PRIMARY KEY (tenant_id, user_id),
    CONSTRAINT memberships_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (user_id),
    CONSTRAINT memberships_status_check CHECK (status IN ('active', 'suspended', 'removed'))
);
CREATE INDEX memberships_by_user ON identity.memberships (user_id);
ALTER TABLE identity.memberships ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.memberships FORCE ROW LEVEL SECURITY;
CREATE POLICY memberships_scope ON identity.memberships
    USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON identity.memberships TO rowhouse_app;

-- A tenant sees the people who belong to it, and changes none of them: they are nobody's but their own.
ALTER TABLE identity.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.users FORCE ROW LEVEL SECURITY;
CREATE POLICY users_platform ON identity.users
    USING (current_setting('rowhouse.scope', true) = 'platform')
    WITH CHECK (current_setting('rowhouse.scope', true) = 'platform');
CREATE POLICY users_members ON identity.users FOR SELECT
    USING (EXISTS (SELECT FROM identity.memberships m
        WHERE m.user_id = users.user_id AND m.tenant_id = api.current_tenant() AND m.status <> 'removed'));
GRANT SELECT, INSERT, UPDATE ON identity.users TO rowhouse_app;

-- `prepared`: a tenant's first administrator, who is told when the tenant is served. `inviter_…` is whose rights bound
-- what the invitation gives, when it is made and again when it is accepted; none for Rowhouse itself.
CREATE TABLE identity.invitations (
    invitation_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    email text NOT NULL,
    email_key text NOT NULL,
    full_name text NOT NULL DEFAULT '',
    roles text[] NOT NULL,
    digest bytea,
    state text NOT NULL,
    sends integer NOT NULL DEFAULT 0,
    expires_at timestamptz,
    inviter_tenant uuid,
    inviter_kind text,
    inviter_id uuid,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    accepted_by uuid,
    ended_at timestamptz,
    CONSTRAINT invitations_pkey PRIMARY KEY (invitation_id),
    CONSTRAINT invitations_digest_key UNIQUE (digest),
    CONSTRAINT invitations_state_check CHECK (state IN ('prepared', 'pending', 'accepted', 'revoked'))
);
CREATE UNIQUE INDEX invitations_open ON identity.invitations (tenant_id, email_key)
    WHERE state IN ('prepared', 'pending');
CREATE INDEX invitations_by_tenant ON identity.invitations (tenant_id, invitation_id);
ALTER TABLE identity.invitations ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.invitations FORCE ROW LEVEL SECURITY;
CREATE POLICY invitations_scope ON identity.invitations
    USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON identity.invitations TO rowhouse_app;

-- What proves a person is nobody's to see: only work on the platform reaches it.
CREATE TABLE identity.passwords (
    user_id uuid NOT NULL,
    salt bytea NOT NULL,
    digest bytea NOT NULL,
    memory_kib integer NOT NULL,
    passes integer NOT NULL,
    lanes integer NOT NULL,
    set_at timestamptz NOT NULL,
    CONSTRAINT passwords_pkey PRIMARY KEY (user_id),
    CONSTRAINT passwords_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (user_id)
);
ALTER TABLE identity.passwords ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.passwords FORCE ROW LEVEL SECURITY;
CREATE POLICY passwords_platform ON identity.passwords
    USING (current_setting('rowhouse.scope', true) = 'platform')
    WITH CHECK (current_setting('rowhouse.scope', true) = 'platform');
GRANT SELECT, INSERT, UPDATE, DELETE ON identity.passwords TO rowhouse_app;

-- Erases a tenant's people: memberships, invitations, and the persons who belong to no other tenant, of whom an id
-- without meaning stays. It works on the platform whatever the scope of the transaction: persons are no tenant's rows.
CREATE FUNCTION identity.erase_people(
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
    WITH gone AS (DELETE FROM identity.memberships WHERE tenant_id = erased_tenant RETURNING user_id)
    SELECT coalesce(array_agg(user_id), '{}') INTO members FROM gone;
    memberships := cardinality(members);
    SELECT coalesce(array_agg(u.user_id), '{}') INTO homeless FROM identity.users u
        WHERE u.user_id = ANY (members)
          AND NOT EXISTS (SELECT FROM identity.memberships m WHERE m.user_id = u.user_id);
    DELETE FROM identity.passwords WHERE user_id = ANY (homeless);
    UPDATE identity.users SET email = NULL, email_key = NULL, email_verified_at = NULL, full_name = '', timezone = 'UTC',
        language = 'en', status = 'erased', last_sign_in_at = NULL, updated_at = erased_at, version = version + 1
        WHERE user_id = ANY (homeless);
    users := cardinality(homeless);
    PERFORM set_config('rowhouse.scope', scope_before, true);
END $$;
REVOKE EXECUTE ON FUNCTION identity.erase_people(uuid, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.erase_people(uuid, timestamptz) TO rowhouse_app;
