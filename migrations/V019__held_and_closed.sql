-- Lives to their very end: legal holds, audit logs that are closed, rows that come too late, claims of backups.

-- When the erasure of the tenant's rows began: nothing is written about it from then on.
ALTER TABLE tenancy.tenants ADD COLUMN erasing_at timestamptz;

-- What works in the background may still hold a figure of a tenant whose rows were erased meanwhile. The lock makes the two wait
-- for each other: what is written before the erasure is erased, what comes after it is dropped.
CREATE FUNCTION tenancy.drop_late_row() RETURNS trigger
SECURITY DEFINER LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    erasing timestamptz;
BEGIN
    SELECT erasing_at INTO erasing FROM tenancy.tenants WHERE tenant_id = NEW.tenant_id FOR KEY SHARE;
    IF erasing IS NOT NULL THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;
DO $$
DECLARE
    name regclass;
BEGIN
    -- What is measured, and what follows from it; all else is only written for who asks, and nobody asks for a tenant that is gone.
    FOR name IN SELECT lifecycle.tables_of_tenants('{}') LOOP
        IF starts_with(name::text, 'resources.') THEN
            EXECUTE format('CREATE TRIGGER no_late_row BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION tenancy.drop_late_row()', name);
        END IF;
    END LOOP;
END $$;

-- When the last leaf was added: the log of a tenant that has left. Verified for ever, never longer.
ALTER TABLE audit.logs ADD COLUMN closed_at timestamptz;

-- The node that took the claim: what it held when it ended is free when it starts again.
ALTER TABLE lifecycle.backups ADD COLUMN node text;

-- When it could be fetched: what the certificate of a tenant that left tells.
ALTER TABLE lifecycle.exports ADD COLUMN ready_at timestamptz;

-- Legal reasons to keep what would be deleted. They outlive what they hold.
CREATE TABLE audit.holds (
    hold_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    -- NULL: the whole tenant.
    resource_kind text,
    resource_id text,
    case_id text NOT NULL,
    basis text NOT NULL,
    owner text NOT NULL,
    review_at timestamptz NOT NULL,
    placed_by text NOT NULL,
    placed_at timestamptz NOT NULL,
    released_by text,
    released_at timestamptz,
    release_reason text,
    CONSTRAINT holds_pkey PRIMARY KEY (hold_id),
    CONSTRAINT holds_resource CHECK ((resource_kind IS NULL) = (resource_id IS NULL)),
    CONSTRAINT holds_released CHECK ((released_at IS NULL) = (released_by IS NULL))
);
CREATE INDEX holds_in_force ON audit.holds (tenant_id) WHERE released_at IS NULL;
ALTER TABLE audit.holds ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit.holds FORCE ROW LEVEL SECURITY;
CREATE POLICY holds_scope ON audit.holds USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE ON audit.holds TO rowhouse_app;
