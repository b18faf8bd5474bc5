//! The attack suite on a running platform. In every attack there is a canary: a text of the victim's that must not be in any byte that
//! the attacker can read. There is a checksum over all that the control database keeps of the victim, which must not change, and the
//! victim must be served afterwards as before.
//!
//! | file | who attacks | with what |
//! |---|---|---|
//! | `identifiers` | a tenant's administrator | somebody else's identifier in every place where the API takes text, made from the OpenAPI document |
//! | `wire` | anybody who can connect | bytes at the gateway: conflicting signals, encodings, two readings of one request |
//! | `process` | code that runs in the place of a dedicated tenant's process | the operating system: sockets, files, processes, ports |
//! | `shared_process` | code that runs in the place of a service's shared process | sockets, files, roles of the shared server, the plane |
//! | `administrator` | a tenant's administrator | what is the operator's, and what a service believes |
//! | `tenantdb/tests/it/migrating.rs` | who writes a service's migrations | what is hidden in DO bodies, functions, triggers, dynamic SQL |
//! | `tenantdb/tests/it/attacks.rs` | SQL as the application's login, or a tenant's own | some 120 statements, and pools in `pools.rs` |
//!
//! `attacks.txt` lists them for review: a change of the suite is a change of that file. `WRITE_DOCS=1` writes it anew.

mod administrator;
mod identifiers;
mod process;
mod shared_process;
mod siege;
mod wire;

use std::path::Path;

/// A reviewed attack.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// Unique in its file.
    pub name: &'static str,
    /// The level of isolation of attacker and victim.
    pub level: &'static str,
}

/// Rows of the tables of SQL in `tenantdb`: name and level. They are read from the source, where they are run.
fn sql_attacks() -> Vec<(String, &'static str)> {
    let source = include_str!("../../../../tenantdb/tests/it/attacks.rs");
    let migrations = include_str!("../../../../tenantdb/tests/it/migrating.rs");
    let table = |source: &str, from: &str, level: &'static str| {
        let begin = source.find(from).unwrap_or_else(|| panic!("the table {from}"));
        let table = &source[begin..begin + source[begin..].find("\n];").expect("its end")];
        let names = table.lines().filter_map(|line| line.trim().strip_prefix("(\"")?.split('"').next());
        names.map(|name| (name.to_owned(), level)).collect::<Vec<_>>()
    };
    [
        table(source, "const SHARED:", "shared"),
        table(source, "const SCHEMA:", "schema"),
        table(migrations, "const REFUSED:", "migration"),
        table(migrations, "const MADE_SAFE:", "migration"),
    ]
    .concat()
}

#[test]
fn the_list_of_attacks_is_the_reviewed_one() {
    let mut list = String::from(
        "# All attacks: file, level of attacker and victim, what is tried. Written by the suite (WRITE_DOCS=1).\n",
    );
    let own = [
        ("wire", wire::attacks()),
        ("process", process::attacks()),
        ("shared", shared_process::attacks()),
        ("identifiers", identifiers::attacks()),
    ];
    let mut count = 0;
    for (file, attacks) in own {
        for Attack { name, level } in attacks {
            list.push_str(&format!("{file:<12} {level:<9} {name}\n"));
            count += 1;
        }
    }
    for (name, level) in sql_attacks() {
        list.push_str(&format!("{:<12} {level:<9} {name}\n", "sql"));
        count += 1;
    }
    assert!(count >= 200, "only {count}");
    let mut lines: Vec<&str> = list.lines().collect();
    lines.sort_unstable();
    let all = lines.len();
    lines.dedup();
    assert_eq!(lines.len(), all, "each attack has a name of its own");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/attacks/attacks.txt");
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&path, &list).expect("the source tree can be written");
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(reviewed, list, "attacks.txt is not what the suite does; WRITE_DOCS=1 writes it");
}
