-- D15, D17, D18, D19 (catalog) of one login in one database. $1 login.
          SELECT 'D15' AS code, rolname::text AS object FROM pg_roles r WHERE rolname = $1::text
             AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication
                  OR EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid AND g.rolname <> ALL (ARRAY[$1 || '_r', $1 || '_w', $1 || '_d', 'rh_password']))
                  OR EXISTS (SELECT FROM pg_class WHERE relowner = r.oid))
UNION ALL SELECT 'D15', $1 || ' is missing' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)
UNION ALL SELECT 'D17', current_database()::text FROM pg_roles WHERE rolname = $1 AND (has_database_privilege(oid, current_database(), 'temp') OR has_database_privilege(oid, current_database(), 'create'))
UNION ALL SELECT 'D18', coalesce(datname, '*') || ' ' || array_to_string(setconfig, ', ') FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = setdatabase WHERE setrole = (SELECT oid FROM pg_roles WHERE rolname = $1)
UNION ALL SELECT 'D19', f.oid::regprocedure::text FROM pg_proc f JOIN pg_roles r ON r.rolname = $1 WHERE pronamespace = 'pg_catalog'::regnamespace
             AND (proname IN ('pg_terminate_backend', 'pg_cancel_backend', 'pg_notify', 'pg_export_snapshot', 'pg_stat_get_activity', 'pg_current_xact_id', 'pg_total_relation_size') OR starts_with(proname::text, 'lo_') OR starts_with(proname::text, 'pg_sleep') OR starts_with(proname::text, 'pg_current_wal_') OR starts_with(proname::text, 'txid_') OR strpos(proname::text, '_advisory_') > 0) AND has_function_privilege(r.oid, f.oid, 'execute')
ORDER BY 1, 2
