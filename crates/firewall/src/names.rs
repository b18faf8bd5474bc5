//! Names for people: of statements, from the parser's word for them.

use std::fmt::Write;

use pg_query::NodeEnum;
use pg_query::protobuf::{TransactionStmtKind, VariableSetKind};

/// `DROP OWNED`, `CREATE TABLE`, `SELECT`.
pub(crate) fn statement(node: &NodeEnum) -> String {
    let fixed = match node {
        NodeEnum::CreateStmt(_) => "CREATE TABLE",
        NodeEnum::CreateTableAsStmt(_) => "CREATE TABLE AS",
        NodeEnum::ViewStmt(_) => "CREATE VIEW",
        NodeEnum::IndexStmt(_) => "CREATE INDEX",
        NodeEnum::DefineStmt(_) => "CREATE",
        NodeEnum::GrantStmt(grant) if grant.is_grant => "GRANT",
        NodeEnum::GrantStmt(_) => "REVOKE",
        NodeEnum::GrantRoleStmt(grant) if grant.is_grant => "GRANT",
        NodeEnum::GrantRoleStmt(_) => "REVOKE",
        NodeEnum::VariableSetStmt(set) => match VariableSetKind::try_from(set.kind) {
            Ok(VariableSetKind::VarReset | VariableSetKind::VarResetAll) => "RESET",
            _ => "SET",
        },
        NodeEnum::VariableShowStmt(_) => "SHOW",
        NodeEnum::TransactionStmt(transaction) => match TransactionStmtKind::try_from(transaction.kind) {
            Ok(TransactionStmtKind::TransStmtBegin | TransactionStmtKind::TransStmtStart) => "BEGIN",
            Ok(TransactionStmtKind::TransStmtCommit) => "COMMIT",
            Ok(TransactionStmtKind::TransStmtRollback) => "ROLLBACK",
            Ok(TransactionStmtKind::TransStmtSavepoint) => "SAVEPOINT",
            Ok(TransactionStmtKind::TransStmtRelease) => "RELEASE SAVEPOINT",
            Ok(TransactionStmtKind::TransStmtRollbackTo) => "ROLLBACK TO SAVEPOINT",
            Ok(TransactionStmtKind::TransStmtPrepare) => "PREPARE TRANSACTION",
            Ok(TransactionStmtKind::TransStmtCommitPrepared) => "COMMIT PREPARED",
            Ok(TransactionStmtKind::TransStmtRollbackPrepared) => "ROLLBACK PREPARED",
            _ => "a transaction statement",
        },
        NodeEnum::DeclareCursorStmt(_) => "DECLARE",
        NodeEnum::ClosePortalStmt(_) => "CLOSE",
        NodeEnum::FetchStmt(fetch) if fetch.ismove => "MOVE",
        NodeEnum::RefreshMatViewStmt(_) => "REFRESH MATERIALIZED VIEW",
        NodeEnum::CreatedbStmt(_) => "CREATE DATABASE",
        NodeEnum::DropdbStmt(_) => "DROP DATABASE",
        _ => return words(node),
    };
    fixed.to_owned()
}

/// The variant's name as words: `DropOwnedStmt` is `DROP OWNED`.
fn words(node: &NodeEnum) -> String {
    let mut head = Head(String::new());
    // It stops at the bracket by answering an error, so that the tree behind it is not written out.
    let _ = write!(head, "{node:?}");
    let name = head.0.strip_suffix("Stmt").unwrap_or(&head.0);
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.extend(letter.to_uppercase());
    }
    out
}

struct Head(String);

impl Write for Head {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        match text.split_once('(') {
            Some((head, _)) => {
                self.0.push_str(head);
                Err(std::fmt::Error)
            }
            None => {
                self.0.push_str(text);
                Ok(())
            }
        }
    }
}
