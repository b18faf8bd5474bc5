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

