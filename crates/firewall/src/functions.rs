//! Functions of the catalog: those that may be called, and those that exist and may not.

use std::collections::BTreeSet;
use std::sync::LazyLock;

/// The reviewed list.
pub const ALLOWED: &str = include_str!("functions/allowed.txt");
/// All other functions of the catalog.
pub const REFUSED: &str = include_str!("functions/refused.txt");

static ALLOWED_NAMES: LazyLock<BTreeSet<&str>> =
    LazyLock::new(|| names_of(ALLOWED).map(|(name, _)| name).collect());
static REFUSED_NAMES: LazyLock<BTreeSet<&str>> =
    LazyLock::new(|| names_of(REFUSED).map(|(name, _)| name).collect());

/// Names of a list, each with the first major version that has it.
pub fn names_of(list: &str) -> impl Iterator<Item = (&str, u32)> {
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| match line.split_once(' ') {
        Some((name, major)) => (name, major.parse().unwrap_or(u32::MAX)),
        None => (line, 15),
    })
}

/// Whether `name` of pg_catalog may be called.
pub(crate) fn is_allowed(name: &str) -> bool {
    ALLOWED_NAMES.contains(name)
}

/// Whether `name` is a function that PostgreSQL would call if it stood behind a dot: `(0.1).pg_sleep` is a call.
pub(crate) fn is_refused(name: &str) -> bool {
    REFUSED_NAMES.contains(name)
}
