-- Who else than us may say who a machine is: issuers of tokens, and which of their subjects a service account trusts.

-- An issuer of a tenant, or of the operator, whose issuers every tenant may trust. Its key set lies here as it was fetched, so that
-- any process starts with it while the issuer is away. `key_set` null: none, or none of the last day.
CREATE TABLE identity.issuers (
    issuer_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    issuer text NOT NULL,
    jwks_uri text,
    audiences text[] NOT NULL,
    algorithms text[] NOT NULL,
    subject_claim text NOT NULL,
    key_set text,
    fetched_at timestamptz,
    tried_at timestamptz NOT NULL,
    last_problem text,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT issuers_pkey PRIMARY KEY (issuer_id),
    CONSTRAINT issuers_issuer_key UNIQUE (tenant_id, issuer)
);
ALTER TABLE identity.issuers ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.issuers FORCE ROW LEVEL SECURITY;
CREATE POLICY issuers_scope ON identity.issuers USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON identity.issuers TO rowhouse_app;

-- A list of {issuer, audience, subject}: `issuer` is the id, so that nobody becomes trusted by taking a name.
ALTER TABLE keys.service_accounts ADD COLUMN trust jsonb NOT NULL DEFAULT '[]';
