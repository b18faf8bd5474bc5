-- Domains are claimed by tenants and proven by a TXT record. A claim blocks nobody: only one tenant can hold a name, any
-- number can claim it.

ALTER TABLE tenancy.hosts
    DROP CONSTRAINT hosts_name_key,
    ALTER COLUMN vouched_by DROP NOT NULL,
    ADD COLUMN state text NOT NULL DEFAULT 'active',
    ADD COLUMN since timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN failures integer NOT NULL DEFAULT 0,
    ADD COLUMN failing_since timestamptz,
    ADD COLUMN verified_at timestamptz,
    ADD COLUMN checked_at timestamptz,
    ADD COLUMN last_problem text,
    ADD CONSTRAINT hosts_state_check CHECK (state IN ('pending', 'verified', 'active', 'failing', 'quarantined')),
    ADD CONSTRAINT hosts_claim_key UNIQUE (tenant_id, name);
ALTER TABLE tenancy.hosts ALTER COLUMN since DROP DEFAULT, ALTER COLUMN state DROP DEFAULT;
CREATE UNIQUE INDEX hosts_held_key ON tenancy.hosts (name) WHERE state <> 'pending';
-- What is looked at daily, and what ends by itself.
CREATE INDEX hosts_due ON tenancy.hosts (checked_at) WHERE state IN ('verified', 'failing');
CREATE INDEX hosts_leaving ON tenancy.hosts (since) WHERE state = 'quarantined';
GRANT UPDATE ON tenancy.hosts TO rowhouse_app;
