//! The statement as a whole: which kinds there are for tenants.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CopyStmt, DeclareCursorStmt, ExplainStmt, Node, TransactionStmt, TransactionStmtKind,
};

use crate::ground::Level;
use crate::names::statement as name_of;
use crate::settings;
use crate::verdict::{Class, Refusal, Rule};
use crate::walk::Walk;

/// `CURSOR_OPT_HOLD` (src/include/nodes/parsenodes.h): the cursor would outlive its transaction and its tenant.
const HOLD: i32 = 0x0020;

fn utility(what: impl Into<String>) -> Refusal {
    Refusal::new(Rule::Utility, what)
}

pub(crate) fn judge(walk: &mut Walk<'_>, node: &NodeEnum) -> Result<Class, Refusal> {
    match node {
        NodeEnum::SelectStmt(_)
        | NodeEnum::InsertStmt(_)
        | NodeEnum::UpdateStmt(_)
        | NodeEnum::DeleteStmt(_)
        | NodeEnum::MergeStmt(_) => walk.any(node).map(|()| Class::Rows),
        NodeEnum::TransactionStmt(transaction) => self::transaction(transaction, node),
        NodeEnum::VariableSetStmt(set) => {
            settings::set(set).map(|ours| if ours { Class::Transaction } else { Class::Setting })
        }
        NodeEnum::VariableShowStmt(show) => settings::show(&show.name).map(|()| Class::Setting),
        NodeEnum::DeclareCursorStmt(cursor) => declare(walk, cursor),
        NodeEnum::FetchStmt(_) | NodeEnum::ClosePortalStmt(_) => Ok(Class::Cursor),
        NodeEnum::CopyStmt(copy) => self::copy(walk, copy),
        NodeEnum::ExplainStmt(explain) => self::explain(walk, explain),
        other => Err(utility(name_of(other))),
    }
}

fn transaction(transaction: &TransactionStmt, node: &NodeEnum) -> Result<Class, Refusal> {
    use TransactionStmtKind as Kind;
    let TransactionStmt { kind, options: _, savepoint_name: _, gid: _, chain, location: _ } = transaction;
    match Kind::try_from(*kind) {
        // AND CHAIN would begin the next transaction without a context.
        _ if *chain => Err(utility(format!("{} AND CHAIN", name_of(node)))),
        Ok(
            Kind::TransStmtBegin
            | Kind::TransStmtStart
            | Kind::TransStmtCommit
            | Kind::TransStmtRollback
            | Kind::TransStmtSavepoint
            | Kind::TransStmtRelease
            | Kind::TransStmtRollbackTo,
        ) => Ok(Class::Transaction),
        _ => Err(utility(name_of(node))),
    }
}

fn declare(walk: &mut Walk<'_>, cursor: &DeclareCursorStmt) -> Result<Class, Refusal> {
    let DeclareCursorStmt { portalname: _, options, query } = cursor;
    if options & HOLD != 0 {
        return Err(utility("a cursor WITH HOLD"));
    }
    query_only(walk, query)?;
    Ok(Class::Cursor)
}

fn copy(walk: &mut Walk<'_>, copy: &CopyStmt) -> Result<Class, Refusal> {
    let CopyStmt { relation, query, attlist, is_from, is_program, filename, options: _, where_clause } = copy;
    if *is_program {
        return Err(utility("COPY of a program"));
    }
    if !filename.is_empty() {
        return Err(utility("COPY of a file"));
    }
    if *is_from && walk.ground.level == Level::Shared {
        return Err(utility("COPY FROM"));
    }
    match (relation, query) {
        (None, Some(_)) if !is_from => query_only(walk, query)?,
        (Some(relation), None) if *is_from => {
            walk.will_write();
            walk.any(&NodeEnum::RangeVar(relation.clone()))?;
            walk.each(attlist)?;
            walk.maybe(where_clause)?;
        }
        _ => return Err(utility("COPY of a table (COPY (SELECT …) TO STDOUT is)")),
    }
    Ok(Class::Copy)
}

/// EXPLAIN tells estimates, and those are of all tenants' rows; ANALYZE runs the statement.
fn explain(walk: &mut Walk<'_>, explain: &ExplainStmt) -> Result<Class, Refusal> {
    let ExplainStmt { query, options: _ } = explain;
    if walk.ground.level == Level::Shared {
        return Err(utility("EXPLAIN"));
    }
    query_only(walk, query)?;
    Ok(Class::Explain)
}

fn query_only(walk: &mut Walk<'_>, query: &Option<Box<Node>>) -> Result<(), Refusal> {
    let Some(node) = query.as_ref().and_then(|node| node.node.as_ref()) else {
        return Err(utility("a statement without a query"));
    };
    match node {
        NodeEnum::SelectStmt(_)
        | NodeEnum::InsertStmt(_)
        | NodeEnum::UpdateStmt(_)
        | NodeEnum::DeleteStmt(_)
        | NodeEnum::MergeStmt(_) => walk.any(node),
        other => Err(utility(name_of(other))),
    }
}
