-- D01 to D14, D16, D19 (sequences), D21, D29 to D32, D35, D36 of one schema. $1 schema, $2 login, $3 whether it is shared, $4 its tenant.
-- Each row is a finding. Texts of policies and checks are made of this schema's alone (OFFSET 0, MATERIALIZED): those of
-- a schema that is being dropped just now would be an error, and those of two thousand schemas would take long. Tables that the generator has not recorded count as tenant tables.
WITH t AS (SELECT c.oid, c.oid::regclass::text AS name, c.relrowsecurity AS rls, c.relforcerowsecurity AS forced, c.relispartition AS leaf,
                  a.attnum AS tcol, a.attnotnull AS nn, coalesce(r.kind, 'tenant') AS kind
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
             LEFT JOIN rh.relation r ON r.schema = n.nspname AND r.name = c.relname
            WHERE n.nspname = $1::text AND c.relkind IN ('r', 'p')),
     k AS (SELECT * FROM t WHERE tcol IS NOT NULL AND kind = 'tenant'),
     p AS (SELECT polname, polrelid, polcmd, polroles, polpermissive, pg_get_expr(polqual, polrelid) AS qual, pg_get_expr(polwithcheck, polrelid) AS written, coalesce(pg_get_expr(polqual, polrelid), '') || coalesce(pg_get_expr(polwithcheck, polrelid), '') AS both_exprs
            FROM (SELECT y.* FROM pg_policy y JOIN k ON k.oid = y.polrelid OFFSET 0) y),
     c AS MATERIALIZED (SELECT k.oid AS relation, n.oid, n.convalidated FROM k JOIN pg_constraint n ON n.conrelid = k.oid AND n.contype = 'c')
          SELECT 'D01' AS code, name AS object FROM t WHERE tcol IS NULL AND kind = 'tenant'
UNION ALL SELECT 'D02', name FROM k WHERE NOT nn
UNION ALL SELECT 'D03', name FROM k WHERE $3::boolean AND NOT rls
UNION ALL SELECT 'D04', name FROM k WHERE $3 AND NOT forced
UNION ALL SELECT 'D05', name FROM k WHERE $3 AND NOT leaf AND NOT EXISTS (SELECT FROM p WHERE polrelid = k.oid AND polpermissive AND polcmd = '*' AND qual ~ '^\(tenant_id = \( SELECT rh\.tenant\(''r''::text\)( AS tenant)?\)\)$' AND written ~ '^\(tenant_id = \( SELECT rh\.tenant\(''w''::text\)( AS tenant)?\)\)$')
UNION ALL SELECT 'D05', name FROM k WHERE $3 AND NOT leaf AND NOT EXISTS (SELECT FROM p WHERE polrelid = k.oid AND NOT polpermissive AND polcmd = 'd' AND qual ~ 'rh\.tenant\(''d''::text\).* IS NOT NULL')
UNION ALL SELECT 'D05', name FROM k WHERE NOT $3 AND NOT EXISTS (SELECT FROM c WHERE c.relation = k.oid AND c.convalidated AND pg_get_constraintdef(c.oid) = format('CHECK ((tenant_id = %L::uuid))', $4::uuid::text))
UNION ALL SELECT 'D06', polname || ' on ' || polrelid::regclass FROM p WHERE polroles <> '{0}'
UNION ALL SELECT 'D07', polname || ' on ' || polrelid::regclass FROM p WHERE polpermissive AND qual !~ '^\(tenant_id = \( SELECT rh\.tenant\(''r''::text\)'
UNION ALL SELECT 'D08', f.oid::regprocedure::text FROM pg_depend d JOIN pg_policy y ON y.oid = d.objid JOIN pg_proc f ON f.oid = d.refobjid WHERE d.classid = 'pg_policy'::regclass AND d.refclassid = 'pg_proc'::regclass AND y.polrelid IN (SELECT oid FROM k) AND f.provolatile <> 's'
UNION ALL SELECT 'D09', indexrelid::regclass::text FROM pg_index i JOIN k ON k.oid = i.indrelid WHERE i.indisunique AND i.indkey[0] <> k.tcol
UNION ALL SELECT 'D09', n.conname || ' on ' || n.conrelid::regclass FROM pg_constraint n JOIN k ON k.oid = n.conrelid WHERE n.contype = 'x'
             AND NOT EXISTS (SELECT FROM unnest(n.conkey, n.conexclop) e(attribute, operator) JOIN pg_operator o ON o.oid = e.operator WHERE e.attribute = k.tcol AND o.oprname = '=' AND o.oprnamespace = 'pg_catalog'::regnamespace)
UNION ALL SELECT 'D10', conname || ' on ' || conrelid::regclass FROM pg_constraint c JOIN k ON k.oid = c.conrelid JOIN k x ON x.oid = c.confrelid WHERE contype = 'f'
             AND NOT EXISTS (SELECT FROM unnest(c.conkey, c.confkey) e(source, target) WHERE e.source = k.tcol AND e.target = x.tcol)
UNION ALL SELECT 'D11', name FROM k WHERE leaf AND (NOT rls OR NOT forced OR has_table_privilege($2::text::name, oid, 'select'))
UNION ALL SELECT 'D12', c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND relkind = 'v' AND coalesce(array_to_string(reloptions, ','), '') !~ 'security_invoker=(true|on|1)'
UNION ALL SELECT 'D13', c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND relkind = 'm' AND has_table_privilege($2::text::name, c.oid, 'select')
UNION ALL SELECT 'D13', f.oid::regprocedure::text FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace WHERE prosecdef AND nspname = $1 AND (has_function_privilege($2::text::name, f.oid, 'execute') OR f.prorettype = 'trigger'::regtype)
UNION ALL SELECT 'D14', polname || ' on ' || polrelid::regclass FROM p WHERE both_exprs ~ '(?<!SELECT )rh\.tenant\('
UNION ALL SELECT 'D16', name FROM t WHERE has_table_privilege($2::text::name, oid, 'truncate') OR has_table_privilege($2::text::name, oid, 'references') OR has_table_privilege($2::text::name, oid, 'trigger')
             OR (kind <> 'tenant' AND (has_table_privilege($2::text::name, oid, 'insert') OR has_any_column_privilege($2::text::name, oid, 'update') OR has_table_privilege($2::text::name, oid, 'delete')))
             OR (kind = 'internal' AND has_any_column_privilege($2::text::name, oid, 'select'))
             OR (kind = 'tenant' AND tcol IS NOT NULL AND has_column_privilege($2::text::name, oid, tcol, 'update'))
UNION ALL SELECT 'D19', c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND CASE WHEN relkind = 'S' THEN has_sequence_privilege($2::text::name, c.oid, 'usage') ELSE false END
UNION ALL SELECT 'D21', pubname || ' ' || tablename FROM pg_publication_tables WHERE schemaname = $1 AND rowfilter IS NULL
UNION ALL SELECT 'D29', w.rulename || ' on ' || w.ev_class::regclass FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND w.rulename <> '_RETURN'
UNION ALL SELECT 'D30', c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'f'
UNION ALL SELECT 'D31', name FROM t WHERE kind = 'reference' AND tcol IS NOT NULL
UNION ALL SELECT 'D32', g.tgname || ' on ' || g.tgrelid::regclass FROM pg_trigger g JOIN t ON t.oid = g.tgrelid WHERE NOT g.tgisinternal AND g.tgenabled IN ('A', 'R')
UNION ALL SELECT 'D35', c.conname || ' on ' || c.conrelid::regclass FROM pg_constraint c JOIN k ON k.oid = c.conrelid WHERE c.contype = 'f' AND c.conparentid = 0 AND k.tcol = ANY (c.conkey)
             AND (c.confupdtype = 'n' OR (c.confdeltype = 'n' AND (c.confdelsetcols IS NULL OR k.tcol = ANY (c.confdelsetcols))))
UNION ALL SELECT 'D36', k.name FROM k JOIN pg_class r ON r.oid = k.oid WHERE r.relpersistence = 'u'
ORDER BY 1, 2
