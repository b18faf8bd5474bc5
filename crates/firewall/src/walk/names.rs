//! Names in a statement: of relations, columns, functions and types.

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, ColumnRef, Node, RangeVar, TypeName};

use super::{Judged, Walk};
use crate::functions;
use crate::ground::Level;
use crate::types;
use crate::verdict::{Refusal, Rule};

/// What tells where rows lie and how many transactions there were, of all tenants.
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];
/// Catalogs that say what types there are. Not `pg_namespace`: where many tenants have a schema each, it lists them.
const TYPE_CATALOGS: [&str; 3] = ["pg_type", "pg_enum", "pg_range"];

fn text(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::String(text)) => Some(&text.sval),
        _ => None,
    }
}

/// The words of a dotted name; nothing if it has other parts.
pub(super) fn dotted(nodes: &[Node]) -> Option<Vec<&str>> {
    nodes.iter().map(text).collect()
}

impl Walk<'_> {
    pub(super) fn relation(&mut self, relation: &RangeVar) -> Judged {
        let RangeVar { catalogname, schemaname, relname, inh: _, relpersistence, alias, location: _ } =
            relation;
        self.alias(alias.as_ref())?;
        let full = if schemaname.is_empty() { relname.clone() } else { format!("{schemaname}.{relname}") };
        let refused = || Refusal::new(Rule::Relation, format!("the relation {full}"));
        if !catalogname.is_empty() || !matches!(relpersistence.as_str(), "" | "p") {
            return Err(refused());
        }
        let catalog = match schemaname.as_str() {
            "" => relname.starts_with("pg_") || relname.starts_with("rh_"),
            "pg_catalog" | "information_schema" => true,
            own if self.ground.schemas.contains(own) => false,
            _ => return Err(refused()),
        };
        let open = match self.ground.level {
            Level::Shared => !catalog,
            Level::Schema => {
                !catalog || (schemaname != "information_schema" && TYPE_CATALOGS.contains(&relname.as_str()))
            }
            Level::Own => true,
        };
        if !open {
            return Err(refused());
        }
        self.relations.insert(full);
        Ok(())
    }

    pub(super) fn alias(&mut self, alias: Option<&Alias>) -> Judged {
        let Some(Alias { aliasname: _, colnames }) = alias else { return Ok(()) };
        self.each(colnames)
    }

    /// `a`, `t.a`, `s.t.a`, `t.*`. Behind a dot, the name of a function is a call of it.
    pub(super) fn column(&mut self, column: &ColumnRef) -> Judged {
        let ColumnRef { fields, location: _ } = column;
        let last = fields.last().and_then(text);
        if let Some(name) = last {
            if self.ground.level == Level::Shared && SYSTEM_COLUMNS.contains(&name) {
                return Err(Refusal::new(Rule::Column, format!("the system column {name}")));
            }
            if fields.len() > 1 {
                self.behind_a_dot(name)?;
            }
        }
        fields.iter().try_for_each(|field| match &field.node {
            Some(NodeEnum::String(_) | NodeEnum::AStar(_)) => Ok(()),
            _ => Err(Refusal::new(Rule::Clause, "this column")),
        })
    }

    pub(super) fn behind_a_dot(&mut self, name: &str) -> Judged {
        if functions::is_refused(name) && !self.ground.functions.contains(name) {
            return Err(Refusal::new(Rule::Function, format!("the function {name}")));
        }
        Ok(())
    }

    pub(super) fn function(&mut self, name: &[Node]) -> Judged {
        let name = dotted(name).unwrap_or_default();
        let full = name.join(".");
        let open = match name.as_slice() {
            [plain] => functions::is_allowed(plain) || self.ground.functions.contains(*plain),
            ["pg_catalog", plain] => functions::is_allowed(plain),
            ["rh", "stamped"] => true,
            [schema, plain] => {
                self.ground.schemas.contains(*schema) && self.ground.functions.contains(*plain)
            }
            _ => false,
        };
        if !open {
            let shown: String = full.chars().take(127).collect();
            return Err(Refusal::new(Rule::Function, format!("the function {shown}")));
        }
        self.functions.insert(full);
        Ok(())
    }

    pub(super) fn type_name(&mut self, type_name: Option<&TypeName>) -> Judged {
        let Some(type_name) = type_name else { return Ok(()) };
        let TypeName { names, type_oid: _, setof, pct_type, typmods, typemod: _, array_bounds, location: _ } =
            type_name;
        let parts = dotted(names).unwrap_or_default();
        let open = match parts.as_slice() {
            [plain] => self.ground.level == Level::Own || types::is_plain_value(plain),
            ["pg_catalog", plain] => self.ground.level == Level::Own || types::is_catalog_value(plain),
            [schema, _] => self.ground.schemas.contains(*schema),
            _ => false,
        };
        if !open || *setof || *pct_type {
            let shown: String = parts.join(".").chars().take(127).collect();
            return Err(Refusal::new(Rule::Type, format!("the type {shown}")));
        }
        self.each(typmods)?;
        self.each(array_bounds)
    }

    /// Operators do no more than the functions behind them, which compare and reckon; of another schema there are none.
    pub(super) fn operator(&mut self, name: &[Node]) -> Judged {
        match dotted(name).unwrap_or_default().as_slice() {
            [] | [_] | ["pg_catalog", _] => Ok(()),
            other => Err(Refusal::new(Rule::Function, format!("the operator {}", other.join(".")))),
        }
    }
}
