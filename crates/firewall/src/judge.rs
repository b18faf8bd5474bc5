//! The judgement: a pure function of ground and text.

use pg_query::Error;

use crate::ground::{Ground, Level};
use crate::verdict::{Access, Refusal, Rule, Verdict};
use crate::walk::Walk;
use crate::{introspection, names, statement};

/// Longest text, in bytes.
pub const TEXT_MAX: usize = 256 * 1024;

/// Judges `text`. Of several statements all must pass.
pub fn judge(ground: &Ground, text: &str) -> Verdict {
    let mut verdict = Verdict::default();
    match examine(ground, text, &mut verdict) {
        Ok(access) => verdict.access = Some(access),
        Err(refusal) => verdict.refusal = Some(refusal),
    }
    verdict
}

fn examine(ground: &Ground, text: &str, verdict: &mut Verdict) -> Result<Access, Refusal> {
    let parsed = parse(text)?;
    let statements: Vec<_> =
        parsed.iter().filter_map(|raw| raw.stmt.as_ref().and_then(|node| node.node.as_ref())).collect();
    if statements.is_empty() || statements.len() != parsed.len() {
        return Err(Refusal::new(Rule::Text, "an empty text"));
    }
    verdict.statements = statements.iter().map(|node| names::statement(node)).collect();
    if ground.level != Level::Own && introspection::is_known(text) {
        verdict.classes.insert(crate::Class::Rows);
        return Ok(Access::Read);
    }
    let mut walk = Walk::new(ground);
    let mut judged = Ok(());
    for node in statements {
        judged = statement::judge(&mut walk, node).map(|class| {
            verdict.classes.insert(class);
        });
        if judged.is_err() {
            break;
        }
    }
    let access = walk.access();
    (verdict.relations, verdict.functions) = walk.seen();
    judged.map(|()| access)
}

/// PostgreSQL's parser. It limits its own stack; the tree's depth is limited to 100 messages, about 45 levels of an
/// expression.
pub(crate) fn parse(text: &str) -> Result<Vec<pg_query::protobuf::RawStmt>, Refusal> {
    if text.len() > TEXT_MAX {
        return Err(Refusal::new(Rule::Text, format!("a text of more than {} KiB", TEXT_MAX / 1024)));
    }
    if text.contains('\0') {
        return Err(Refusal::new(Rule::Text, "a NUL in a text"));
    }
    match pg_query::parse(text, 0) {
        Ok(parsed) => Ok(parsed.protobuf.stmts),
        Err(Error::Parse(words)) if words.contains("stack depth") || words.contains("memory exhausted") => {
            Err(too_deep())
        }
        Err(Error::Parse(words)) => Err(Refusal::new(Rule::Syntax, format!("what does not parse ({words})"))),
        Err(_) => Err(too_deep()),
    }
}

fn too_deep() -> Refusal {
    Refusal::new(Rule::Depth, "a statement nested this deeply")
}
