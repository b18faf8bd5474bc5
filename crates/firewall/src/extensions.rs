//! Extensions that a service's migrations may ask for: those of PostgreSQL's own distribution that compute values and reach
//! nothing else. Each with the functions of it that statements may call; its operators and types need no list.
//!
//! Left out on purpose: what runs SQL that it is given (`tablefunc`), reaches servers or files (`dblink`, `file_fdw`), other sessions
//! (`pg_stat_statements`) or settings (`set_limit` of `pg_trgm`), and `pgcrypto`, whose `gen_random_uuid()` is built in.

use std::collections::BTreeSet;

use pg_query::NodeEnum;

use crate::judge::parse;

/// Name, and functions that may be called.
#[rustfmt::skip]
const EXTENSIONS: &[(&str, &[&str])] = &[
    ("btree_gin", &[]),
    ("btree_gist", &[]),
    ("citext", &["citext"]),
    ("cube", &["cube", "cube_dim", "cube_distance", "cube_enlarge", "cube_inter", "cube_is_point", "cube_ll_coord", "cube_size", "cube_subset", "cube_union", "cube_ur_coord"]),
    ("earthdistance", &["earth", "earth_box", "earth_distance", "gc_to_sec", "geo_distance", "latitude", "ll_to_earth", "longitude", "sec_to_gc"]),
    ("fuzzystrmatch", &["difference", "dmetaphone", "dmetaphone_alt", "levenshtein", "levenshtein_less_equal", "metaphone", "soundex"]),
    ("hstore", &["akeys", "avals", "defined", "delete", "each", "exist", "hstore", "hstore_to_array", "hstore_to_json", "hstore_to_json_loose", "hstore_to_jsonb", "hstore_to_jsonb_loose", "hstore_to_matrix", "skeys", "slice", "slice_array", "svals", "tconvert"]),
    ("intarray", &["icount", "idx", "intset", "sort", "sort_asc", "sort_desc", "subarray", "uniq"]),
    ("isn", &["ean13", "is_valid", "isbn", "isbn13", "ismn", "ismn13", "issn", "issn13", "upc"]),
    ("ltree", &["index", "lca", "ltree2text", "nlevel", "subltree", "subpath", "text2ltree"]),
    ("pg_trgm", &["show_trgm", "similarity", "strict_word_similarity", "word_similarity"]),
    ("unaccent", &["unaccent"]),
    ("uuid-ossp", &["uuid_generate_v1mc", "uuid_generate_v3", "uuid_generate_v4", "uuid_generate_v5", "uuid_nil", "uuid_ns_dns", "uuid_ns_oid", "uuid_ns_url", "uuid_ns_x500"]),
];

/// Names of all that may be asked for.
pub fn names() -> impl Iterator<Item = &'static str> {
    EXTENSIONS.iter().map(|(name, _)| *name)
}

/// Those that a migration asks for and may have.
pub fn wanted(sql: &str) -> BTreeSet<&'static str> {
    let statements = parse(sql).unwrap_or_default();
    let nodes = statements.iter().filter_map(|raw| raw.stmt.as_ref()?.node.as_ref());
    let asked = nodes.filter_map(|node| match node {
        NodeEnum::CreateExtensionStmt(extension) => names().find(|name| *name == extension.extname),
        _ => None,
    });
    asked.collect()
}

/// Functions of an extension that statements may call.
pub(crate) fn functions(name: &str) -> &'static [&'static str] {
    EXTENSIONS.iter().find(|(known, _)| *known == name).map_or(&[], |(_, functions)| functions)
}
