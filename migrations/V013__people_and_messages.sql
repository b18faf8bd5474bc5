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
