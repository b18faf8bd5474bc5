//! SQL/JSON constructors and queries (16 and up).

use pg_query::NodeEnum;
use pg_query::protobuf as tree;

use super::{Judged, Walk};

impl Walk<'_> {
    /// Nothing if `node` is no JSON expression that is known here.
    pub(super) fn json(&mut self, node: &NodeEnum) -> Option<Judged> {
        Some(match node {
            NodeEnum::JsonValueExpr(value) => self.json_value(Some(value)),
            NodeEnum::JsonKeyValue(pair) => self.json_pair(Some(pair)),
            NodeEnum::JsonArgument(argument) => self.json_value(argument.val.as_deref()),
            NodeEnum::JsonIsPredicate(test) => self.maybe(&test.expr),
            NodeEnum::JsonParseExpr(parse) => {
                self.json_value(parse.expr.as_deref()).and_then(|()| self.json_output(parse.output.as_ref()))
            }
            NodeEnum::JsonScalarExpr(scalar) => {
                self.maybe(&scalar.expr).and_then(|()| self.json_output(scalar.output.as_ref()))
            }
            NodeEnum::JsonSerializeExpr(text) => {
                self.json_value(text.expr.as_deref()).and_then(|()| self.json_output(text.output.as_ref()))
            }
            NodeEnum::JsonObjectConstructor(object) => {
                self.each(&object.exprs).and_then(|()| self.json_output(object.output.as_ref()))
            }
            NodeEnum::JsonArrayConstructor(array) => {
                self.each(&array.exprs).and_then(|()| self.json_output(array.output.as_ref()))
            }
            NodeEnum::JsonArrayQueryConstructor(array) => {
                self.maybe(&array.query).and_then(|()| self.json_output(array.output.as_ref()))
            }
            NodeEnum::JsonObjectAgg(aggregate) => self
                .json_pair(aggregate.arg.as_deref())
                .and_then(|()| self.json_aggregate(aggregate.constructor.as_deref())),
            NodeEnum::JsonArrayAgg(aggregate) => self
                .json_value(aggregate.arg.as_deref())
                .and_then(|()| self.json_aggregate(aggregate.constructor.as_deref())),
            NodeEnum::JsonFuncExpr(query) => self.json_query(query),
            _ => return None,
        })
    }

    fn json_value(&mut self, value: Option<&tree::JsonValueExpr>) -> Judged {
        let Some(tree::JsonValueExpr { raw_expr, formatted_expr, format: _ }) = value else { return Ok(()) };
        self.maybe(raw_expr)?;
        self.maybe(formatted_expr)
    }

    fn json_pair(&mut self, pair: Option<&tree::JsonKeyValue>) -> Judged {
        let Some(tree::JsonKeyValue { key, value }) = pair else { return Ok(()) };
        self.maybe(key)?;
        self.json_value(value.as_deref())
    }

    fn json_output(&mut self, output: Option<&tree::JsonOutput>) -> Judged {
        let Some(tree::JsonOutput { type_name, returning: _ }) = output else { return Ok(()) };
        self.type_name(type_name.as_ref())
    }

    fn json_aggregate(&mut self, aggregate: Option<&tree::JsonAggConstructor>) -> Judged {
        let Some(tree::JsonAggConstructor { output, agg_filter, agg_order, over, location: _ }) = aggregate
        else {
            return Ok(());
        };
        self.json_output(output.as_ref())?;
        self.maybe(agg_filter)?;
        self.each(agg_order)?;
        over.as_ref().map_or(Ok(()), |window| self.window(window))
    }

    fn json_query(&mut self, query: &tree::JsonFuncExpr) -> Judged {
        let tree::JsonFuncExpr {
            op: _,
            column_name: _,
            context_item,
            pathspec,
            passing,
            output,
            on_empty,
            on_error,
            wrapper: _,
            quotes: _,
            location: _,
        } = query;
        self.json_value(context_item.as_deref())?;
        self.maybe(pathspec)?;
        self.each(passing)?;
        self.json_output(output.as_ref())?;
        for behaviour in [on_empty, on_error].into_iter().flatten() {
            self.maybe(&behaviour.expr)?;
        }
        Ok(())
    }
}
