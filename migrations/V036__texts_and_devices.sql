-- Codes by text message: a number that is proven is a factor.

ALTER TABLE identity.factors DROP CONSTRAINT factors_kind_check;
ALTER TABLE identity.factors ADD CONSTRAINT factors_kind_check
    CHECK (kind IN ('totp', 'security_key', 'passkey', 'sms_code'));
ALTER TABLE identity.challenges DROP CONSTRAINT challenges_purpose_check;
ALTER TABLE identity.challenges ADD CONSTRAINT challenges_purpose_check
    CHECK (purpose IN ('security_key', 'passkey', 'get', 'email_code', 'sms_code', 'sms_enrol'));

ALTER TABLE messages.messages DROP CONSTRAINT messages_audience_check;
ALTER TABLE messages.messages ADD CONSTRAINT messages_audience_check
    CHECK (audience IN ('address', 'number', 'user', 'administrators', 'billing_contact', 'operators'));

-- Texts that were sent, by the beginning of the number that the operator allows, without the number: whether they are proven says
-- whether people read them or somebody is paid for them. A row goes after 30 days.
CREATE TABLE identity.texts (
    text_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    beginning text NOT NULL,
    sent_at timestamptz NOT NULL,
    proven_at timestamptz,
    CONSTRAINT texts_pkey PRIMARY KEY (text_id)
);
CREATE INDEX texts_by_beginning ON identity.texts (beginning, sent_at);
CREATE INDEX texts_by_age ON identity.texts (sent_at);
-- For the tenant's erasure.
CREATE INDEX texts_by_tenant ON identity.texts (tenant_id, sent_at);
ALTER TABLE identity.texts ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.texts FORCE ROW LEVEL SECURITY;
CREATE POLICY texts_scope ON identity.texts USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON identity.texts TO rowhouse_app;


-- Another address for a person: proven by the hash of the new one's link, taken back by that of the old one's. The newest that is not
-- confirmed is the only one of its person; what was confirmed stays while it can be taken back.
CREATE TABLE identity.email_changes (
    to_old bytea NOT NULL,
    to_new bytea NOT NULL,
    user_id uuid NOT NULL,
    session_id uuid NOT NULL,
    old_email text NOT NULL,
    new_email text NOT NULL,
    created_at timestamptz NOT NULL,
    proven_until timestamptz NOT NULL,
    kept_until timestamptz NOT NULL,
    confirmed_at timestamptz,
    CONSTRAINT email_changes_pkey PRIMARY KEY (to_old),
    CONSTRAINT email_changes_new_key UNIQUE (to_new),
    CONSTRAINT email_changes_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (user_id)
);
CREATE INDEX email_changes_by_user ON identity.email_changes (user_id);
CREATE INDEX email_changes_by_age ON identity.email_changes (kept_until);

-- A program that has no browser asks to act for a person (RFC 8628). Both codes are keyed hashes. `state` goes from `waiting` to `allowed`
-- or `denied`, and from `allowed` to `used`. Without an application it is the product's own command line.
CREATE TABLE identity.device_requests (
    digest bytea NOT NULL,
    user_code bytea NOT NULL,
    application_id uuid,
    state text NOT NULL,
    ip text NOT NULL,
    agent text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    polled_at timestamptz,
    interval_s integer NOT NULL,
    tenant_id uuid,
    user_id uuid,
    session_id uuid,
    evidence jsonb,
    CONSTRAINT device_requests_pkey PRIMARY KEY (digest),
    CONSTRAINT device_requests_user_code_key UNIQUE (user_code),
    CONSTRAINT device_requests_state_check CHECK (state IN ('waiting', 'allowed', 'denied', 'used')),
    CONSTRAINT device_requests_allowed_check CHECK (state IN ('waiting', 'denied') OR (user_id IS NOT NULL AND tenant_id IS NOT NULL))
);
CREATE INDEX device_requests_by_age ON identity.device_requests (expires_at);
-- For the tenant's erasure.
CREATE INDEX device_requests_by_tenant ON identity.device_requests (tenant_id);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['email_changes', 'device_requests'] LOOP
        EXECUTE format('ALTER TABLE identity.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE identity.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY %I ON identity.%I USING (current_setting(''rowhouse.scope'', true) = ''platform'') '
            'WITH CHECK (current_setting(''rowhouse.scope'', true) = ''platform'')', t || '_platform', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON identity.%I TO rowhouse_app', t);
    END LOOP;
END $$;

-- As before, and with texts, and what changes of addresses and devices hold of these persons.
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
    DELETE FROM identity.device_requests WHERE tenant_id = erased_tenant;
    DELETE FROM identity.texts WHERE tenant_id = erased_tenant;
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
    DELETE FROM identity.email_changes WHERE user_id = ANY (homeless);
    UPDATE identity.users SET email = NULL, email_key = NULL, email_verified_at = NULL, full_name = '', timezone = 'UTC',
        language = 'en', status = 'erased', last_sign_in_at = NULL, updated_at = erased_at, version = version + 1
        WHERE user_id = ANY (homeless);
    users := cardinality(homeless);
    PERFORM set_config('rowhouse.scope', scope_before, true);
END $$;
