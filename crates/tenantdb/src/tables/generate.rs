//! What is generated for each table of a schema, so that no author can forget it. The text is made from the catalog
//! and the manifest; running it again changes nothing, and repairs what was changed by hand.

use rowhouse_domain::tenancy::Isolation;
use tokio_postgres::Transaction;

use super::install::{InstallError, Target, server};
use super::owner::{Text, run_as};
use super::{Manifest, PROBE_TABLE, TableKind};
use crate::cell::SHARED_LOGIN;
use crate::name::quote;

/// Raised when the generated text changes, so that installed schemas get the new one.
pub(super) const GENERATOR_VERSION: u32 = 1;

/// Who gets which privilege: one role on `shared`; a login's three groups above, so that rights are memberships.
struct Grantees {
    read: String,
    write: String,
    delete: String,
    login: String,
}

impl Grantees {
    fn of(target: &Target<'_>) -> Result<Self, InstallError> {
        let role = |suffix: &str| quote(&format!("{}{suffix}", target.login));
        if target.isolation == Isolation::Shared {
            let all = quote(SHARED_LOGIN)?;
            return Ok(Grantees { read: all.clone(), write: all.clone(), delete: all.clone(), login: all });
        }
        Ok(Grantees { read: role("_r")?, write: role("_w")?, delete: role("_d")?, login: role("")? })
    }

    fn all(&self) -> String {
        let mut names = vec![&self.login, &self.read, &self.write, &self.delete];
        names.dedup();
        names.into_iter().cloned().collect::<Vec<_>>().join(", ")
    }
}

/// A relation found in the schema.
struct Relation {
    name: String,
    kind: char,
    leaf: bool,
}

pub(super) async fn generate(
    transaction: &Transaction<'_>,
    target: &Target<'_>,
    owner: &str,
    manifest: &Manifest,
) -> Result<(), InstallError> {
    let schema = quote(target.schema)?;
    let to = Grantees::of(target)?;
    let relations = relations(transaction, target.schema).await?;
    check_declared(&relations, manifest)?;
    let mut sql = format!(
        "REVOKE ALL ON SCHEMA {schema} FROM PUBLIC;\nREVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM PUBLIC, {all};\n\
         REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM PUBLIC, {all};\nGRANT USAGE ON SCHEMA {schema} TO {read};\n",
        all = to.all(),
        read = to.read,
    );
    transaction
        .execute("DELETE FROM rh.relation WHERE schema = $1", &[&target.schema])
        .await
        .map_err(server("recording the tables"))?;
    for relation in &relations {
        let name = format!("{schema}.{}", quote(&relation.name)?);
        sql.push_str(&match (relation.kind, relation.leaf) {
            ('v', _) => view(&name, &to),
            ('r' | 'p', true) => leaf(&name),
            ('r' | 'p', false) => {
                let kind = kind_of(manifest, &relation.name);
                record(transaction, target.schema, &relation.name, kind).await?;
                match kind {
                    TableKind::Tenant => {
                        tenant_table(transaction, target, &relation.name, &name, &to).await?
                    }
                    TableKind::Reference => {
                        format!("GRANT SELECT ON {name} TO {};\n", to.read)
                    }
                    TableKind::Internal => String::new(),
                }
            }
            _ => String::new(),
        });
    }
    // To say NOT NULL, the server looks into the checks that are there, and calls what they call.
    run_as(transaction, target, owner, (Text::Generated, &sql))
        .await?
        .map_err(server("generating policies and grants"))
}

fn kind_of(manifest: &Manifest, table: &str) -> TableKind {
    match table {
        PROBE_TABLE => TableKind::Tenant,
        other => manifest.tables.get(other).map_or(TableKind::Internal, |table| table.kind),
    }
}

async fn relations(transaction: &Transaction<'_>, schema: &str) -> Result<Vec<Relation>, InstallError> {
    let rows = transaction
        .query(
            "SELECT c.relname::text, c.relkind::text, c.relispartition
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v') ORDER BY c.relname",
            &[&schema],
        )
        .await
        .map_err(server("reading the tables"))?;
    let first = |text: String| text.chars().next().unwrap_or(' ');
    Ok(rows
        .iter()
        .map(|row| Relation { name: row.get(0), kind: first(row.get(1)), leaf: row.get(2) })
        .collect())
}

/// A table that the manifest does not name, or the reverse, is a mistake of the author that would else show as a
/// missing grant in production.
fn check_declared(relations: &[Relation], manifest: &Manifest) -> Result<(), InstallError> {
    let is_table = |relation: &&Relation| matches!(relation.kind, 'r' | 'p') && !relation.leaf;
    for relation in relations.iter().filter(is_table) {
        if relation.name != PROBE_TABLE && !manifest.tables.contains_key(&relation.name) {
            return Err(InstallError::Undeclared(relation.name.clone()));
        }
    }
    for name in manifest.tables.keys() {
        if !relations.iter().filter(is_table).any(|relation| relation.name == *name) {
            return Err(InstallError::Missing(name.clone()));
        }
    }
    Ok(())
}

/// A default that calls nextval, as `serial` has it, would fail for every tenant, who may use no sequence; an identity
/// column needs no privilege.
///
/// `pg_get_expr` locks the table that it reads: it is asked only of the schema's own, or migrations of two schemas that
/// go on at once would wait for each other.
pub(super) async fn refuse_sequences(
    transaction: &Transaction<'_>,
    schema: &str,
    manifest: &Manifest,
) -> Result<(), InstallError> {
    let rows = transaction
        .query(
            "WITH own AS MATERIALIZED (
                 SELECT c.relname::text AS relation, a.attname::text AS attribute, d.adbin, d.adrelid
                   FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                   JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                  WHERE n.nspname = $1)
             SELECT relation, attribute FROM own
              WHERE pg_get_expr(adbin, adrelid) LIKE '%nextval(%' ORDER BY 1, 2",
            &[&schema],
        )
        .await
        .map_err(server("reading defaults"))?;
    let tenants = |row: &&tokio_postgres::Row| kind_of(manifest, row.get(0)) == TableKind::Tenant;
    match rows.iter().find(tenants) {
        Some(row) => Err(InstallError::SequenceDefault { table: row.get(0), column: row.get(1) }),
        None => Ok(()),
    }
}

async fn record(
    transaction: &Transaction<'_>,
    schema: &str,
    table: &str,
    kind: TableKind,
) -> Result<(), InstallError> {
    transaction
        .execute(
            "INSERT INTO rh.relation (schema, name, kind) VALUES ($1, $2, $3)",
            &[&schema, &table, &kind.as_str()],
        )
        .await
        .map_err(server("recording the tables"))?;
    Ok(())
}

/// A view must ask as its reader, and must not be opened up by a cheap leaky function.
fn view(name: &str, to: &Grantees) -> String {
    format!(
        "ALTER VIEW {name} SET (security_invoker = true, security_barrier = true);\nGRANT SELECT ON {name} TO {};\n",
        to.read
    )
}

/// The root's policies do not bind a leaf that is asked directly: it gets none, and no grant.
fn leaf(name: &str) -> String {
    format!("ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;\n")
}

async fn tenant_table(
    transaction: &Transaction<'_>,
    target: &Target<'_>,
    table: &str,
    name: &str,
    to: &Grantees,
) -> Result<String, InstallError> {
    let columns = columns(transaction, target.schema, table).await?;
    if !columns.iter().any(|column| column.name == "tenant_id" && column.data_type == "uuid") {
        return Err(InstallError::NoTenantId(table.to_owned()));
    }
    let changeable = columns
        .iter()
        .filter(|column| column.name != "tenant_id" && !column.generated)
        .map(|column| quote(&column.name))
        .collect::<Result<Vec<_>, _>>()?
        .join(", ");
    let mut sql = format!(
        "ALTER TABLE {name} ALTER COLUMN tenant_id SET NOT NULL, ALTER COLUMN tenant_id SET DEFAULT rh.stamped();\n"
    );
    sql.push_str(&match target.tenant {
        None => policies(name),
        Some(tenant) => format!(
            "ALTER TABLE {name} DROP CONSTRAINT IF EXISTS rh_tenant, ADD CONSTRAINT rh_tenant CHECK (tenant_id = '{}');\n",
            tenant.0
        ),
    });
    sql.push_str(&format!(
        "GRANT SELECT ON {name} TO {};\nGRANT INSERT ON {name} TO {write};\nGRANT DELETE ON {name} TO {};\n",
        to.read,
        to.delete,
        write = to.write
    ));
    if !changeable.is_empty() {
        sql.push_str(&format!("GRANT UPDATE ({changeable}) ON {name} TO {};\n", to.write));
    }
    Ok(sql)
}

/// Policies are TO PUBLIC: one bound to a role could be shaken off by that role (CVE-2026-116311). The sub-select
/// makes the verifier run once a statement instead of once a row.
fn policies(name: &str) -> String {
    format!(
        "DROP POLICY IF EXISTS rh_tenant ON {name};\nDROP POLICY IF EXISTS rh_delete ON {name};\n\
         CREATE POLICY rh_tenant ON {name} TO PUBLIC\n  USING (tenant_id = (SELECT rh.tenant('r')))\n  \
         WITH CHECK (tenant_id = (SELECT rh.tenant('w')));\n\
         CREATE POLICY rh_delete ON {name} AS RESTRICTIVE FOR DELETE TO PUBLIC\n  \
         USING ((SELECT rh.tenant('d')) IS NOT NULL);\n\
         ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;\n"
    )
}

struct Column {
    name: String,
    data_type: String,
    generated: bool,
}

async fn columns(
    transaction: &Transaction<'_>,
    schema: &str,
    table: &str,
) -> Result<Vec<Column>, InstallError> {
    let rows = transaction
        .query(
            "SELECT a.attname::text, format_type(a.atttypid, NULL), a.attgenerated <> '' OR a.attidentity = 'a'
               FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            &[&schema, &table],
        )
        .await
        .map_err(server("reading the columns"))?;
    Ok(rows
        .iter()
        .map(|row| Column { name: row.get(0), data_type: row.get(1), generated: row.get(2) })
        .collect())
}
