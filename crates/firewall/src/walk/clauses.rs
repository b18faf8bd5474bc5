//! Parts of a statement that are no expressions: what stands in FROM, WITH, ORDER BY, RETURNING, ON CONFLICT.

use pg_query::NodeEnum;
use pg_query::protobuf as tree;

use super::{Judged, Walk};
use crate::verdict::{Refusal, Rule};

impl Walk<'_> {
    /// Nothing if `node` is no clause that is known here.
    pub(super) fn clause(&mut self, node: &NodeEnum) -> Option<Judged> {
        Some(match node {
            NodeEnum::RangeVar(relation) => self.relation(relation),
            NodeEnum::ResTarget(target) => {
                let tree::ResTarget { name: _, indirection, val, location: _ } = target.as_ref();
                self.each(indirection).and_then(|()| self.maybe(val))
            }
            NodeEnum::JoinExpr(join) => self.join(join),
            NodeEnum::RangeSubselect(sub) => {
                let tree::RangeSubselect { lateral: _, subquery, alias } = sub.as_ref();
                self.maybe(subquery).and_then(|()| self.alias(alias.as_ref()))
            }
            NodeEnum::RangeFunction(function) => {
                let tree::RangeFunction {
                    lateral: _,
                    ordinality: _,
                    is_rowsfrom: _,
                    functions,
                    alias,
                    coldeflist,
                } = function;
                self.each(functions)
                    .and_then(|()| self.alias(alias.as_ref()))
                    .and_then(|()| self.each(coldeflist))
            }
            NodeEnum::ColumnDef(column) => self.column_definition(column),
            NodeEnum::SortBy(sort) => {
                let tree::SortBy { node, sortby_dir: _, sortby_nulls: _, use_op, location: _ } =
                    sort.as_ref();
                self.operator(use_op).and_then(|()| self.maybe(node))
            }
            NodeEnum::GroupingSet(set) => self.each(&set.content),
            NodeEnum::WindowDef(window) => self.window(window),
            NodeEnum::LockingClause(locking) => {
                let tree::LockingClause { locked_rels, strength: _, wait_policy: _ } = locking;
                self.will_write();
                self.each(locked_rels)
            }
            NodeEnum::CommonTableExpr(with) => self.common(with),
            NodeEnum::MergeWhenClause(when) => {
                let tree::MergeWhenClause {
                    match_kind: _,
                    command_type: _,
                    r#override: _,
                    condition,
                    target_list,
                    values,
                } = when.as_ref();
                self.maybe(condition).and_then(|()| self.each(target_list)).and_then(|()| self.each(values))
            }
            NodeEnum::IndexElem(element) => self.index_element(element),
            NodeEnum::ReturningOption(_) => Ok(()),
            _ => return None,
        })
    }

    fn join(&mut self, join: &tree::JoinExpr) -> Judged {
        let tree::JoinExpr {
            jointype: _,
            is_natural: _,
            larg,
            rarg,
            using_clause,
            join_using_alias,
            quals,
            alias,
            rtindex: _,
        } = join;
        self.maybe(larg)?;
        self.maybe(rarg)?;
        self.each(using_clause)?;
        self.maybe(quals)?;
        self.alias(join_using_alias.as_ref())?;
        self.alias(alias.as_ref())
    }

    /// `AS t(a int, b text)` behind a function; nothing but a name and a type.
    fn column_definition(&mut self, column: &tree::ColumnDef) -> Judged {
        let plain = column.constraints.is_empty()
            && column.fdwoptions.is_empty()
            && column.raw_default.is_none()
            && column.identity_sequence.is_none();
        if !plain {
            return Err(Refusal::new(Rule::Clause, "this definition of a column"));
        }
        self.type_name(column.type_name.as_ref())
    }

    fn common(&mut self, with: &tree::CommonTableExpr) -> Judged {
        let tree::CommonTableExpr {
            ctename,
            aliascolnames,
            ctematerialized: _,
            ctequery,
            search_clause: _,
            cycle_clause,
            location: _,
            cterecursive: _,
            cterefcount: _,
            ctecolnames: _,
            ctecoltypes: _,
            ctecoltypmods: _,
            ctecolcollations: _,
        } = with;
        self.with.insert(ctename.clone());
        self.each(aliascolnames)?;
        if let Some(cycle) = cycle_clause {
            self.maybe(&cycle.cycle_mark_value)?;
            self.maybe(&cycle.cycle_mark_default)?;
        }
        self.maybe(ctequery)
    }

    pub(super) fn with(&mut self, with: Option<&tree::WithClause>) -> Judged {
        let Some(tree::WithClause { ctes, recursive: _, location: _ }) = with else { return Ok(()) };
        self.each(ctes)
    }

    pub(super) fn returning(&mut self, returning: Option<&tree::ReturningClause>) -> Judged {
        let Some(tree::ReturningClause { options, exprs }) = returning else { return Ok(()) };
        self.each(options)?;
        self.each(exprs)
    }

    fn index_element(&mut self, element: &tree::IndexElem) -> Judged {
        let tree::IndexElem {
            name: _,
            expr,
            indexcolname: _,
            collation: _,
            opclass: _,
            opclassopts,
            ordering: _,
            nulls_ordering: _,
        } = element;
        self.maybe(expr)?;
        self.each(opclassopts)
    }

    /// On a server below the floor, the WHERE behind DO UPDATE is evaluated on a row that is hidden (CVE-2026-120154).
    pub(super) fn on_conflict(&mut self, conflict: &tree::OnConflictClause) -> Judged {
        let tree::OnConflictClause { action: _, infer, target_list, where_clause, location: _ } = conflict;
        if self.ground.strict && where_clause.is_some() {
            return Err(Refusal::new(Rule::BelowFloor, "ON CONFLICT DO UPDATE … WHERE on this server"));
        }
        if let Some(infer) = infer {
            let tree::InferClause { index_elems, where_clause, conname: _, location: _ } = infer.as_ref();
            self.each(index_elems)?;
            self.maybe(where_clause)?;
        }
        self.each(target_list)?;
        self.maybe(where_clause)
    }
}
