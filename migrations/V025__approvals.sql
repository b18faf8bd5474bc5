-- What a role asks of those who have it, and what the operator keeps apart in every tenant.

ALTER TABLE access.tenant_roles ADD COLUMN requires text[] NOT NULL DEFAULT '{}';
ALTER TABLE access.tenant_roles ADD COLUMN max_members integer;

-- Everybody may read it; only who works for the operator comes to write it.
CREATE TABLE access.operator_constraints (
    name text NOT NULL,
    roles text[] NOT NULL,
    permissions text[] NOT NULL,
    at_most integer NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT operator_constraints_pkey PRIMARY KEY (name)
);
GRANT SELECT, INSERT, DELETE ON access.operator_constraints TO rowhouse_app;
ALTER TABLE access.operator_constraints ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.operator_constraints FORCE ROW LEVEL SECURITY;
CREATE POLICY operator_constraints_read ON access.operator_constraints FOR SELECT USING (true);
CREATE POLICY operator_constraints_write ON access.operator_constraints FOR INSERT
    WITH CHECK (current_setting('rowhouse.scope', true) = 'platform');
CREATE POLICY operator_constraints_delete ON access.operator_constraints FOR DELETE
    USING (current_setting('rowhouse.scope', true) = 'platform');

-- What a second person has to say yes to. `request` is kept as it was sent, `would` is its dry run.
CREATE TABLE access.approvals (
    approval_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    operation text NOT NULL,
    request jsonb NOT NULL,
    would jsonb NOT NULL,
    reason text NOT NULL,
    requester uuid NOT NULL,
    requester_home uuid NOT NULL,
    requested_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'pending',
    decided_by uuid,
    decided_at timestamptz,
    decision_reason text,
    result jsonb,
    CONSTRAINT approvals_pkey PRIMARY KEY (approval_id),
    CONSTRAINT approvals_state_check
        CHECK (state IN ('pending', 'done', 'failed', 'refused', 'withdrawn', 'expired'))
);
CREATE INDEX approvals_by_tenant ON access.approvals (tenant_id, approval_id);
CREATE INDEX approvals_pending ON access.approvals (expires_at) WHERE state = 'pending';
ALTER TABLE access.approvals ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.approvals FORCE ROW LEVEL SECURITY;
CREATE POLICY approvals_scope ON access.approvals USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON access.approvals TO rowhouse_app;

-- What a tenant asks of its own administrators.
CREATE TABLE access.settings (
    tenant_id uuid NOT NULL,
    approve_sensitive_grants boolean NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT settings_pkey PRIMARY KEY (tenant_id)
);
ALTER TABLE access.settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.settings FORCE ROW LEVEL SECURITY;
CREATE POLICY settings_scope ON access.settings USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON access.settings TO rowhouse_app;
