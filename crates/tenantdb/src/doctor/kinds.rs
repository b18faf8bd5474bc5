//! Every code that the doctor can answer: how much it matters, what is wrong, what to do, and the SQL of the cure where
//! the object alone says it.

use super::Severity::{self, Critical, High, Low};

/// Code, severity, what is wrong, cure.
#[rustfmt::skip]
pub(super) const KINDS: &[(&str, Severity, &str, &str)] = &[
    ("D01", Critical, "a tenant table without tenant_id", "Add `tenant_id uuid NOT NULL DEFAULT rh.stamped()`, or declare the table `reference` or `internal`."),
    ("D02", Critical, "tenant_id may be NULL", "Make it NOT NULL."),
    ("D03", Critical, "row-level security is off", "Switch it on, or repair the service's tables."),
    ("D04", High, "row-level security is not forced", "Force it, or repair the service's tables."),
    ("D05", Critical, "the tenant policy or CHECK is missing or altered", "Repair the service's tables: put them again."),
    ("D06", High, "a policy is bound to a role", "Make the policy TO PUBLIC."),
    ("D07", Critical, "a second permissive policy opens rows of other tenants", "Drop the policy."),
    ("D08", Critical, "a policy calls a function that is not STABLE", "Make the function STABLE, or drop the policy."),
    ("D09", High, "a unique key does not begin with tenant_id, or an exclusion constraint lacks `tenant_id WITH =`, so it tells of other tenants' values", "Make tenant_id the first column of the key."),
    ("D10", Critical, "a foreign key without tenant_id can point at another tenant's row", "Put tenant_id into the foreign key."),
    ("D11", Critical, "a leaf partition is open", "Repair the service's tables: put them again."),
    ("D12", High, "a view asks as its owner", "Make the view ask as its reader."),
    ("D13", Critical, "a materialised view or SECURITY DEFINER function is open to tenants", "Revoke it from the login and from PUBLIC."),
    ("D14", High, "a policy calls the verifier once a row", "Wrap the call: (SELECT rh.tenant('r'))."),
    ("D15", Critical, "a tenant login, or a service's mover, has an attribute, membership or ownership it must not have", "Prepare the cell again (restart Rowhouse); take away what the login owns or is a member of."),
    ("D16", High, "a tenant login has a privilege on a table beyond its kind", "Revoke it, or repair the service's tables."),
    ("D17", High, "a tenant login may make temporary tables or schemas", "Revoke it."),
    ("D18", High, "a tenant login has settings of its own", "Reset them."),
    ("D19", High, "a sequence, or a function or relation of the catalog that reaches beyond the tenant, is open", "Prepare the database again (restart Rowhouse)."),
    ("D20", High, "a database takes connections from PUBLIC", "Revoke CONNECT from PUBLIC."),
    ("D21", High, "a publication without row filter", "Give the table a WHERE, or drop it from the publication."),
    ("D22", High, "an event trigger that stops tenants' DDL, or bounds migrations, is missing", "Prepare the database again (restart Rowhouse)."),
    ("D23", Critical, "the server is below the floor 15.20, 16.16, 17.12, 18.7, or a known hole in row-level security is open in it", "Install the newest minor release. Until then statements are judged more strictly, or no shared tenants are placed (`tenantdb.below_floor`)."),
    ("D24", Low, "the server does not protect its files", "Switch fsync, full_page_writes and data checksums on."),
    ("D25", Low, "the server has room for too few connections or locks", "Raise the setting and restart the server."),
    ("D26", High, "too many relations in one database", "Place no more tenants in it; move some."),
    ("D27", High, "a schema is not what was installed in it", "See what was changed by hand; put the service's tables again to repair what is generated."),
    ("D28", High, "a replication slot holds back the log and nobody reads it", "Drop the slot."),
    ("D29", Critical, "a rule runs its action with the rights of the tables' owner", "Drop the rule; a trigger runs as the tenant."),
    ("D30", Critical, "a foreign table shows rows of another server to tenants", "Drop it."),
    ("D31", Critical, "a reference table, which every tenant reads whole, has a column tenant_id", "Declare it `tenant`, or rename the column."),
    ("D32", High, "a trigger fires where the administrator moves rows, with the administrator's rights", "ALTER TABLE … ENABLE TRIGGER, without ALWAYS or REPLICA."),
    ("D33", High, "default privileges open tables that are made later", "ALTER DEFAULT PRIVILEGES: take them back."),
    ("D34", Critical, "an extension that was not reviewed lets tenants do more than compute", "Drop the extension."),
    ("D35", High, "a foreign key sets tenant_id to NULL together with its other columns, so that every such delete or update fails", "Name the columns: ON DELETE SET NULL (column); no ON UPDATE SET NULL."),
    ("D36", High, "a tenant table is UNLOGGED: a crash of the server empties it", "Make it an ordinary table: ALTER TABLE … SET LOGGED."),
];

/// The SQL of the cure, for an object as the queries name it. It is shown, never run.
pub(super) fn sql(code: &str, object: &str) -> Option<String> {
    let on = object.split_once(" on ");
    Some(match code {
        "D02" => format!("ALTER TABLE {object} ALTER COLUMN tenant_id SET NOT NULL"),
        "D03" => format!("ALTER TABLE {object} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"),
        "D04" => format!("ALTER TABLE {object} FORCE ROW LEVEL SECURITY"),
        "D06" => on.map(|(policy, table)| format!("ALTER POLICY {policy} ON {table} TO PUBLIC"))?,
        "D07" | "D14" => on.map(|(policy, table)| format!("DROP POLICY {policy} ON {table}"))?,
        "D08" => format!("ALTER FUNCTION {object} STABLE"),
        "D12" => format!("ALTER VIEW {object} SET (security_invoker = true, security_barrier = true)"),
        "D13" if object.ends_with(')') => format!("REVOKE EXECUTE ON FUNCTION {object} FROM PUBLIC"),
        "D13" => format!("REVOKE ALL ON {object} FROM PUBLIC"),
        "D17" => format!("REVOKE CREATE, TEMPORARY ON DATABASE {object} FROM PUBLIC"),
        "D20" => format!("REVOKE CONNECT, TEMPORARY ON DATABASE {object} FROM PUBLIC"),
        "D29" => on.map(|(rule, table)| format!("DROP RULE {rule} ON {table}"))?,
        "D30" => format!("DROP FOREIGN TABLE {object}"),
        "D34" => format!("DROP EXTENSION {object}"),
        "D32" => on.map(|(trigger, table)| format!("ALTER TABLE {table} ENABLE TRIGGER {trigger}"))?,
        "D36" => format!("ALTER TABLE {object} SET LOGGED"),
        "D28" => format!("SELECT pg_drop_replication_slot('{object}')"),
        _ => return None,
    })
}
