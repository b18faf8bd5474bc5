//! What stands between a service's text and the server: the statement firewall. The library sends one statement on rows
//! at a time; transactions, settings and cursors are its own business.

use std::sync::Arc;

use rowhouse_firewall::{Firewall, Ground};

use crate::DatabaseError;

/// The firewall with the ground that one transaction's statements stand on.
#[derive(Clone)]
pub(crate) struct Guard {
    pub firewall: Firewall,
    pub ground: Arc<Ground>,
}

impl Guard {
    /// Refuses `sql` unless it is one statement on rows that tenants may run.
    pub fn check(&self, sql: &str) -> Result<(), DatabaseError> {
        let verdict = self.firewall.verdict(&self.ground, sql);
        verdict.allowed().map_err(|refusal| DatabaseError::StatementRefused(refusal.to_string()))?;
        if verdict.is_rows() {
            return Ok(());
        }
        let what = verdict.statements.join("; ");
        Err(DatabaseError::StatementRefused(format!("rowhouse: {what} is not allowed within a transaction")))
    }
}

#[cfg(test)]
mod tests {
    use rowhouse_firewall::Level;

    use super::*;

    #[test]
    fn only_one_query_or_change_of_rows_passes() {
        let ground = Arc::new(Ground::new("stamping", Level::Shared));
        let guard = Guard { firewall: Firewall::default(), ground };
        for good in
            ["SELECT 1", "  with x AS (SELECT 1) SELECT 1", "-- why\n insert into t values (1)", "(select 1)"]
        {
            assert!(guard.check(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "SET rh.ctx = ''",
            "commit",
            "SAVEPOINT a",
            "SET LOCAL statement_timeout = 1",
            "DECLARE c CURSOR FOR SELECT 1",
            "/* SELECT */ LOCK t",
            "COPY (SELECT 1) TO STDOUT",
            "SELECT 1; SELECT 2",
            "SELECT set_config('rh.ctx', '', true)",
        ] {
            assert!(matches!(guard.check(bad), Err(DatabaseError::StatementRefused(_))), "{bad}");
        }
    }
}
