//! The invariants of ARCHITECTURE.md that can be checked.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use rowhouse_store::server::{PrivateServer, SUPERUSER, ServerSpec};
use tokio_postgres::NoTls;

use crate::source::{is_statement, root, rust_files, string_literals};

/// Crates in the dependency tree of `package`, dev-dependencies left out.
fn dependencies(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--package",
            package,
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are text");
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn the_gateway_has_no_sql_in_its_tree() {
    let tree = dependencies("rowhouse-gateway");
    assert!(tree.contains("hyper"), "the tree is read");
    let sql: Vec<_> = tree
        .iter()
        .filter(|name| ["postgres", "sqlx", "refinery", "deadpool"].iter().any(|p| name.contains(p)))
        .collect();
    assert!(sql.is_empty(), "{sql:?}");
    assert!(
        !tree.contains("rowhouse-control") && !dependencies("rowhouse-control").contains("rowhouse-gateway")
    );
}

#[test]
fn the_domain_does_no_io() {
    let tree = dependencies("rowhouse-domain");
    assert!(tree.contains("serde"), "the tree is read");
    for name in ["tokio", "hyper", "axum", "tokio-postgres", "mio", "socket2", "rustix", "memmap2"] {
        assert!(!tree.contains(name), "rowhouse-domain depends on {name}");
    }
}

/// What a service is compiled with does not contain what only deciding needs.
#[test]
fn the_library_of_services_reads_no_conditions() {
    let tree = dependencies("rowhouse-tenantdb");
    assert!(tree.contains("rowhouse-domain"), "the tree is read");
    assert!(
        !tree.contains("cedar-policy"),
        "tenantdb takes rowhouse-domain without its feature `conditions`"
    );
    assert!(dependencies("rowhouse-gateway").contains("cedar-policy"), "the gateway decides");
}

#[test]
fn a_feature_names_only_its_own_schema() {
    let features = root().join("crates/control/src");
    let schemas = [
        "routes",
        "access",
        "tenancy",
        "limits",
        "metering",
        "billing",
        "lifecycle",
        "deploy",
        "keys",
        "identity",
        "messages",
        "resources",
        "audit",
        "api",
        "journal",
    ];
    let mut statements = 0;
    for folder in schemas.iter().map(|name| (name, features.join(name))).filter(|(_, folder)| folder.is_dir())
    {
        let (feature, folder) = folder;
        for file in rust_files(&folder) {
            for statement in statements_of(&file) {
                statements += 1;
                let foreign = schemas.iter().find(|schema| {
                    *schema != feature
                        && names_schema(&statement, schema)
                        && !shared(feature, schema, &statement)
                });
                assert_eq!(foreign, None, "{} names another feature's schema: {statement}", file.display());
            }
        }
    }
    assert!(statements > 20, "statements are found: {statements}");
}

/// `api` and `journal` are prefixes that all features share; the audit sequencer takes the outbox.
fn shared(feature: &str, schema: &str, _statement: &str) -> bool {
    matches!(schema, "api" | "journal") || (feature == "api" && schema == "audit")
}

fn names_schema(statement: &str, schema: &str) -> bool {
    let qualified = format!("{schema}.");
    statement.match_indices(&qualified).any(|(at, _)| {
        let before = statement[..at].chars().next_back();
        let after_keyword =
            ["FROM ", "JOIN ", "INTO ", "UPDATE ", "USING "].iter().any(|k| statement[..at].ends_with(k));
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '.') && after_keyword
    })
}

fn statements_of(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).expect("a file of the tree");
    string_literals(&text).into_iter().filter(|literal| is_statement(literal)).collect()
}

#[tokio::test]
async fn every_statement_prepares_on_the_migrated_schema() {
    let folder = std::env::temp_dir().join(format!("rowhouse-prepare-{}", std::process::id()));
    let mut spec = ServerSpec::new(folder.join("postgres"));
    spec.guard_program = Some(env!("CARGO_BIN_EXE_rowhouse").into());
    spec.shared_buffers_mb = 16;
    let server = PrivateServer::start(spec).await.expect("PostgreSQL starts");
    let (mut client, connection) =
        server.connect_config("postgres", SUPERUSER).connect(NoTls).await.expect("connects");
    let connection = tokio::spawn(connection);
    rowhouse_store::migrate(&mut client).await.expect("migrates");
    let mut wrong = Vec::new();
    let mut prepared = 0;
    for folder in ["crates/control/src", "crates/store/src"] {
        for file in rust_files(&root().join(folder)) {
            if file.components().any(|part| part.as_os_str() == "server" || part.as_os_str() == "tests") {
                continue;
            }
            for statement in statements_of(&file) {
                prepared += 1;
                if let Err(error) = client.prepare(&statement).await {
                    let why = error.as_db_error().map_or(error.to_string(), |e| e.message().to_owned());
                    wrong.push(format!("{}: {why}\n  {statement}", file.display()));
                }
            }
        }
    }
    drop(client);
    connection.await.expect("joins").expect("closes");
    server.stop().await;
    std::fs::remove_dir_all(&folder).expect("own folder");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(prepared > 30, "statements are found: {prepared}");
}

#[test]
fn tasks_are_spawned_in_one_file() {
    let features = root().join("crates/control/src");
    for file in rust_files(&features) {
        let text = std::fs::read_to_string(&file).expect("a file of the tree");
        let code = text.split("#[cfg(test)]").next().unwrap_or("");
        assert!(!code.contains("tokio::spawn("), "{} spawns; assemble.rs is the place", file.display());
    }
}
