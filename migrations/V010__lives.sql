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

-- What stays of a tenant that has left: nobody may have its code again, and whoever knows the code finds the certificate.
CREATE TABLE tenancy.tombstones (
    tenant_id uuid NOT NULL,
    code_sha256 bytea NOT NULL,
    requested_at timestamptz NOT NULL,
    erased_at timestamptz NOT NULL,
    CONSTRAINT tombstones_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT tombstones_code_key UNIQUE (code_sha256)
);
-- No row security: whether a code was ever anybody's is asked for every new tenant.
GRANT SELECT, INSERT ON tenancy.tombstones TO rowhouse_app;

-- Certificates of decommissioning, as they were signed.
CREATE TABLE lifecycle.certificates (
    tenant_id uuid NOT NULL,
    number integer NOT NULL,
    envelope jsonb NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT certificates_pkey PRIMARY KEY (tenant_id, number)
);
ALTER TABLE lifecycle.certificates ENABLE ROW LEVEL SECURITY;
ALTER TABLE lifecycle.certificates FORCE ROW LEVEL SECURITY;
CREATE POLICY certificates_scope ON lifecycle.certificates
    USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT ON lifecycle.certificates TO rowhouse_app;

-- Tables with a `tenant_id`, but for those in `kept` (schemas, or tables with their schema).
CREATE FUNCTION lifecycle.tables_of_tenants(kept text[]) RETURNS SETOF regclass STABLE
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.oid::regclass
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attname = 'tenant_id' AND NOT a.attisdropped
       AND a.atttypid = 'uuid'::regtype AND n.nspname <> ALL (kept)
       AND n.nspname || '.' || c.relname <> ALL (kept)
       AND n.nspname <> 'information_schema' AND NOT starts_with(n.nspname::text, 'pg_')
     ORDER BY n.nspname, c.relname
$$;

-- Removes every row of a tenant whose time has come, whichever feature wrote it: a feature that is forgotten here would keep
-- data that was promised to go, so what stays is listed, not what goes. Rows that others refer to go after those.
CREATE FUNCTION lifecycle.erase_rows(tenant uuid, kept text[]) RETURNS TABLE (relation text, erased bigint) VOLATILE
SECURITY DEFINER LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    waiting regclass[] := ARRAY(SELECT lifecycle.tables_of_tenants(kept));
    refused regclass[];
    name regclass;
    count bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM tenancy.tenants t WHERE t.tenant_id = tenant AND t.status = 'leaving') THEN
        RAISE EXCEPTION 'only a tenant that is leaving is erased';
    END IF;
    WHILE cardinality(waiting) > 0 LOOP
        refused := '{}';
        FOREACH name IN ARRAY waiting LOOP
            BEGIN
                EXECUTE format('DELETE FROM %s WHERE tenant_id = $1', name) USING tenant;
                GET DIAGNOSTICS count = ROW_COUNT;
                IF count > 0 THEN
                    relation := name::text;
                    erased := count;
                    RETURN NEXT;
                END IF;
            EXCEPTION WHEN foreign_key_violation THEN
                refused := refused || name;
            END;
        END LOOP;
        IF cardinality(refused) = cardinality(waiting) THEN
            RAISE EXCEPTION 'rows of a tenant that leaves are held by others, in %', refused;
        END IF;
        waiting := refused;
    END LOOP;
END $$;

-- What is left of a tenant in the control database, but for what is kept.
CREATE FUNCTION lifecycle.rows_left(tenant uuid, kept text[]) RETURNS TABLE (relation text, remaining bigint) STABLE
SECURITY DEFINER LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name regclass;
BEGIN
    FOR name IN SELECT lifecycle.tables_of_tenants(kept) LOOP
        EXECUTE format('SELECT count(*) FROM %s WHERE tenant_id = $1', name) INTO remaining USING tenant;
        relation := name::text;
        RETURN NEXT;
    END LOOP;
END $$;

-- What services reported with usage is theirs and may be personal; the figures that bills are made of stay.
CREATE FUNCTION metering.forget_details(tenant uuid) RETURNS bigint VOLATILE
SECURITY DEFINER LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    WITH forgotten AS (
        UPDATE metering.events SET data = NULL WHERE tenant_id = tenant AND data IS NOT NULL RETURNING 1
    )
    SELECT count(*) FROM forgotten
$$;
REVOKE ALL ON FUNCTION lifecycle.tables_of_tenants(text[]), lifecycle.erase_rows(uuid, text[]),
    lifecycle.rows_left(uuid, text[]), metering.forget_details(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lifecycle.tables_of_tenants(text[]), lifecycle.erase_rows(uuid, text[]),
    lifecycle.rows_left(uuid, text[]), metering.forget_details(uuid) TO rowhouse_app;

-- What inventory and reality disagreed about when they were last compared. Nothing is removed because of it.
CREATE TABLE lifecycle.findings (
    problem text NOT NULL,
    kind text NOT NULL,
    external_id text NOT NULL,
    cell text NOT NULL,
    tenant_id uuid,
    detail text NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    CONSTRAINT findings_pkey PRIMARY KEY (problem, kind, external_id, cell),
    CONSTRAINT findings_problem_check CHECK (problem IN ('orphan', 'lost', 'unfinished'))
);
-- For the platform alone: what belongs to nobody has no tenant.
ALTER TABLE lifecycle.findings ENABLE ROW LEVEL SECURITY;
ALTER TABLE lifecycle.findings FORCE ROW LEVEL SECURITY;
CREATE POLICY findings_scope ON lifecycle.findings USING (api.sees(NULL)) WITH CHECK (api.sees(NULL));
GRANT SELECT, INSERT, UPDATE, DELETE ON lifecycle.findings TO rowhouse_app;

-- Since when each check of a tenant's health says what it says.
CREATE TABLE lifecycle.health (
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    state text NOT NULL,
    since timestamptz NOT NULL,
    CONSTRAINT health_pkey PRIMARY KEY (tenant_id, name)
);
ALTER TABLE lifecycle.health ENABLE ROW LEVEL SECURITY;
ALTER TABLE lifecycle.health FORCE ROW LEVEL SECURITY;
CREATE POLICY health_scope ON lifecycle.health USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON lifecycle.health TO rowhouse_app;

-- Who is to get the certificate of a tenant that is being erased: sealed, and gone when it was sent.
CREATE TABLE lifecycle.leavers (
    tenant_id uuid NOT NULL,
    sealed bytea NOT NULL,
    CONSTRAINT leavers_pkey PRIMARY KEY (tenant_id)
);
ALTER TABLE lifecycle.leavers ENABLE ROW LEVEL SECURITY;
ALTER TABLE lifecycle.leavers FORCE ROW LEVEL SECURITY;
CREATE POLICY leavers_scope ON lifecycle.leavers USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, DELETE ON lifecycle.leavers TO rowhouse_app;
