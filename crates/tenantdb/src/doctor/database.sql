-- D19 (relations of the catalog), D22, D26, D33, D34 of one database. $1 the most relations, $2 extensions that may be there.
          SELECT 'D19' AS code, c.oid::regclass::text AS object FROM pg_class c
           WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v') AND (c.relname ~ '^(pg_stat|pg_locks$|pg_cursors$|pg_prepared_)' OR c.relname = ANY (ARRAY['pg_database', 'pg_roles', 'pg_user', 'pg_group', 'pg_auth_members', 'pg_db_role_setting', 'pg_shdepend', 'pg_largeobject_metadata']))
             AND has_table_privilege('public', c.oid, 'select')
UNION ALL SELECT 'D19', 'pg_class.' || attname FROM pg_attribute WHERE attrelid = 'pg_class'::regclass AND attname IN ('reltuples', 'relpages') AND has_column_privilege('public', attrelid, attnum, 'select')
UNION ALL SELECT 'D22', current_database() || ': ' || wanted FROM unnest(ARRAY['rh_no_ddl', 'rh_migration_begins', 'rh_migration_did', 'rh_migration_dropped']) wanted
           WHERE NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = wanted AND evtenabled IN ('O', 'A'))
UNION ALL SELECT 'D26', current_database() || ': ' || count(*) || ' relations' FROM pg_class WHERE relkind IN ('r', 'p', 'i', 'I', 't', 'v', 'm', 'S') HAVING count(*) > $1::bigint
UNION ALL SELECT 'D33', coalesce(n.nspname, current_database()) || ': ' || array_to_string(d.defaclacl, ', ') FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
UNION ALL SELECT 'D34', extname::text FROM pg_extension WHERE extname <> 'plpgsql' AND extname <> ALL ($2::text[])
ORDER BY 1, 2
