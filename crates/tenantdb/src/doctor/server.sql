-- D20, D22, D23, D24 of a server and the database that is asked.
          SELECT 'D20' AS code, datname::text AS object FROM pg_database WHERE datallowconn AND datconnlimit <> 0 AND has_database_privilege('public', oid, 'connect')
UNION ALL SELECT 'D22', current_database()::text WHERE NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'rh_no_ddl' AND evtenabled IN ('O', 'A'))
UNION ALL SELECT 'D23', current_setting('server_version') WHERE current_setting('server_version_num')::int < CASE current_setting('server_version_num')::int / 10000 WHEN 15 THEN 150020 WHEN 16 THEN 160016 WHEN 17 THEN 170012 WHEN 18 THEN 180007 WHEN 14 THEN 150020 WHEN 13 THEN 150020 ELSE 0 END
UNION ALL SELECT 'D24', name || ' is off' FROM pg_settings WHERE name IN ('data_checksums', 'fsync', 'full_page_writes') AND setting = 'off'
ORDER BY 1, 2
