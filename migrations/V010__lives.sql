-- The lives of tenants, whole: sagas that wait for a time, are cancelled or taken over; changes of tier; leaving for good,
-- with a tombstone and a certificate; what inventory and reality disagree about; health.

ALTER TABLE lifecycle.sagas
    -- The node whose executor claimed it last.
    ADD COLUMN node text,
    -- Why it is to turn back.
    ADD COLUMN cancelled jsonb,
    -- When people were told that it is stuck.
    ADD COLUMN stuck_told_at timestamptz,
    DROP CONSTRAINT sagas_state_check,
    ADD CONSTRAINT sagas_state_check CHECK (state IN
        ('scheduled', 'running', 'unwinding', 'done', 'undone', 'stuck', 'abandoned'));
CREATE INDEX sagas_scheduled ON lifecycle.sagas (run_at) WHERE state = 'scheduled';
-- One change of a kind waits for its time.
CREATE UNIQUE INDEX sagas_scheduled_key ON lifecycle.sagas (tenant_id, kind) WHERE state = 'scheduled';
