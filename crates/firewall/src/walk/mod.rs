//! The walk over a parse tree. Each node that may be there is taken apart with all of its fields named, so that a field
//! which a newer parser adds does not compile until somebody has decided about it; a node that is not here is refused.

mod clauses;
mod expression;
mod json;
mod names;
mod rows;

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::Node;

use crate::ground::Ground;
use crate::names::statement as name_of;
use crate::verdict::{Access, Refusal, Rule};

/// What the walk has seen so far.
pub(crate) struct Walk<'a> {
    pub(crate) ground: &'a Ground,
    writes: bool,
    relations: BTreeSet<String>,
    functions: BTreeSet<String>,
    /// Names that WITH gives; they are no relations.
    with: BTreeSet<String>,
}

type Judged = Result<(), Refusal>;

impl<'a> Walk<'a> {
    pub(crate) fn new(ground: &'a Ground) -> Self {
        Walk {
            ground,
            writes: false,
            relations: BTreeSet::new(),
            functions: BTreeSet::new(),
            with: BTreeSet::new(),
        }
    }

    pub(crate) fn access(&self) -> Access {
        if self.writes { Access::Write } else { Access::Read }
    }

    pub(crate) fn will_write(&mut self) {
        self.writes = true;
    }

    /// Relations and functions.
    pub(crate) fn seen(self) -> (BTreeSet<String>, BTreeSet<String>) {
        let Walk { relations, functions, with, .. } = self;
        (relations.into_iter().filter(|name| !with.contains(name)).collect(), functions)
    }

    pub(crate) fn each(&mut self, nodes: &[Node]) -> Judged {
        nodes.iter().try_for_each(|node| self.node(node))
    }

    pub(crate) fn maybe(&mut self, node: &Option<Box<Node>>) -> Judged {
        node.as_ref().map_or(Ok(()), |node| self.node(node))
    }

    pub(crate) fn node(&mut self, node: &Node) -> Judged {
        match &node.node {
            // `DISTINCT` without ON is a list of one empty node.
            None => Ok(()),
            Some(node) => self.any(node),
        }
    }

    /// A node in any place but the top. Which kinds may stand where is the parser's matter.
    pub(crate) fn any(&mut self, node: &NodeEnum) -> Judged {
        match node {
            NodeEnum::SelectStmt(select) => self.select(select),
            NodeEnum::InsertStmt(insert) => self.insert(insert),
            NodeEnum::UpdateStmt(update) => self.update(update),
            NodeEnum::DeleteStmt(delete) => self.delete(delete),
            NodeEnum::MergeStmt(merge) => self.merge(merge),
            other => match self.clause(other).or_else(|| self.expression(other)).or_else(|| self.json(other))
            {
                Some(judged) => judged,
                None => Err(Refusal::new(Rule::Clause, format!("{} in a statement", name_of(other)))),
            },
        }
    }
}
