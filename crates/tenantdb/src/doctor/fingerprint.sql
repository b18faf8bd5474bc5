-- The canonical catalog of one schema, one line a fact. $1 schema. The caller puts placeholders for the names of schema,
-- login and tenant, and has emptied the search path, so that every name is qualified. Leaf partitions come with their root.
WITH c AS (SELECT c.* FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1::text AND NOT c.relispartition)
          SELECT format('relation %s %s %s %s %s', relname, relkind, relrowsecurity, relforcerowsecurity, coalesce(array_to_string(reloptions, ','), '')) AS line FROM c WHERE relkind IN ('r', 'p', 'v', 'm', 'S')
UNION ALL SELECT format('grant %s %s', c.relname, x.item) FROM c CROSS JOIN LATERAL (SELECT unnest(relacl)::text AS item) x WHERE relkind IN ('r', 'p', 'v', 'm', 'S')
UNION ALL SELECT format('column %s %s %s %s %s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated, a.attidentity, a.attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid))
            FROM c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum WHERE c.relkind IN ('r', 'p', 'v', 'm')
UNION ALL SELECT format('column grant %s %s %s', c.relname, a.attname, x.item) FROM c JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped CROSS JOIN LATERAL (SELECT unnest(a.attacl)::text AS item) x
UNION ALL SELECT format('constraint %s %s %s %s', c.relname, k.conname, k.convalidated, pg_get_constraintdef(k.oid)) FROM c JOIN pg_constraint k ON k.conrelid = c.oid
UNION ALL SELECT format('index %s', pg_get_indexdef(c.oid)) FROM c WHERE relkind IN ('i', 'I')
UNION ALL SELECT format('policy %s %s %s %s %s %s', c.relname, y.polname, y.polcmd, y.polpermissive, pg_get_expr(y.polqual, y.polrelid), pg_get_expr(y.polwithcheck, y.polrelid)) FROM c JOIN pg_policy y ON y.polrelid = c.oid
UNION ALL SELECT format('trigger %s %s', t.tgenabled, pg_get_triggerdef(t.oid)) FROM c JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal
UNION ALL SELECT format('view %s %s', c.relname, pg_get_viewdef(c.oid)) FROM c WHERE relkind IN ('v', 'm')
UNION ALL SELECT format('function %s(%s) %s %s %s %s', f.proname, pg_get_function_identity_arguments(f.oid), f.prosecdef, f.provolatile, md5(f.prosrc), f.proacl::text) FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace WHERE n.nspname = $1::text
UNION ALL SELECT format('type %s %s %s', t.typname, t.typtype, (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid)) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = $1::text AND t.typtype IN ('e', 'd', 'r')
