//! SET LOCAL and SHOW: settings that a tenant may change for its transaction.

use pg_query::NodeEnum;
use pg_query::protobuf::a_const::Val;
use pg_query::protobuf::{VariableSetKind, VariableSetStmt};

use crate::verdict::{Refusal, Rule};

/// Settings that may be set for a transaction, with the largest value in milliseconds where it is a time limit.
const SETTINGS: &[(&str, Option<u64>)] = &[
    ("statement_timeout", Some(30_000)),
    ("lock_timeout", Some(2_000)),
    ("timezone", None),
    ("datestyle", None),
    ("extra_float_digits", None),
    ("application_name", None),
];

fn refusal(what: impl Into<String>) -> Refusal {
    Refusal::new(Rule::Setting, what)
}

/// SHOW of `name`.
pub(crate) fn show(name: &str) -> Result<(), Refusal> {
    let known = SETTINGS.iter().any(|(setting, _)| setting.eq_ignore_ascii_case(name));
    if known { Ok(()) } else { Err(refusal(format!("SHOW {}", shortened(name)))) }
}

/// SET of any form. Whether it belongs to the transaction (`SET TRANSACTION …`).
pub(crate) fn set(set: &VariableSetStmt) -> Result<bool, Refusal> {
    let VariableSetStmt { kind, name, args, jumble_args: _, is_local, location: _ } = set;
    match VariableSetKind::try_from(*kind) {
        Ok(VariableSetKind::VarSetMulti) if name == "TRANSACTION" => Ok(true),
        Ok(VariableSetKind::VarSetValue) if *is_local => {
            let found = SETTINGS.iter().find(|(setting, _)| setting.eq_ignore_ascii_case(name));
            let (_, most) = found.ok_or_else(|| refusal(format!("SET LOCAL {}", shortened(name))))?;
            let values = args.iter().map(|argument| argument.node.as_ref());
            match most {
                None => values.into_iter().try_for_each(|value| constant(name, value).map(drop))?,
                Some(most) => lower(name, values.collect::<Vec<_>>().as_slice(), *most)?,
            }
            Ok(false)
        }
        Ok(VariableSetKind::VarReset | VariableSetKind::VarResetAll) => Err(refusal("RESET")),
        _ if *is_local => Err(refusal(format!("SET LOCAL {}", shortened(name)))),
        _ => Err(refusal(format!("SET {}", shortened(name)))),
    }
}

fn lower(name: &str, values: &[Option<&NodeEnum>], most: u64) -> Result<(), Refusal> {
    let too_high = || refusal(format!("a {name} above {most} ms"));
    let [value] = values else { return Err(too_high()) };
    let text = constant(name, *value)?;
    match milliseconds(&text) {
        Some(wanted) if (1..=most).contains(&wanted) => Ok(()),
        _ => Err(too_high()),
    }
}

fn constant(name: &str, value: Option<&NodeEnum>) -> Result<String, Refusal> {
    let Some(NodeEnum::AConst(constant)) = value else {
        return Err(refusal(format!("this value of {name}")));
    };
    match &constant.val {
        Some(Val::Ival(number)) => Ok(number.ival.to_string()),
        Some(Val::Fval(number)) => Ok(number.fval.clone()),
        Some(Val::Sval(text)) => Ok(text.sval.clone()),
        _ => Err(refusal(format!("this value of {name}"))),
    }
}

/// Whole numbers with PostgreSQL's units of time; nothing else, so that there is one reading.
fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim_start() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

fn shortened(name: &str) -> String {
    name.chars().take(63).collect()
}
