//! Statements with which drivers look up types when they connect or prepare. They read the catalog, so each is allowed
//! by its exact fingerprint (`libpg_query`'s, which is over the structure and not the constants' values) or not at all.

use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Texts as the drivers send them, divided by lines of dashes.
const TEXTS: &str = include_str!("introspection.sql");

static KNOWN: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let texts = TEXTS.split("\n----").filter_map(|text| text.split_once('\n').map(|(_, sql)| sql.trim()));
    texts.filter(|text| !text.is_empty()).filter_map(fingerprint).collect()
});

pub(crate) fn is_known(text: &str) -> bool {
    text.contains("pg_") && fingerprint(text).is_some_and(|found| KNOWN.contains(&found))
}

fn fingerprint(text: &str) -> Option<String> {
    pg_query::fingerprint(text, 0, 0).ok().map(|fingerprint| fingerprint.hex)
}
