//! The one rule about statements that the library enforces itself: which word they begin with. What a tenant's
//! transaction has no use for (SET, DDL, COMMIT, LOCK, PREPARE, COPY …) does not leave the process.

use crate::DatabaseError;

const ALLOWED: [&str; 8] = ["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "TABLE", "WITH"];

/// Refuses `sql` unless its first word, after white space, comments and opening brackets, is one of ours. The
/// extended protocol takes one statement a text, so the first word is the statement's.
pub(crate) fn check(sql: &str) -> Result<(), DatabaseError> {
    let word: String = skip(sql).chars().take_while(char::is_ascii_alphabetic).collect();
    if ALLOWED.iter().any(|allowed| allowed.eq_ignore_ascii_case(&word)) {
        Ok(())
    } else {
        Err(DatabaseError::StatementRefused(word.chars().take(32).collect()))
    }
}

fn skip(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '(');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else {
            return rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_queries_and_changes_of_rows_pass() {
        for good in
            ["SELECT 1", "  with x AS (SELECT 1) SELECT 1", "-- why\n insert into t values (1)", "(select 1)"]
        {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "SET rh.ctx = ''",
            "commit",
            "DO $$ $$",
            "/* SELECT */ LOCK t",
            "-- SELECT",
            "COPY t TO STDOUT",
            "SELECTX",
            "EXPLAIN SELECT 1",
            "PREPARE x AS SELECT 1",
            ";SELECT 1",
        ] {
            assert!(matches!(check(bad), Err(DatabaseError::StatementRefused(_))), "{bad}");
        }
    }
}
