//! A condition's text, read for being asked often. What Cedar would make anew each time is made once or not at all:
//!
//! * Who asks and the thing are records of the context instead of entities: `principal.kind` is read as `context.Principal.kind`. That
//!   means the same as long as the text only asks for their attributes, and whether they have them.
//! * The request's time and address are handed over as text and read by the expression itself, `datetime(context.now)`: making such a
//!   value outside of an expression has Cedar parse the function's name each time.
//! * Times, durations and addresses that stand in the text are made once, as attributes of a constant.
//!
//! A text that has anything else about these names, a comment, or an entity of its own is read as it stands.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::str::FromStr;

use cedar_policy::{Entities, Entity, EntityUid, Expression, RestrictedExpression};

use super::scan::{end, end_of_literal};

/// Where the constants of a text are.
const KNOWN: &str = "Known::\"\"";

/// What is asked.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) expression: Expression,
    /// Its constants, if it is read so; `None`: as it stands, and asked with entities.
    pub(super) constants: Option<Entities>,
}

impl Asked {
    /// `None` for what cannot be read.
    pub(super) fn read(text: &str) -> Option<Self> {
        Self::quick(text).or_else(|| Self::plain(text))
    }

    pub(super) fn plain(text: &str) -> Option<Self> {
        Some(Asked { expression: Expression::from_str(text).ok()?, constants: None })
    }

    fn quick(text: &str) -> Option<Self> {
        let (text, constants) = rewritten(text)?;
        let uid = EntityUid::from_str(KNOWN).ok()?;
        let constants = constants.into_iter().enumerate().map(|(number, made)| (format!("k{number}"), made));
        let constants: HashMap<_, _> = constants.collect();
        let known = Entity::new(uid, constants, HashSet::new()).ok()?;
        let expression = Expression::from_str(&text).ok()?;
        Some(Asked { expression, constants: Some(Entities::from_entities([known], None).ok()?) })
    }
}

type Constants = Vec<RestrictedExpression>;

/// The same expression in other words. `None`: it has something that would mean something else.
fn rewritten(text: &str) -> Option<(String, Constants)> {
    let tokens = tokens(text)?;
    let (mut all, mut constants, mut at) = (String::with_capacity(2 * text.len()), Constants::new(), 0);
    while let Some(token) = tokens.get(at) {
        let is_name = at > 0 && matches!(tokens[at - 1], "." | "has");
        let next = |by: usize| tokens.get(at + by).copied().unwrap_or_default();
        let taken = match *token {
            _ if is_name => one(&mut all, token),
            "context" | "principal" | "resource" => variable(&mut all, token, [next(1), next(2), next(3)])?,
            "datetime" | "duration" | "ip"
                if next(1) == "(" && next(2).starts_with('"') && next(3) == ")" =>
            {
                let made = constant(token, next(2))?;
                write!(all, "{KNOWN}.k{} ", constants.len()).expect("a text takes all");
                constants.push(made);
                4
            }
            "action" => return None,
            _ => one(&mut all, token),
        };
        at += taken;
    }
    Some((all, constants))
}

fn one(all: &mut String, token: &str) -> usize {
    all.push_str(token);
    all.push(' ');
    1
}

/// A variable, which is only asked for an attribute, or whether it has one. How many tokens that were.
fn variable(all: &mut String, name: &str, [first, second, third]: [&str; 3]) -> Option<usize> {
    let is_attribute = first == "." && is_word(second) && third != "(";
    if !is_attribute && first != "has" {
        return None;
    }
    match (name, second) {
        ("context", "now") if is_attribute => all.push_str("datetime(context.now) "),
        ("context", "ip") if is_attribute => all.push_str("ip(context.ip) "),
        ("context", _) => return Some(one(all, "context")),
        ("principal", _) => return Some(one(all, "context.Principal")),
        _ => return Some(one(all, "context.Resource")),
    }
    Some(3)
}

/// A value that stands in the text: what has escapes is left to Cedar.
fn constant(kind: &str, literal: &str) -> Option<RestrictedExpression> {
    let literal = literal.strip_prefix('"')?.strip_suffix('"')?;
    if literal.contains('\\') {
        return None;
    }
    Some(match kind {
        "datetime" => RestrictedExpression::new_datetime(literal),
        "duration" => RestrictedExpression::new_duration(literal),
        _ => RestrictedExpression::new_ip(literal),
    })
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// Words, literals and single signs, without what stands between them. `None` for comments, entities, records, and what is not ASCII
/// outside of literals.
fn tokens(text: &str) -> Option<Vec<&str>> {
    let bytes = text.as_bytes();
    let (mut all, mut at) = (Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let begin = at;
        at = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            b'"' => end_of_literal(bytes, at + 1),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                end(bytes, at, |byte| !byte.is_ascii_alphanumeric() && byte != b'_')
            }
            b'0'..=b'9' => end(bytes, at, |byte| !byte.is_ascii_alphanumeric()),
            b'&' | b'|' | b'=' | b'<' | b'>' | b'!' => {
                at + 1 + usize::from(matches!(bytes.get(at + 1), Some(b'=' | b'&' | b'|')))
            }
            b'.' | b'(' | b')' | b'[' | b']' | b',' | b'+' | b'-' | b'*' => at + 1,
            _ => return None,
        };
        all.push(&text[begin..at]);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_is_read_in_other_words() {
        for (text, words) in [
            ("context.mfa", "context . mfa "),
            ("context . now<datetime( \"2030-01-01\")", "datetime(context.now) < Known::\"\".k0 "),
            ("context.ip.isInRange(ip(\"10.0.0.0/8\"))", "ip(context.ip) . isInRange ( Known::\"\".k0 ) "),
            (
                "principal has age&&principal.age>=18",
                "context.Principal has age && context.Principal . age >= 18 ",
            ),
            ("resource.context == \"context.now\"", "context.Resource . context == \"context.now\" "),
            (
                "context has now && !(context.params.ip == 1)",
                "context has now && ! ( context . params . ip == 1 ) ",
            ),
            ("context has principal", "context has principal "),
        ] {
            assert_eq!(rewritten(text).map(|(all, _)| all).as_deref(), Some(words), "{text}");
            assert!(Asked::quick(text).is_some(), "{text}");
        }
    }

    #[test]
    fn what_would_mean_something_else_is_read_as_it_stands() {
        for text in [
            "context[\"now\"] == context.now",
            "principal == resource",
            "principal in resource",
            "principal is Principal",
            "principal.hasTag(\"a\")",
            "action == Action::\"doc\"",
            "principal == Principal::\"a\"",
            "{ now: 1 } == context",
            "context.mfa // context.now",
            "context.now < datetime(\"20\\u{33}0-01-01\")",
            "context.now < datetime(\"never\")",
            "[principal].isEmpty()",
            "context\u{a0}.mfa",
        ] {
            assert!(Asked::quick(text).is_none(), "{text}");
        }
    }
}
