//! The five statements on rows.

use pg_query::protobuf as tree;

use super::{Judged, Walk};
use crate::verdict::{Refusal, Rule};

impl Walk<'_> {
    pub(crate) fn select(&mut self, select: &tree::SelectStmt) -> Judged {
        let tree::SelectStmt {
            distinct_clause,
            into_clause,
            target_list,
            from_clause,
            where_clause,
            group_clause,
            group_distinct: _,
            having_clause,
            window_clause,
            values_lists,
            sort_clause,
            limit_offset,
            limit_count,
            limit_option: _,
            locking_clause,
            with_clause,
            op: _,
            all: _,
            larg,
            rarg,
        } = select;
        if into_clause.is_some() {
            return Err(Refusal::new(Rule::Utility, "SELECT INTO"));
        }
        self.with(with_clause.as_ref())?;
        for nodes in [
            distinct_clause,
            target_list,
            from_clause,
            group_clause,
            window_clause,
            values_lists,
            sort_clause,
            locking_clause,
        ] {
            self.each(nodes)?;
        }
        for node in [where_clause, having_clause, limit_offset, limit_count] {
            self.maybe(node)?;
        }
        [larg, rarg].into_iter().flatten().try_for_each(|side| self.select(side))
    }

    pub(super) fn insert(&mut self, insert: &tree::InsertStmt) -> Judged {
        let tree::InsertStmt {
            relation,
            cols,
            select_stmt,
            on_conflict_clause,
            returning_clause,
            with_clause,
            r#override: _,
        } = insert;
        self.target(with_clause.as_ref(), relation.as_ref())?;
        self.each(cols)?;
        self.maybe(select_stmt)?;
        if let Some(conflict) = on_conflict_clause {
            self.on_conflict(conflict)?;
        }
        self.returning(returning_clause.as_ref())
    }

    pub(super) fn update(&mut self, update: &tree::UpdateStmt) -> Judged {
        let tree::UpdateStmt {
            relation,
            target_list,
            where_clause,
            from_clause,
            returning_clause,
            with_clause,
        } = update;
        self.target(with_clause.as_ref(), relation.as_ref())?;
        self.each(target_list)?;
        self.maybe(where_clause)?;
        self.each(from_clause)?;
        self.returning(returning_clause.as_ref())
    }

    pub(super) fn delete(&mut self, delete: &tree::DeleteStmt) -> Judged {
        let tree::DeleteStmt { relation, using_clause, where_clause, returning_clause, with_clause } = delete;
        self.target(with_clause.as_ref(), relation.as_ref())?;
        self.each(using_clause)?;
        self.maybe(where_clause)?;
        self.returning(returning_clause.as_ref())
    }

    pub(super) fn merge(&mut self, merge: &tree::MergeStmt) -> Judged {
        let tree::MergeStmt {
            relation,
            source_relation,
            join_condition,
            merge_when_clauses,
            returning_clause,
            with_clause,
        } = merge;
        self.target(with_clause.as_ref(), relation.as_ref())?;
        self.maybe(source_relation)?;
        self.maybe(join_condition)?;
        self.each(merge_when_clauses)?;
        self.returning(returning_clause.as_ref())
    }

    fn target(&mut self, with: Option<&tree::WithClause>, relation: Option<&tree::RangeVar>) -> Judged {
        self.will_write();
        self.with(with)?;
        relation.map_or(Ok(()), |relation| self.relation(relation))
    }
}
