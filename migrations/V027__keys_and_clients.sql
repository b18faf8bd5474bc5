-- Security keys and passkeys.

ALTER TABLE identity.factors DROP CONSTRAINT factors_kind_check;
ALTER TABLE identity.factors ADD CONSTRAINT factors_kind_check CHECK (kind IN ('totp', 'security_key', 'passkey'));

-- What belongs to a factor of these kinds. `credential_id` is unique over all people; `public_key` is a COSE key (RFC 9052 §7).
-- `sign_count` only grows, or stays 0. A row goes with its factor's end.
CREATE TABLE identity.credentials (
    factor_id uuid NOT NULL,
    credential_id bytea NOT NULL,
    public_key bytea NOT NULL,
    sign_count bigint NOT NULL,
    aaguid uuid NOT NULL,
    backup_eligible boolean NOT NULL,
    backed_up boolean NOT NULL,
    transports text[] NOT NULL,
    CONSTRAINT credentials_pkey PRIMARY KEY (factor_id),
    CONSTRAINT credentials_id_key UNIQUE (credential_id),
    CONSTRAINT credentials_factor_fkey FOREIGN KEY (factor_id) REFERENCES identity.factors (factor_id) ON DELETE CASCADE,
    CONSTRAINT credentials_count_check CHECK (sign_count BETWEEN 0 AND 4294967295)
);

-- A challenge that was given out for a sign-in or a session (`bound` is its keyed hash) and not answered. A row goes with its first
-- answer, right or wrong; a new one takes the place of the one before.
CREATE TABLE identity.challenges (
    bound bytea NOT NULL,
    purpose text NOT NULL,
    challenge bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT challenges_pkey PRIMARY KEY (bound, purpose),
    CONSTRAINT challenges_purpose_check CHECK (purpose IN ('security_key', 'passkey', 'get', 'email_code'))
);
CREATE INDEX challenges_by_age ON identity.challenges (expires_at);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['credentials', 'challenges'] LOOP
        EXECUTE format('ALTER TABLE identity.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE identity.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY %I ON identity.%I USING (current_setting(''rowhouse.scope'', true) = ''platform'') '
            'WITH CHECK (current_setting(''rowhouse.scope'', true) = ''platform'')', t || '_platform', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON identity.%I TO rowhouse_app', t);
    END LOOP;
END $$;

-- Secrets by which service accounts ask for tokens, as keyed hashes. Tokens carry the id of their secret: its end is theirs. `used_at` is
-- kept to the minute.
CREATE TABLE identity.client_secrets (
    secret_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    service_account_id uuid NOT NULL,
    label text NOT NULL,
    digest bytea NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT client_secrets_pkey PRIMARY KEY (secret_id),
    CONSTRAINT client_secrets_digest_key UNIQUE (digest)
);
CREATE INDEX client_secrets_by_account ON identity.client_secrets (service_account_id, secret_id);
CREATE INDEX client_secrets_by_tenant ON identity.client_secrets (tenant_id);
-- What the directory looks for.
CREATE INDEX client_secrets_revoked ON identity.client_secrets (revoked_at) WHERE revoked_at IS NOT NULL;
ALTER TABLE identity.client_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.client_secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY client_secrets_scope ON identity.client_secrets USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON identity.client_secrets TO rowhouse_app;
