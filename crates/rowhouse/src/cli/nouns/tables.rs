//! `rowhouse tables …`: what a service keeps in tenants' databases, from a folder.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::{Client, escape};
use crate::cli::show::{fields, line};

/// Name of the manifest in a folder of tables.
const MANIFEST: &str = "rowhouse-tables.toml";

/// `rowhouse tables …`
#[derive(Debug, Subcommand)]
pub enum TablesVerb {
    /// Install a service's tables wherever tenants lie; the same again changes nothing.
    Put {
        /// The service.
        service: String,
        /// Folder with `rowhouse-tables.toml` and `migrations/001_name.sql`, `002_…`.
        folder: PathBuf,
        /// Record and try them out only; `rowhouse fleet migrate` brings them to the places.
        #[arg(long)]
        rollout: bool,
    },
}

/// Runs it; 1 if a tenant's place could not be brought to the new tables.
pub async fn run(client: &Client, verb: TablesVerb, json: bool) -> anyhow::Result<ExitCode> {
    let TablesVerb::Put { service, folder, rollout } = verb;
    let when = if rollout { "?install=rollout" } else { "" };
    let path = format!("/v1/services/{}/tables{when}", escape(&service));
    let answer = client.json(Method::PUT, &path, Some(read(&folder)?)).await?;
    for one in answer["advice"].as_array().into_iter().flatten() {
        let word = |name: &str| one[name].as_str().unwrap_or("?").to_owned();
        eprintln!("advice: migration {}: {}: {}", one["migration"], word("concern"), word("detail"));
    }
    let failed = answer["failed"].as_array().cloned().unwrap_or_default();
    if json {
        line(&answer.to_string());
    } else {
        fields(
            &json!({"service": answer["service"], "version": answer["version"], "installed": answer["installed"]}),
        );
        for one in &failed {
            eprintln!(
                "{}: {}",
                one["tenant"].as_str().unwrap_or("?"),
                one["problem"].as_str().unwrap_or("?")
            );
        }
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(folder: &Path) -> anyhow::Result<Value> {
    let text = |file: &Path| {
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
    };
    let manifest = text(&folder.join(MANIFEST))?;
    let mut migrations = Vec::new();
    let inner = folder.join("migrations");
    for entry in std::fs::read_dir(&inner).with_context(|| format!("cannot read {}", inner.display()))? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((number, rest)) = numbered(&name) else {
            bail!(
                "{} is not named like 001_what_it_does.sql; next: rename it or take it out",
                file.display()
            );
        };
        migrations.push((number, json!({"number": number, "name": rest, "sql": text(&file)?})));
    }
    migrations.sort_by_key(|(number, _)| *number);
    let migrations: Vec<Value> = migrations.into_iter().map(|(_, migration)| migration).collect();
    Ok(json!({"manifest": manifest, "migrations": migrations}))
}

/// `001_stamps.sql` is number 1, `stamps`.
fn numbered(file: &str) -> Option<(i32, &str)> {
    let (number, name) = file.strip_suffix(".sql")?.split_once('_')?;
    Some((number.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_tables_is_read_in_order() {
        assert_eq!(numbered("001_stamps.sql"), Some((1, "stamps")));
        assert_eq!((numbered("stamps.sql"), numbered("1_a.txt"), numbered("x_a.sql")), (None, None, None));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/stamping/tables");
        let body = read(&folder).expect("the example's tables");
        assert_eq!(
            (&body["migrations"][0]["number"], &body["migrations"][0]["name"]),
            (&json!(1), &json!("stamps"))
        );
        assert!(
            read(Path::new("/nowhere"))
                .expect_err("none")
                .to_string()
                .contains("/nowhere/rowhouse-tables.toml")
        );
    }
}
