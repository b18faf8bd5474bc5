-- Authorities whose client certificates a tenant believes, and certificates that it has taken back.

-- An authority of a tenant. `certificate` is its DER; `sha256` and `subject` say it in short. Removing one withdraws every
-- certificate below it.
CREATE TABLE identity.certificate_authorities (
    authority_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    certificate bytea NOT NULL,
    sha256 bytea NOT NULL,
    subject text NOT NULL,
    not_before timestamptz NOT NULL,
    not_after timestamptz NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT certificate_authorities_pkey PRIMARY KEY (authority_id),
    CONSTRAINT certificate_authorities_sha256_key UNIQUE (tenant_id, sha256)
);
ALTER TABLE identity.certificate_authorities ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.certificate_authorities FORCE ROW LEVEL SECURITY;
CREATE POLICY certificate_authorities_scope ON identity.certificate_authorities
    USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON identity.certificate_authorities TO rowhouse_app;

-- A certificate that is not believed any more: by its SHA-256 (hexadecimal) wherever it stands in a chain, or by its serial number
-- (hexadecimal, without zeros in front) below one authority. What an authority that is gone had issued needs no row.
CREATE TABLE identity.revoked_certificates (
    revocation_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    sha256 text,
    authority_id uuid,
    serial text,
    reason text NOT NULL,
    revoked_by text NOT NULL,
    revoked_at timestamptz NOT NULL,
    CONSTRAINT revoked_certificates_pkey PRIMARY KEY (revocation_id),
    CONSTRAINT revoked_certificates_one_way CHECK ((sha256 IS NULL) = (serial IS NOT NULL) AND (serial IS NULL) = (authority_id IS NULL)),
    CONSTRAINT revoked_certificates_key UNIQUE NULLS NOT DISTINCT (tenant_id, sha256, authority_id, serial),
    CONSTRAINT revoked_certificates_authority_fkey FOREIGN KEY (authority_id)
        REFERENCES identity.certificate_authorities (authority_id) ON DELETE CASCADE
);
-- The rows of an authority that goes.
CREATE INDEX revoked_certificates_authority ON identity.revoked_certificates (authority_id);
ALTER TABLE identity.revoked_certificates ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.revoked_certificates FORCE ROW LEVEL SECURITY;
CREATE POLICY revoked_certificates_scope ON identity.revoked_certificates
    USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, DELETE ON identity.revoked_certificates TO rowhouse_app;

-- A list of {authority_id, by, value}: by what a certificate below that authority is known as the account.
ALTER TABLE keys.service_accounts ADD COLUMN certificates jsonb NOT NULL DEFAULT '[]';
