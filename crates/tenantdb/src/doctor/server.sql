-- D15 of movers, D20, D23 (by version), D24, D25, D28 of a server. $1 the fewest connections. A database that is being dropped, or whose dropping was
-- cut off, has a limit of -2: nobody gets in.
          SELECT 'D20' AS code, datname::text AS object FROM pg_database WHERE datallowconn AND datconnlimit NOT IN (0, -2) AND has_database_privilege('public', oid, 'connect')
UNION ALL SELECT 'D15', rolname::text FROM pg_roles m WHERE rolname ~ '^rh_mover' AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication
             OR (SELECT count(*) FROM pg_auth_members a JOIN pg_roles o ON o.oid = a.roleid WHERE a.member = m.oid AND o.rolname <> 'rh_mover') > CASE rolname WHEN 'rh_mover' THEN 0 ELSE 1 END)
UNION ALL SELECT 'D23', current_setting('server_version') WHERE current_setting('server_version_num')::int < CASE current_setting('server_version_num')::int / 10000 WHEN 15 THEN 150020 WHEN 16 THEN 160016 WHEN 17 THEN 170012 WHEN 18 THEN 180007 WHEN 14 THEN 150020 WHEN 13 THEN 150020 ELSE 0 END
UNION ALL SELECT 'D24', name || ' is off' FROM pg_settings WHERE name IN ('data_checksums', 'fsync', 'full_page_writes') AND setting = 'off'
UNION ALL SELECT 'D25', name || ' is ' || setting FROM pg_settings WHERE name = 'max_connections' AND setting::int < $1::int
UNION ALL SELECT 'D25', name || ' is ' || setting FROM pg_settings WHERE name = 'max_locks_per_transaction' AND setting::int < 1024 AND EXISTS (SELECT FROM pg_database WHERE datname ~ '^rh_schemas_')
UNION ALL SELECT 'D28', slot_name::text FROM pg_replication_slots WHERE NOT active AND (wal_status IN ('unreserved', 'lost') OR pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) > 1073741824)
ORDER BY 1, 2
