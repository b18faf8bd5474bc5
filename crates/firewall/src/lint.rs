//! What a migration of a service's tables must not do, and what it should think about, read from its parse tree before
//! any server sees it. What depends on what is installed (a policy that is missing) the doctor finds afterwards.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AlterTableCmd, AlterTableStmt, AlterTableType, ConstrType, Constraint, CreateStmt, IndexStmt, Node,
    ObjectType, RawStmt, VariableSetKind,
};

use crate::judge::parse;
use crate::names::statement as name_of;
use crate::verdict::Refusal;
use crate::{extensions, functions};

/// Stands in a migration that takes something away, once nothing that runs needs it any more.
const CONTRACT: &str = "-- rowhouse: contract";

/// Defaults that are another value for each row: adding such a column writes the whole table anew.
const VOLATILE: [&str; 8] = [
    "gen_random_uuid",
    "uuidv4",
    "uuidv7",
    "random",
    "random_normal",
    "clock_timestamp",
    "timeofday",
    "nextval",
];

/// Functions in an index that a query under row-level security could still use.
const LEAKPROOF_METHODS: [&str; 3] = ["", "btree", "hash"];

/// What a concern is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concern {
    /// It does not parse.
    Syntax,
    /// It ends or splits the transaction that it runs in.
    Transaction,
    /// It changes who runs it, roles, privileges or policies, which are generated.
    Privilege,
    /// It takes away what a running release may need.
    Contract,
    /// It writes every row of a table anew while nobody else may touch it.
    Rewrite,
    /// It keeps writers out while it builds.
    IndexLock,
    /// A tenant table without `tenant_id`.
    TenantId,
    /// A key that does not begin with `tenant_id`.
    Key,
    /// An index that queries under row-level security never use.
    Leakproof,
    /// It names a schema, which is another one on each level.
    Schema,
    /// A text that is only read when it runs.
    Unread,
}

impl Concern {
    /// The word in findings.
    pub fn as_str(self) -> &'static str {
        match self {
            Concern::Syntax => "syntax",
            Concern::Transaction => "transaction",
            Concern::Privilege => "privilege",
            Concern::Contract => "contract",
            Concern::Rewrite => "rewrite",
            Concern::IndexLock => "index_lock",
            Concern::TenantId => "tenant_id",
            Concern::Key => "key",
            Concern::Leakproof => "leakproof",
            Concern::Schema => "schema",
            Concern::Unread => "unread",
        }
    }

    /// Whether the migration must not run; else it is advice.
    pub fn is_fault(self) -> bool {
        matches!(
            self,
            Concern::Syntax
                | Concern::Transaction
                | Concern::Privilege
                | Concern::TenantId
                | Concern::Key
                | Concern::Schema
        )
    }
}

/// One concern about one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// What about.
    pub concern: Concern,
    /// Which statement of the text, from 1.
    pub statement: usize,
    /// What, and what to do.
    pub detail: String,
}

/// Reads a migration. `tenant_tables` are the tables that the manifest declares to be tenants' own.
pub fn lint(sql: &str, tenant_tables: &BTreeSet<String>) -> Vec<Lint> {
    let statements = match parse(sql) {
        Ok(statements) => statements,
        Err(Refusal { what, .. }) => {
            return vec![Lint { concern: Concern::Syntax, statement: 1, detail: what }];
        }
    };
    let mut reader = Reader {
        tenant_tables,
        contracts: sql.lines().any(|line| line.trim() == CONTRACT),
        made: BTreeSet::new(),
        statement: 0,
        found: Vec::new(),
    };
    for raw in &statements {
        reader.statement += 1;
        if let Some(node) = node_of(raw) {
            reader.read(node);
        }
    }
    reader.found
}

/// Names of functions that migrations define, and of those that come with the extensions they ask for. A name of the catalog's that
/// is not for tenants is not among them: PostgreSQL would call the catalog's.
pub fn own_functions<'a>(migrations: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for sql in migrations {
        for raw in parse(sql).unwrap_or_default() {
            match node_of(&raw) {
                Some(NodeEnum::CreateFunctionStmt(function)) => {
                    let name = function.funcname.last().and_then(text);
                    names.extend(name.filter(|name| !functions::is_refused(name)).map(str::to_owned));
                }
                Some(NodeEnum::CreateExtensionStmt(extension)) => {
                    let known = extensions::functions(&extension.extname);
                    names.extend(known.iter().map(|name| (*name).to_owned()));
                }
                _ => {}
            }
        }
    }
    names
}

/// The statements of a text, as they stand in it, each with its name (`CREATE INDEX`).
///
/// # Errors
/// If PostgreSQL's parser does not take the text.
pub fn statements(sql: &str) -> Result<Vec<(String, &str)>, Refusal> {
    let range = |raw: &RawStmt| {
        let start = usize::try_from(raw.stmt_location).unwrap_or(0);
        let length = usize::try_from(raw.stmt_len).unwrap_or(0);
        let end = if length == 0 { sql.len() } else { (start + length).min(sql.len()) };
        sql.get(start..end).unwrap_or_default().trim()
    };
    let parsed = parse(sql)?;
    Ok(parsed.iter().filter_map(|raw| Some((name_of(node_of(raw)?), range(raw)))).collect())
}

fn node_of(raw: &RawStmt) -> Option<&NodeEnum> {
    raw.stmt.as_ref()?.node.as_ref()
}

fn text(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::String(text)) => Some(&text.sval),
        _ => None,
    }
}

struct Reader<'a> {
    tenant_tables: &'a BTreeSet<String>,
    contracts: bool,
    /// Tables made in this text: they are empty, and nothing needs them yet.
    made: BTreeSet<String>,
    statement: usize,
    found: Vec<Lint>,
}

impl Reader<'_> {
    fn say(&mut self, concern: Concern, detail: impl Into<String>) {
        if concern == Concern::Contract && self.contracts {
            return;
        }
        self.found.push(Lint { concern, statement: self.statement, detail: detail.into() });
    }

    fn read(&mut self, node: &NodeEnum) {
        match node {
            NodeEnum::TransactionStmt(_) => {
                self.say(
                    Concern::Transaction,
                    format!(
                        "{}: a migration runs in a transaction with the record of its version.",
                        name_of(node)
                    ),
                );
            }
            NodeEnum::VariableSetStmt(set) => self.setting(set.name.as_str(), set.kind, set.is_local),
            NodeEnum::GrantStmt(_)
            | NodeEnum::GrantRoleStmt(_)
            | NodeEnum::CreateRoleStmt(_)
            | NodeEnum::AlterRoleStmt(_)
            | NodeEnum::AlterRoleSetStmt(_)
            | NodeEnum::DropRoleStmt(_)
            | NodeEnum::DropOwnedStmt(_)
            | NodeEnum::ReassignOwnedStmt(_)
            | NodeEnum::CreatePolicyStmt(_)
            | NodeEnum::AlterPolicyStmt(_)
            | NodeEnum::AlterDefaultPrivilegesStmt(_)
            | NodeEnum::AlterOwnerStmt(_)
            | NodeEnum::AlterSystemStmt(_)
            | NodeEnum::LoadStmt(_)
            | NodeEnum::CreateEventTrigStmt(_)
            | NodeEnum::AlterEventTrigStmt(_)
            | NodeEnum::CreateSchemaStmt(_)
            | NodeEnum::AlterObjectSchemaStmt(_)
            | NodeEnum::SecLabelStmt(_) => {
                self.say(
                    Concern::Privilege,
                    format!("{}: roles, grants and policies are generated.", name_of(node)),
                );
            }
            NodeEnum::CreatePublicationStmt(_)
            | NodeEnum::AlterPublicationStmt(_)
            | NodeEnum::CreateSubscriptionStmt(_)
            | NodeEnum::CreateFdwStmt(_)
            | NodeEnum::CreateForeignServerStmt(_)
            | NodeEnum::CreateForeignTableStmt(_)
            | NodeEnum::CreateUserMappingStmt(_)
            | NodeEnum::ImportForeignSchemaStmt(_) => {
                self.say(
                    Concern::Privilege,
                    format!("{}: a migration reaches its own schema only.", name_of(node)),
                );
            }
            NodeEnum::RuleStmt(_) => {
                self.say(
                    Concern::Privilege,
                    "CREATE RULE: its action would run with the rights of the tables' owner; a trigger runs as the tenant.",
                );
            }
            NodeEnum::CreateExtensionStmt(extension) => {
                self.extension(&extension.extname, extension.if_not_exists);
            }
            NodeEnum::AlterExtensionStmt(_) | NodeEnum::AlterExtensionContentsStmt(_) => {
                self.say(Concern::Privilege, format!("{}: extensions are the operator's.", name_of(node)));
            }
            NodeEnum::PrepareStmt(_) | NodeEnum::ExecuteStmt(_) | NodeEnum::DeclareCursorStmt(_) => {
                self.say(
                    Concern::Transaction,
                    format!("{}: nothing of a migration's session stays.", name_of(node)),
                );
            }
            NodeEnum::CopyStmt(copy) if copy.is_program || !copy.filename.is_empty() => {
                self.say(
                    Concern::Privilege,
                    "COPY of a file or program: a migration reaches its database only.",
                );
            }
            NodeEnum::CreateStmt(create) => self.create(create),
            NodeEnum::IndexStmt(index) => self.index(index),
            NodeEnum::AlterTableStmt(alter) => self.alter(alter),
            NodeEnum::RenameStmt(rename) => {
                let old = rename.relation.as_ref().map_or("", |relation| relation.relname.as_str());
                if !self.made.contains(old) {
                    self.say(
                        Concern::Contract,
                        format!("RENAME in {old}: a running release still uses the old name."),
                    );
                }
            }
            NodeEnum::DropStmt(drop) => self.dropped(drop.remove_type),
            NodeEnum::DoStmt(_) => {
                self.say(
                    Concern::Unread,
                    "DO: its text is only read when it runs; plain statements can be examined.",
                );
            }
            NodeEnum::CreateFunctionStmt(function) => {
                let definer = function.options.iter().any(|option| {
                    matches!(&option.node, Some(NodeEnum::DefElem(element)) if element.defname == "security"
                        && matches!(element.arg.as_ref().and_then(|arg| arg.node.as_ref()), Some(NodeEnum::Boolean(yes)) if yes.boolval))
                });
                let name = function.funcname.last().and_then(text).unwrap_or_default();
                if functions::is_refused(name) {
                    self.say(
                        Concern::Privilege,
                        format!("{name} is a function of PostgreSQL's that tenants may not call, and it would be called: choose another name."),
                    );
                }
                if definer {
                    self.say(
                        Concern::Privilege,
                        "SECURITY DEFINER: the function would run as the owner of the tables.",
                    );
                }
            }
            _ => {}
        }
    }

    /// Some extensions are there for who asks; for other common ones there is something built in.
    fn extension(&mut self, name: &str, if_not_exists: bool) {
        if extensions::names().any(|known| known == name) {
            if !if_not_exists {
                let words = format!(
                    "CREATE EXTENSION {name}: write IF NOT EXISTS, as another service may have asked for it."
                );
                self.say(Concern::Privilege, words);
            }
            return;
        }
        let instead = match name {
            "pgcrypto" => "gen_random_uuid() and sha256() are built in; passwords are hashed in the service.",
            "plpgsql" => "PL/pgSQL is there; leave the line out.",
            _ => "the developer's guide says what is built in.",
        };
        let known = extensions::names().collect::<Vec<_>>().join(", ");
        self.say(
            Concern::Privilege,
            format!("CREATE EXTENSION {name}: there are {known}. Instead: {instead}"),
        );
    }

    fn setting(&mut self, name: &str, kind: i32, is_local: bool) {
        let all = VariableSetKind::try_from(kind) == Ok(VariableSetKind::VarResetAll);
        if all
            || matches!(name, "role" | "session_authorization" | "search_path" | "session_replication_role")
        {
            self.say(
                Concern::Privilege,
                format!("SET or RESET {name}: who runs a migration, and where, is settled."),
            );
        } else if !is_local {
            self.say(Concern::Unread, format!("SET {name} outlives the migration; SET LOCAL does not."));
        }
    }

    fn create(&mut self, create: &CreateStmt) {
        let Some(relation) = &create.relation else { return };
        let table = relation.relname.clone();
        if !relation.schemaname.is_empty() {
            self.say(
                Concern::Schema,
                format!("{}.{table}: the schema has another name on each level.", relation.schemaname),
            );
        }
        self.made.insert(table.clone());
        if !self.tenant_tables.contains(&table) || !create.inh_relations.is_empty() {
            return;
        }
        let columns: Vec<_> = create
            .table_elts
            .iter()
            .filter_map(|element| match &element.node {
                Some(NodeEnum::ColumnDef(column)) => Some(column),
                _ => None,
            })
            .collect();
        let like = create
            .table_elts
            .iter()
            .any(|element| matches!(&element.node, Some(NodeEnum::TableLikeClause(_))));
        if !like && !columns.iter().any(|column| column.colname == "tenant_id") {
            self.say(
                Concern::TenantId,
                format!("{table} is a tenant table: add `tenant_id uuid NOT NULL DEFAULT rh.stamped()`."),
            );
        }
        for column in columns.iter().filter(|column| column.colname != "tenant_id") {
            for constraint in column.constraints.iter().filter_map(constraint) {
                self.key(&table, constraint, Some(&column.colname));
            }
        }
        for constraint in create.table_elts.iter().filter_map(constraint) {
            self.key(&table, constraint, None);
        }
    }

    fn key(&mut self, table: &str, constraint: &Constraint, column: Option<&str>) {
        let own: Vec<&str> = column.into_iter().collect();
        let names = |nodes: &[Node]| nodes.iter().filter_map(text).map(str::to_owned).collect::<Vec<_>>();
        match ConstrType::try_from(constraint.contype) {
            Ok(ConstrType::ConstrPrimary | ConstrType::ConstrUnique) => {
                let columns = names(&constraint.keys);
                let first = columns.first().map(String::as_str).or(own.first().copied());
                if first.is_some_and(|first| first != "tenant_id") {
                    self.say(Concern::Key, format!("the key of {table} that begins with {} lacks column \"tenant_id\" in front: without it, it tells of other tenants' values.", first.unwrap_or_default()));
                }
            }
            Ok(ConstrType::ConstrForeign) => {
                let target = constraint.pktable.as_ref().map_or("", |target| target.relname.as_str());
                let columns = names(&constraint.fk_attrs);
                let has = columns.iter().any(|column| column == "tenant_id");
                if self.tenant_tables.contains(target) && !has {
                    self.say(Concern::Key, format!("{table} points at {target} without tenant_id: FOREIGN KEY (tenant_id, …), or it can point at another tenant's row."));
                }
            }
            _ => {}
        }
    }

    fn index(&mut self, index: &IndexStmt) {
        let table = index.relation.as_ref().map_or("", |relation| relation.relname.as_str()).to_owned();
        let first = index.index_params.first().and_then(|element| match &element.node {
            Some(NodeEnum::IndexElem(element)) => Some(element),
            _ => None,
        });
        let tenants = self.tenant_tables.contains(&table);
        if tenants && index.unique && first.is_some_and(|element| element.name != "tenant_id") {
            self.say(Concern::Key, format!("a unique index of {table} does not begin with tenant_id."));
        }
        let expression = index.index_params.iter().any(
            |element| matches!(&element.node, Some(NodeEnum::IndexElem(element)) if element.expr.is_some() || !element.opclass.is_empty()),
        );
        if tenants && (expression || !LEAKPROOF_METHODS.contains(&index.access_method.as_str())) {
            self.say(Concern::Leakproof, format!("on the level shared no query uses the index {} of {table}: keep a stored generated column, compare ranges under a C collation, or put such tenants on the level schema.", index.idxname));
        }
        if !index.concurrent && !self.made.contains(&table) {
            self.say(Concern::IndexLock, format!("building an index of {table} keeps writers out while it is built, which takes seconds above 1 GB: roll it out when few write."));
        }
    }

    fn alter(&mut self, alter: &AlterTableStmt) {
        let table = alter.relation.as_ref().map_or("", |relation| relation.relname.as_str()).to_owned();
        if self.made.contains(&table) {
            return;
        }
        for command in &alter.cmds {
            if let Some(NodeEnum::AlterTableCmd(command)) = &command.node {
                self.alteration(&table, command);
            }
        }
    }

    fn alteration(&mut self, table: &str, command: &AlterTableCmd) {
        use AlterTableType as Type;
        let column = &command.name;
        match Type::try_from(command.subtype) {
            Ok(Type::AtDropColumn) => {
                self.say(
                    Concern::Contract,
                    format!("{table}.{column} is dropped: a running release may still read it."),
                );
            }
            Ok(Type::AtAlterColumnType) => {
                self.say(Concern::Contract, format!("the type of {table}.{column} changes: a running release may not know it, and the table is written anew."));
            }
            Ok(Type::AtSetNotNull) => {
                self.say(Concern::Contract, format!("{table}.{column} SET NOT NULL: a running release may still write NULL, and the table is read under a lock unless a validated CHECK says it already."));
            }
            Ok(Type::AtAddColumn) => self.added_column(table, command),
            Ok(Type::AtAddConstraint) => {
                if let Some(constraint) = command.def.as_deref().and_then(constraint)
                    && self.tenant_tables.contains(table)
                {
                    self.key(table, constraint, None);
                }
            }
            Ok(
                Type::AtEnableRowSecurity
                | Type::AtDisableRowSecurity
                | Type::AtForceRowSecurity
                | Type::AtNoForceRowSecurity
                | Type::AtChangeOwner,
            ) => self.say(
                Concern::Privilege,
                format!("row-level security and the owner of {table} are generated."),
            ),
            _ => {}
        }
    }

    fn added_column(&mut self, table: &str, command: &AlterTableCmd) {
        let Some(NodeEnum::ColumnDef(column)) = command.def.as_ref().and_then(|node| node.node.as_ref())
        else {
            return;
        };
        for constraint in column.constraints.iter().filter_map(constraint) {
            let default = ConstrType::try_from(constraint.contype) == Ok(ConstrType::ConstrDefault);
            let function = constraint.raw_expr.as_ref().and_then(|node| match &node.node {
                Some(NodeEnum::FuncCall(call)) => call.funcname.last().and_then(text),
                _ => None,
            });
            if default && function.is_some_and(|name| VOLATILE.contains(&name)) {
                self.say(Concern::Rewrite, format!("{table}.{} has a default that differs from row to row: the whole table is written anew; add it without, then fill it in parts.", column.colname));
            }
            if self.tenant_tables.contains(table) {
                self.key(table, constraint, Some(&column.colname));
            }
        }
    }

    fn dropped(&mut self, kind: i32) {
        let what = match ObjectType::try_from(kind) {
            Ok(ObjectType::ObjectIndex | ObjectType::ObjectStatisticExt | ObjectType::ObjectTrigger) => {
                return;
            }
            Ok(ObjectType::ObjectPolicy) => {
                return self.say(Concern::Privilege, "DROP POLICY: policies are generated.");
            }
            Ok(ObjectType::ObjectTable) => "a table",
            Ok(ObjectType::ObjectView | ObjectType::ObjectMatview) => "a view",
            Ok(ObjectType::ObjectFunction) => "a function",
            Ok(ObjectType::ObjectType) => "a type",
            _ => "an object",
        };
        self.say(Concern::Contract, format!("{what} is dropped: a running release may still use it."));
    }
}

fn constraint(node: &Node) -> Option<&Constraint> {
    match &node.node {
        Some(NodeEnum::Constraint(constraint)) => Some(constraint),
        _ => None,
    }
}
