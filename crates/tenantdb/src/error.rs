//! Why a tenant's transaction got no answer, told apart by what a service does about it.

use rowhouse_domain::refusal::{Refusal, kind};
use tokio_postgres::error::SqlState;

use crate::ConnectError;

/// What went wrong in a tenant's transaction.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// RH001: the database did not believe the context.
    #[error("the database did not believe the tenant context")]
    NoContext,
    /// RH002, after the one retry: the tenant's place has changed and its new one is not known here yet.
    #[error("the tenant's place has changed")]
    Moved,
    /// RH003, or a write without the right to write: suspended, or its storage is full.
    #[error("the tenant may not do that now")]
    NotPermitted,
    /// No place of this tenant is known here.
    #[error("the tenant has no place here")]
    UnknownTenant,
    /// 53300, or no connection became free in time. Try again after [`DatabaseError::RETRY_AFTER_S`].
    #[error("the tenant's database is busy")]
    Busy,
    /// The server is away (57P01 to 57P03, 08…, no socket).
    #[error("the tenant's database is not available")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// 57014, 55P03, 40001, 40P01: a time limit, a lock, or a collision with another transaction. Try again.
    #[error("the statement was stopped: {0}")]
    Stopped(String),
    /// 23…: a constraint was violated.
    #[error("constraint {} was violated", constraint.as_deref().unwrap_or("(unnamed)"))]
    Constraint {
        /// SQLSTATE, as in `23505`.
        sqlstate: String,
        /// The constraint, if it has a name.
        constraint: Option<String>,
    },
    /// 42501: not granted to tenants.
    #[error("not allowed for tenants: {0}")]
    Denied(String),
    /// The statement firewall: not for tenants (as 42501), or not one statement on rows. It did not reach the server.
    #[error("{0}")]
    StatementRefused(String),
    /// A query for exactly one row found another number.
    #[error("expected one row, found {0}")]
    RowCount(usize),
    /// A statement failed or was abandoned before, so there is nothing to commit.
    #[error("the transaction failed before and was rolled back")]
    Aborted,
    /// Whether the commit took place is not known: the connection was lost before its answer came.
    #[error("the connection was lost during commit")]
    CommitUnknown(#[source] tokio_postgres::Error),
    /// A name in `bulk_insert` that cannot stand in SQL.
    #[error(transparent)]
    Name(#[from] crate::name::NameError),
    /// Anything else; a mistake in the service's SQL, as a rule.
    #[error("the statement failed")]
    Statement(#[source] tokio_postgres::Error),
}

impl DatabaseError {
    /// When to come back after [`DatabaseError::Busy`] and [`DatabaseError::Unavailable`].
    pub const RETRY_AFTER_S: u32 = 1;

    /// The SQLSTATE of the server's answer, where it matters to a service.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            DatabaseError::Constraint { sqlstate, .. } => Some(sqlstate),
            DatabaseError::StatementRefused(_) => Some("42501"),
            DatabaseError::Statement(error) => error.code().map(SqlState::code),
            _ => None,
        }
    }

    /// What to tell the caller of the service. The server's own words stay in the refusal's private part.
    pub fn refusal(&self) -> Refusal {
        let refusal = match self {
            DatabaseError::NotPermitted => {
                Refusal::new(&kind::TENANT_SUSPENDED, "This tenant's data cannot be changed just now.")
            }
            DatabaseError::UnknownTenant => Refusal::new(&kind::TENANT_UNKNOWN, "No tenant has this name."),
            DatabaseError::Busy | DatabaseError::Stopped(_) => {
                Refusal::new(&kind::DATABASE_BUSY, "The tenant's database is busy.")
                    .retry_after(Self::RETRY_AFTER_S)
            }
            DatabaseError::Moved | DatabaseError::Unavailable(_) => {
                Refusal::new(&kind::UNAVAILABLE, "The tenant's database is not available just now.")
                    .retry_after(Self::RETRY_AFTER_S)
            }
            _ => Refusal::new(&kind::INTERNAL, "The tenant's data could not be reached."),
        };
        refusal.private(self.private_words())
    }

    fn private_words(&self) -> String {
        let mut words = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            words.push_str(": ");
            words.push_str(&error.to_string());
            cause = error.source();
        }
        words
    }
}

/// A constraint of the partition `stamps_p3` is reported as `stamps_hash_p3`; a service knows it as `stamps_hash`.
fn name_of_root<'a>(constraint: &'a str, table: Option<&str>) -> &'a str {
    let leaf = table.and_then(|table| table.rfind("_p").map(|at| &table[at..]));
    let is_number = |leaf: &&str| leaf.len() > 2 && leaf[2..].bytes().all(|byte| byte.is_ascii_digit());
    leaf.filter(is_number).and_then(|leaf| constraint.strip_suffix(leaf)).unwrap_or(constraint)
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(server) = error.as_db_error() else {
            let gone = error.is_closed()
                || std::error::Error::source(&error).is_some_and(|e| e.is::<std::io::Error>());
            return if gone {
                DatabaseError::Unavailable(Some(Box::new(error)))
            } else {
                DatabaseError::Statement(error)
            };
        };
        match server.code().code() {
            "RH001" => DatabaseError::NoContext,
            "RH002" => DatabaseError::Moved,
            "RH003" => DatabaseError::NotPermitted,
            "53300" => DatabaseError::Busy,
            "57014" | "55P03" | "40001" | "40P01" | "25P03" => {
                DatabaseError::Stopped(server.message().to_owned())
            }
            "42501" => DatabaseError::Denied(server.message().to_owned()),
            "25006" => DatabaseError::NotPermitted,
            code if code.starts_with("23") => DatabaseError::Constraint {
                sqlstate: code.to_owned(),
                constraint: server.constraint().map(|name| name_of_root(name, server.table()).to_owned()),
            },
            code if code.starts_with("57P") || code.starts_with("08") => {
                DatabaseError::Unavailable(Some(Box::new(error)))
            }
            _ => DatabaseError::Statement(error),
        }
    }
}

impl From<ConnectError> for DatabaseError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Server { source, .. } if source.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) => {
                DatabaseError::Busy
            }
            // A login or database that was dropped under a plane that is behind.
            ConnectError::Server { source, .. }
                if source
                    .code()
                    .is_some_and(|code| matches!(code.code(), "28000" | "3D000" | "42501" | "28P01")) =>
            {
                DatabaseError::Moved
            }
            other => DatabaseError::Unavailable(Some(Box::new(other))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_has_one_name_on_all_levels() {
        for (constraint, table, name) in [
            ("stamps_hash_p3", Some("stamps_p3"), "stamps_hash"),
            ("stamps_hash", Some("stamps"), "stamps_hash"),
            ("stamps_hash_p3", Some("stamps_p4"), "stamps_hash_p3"),
            ("stamps_hash_p3", None, "stamps_hash_p3"),
            ("a_p", Some("b_p"), "a_p"),
            ("a_plate", Some("b_plate"), "a_plate"),
        ] {
            assert_eq!(name_of_root(constraint, table), name, "{constraint}");
        }
    }
}
