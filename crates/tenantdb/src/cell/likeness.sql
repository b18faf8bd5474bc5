-- What a database is beside what the server brings: everything that was made in it, every privilege that was changed, and how
-- many rows rh holds. Objects of initdb have numbers below 16384. Names of TOAST tables hold a number and are left out.
SELECT encode(sha256(convert_to(coalesce(string_agg(line, E'\n' ORDER BY line COLLATE "C"), ''), 'UTF8')), 'hex') FROM (
            SELECT format('function %s.%s(%s) %s %s %s %s %s', pronamespace::regnamespace, proname, oidvectortypes(proargtypes), proowner::regrole, prosecdef, proacl::text, md5(prosrc), proconfig::text)
                   AS line FROM pg_proc WHERE proacl IS NOT NULL OR oid >= 16384
  UNION ALL SELECT format('relation %s.%s %s %s %s %s %s', relnamespace::regnamespace, relname, relkind, relowner::regrole, relacl::text, relrowsecurity, relforcerowsecurity)
              FROM pg_class WHERE (relacl IS NOT NULL OR oid >= 16384) AND relnamespace <> 'pg_toast'::regnamespace
  UNION ALL SELECT format('column %s.%s.%s %s %s %s', relnamespace::regnamespace, relname, attname, attacl::text, format_type(atttypid, atttypmod), attnotnull)
              FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE (attacl IS NOT NULL OR c.oid >= 16384 AND attnum > 0) AND relnamespace <> 'pg_toast'::regnamespace
  UNION ALL SELECT format('default %s %s', adrelid::regclass, pg_get_expr(adbin, adrelid)) FROM pg_attrdef WHERE oid >= 16384
  UNION ALL SELECT format('constraint %s %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint WHERE oid >= 16384
  UNION ALL SELECT format('schema %s %s %s', nspname, nspowner::regrole, nspacl::text) FROM pg_namespace
  UNION ALL SELECT format('event trigger %s %s %s %s', evtname, evtevent, evtenabled, evtfoid::regprocedure) FROM pg_event_trigger
  UNION ALL SELECT format('trigger %s on %s', tgname, tgrelid::regclass) FROM pg_trigger WHERE NOT tgisinternal
  UNION ALL SELECT format('rule %s on %s', rulename, ev_class::regclass) FROM pg_rewrite WHERE oid >= 16384
  UNION ALL SELECT format('policy %s on %s', polname, polrelid::regclass) FROM pg_policy
  UNION ALL SELECT format('language %s %s', lanname, lanacl::text) FROM pg_language
  UNION ALL SELECT format('extension %s %s', extname, extversion) FROM pg_extension
  UNION ALL SELECT format('default privileges %s', defaclacl::text) FROM pg_default_acl
  UNION ALL SELECT format('type %s %s', typname, typtype) FROM pg_type WHERE oid >= 16384 AND typnamespace <> 'pg_toast'::regnamespace
  UNION ALL SELECT format('cast %s %s', castsource::regtype, casttarget::regtype) FROM pg_cast WHERE oid >= 16384
  UNION ALL SELECT format('operator %s', oid::regoperator) FROM pg_operator WHERE oid >= 16384
  UNION ALL SELECT format('publication %s', pubname) FROM pg_publication
  UNION ALL SELECT format('large object %s', oid) FROM pg_largeobject_metadata
  UNION ALL SELECT format('rows %s', (SELECT count(*) FROM rh.key) + (SELECT count(*) FROM rh.place) + (SELECT count(*) FROM rh.installed)
                                   + (SELECT count(*) FROM rh.version) + (SELECT count(*) FROM rh.marker) + (SELECT count(*) FROM rh.migrating))
) x
