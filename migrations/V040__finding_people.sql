-- People are found by a part of their name or address among millions. What is searched stands in a table of its own that only the
-- function below reads: behind row-level security no index on text can be used, as its operators might tell what they saw.

CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- In pages by person and tenant.
CREATE INDEX memberships_by_person ON identity.memberships (user_id, tenant_id);
DROP INDEX identity.memberships_by_user;

-- Nothing of who is erased.
CREATE TABLE identity.people_texts (
    user_id uuid NOT NULL,
    text text NOT NULL,
    CONSTRAINT people_texts_pkey PRIMARY KEY (user_id),
    CONSTRAINT people_texts_user_fkey FOREIGN KEY (user_id) REFERENCES identity.users (user_id) ON DELETE CASCADE
);

CREATE FUNCTION identity.note_text() RETURNS trigger
SECURITY DEFINER LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.status = 'erased' THEN
        DELETE FROM identity.people_texts WHERE user_id = NEW.user_id;
    ELSE
        INSERT INTO identity.people_texts VALUES (NEW.user_id, lower(NEW.full_name || ' ' || coalesce(NEW.email, '')))
        ON CONFLICT ON CONSTRAINT people_texts_pkey DO UPDATE SET text = excluded.text;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER users_text AFTER INSERT OR UPDATE OF full_name, email, status ON identity.users
    FOR EACH ROW EXECUTE FUNCTION identity.note_text();

DO $$
DECLARE
    scope_before text := current_setting('rowhouse.scope', true);
BEGIN
    PERFORM set_config('rowhouse.scope', 'platform', true);
    INSERT INTO identity.people_texts
        SELECT user_id, lower(full_name || ' ' || coalesce(email, '')) FROM identity.users WHERE status <> 'erased';
    PERFORM set_config('rowhouse.scope', coalesce(scope_before, ''), true);
END $$;
CREATE INDEX people_texts_by_part ON identity.people_texts USING gin (text gin_trgm_ops);

-- Members whose name or address has `part` in it, of one tenant or of all that the transaction may see, behind a person and tenant.
-- Planned anew for each call: whether few or many have the part decides where to begin.
CREATE FUNCTION identity.find_members(
    part text, of_tenant uuid, stands text[], behind_user uuid, behind_tenant uuid, size bigint
) RETURNS TABLE (tenant_id uuid, user_id uuid) STABLE ROWS 50
SECURITY DEFINER LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE
        'SELECT m.tenant_id, m.user_id FROM identity.people_texts p JOIN identity.memberships m ON m.user_id = p.user_id '
        'WHERE p.text LIKE $1 AND ($2 IS NULL OR m.tenant_id = $2) AND m.status = ANY ($3) AND api.sees(m.tenant_id) '
        'AND m.user_id >= $4 AND (m.user_id > $4 OR m.tenant_id > $5) ORDER BY m.user_id, m.tenant_id LIMIT $6'
        USING '%' || replace(replace(replace(lower(part), '\', '\\'), '%', '\%'), '_', '\_') || '%',
            of_tenant, stands, behind_user, behind_tenant, size;
END $$;
REVOKE ALL ON FUNCTION identity.note_text(), identity.find_members(text, uuid, text[], uuid, uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.find_members(text, uuid, text[], uuid, uuid, bigint) TO rowhouse_app;
