-- What PUBLIC loses of the catalog in a tenants' database: functions that reach other sessions, that have no
-- tenancy, or that tell other tenants' volumes; views that show other sessions' texts. Repeatable.
DO $$
DECLARE
  closed record;
BEGIN
  FOR closed IN
    SELECT p.oid::regprocedure AS name
      FROM pg_proc p
     WHERE p.pronamespace = 'pg_catalog'::regnamespace
       AND (p.proname ~ '^(lo_|loread$|lowrite$|pg_stat_get_|pg_sleep)' OR p.proname ~ '_advisory_'
            OR p.proname IN ('pg_notify', 'pg_cancel_backend', 'pg_terminate_backend', 'pg_export_snapshot',
                             'pg_logical_emit_message', 'pg_lock_status', 'pg_cursor', 'pg_prepared_statement',
                             'pg_prepared_xact', 'pg_blocking_pids', 'pg_safe_snapshot_blocking_pids',
                             'pg_isolation_test_session_is_blocked', 'pg_relation_size', 'pg_table_size',
                             'pg_indexes_size', 'pg_total_relation_size', 'pg_relation_filenode',
                             'pg_relation_filepath', 'pg_database_size', 'pg_tablespace_size'))
       AND has_function_privilege('public', p.oid, 'execute')
  LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', closed.name);
  END LOOP;
  FOR closed IN
    SELECT c.oid::regclass AS name
      FROM pg_class c
     WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'v'
       AND c.relname ~ '^(pg_stat|pg_locks$|pg_cursors$|pg_prepared_)'
       AND has_table_privilege('public', c.oid, 'select')
  LOOP
    EXECUTE format('REVOKE SELECT ON %s FROM PUBLIC', closed.name);
  END LOOP;
END $$;
