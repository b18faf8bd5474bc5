//! Expressions.

use pg_query::NodeEnum;
use pg_query::protobuf as tree;

use super::{Judged, Walk};
use crate::verdict::{Refusal, Rule};

impl Walk<'_> {
    /// Nothing if `node` is no expression that is known here.
    pub(super) fn expression(&mut self, node: &NodeEnum) -> Option<Judged> {
        Some(match node {
            NodeEnum::AConst(_)
            | NodeEnum::ParamRef(_)
            | NodeEnum::AStar(_)
            | NodeEnum::SetToDefault(_)
            | NodeEnum::SqlvalueFunction(_)
            | NodeEnum::MergeSupportFunc(_)
            | NodeEnum::String(_)
            | NodeEnum::Integer(_)
            | NodeEnum::CurrentOfExpr(_) => Ok(()),
            NodeEnum::List(list) => self.each(&list.items),
            NodeEnum::ColumnRef(column) => self.column(column),
            NodeEnum::AExpr(operation) => self.operation(operation),
            NodeEnum::BoolExpr(logic) => {
                let tree::BoolExpr { xpr: _, boolop: _, args, location: _ } = logic.as_ref();
                self.each(args)
            }
            NodeEnum::FuncCall(call) => self.call(call),
            NodeEnum::TypeCast(cast) => {
                let tree::TypeCast { arg, type_name, location: _ } = cast.as_ref();
                self.type_name(type_name.as_ref()).and_then(|()| self.maybe(arg))
            }
            NodeEnum::CollateClause(collate) => self.collation(collate),
            NodeEnum::SubLink(sub) => {
                let tree::SubLink {
                    xpr: _,
                    sub_link_type: _,
                    sub_link_id: _,
                    testexpr,
                    oper_name,
                    subselect,
                    location: _,
                } = sub.as_ref();
                self.operator(oper_name)
                    .and_then(|()| self.maybe(testexpr))
                    .and_then(|()| self.maybe(subselect))
            }
            NodeEnum::CaseExpr(case) => {
                let tree::CaseExpr { xpr: _, casetype: _, casecollid: _, arg, args, defresult, location: _ } =
                    case.as_ref();
                self.maybe(arg).and_then(|()| self.each(args)).and_then(|()| self.maybe(defresult))
            }
            NodeEnum::CaseWhen(when) => {
                let tree::CaseWhen { xpr: _, expr, result, location: _ } = when.as_ref();
                self.maybe(expr).and_then(|()| self.maybe(result))
            }
            NodeEnum::RowExpr(row) => {
                let tree::RowExpr { xpr: _, args, row_typeid: _, row_format: _, colnames, location: _ } =
                    row.as_ref();
                self.each(args).and_then(|()| self.each(colnames))
            }
            NodeEnum::CoalesceExpr(one_of) => self.each(&one_of.args),
            NodeEnum::MinMaxExpr(one_of) => self.each(&one_of.args),
            NodeEnum::NullTest(test) => self.maybe(&test.arg),
            NodeEnum::BooleanTest(test) => self.maybe(&test.arg),
            NodeEnum::GroupingFunc(grouping) => self.each(&grouping.args),
            NodeEnum::NamedArgExpr(named) => self.maybe(&named.arg),
            NodeEnum::AArrayExpr(array) => self.each(&array.elements),
            NodeEnum::AIndices(indices) => {
                let tree::AIndices { is_slice: _, lidx, uidx } = indices.as_ref();
                self.maybe(lidx).and_then(|()| self.maybe(uidx))
            }
            NodeEnum::AIndirection(inner) => {
                let tree::AIndirection { arg, indirection } = inner.as_ref();
                self.maybe(arg).and_then(|()| self.indirection(indirection))
            }
            NodeEnum::MultiAssignRef(assign) => {
                let tree::MultiAssignRef { source, colno: _, ncolumns: _ } = assign.as_ref();
                self.maybe(source)
            }
            NodeEnum::XmlExpr(xml) => {
                let tree::XmlExpr {
                    xpr: _,
                    op: _,
                    name: _,
                    named_args,
                    arg_names,
                    args,
                    xmloption: _,
                    indent: _,
                    r#type: _,
                    typmod: _,
                    location: _,
                } = xml.as_ref();
                self.each(named_args).and_then(|()| self.each(arg_names)).and_then(|()| self.each(args))
            }
            NodeEnum::XmlSerialize(xml) => {
                let tree::XmlSerialize { xmloption: _, expr, type_name, indent: _, location: _ } =
                    xml.as_ref();
                self.type_name(type_name.as_ref()).and_then(|()| self.maybe(expr))
            }
            _ => return None,
        })
    }

    /// `(value).name` may be a call; `[n]` and `.*` are none.
    pub(super) fn indirection(&mut self, steps: &[tree::Node]) -> Judged {
        steps.iter().try_for_each(|step| match &step.node {
            Some(NodeEnum::String(name)) => self.behind_a_dot(&name.sval),
            Some(NodeEnum::AIndices(_) | NodeEnum::AStar(_)) => self.node(step),
            _ => Err(Refusal::new(Rule::Clause, "this part of a value")),
        })
    }

    fn operation(&mut self, operation: &tree::AExpr) -> Judged {
        let tree::AExpr { kind: _, name, lexpr, rexpr, rexpr_list_start: _, rexpr_list_end: _, location: _ } =
            operation;
        self.operator(name)?;
        self.maybe(lexpr)?;
        self.maybe(rexpr)
    }

    fn collation(&mut self, collate: &tree::CollateClause) -> Judged {
        let tree::CollateClause { arg, collname: _, location: _ } = collate;
        self.maybe(arg)
    }

    pub(super) fn call(&mut self, call: &tree::FuncCall) -> Judged {
        let tree::FuncCall {
            funcname,
            args,
            agg_order,
            agg_filter,
            over,
            agg_within_group: _,
            agg_star: _,
            agg_distinct: _,
            func_variadic: _,
            funcformat: _,
            location: _,
        } = call;
        self.function(funcname)?;
        self.each(args)?;
        self.each(agg_order)?;
        self.maybe(agg_filter)?;
        over.as_ref().map_or(Ok(()), |window| self.window(window))
    }

    pub(super) fn window(&mut self, window: &tree::WindowDef) -> Judged {
        let tree::WindowDef {
            name: _,
            refname: _,
            partition_clause,
            order_clause,
            frame_options: _,
            start_offset,
            end_offset,
            location: _,
        } = window;
        self.each(partition_clause)?;
        self.each(order_clause)?;
        self.maybe(start_offset)?;
        self.maybe(end_offset)
    }
}
