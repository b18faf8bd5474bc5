-- What is kept apart only within a session, and the roles that somebody has made active in one. Until this binary runs, the one
-- before it takes every constraint as static, which is narrower.

ALTER TABLE access.constraints
    ADD COLUMN kind text NOT NULL DEFAULT 'static',
    ADD CONSTRAINT constraints_kind_check CHECK (kind IN ('static', 'dynamic'));
ALTER TABLE access.operator_constraints
    ADD COLUMN kind text NOT NULL DEFAULT 'static',
    ADD CONSTRAINT operator_constraints_kind_check CHECK (kind IN ('static', 'dynamic'));

-- Null: nothing was chosen. It ends with the session.
ALTER TABLE identity.sessions ADD COLUMN active_roles text[];
CREATE INDEX sessions_with_active_roles ON identity.sessions (tenant_id)
    WHERE active_roles IS NOT NULL AND ended_at IS NULL;
