//! Making hash partitions of a shared table that a migration has just made plain. The author writes one `CREATE
//! TABLE` for all levels; only on `shared`, where one table holds thousands of tenants, is it worth cutting.

use rowhouse_domain::tenancy::Isolation;
use tokio_postgres::Transaction;

use super::install::{InstallError, Target, server};
use super::owner::{Text, run_as};
use super::{Manifest, TableKind};
use crate::name::quote;

/// What stands on a table and has to be put back on the partitioned one, under its old name.
struct Attached {
    name: String,
    /// Table that it stands on, quoted and qualified.
    table: String,
    definition: String,
}

/// Converts each table that the manifest wants in partitions and that is not. Only tables that the generator has not
/// recorded yet are converted: they were made in this transaction and are empty.
pub(super) async fn partition(
    transaction: &Transaction<'_>,
    target: &Target<'_>,
    owner: &str,
    manifest: &Manifest,
) -> Result<(), InstallError> {
    if target.isolation != Isolation::Shared {
        return Ok(());
    }
    for (name, table) in &manifest.tables {
        let Some(count) = table.partitions.filter(|_| table.kind == TableKind::Tenant) else { continue };
        if is_plain_table(transaction, target.schema, name).await? {
            convert(transaction, target, owner, (name, count)).await?;
        }
    }
    name_leaf_indexes(transaction, target.schema).await
}

/// The server names the indexes of leaves as it likes, and a violated one is reported by that name. They are named after
/// the root's (`stamps_hash` → `stamps_hash_p3`), so that a service hears of one constraint on all levels
/// ([`crate::DatabaseError::Constraint`]). A name that would be too long is left as it is.
async fn name_leaf_indexes(transaction: &Transaction<'_>, schema: &str) -> Result<(), InstallError> {
    let doing = "naming the indexes of partitions";
    let rows = transaction
        .query(
            "SELECT format('ALTER INDEX %I.%I RENAME TO %I', n.nspname, leaf.relname, wanted.name)
               FROM pg_inherits h
               JOIN pg_class leaf ON leaf.oid = h.inhrelid AND leaf.relkind = 'i'
               JOIN pg_class root ON root.oid = h.inhparent AND root.relkind = 'I'
               JOIN pg_namespace n ON n.oid = leaf.relnamespace
               JOIN pg_index i ON i.indexrelid = leaf.oid
               JOIN pg_class leaf_table ON leaf_table.oid = i.indrelid
               CROSS JOIN LATERAL (SELECT root.relname || substring(leaf_table.relname FROM '_p[0-9]+$') AS name) wanted
              WHERE n.nspname = $1 AND leaf.relname <> wanted.name AND octet_length(wanted.name) <= 63
                AND NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = wanted.name)",
            &[&schema],
        )
        .await
        .map_err(server(doing))?;
    let statements: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    transaction.batch_execute(&statements.join(";\n")).await.map_err(server(doing))
}

async fn is_plain_table(
    transaction: &Transaction<'_>,
    schema: &str,
    table: &str,
) -> Result<bool, InstallError> {
    let found = transaction
        .query_opt(
            "SELECT c.relkind = 'r', EXISTS (SELECT FROM rh.relation r WHERE r.schema = $1 AND r.name = $2)
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = $1 AND c.relname = $2",
            &[&schema, &table],
        )
        .await
        .map_err(server("looking for a table to partition"))?;
    match found.map(|row| (row.get(0), row.get(1))) {
        Some((true, true)) => Err(InstallError::TooLateToPartition(table.to_owned())),
        Some((plain, _)) => Ok(plain),
        None => Ok(false),
    }
}

async fn convert(
    transaction: &Transaction<'_>,
    target: &Target<'_>,
    owner: &str,
    (table, count): (&str, u32),
) -> Result<(), InstallError> {
    let schema = target.schema;
    let (schema_quoted, table_quoted) = (quote(schema)?, quote(table)?);
    let name = format!("{schema_quoted}.{table_quoted}");
    let keys =
        constraints(transaction, &name, "contype IN ('p', 'u', 'x') AND conrelid = $1::text::regclass")
            .await?;
    let foreign = constraints(
        transaction,
        &name,
        "contype = 'f' AND conparentid = 0 AND $1::text::regclass IN (conrelid, confrelid)",
    )
    .await?;
    let indexes = indexes(transaction, &name).await?;
    let triggers = triggers(transaction, &name).await?;
    let views = views(transaction, schema).await?;
    let functions = functions(transaction, &name).await?;
    let mut sql = String::new();
    for View { kind, name, .. } in views.iter().rev() {
        sql.push_str(&format!("DROP {kind} {name};\n"));
    }
    for (function, _) in &functions {
        sql.push_str(&format!("DROP {function};\n"));
    }
    for key in &foreign {
        sql.push_str(&format!("ALTER TABLE {} DROP CONSTRAINT {};\n", key.table, key.name));
    }
    sql.push_str(&format!(
        "ALTER TABLE {name} RENAME TO rh_plain;\nCREATE TABLE {name} (LIKE {schema_quoted}.rh_plain INCLUDING DEFAULTS \
         INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING IDENTITY INCLUDING STORAGE INCLUDING COMMENTS)\n  \
         PARTITION BY HASH (tenant_id);\nDROP TABLE {schema_quoted}.rh_plain;\n"
    ));
    for remainder in 0..count {
        let leaf = quote(&format!("{table}_p{remainder}"))?;
        sql.push_str(&format!(
            "CREATE TABLE {schema_quoted}.{leaf} PARTITION OF {name} FOR VALUES WITH (MODULUS {count}, REMAINDER {remainder});\n"
        ));
    }
    for key in keys.iter().chain(&foreign) {
        sql.push_str(&format!("ALTER TABLE {} ADD CONSTRAINT {} {};\n", key.table, key.name, key.definition));
    }
    for statement in indexes.iter().chain(&triggers) {
        sql.push_str(&format!("{statement};\n"));
    }
    for (_, definition) in &functions {
        sql.push_str(&format!("{definition};\n"));
    }
    for View { kind, name, definition, indexes } in &views {
        sql.push_str(&format!("CREATE {kind} {name} AS {definition}\n"));
        indexes.iter().for_each(|index| sql.push_str(&format!("{index};\n")));
    }
    // As the owner: a materialised view is filled here, by functions of the author's.
    run_as(transaction, target, owner, (Text::Generated, &sql)).await?.map_err(server("partitioning a table"))
}

/// Functions that take or return rows of the table, as `FUNCTION name(types)` and the statement that makes them: they cling to
/// the type of the plain table.
async fn functions(transaction: &Transaction<'_>, name: &str) -> Result<Vec<(String, String)>, InstallError> {
    let rows = transaction
        .query(
            "SELECT format('%s %s', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.oid::regprocedure), pg_get_functiondef(p.oid)
               FROM pg_proc p
              WHERE p.prokind IN ('f', 'p') AND EXISTS (
                    SELECT FROM pg_depend d JOIN pg_type t ON t.typrelid = $1::text::regclass
                     WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_type'::regclass
                       AND d.refobjid IN (t.oid, t.typarray))
              ORDER BY p.oid",
            &[&name],
        )
        .await
        .map_err(server("reading functions of a table's rows"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn constraints(
    transaction: &Transaction<'_>,
    name: &str,
    which: &str,
) -> Result<Vec<Attached>, InstallError> {
    let rows = transaction
        .query(
            &format!(
                "SELECT quote_ident(conname), format('%I.%I', n.nspname, c.relname), pg_get_constraintdef(k.oid)
                   FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE {which} ORDER BY contype, conname"
            ),
            &[&name],
        )
        .await
        .map_err(server("reading constraints"))?;
    Ok(rows
        .iter()
        .map(|row| Attached { name: row.get(0), table: row.get(1), definition: row.get(2) })
        .collect())
}

/// Indexes that no constraint owns, as the statements that make them; the table gets its name back, so they fit.
async fn indexes(transaction: &Transaction<'_>, name: &str) -> Result<Vec<String>, InstallError> {
    let rows = transaction
        .query(
            "SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i
              WHERE i.indrelid = $1::text::regclass
                AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid)",
            &[&name],
        )
        .await
        .map_err(server("reading indexes"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The author's triggers, as the statements that make them. Each leaf gets its own from the root.
async fn triggers(transaction: &Transaction<'_>, name: &str) -> Result<Vec<String>, InstallError> {
    let rows = transaction
        .query(
            "SELECT pg_get_triggerdef(oid) FROM pg_trigger
              WHERE tgrelid = $1::text::regclass AND NOT tgisinternal ORDER BY tgname",
            &[&name],
        )
        .await
        .map_err(server("reading triggers"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// A view, plain or materialised, as it has to be made anew.
struct View {
    kind: &'static str,
    /// Quoted and qualified.
    name: String,
    definition: String,
    /// Statements that make its indexes.
    indexes: Vec<String>,
}

/// All views of the schema with their queries, each after those it uses: they cling to the plain table and are made
/// anew on the partitioned one. The generator sets their options and grants afterwards.
async fn views(transaction: &Transaction<'_>, schema: &str) -> Result<Vec<View>, InstallError> {
    let rows = transaction
        .query(
            "SELECT c.relkind = 'm', format('%I.%I', n.nspname, c.relname), pg_get_viewdef(c.oid),
                    ARRAY(SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i WHERE i.indrelid = c.oid)
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = $1 AND c.relkind IN ('v', 'm') ORDER BY c.oid",
            &[&schema],
        )
        .await
        .map_err(server("reading views"))?;
    let kind = |materialised| if materialised { "MATERIALIZED VIEW" } else { "VIEW" };
    let view = |row: &tokio_postgres::Row| View {
        kind: kind(row.get(0)),
        name: row.get(1),
        definition: row.get(2),
        indexes: row.get(3),
    };
    Ok(rows.iter().map(view).collect())
}
