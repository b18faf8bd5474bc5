-- What a service's migration may do, as the server sees it: whatever its text hides in DO bodies, functions and dynamic SQL
-- passes here. Repeatable.
--
-- A migration runs in pg_temp.rh_run, a SECURITY DEFINER function of its service's owner (`tables/owner.rs`): there the server refuses SET
-- and RESET of `role` and `session_authorization`, so that no text gets back to the administrator who called it. While it runs, its
-- schema stands in rh.migrating, a row that is never committed; by it the event triggers know that a migration is running.
SET LOCAL ROLE rh_guard;
CREATE TABLE IF NOT EXISTS rh.migrating (schema text NOT NULL, generating boolean NOT NULL DEFAULT false);
-- What is generated grants and makes policies, which no migration may; but it calls functions of the author's, who stays in his schema.
-- Asked first, because ALTER TABLE locks the table also where it changes nothing.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'rh.migrating'::regclass AND attname = 'generating') THEN
    ALTER TABLE rh.migrating ADD COLUMN generating boolean NOT NULL DEFAULT false;
  END IF;
END $$;
REVOKE ALL ON rh.migrating FROM PUBLIC;

-- An allow-list of commands: what is not named (grants, policies, rules, default privileges, publications, foreign tables, event
-- triggers, schemas …) is refused before it begins. An extension it may ask for is there already, and it may make none.
CREATE OR REPLACE FUNCTION rh.migration_begins() RETURNS event_trigger SECURITY DEFINER
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM rh.migrating WHERE NOT generating)
     AND tg_tag <> ALL (ARRAY['SELECT INTO', 'REFRESH MATERIALIZED VIEW', 'COMMENT', 'REINDEX', 'CREATE EXTENSION'])
     AND tg_tag !~ '^(CREATE|ALTER|DROP) (TABLE|INDEX|VIEW|MATERIALIZED VIEW|FUNCTION|PROCEDURE|ROUTINE|AGGREGATE|TRIGGER|TYPE|DOMAIN|SEQUENCE|STATISTICS|COLLATION|OPERATOR|CAST|TEXT SEARCH (CONFIGURATION|DICTIONARY))$'
     AND tg_tag <> 'CREATE TABLE AS' THEN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = format('rowhouse: %s is not for migrations', tg_tag),
      HINT = 'Roles, grants, policies and what reaches beyond the service''s own schema are generated or the operator''s.';
  END IF;
END $$;

-- What a migration makes or changes must lie in its own schema: on the level `schema` others have the same owner.
CREATE OR REPLACE FUNCTION rh.migration_did() RETURNS event_trigger SECURITY DEFINER
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  own   text := (SELECT m.schema FROM rh.migrating m LIMIT 1);
  found record;
BEGIN
  IF own IS NULL THEN RETURN; END IF;
  FOR found IN
    SELECT d.object_type, d.object_identity,
           coalesce(d.schema_name, (SELECT n.nspname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
                                      JOIN pg_namespace n ON n.oid = c.relnamespace WHERE d.classid = 'pg_trigger'::regclass AND t.oid = d.objid)) AS schema
      FROM pg_event_trigger_ddl_commands() d
  LOOP
    IF found.schema <> own THEN
      RAISE EXCEPTION USING ERRCODE = '42501',
        MESSAGE = format('rowhouse: a migration reaches beyond its own schema: %s %s', found.object_type, found.object_identity),
        HINT = 'Write names without a schema.';
    END IF;
  END LOOP;
END $$;

CREATE OR REPLACE FUNCTION rh.migration_dropped() RETURNS event_trigger SECURITY DEFINER
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  own   text := (SELECT m.schema FROM rh.migrating m LIMIT 1);
  found record;
BEGIN
  IF own IS NULL THEN RETURN; END IF;
  FOR found IN SELECT d.object_type, d.object_identity, coalesce(d.schema_name, d.address_names[1]) AS schema
                 FROM pg_event_trigger_dropped_objects() d WHERE d.original AND d.object_type <> 'cast'
  LOOP
    IF found.schema <> own THEN
      RAISE EXCEPTION USING ERRCODE = '42501',
        MESSAGE = format('rowhouse: a migration reaches beyond its own schema: %s %s', found.object_type, found.object_identity),
        HINT = 'Write names without a schema.';
    END IF;
  END LOOP;
END $$;
RESET ROLE;

REVOKE ALL ON FUNCTION rh.migration_begins(), rh.migration_did(), rh.migration_dropped() FROM PUBLIC;

DROP EVENT TRIGGER IF EXISTS rh_migration_begins;
DROP EVENT TRIGGER IF EXISTS rh_migration_did;
DROP EVENT TRIGGER IF EXISTS rh_migration_dropped;
CREATE EVENT TRIGGER rh_migration_begins ON ddl_command_start EXECUTE FUNCTION rh.migration_begins();
CREATE EVENT TRIGGER rh_migration_did ON ddl_command_end EXECUTE FUNCTION rh.migration_did();
CREATE EVENT TRIGGER rh_migration_dropped ON sql_drop EXECUTE FUNCTION rh.migration_dropped();
