//! What the firewall says about a text.

use std::collections::BTreeSet;

/// Where the rules are explained.
pub const HINT: &str = "see the developer's guide, \"What SQL may do\" (docs/guides/developer.md)";

/// What an allowed text does to rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Reads only.
    Read,
    /// Changes rows or locks them.
    Write,
}

impl Access {
    /// `read` or `write`.
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::Write => "write",
        }
    }
}

/// Kinds of allowed statements. The library takes rows only; the wire port takes all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// SELECT, VALUES, TABLE, INSERT, UPDATE, DELETE, MERGE.
    Rows,
    /// DECLARE, FETCH, MOVE, CLOSE of a cursor that ends with the transaction.
    Cursor,
    /// BEGIN, COMMIT, ROLLBACK, SAVEPOINT, SET TRANSACTION.
    Transaction,
    /// SET LOCAL of a harmless setting, SHOW.
    Setting,
    /// COPY (query) TO STDOUT; above `shared` also COPY FROM STDIN.
    Copy,
    /// EXPLAIN, above `shared`.
    Explain,
}

/// Which rule refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Longer than the limit, or with a NUL in it, or nothing.
    Text,
    /// PostgreSQL's parser does not take it.
    Syntax,
    /// Nested deeper than the firewall follows.
    Depth,
    /// A statement that is not for tenants.
    Utility,
    /// A part of a statement that is not for tenants.
    Clause,
    /// A setting that is not for tenants.
    Setting,
    /// A function that is not on the list.
    Function,
    /// A type that names what lies in the catalog.
    Type,
    /// A relation of the catalog or of another schema.
    Relation,
    /// A system column.
    Column,
    /// What a server below the floor cannot keep apart.
    BelowFloor,
}

impl Rule {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::Text => "text",
            Rule::Syntax => "syntax",
            Rule::Depth => "depth",
            Rule::Utility => "utility",
            Rule::Clause => "clause",
            Rule::Setting => "setting",
            Rule::Function => "function",
            Rule::Type => "type",
            Rule::Relation => "relation",
            Rule::Column => "column",
            Rule::BelowFloor => "below_floor",
        }
    }
}

/// Why a text is refused. Displayed as PostgreSQL would be told: never with another statement's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rowhouse: {what} is not allowed for tenants")]
pub struct Refusal {
    /// The rule.
    pub rule: Rule,
    /// What is not allowed: `DROP OWNED`, `the function pg_sleep`.
    pub what: String,
}

impl Refusal {
    pub(crate) fn new(rule: Rule, what: impl Into<String>) -> Self {
        Refusal { rule, what: what.into() }
    }
}

/// The judgement of one text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Names of the statements, in order, as far as they were read.
    pub statements: Vec<String>,
    /// Their kinds.
    pub classes: BTreeSet<Class>,
    /// Reads or writes; nothing when refused.
    pub access: Option<Access>,
    /// Relations that are named, without those of WITH.
    pub relations: BTreeSet<String>,
    /// Functions that are called.
    pub functions: BTreeSet<String>,
    /// Why not.
    pub refusal: Option<Refusal>,
}

impl Verdict {
    /// Whether the text may run.
    ///
    /// # Errors
    /// With the refusal.
    pub fn allowed(&self) -> Result<(), &Refusal> {
        match &self.refusal {
            None => Ok(()),
            Some(refusal) => Err(refusal),
        }
    }

    /// Whether the text is one statement on rows, which is all that the library sends.
    pub fn is_rows(&self) -> bool {
        self.statements.len() == 1 && self.classes.iter().eq([&Class::Rows])
    }
}
