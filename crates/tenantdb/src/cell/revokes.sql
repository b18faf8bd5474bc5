-- What PUBLIC loses of the catalog in a tenants' database: functions that reach other sessions, that have no
-- tenancy, or that tell other tenants' volumes or what a number stands for; relations that show other sessions, roles and databases. Repeatable.
DO $$
DECLARE
  closed record;
BEGIN
  FOR closed IN
    SELECT p.oid::regprocedure AS name
      FROM pg_proc p
     WHERE p.pronamespace = 'pg_catalog'::regnamespace
       AND (p.proname ~ '^(lo_|loread$|lowrite$|pg_stat_get_|pg_sleep|txid_|pg_current_wal_|pg_last_|pg_walfile_name|pg_wal_|pg_snapshot_|pg_get_wal_|pg_control_|pg_available_wal)' OR p.proname ~ '_advisory_'
            OR p.proname IN ('pg_notify', 'pg_cancel_backend', 'pg_terminate_backend', 'pg_export_snapshot',
                             'pg_logical_emit_message', 'pg_lock_status', 'pg_cursor', 'pg_prepared_statement',
                             'pg_prepared_xact', 'pg_describe_object', 'pg_identify_object', 'pg_identify_object_as_address', 'pg_blocking_pids', 'pg_safe_snapshot_blocking_pids',
                             'pg_isolation_test_session_is_blocked', 'pg_relation_size', 'pg_table_size',
                             'pg_indexes_size', 'pg_total_relation_size', 'pg_relation_filenode',
                             'pg_relation_filepath', 'pg_filenode_relation', 'pg_database_size', 'pg_tablespace_size', 'pg_tablespace_databases',
                             'pg_current_xact_id', 'pg_current_xact_id_if_assigned', 'pg_current_snapshot', 'pg_xact_status',
                             'pg_xact_commit_timestamp', 'pg_last_committed_xact', 'pg_get_multixact_members', 'mxid_age',
                             'pg_postmaster_start_time', 'pg_conf_load_time', 'pg_listening_channels', 'pg_notification_queue_usage',
                             'pg_get_replication_slots', 'pg_show_replication_origin_status', 'pg_get_shmem_allocations', 'pg_get_backend_memory_contexts'))
       AND has_function_privilege('public', p.oid, 'execute')
  LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', closed.name);
  END LOOP;
  FOR closed IN
    SELECT c.oid::regclass AS name
      FROM pg_class c
     WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v')
       AND (c.relname ~ '^(pg_stat|pg_locks$|pg_cursors$|pg_prepared_)'
            OR c.relname IN ('pg_database', 'pg_roles', 'pg_user', 'pg_group', 'pg_auth_members', 'pg_db_role_setting', 'pg_shdepend',
                             'pg_largeobject_metadata'))
       AND has_table_privilege('public', c.oid, 'select')
  LOOP
    EXECUTE format('REVOKE SELECT ON %s FROM PUBLIC', closed.name);
  END LOOP;
  -- How many rows and pages a table has, of all tenants; drivers and tools ask for the other columns.
  IF has_column_privilege('public', 'pg_class', 'reltuples', 'select') THEN
    REVOKE SELECT ON pg_class FROM PUBLIC;
    EXECUTE (SELECT format('GRANT SELECT (%s) ON pg_class TO PUBLIC', string_agg(quote_ident(attname), ', ' ORDER BY attnum))
               FROM pg_attribute
              WHERE attrelid = 'pg_class'::regclass AND attnum > 0 AND NOT attisdropped
                AND attname <> ALL (ARRAY['reltuples', 'relpages', 'relallvisible', 'relallfrozen', 'relfrozenxid', 'relminmxid',
                                          'relfilenode']));
  END IF;
END $$;
