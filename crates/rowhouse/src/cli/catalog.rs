//! `apply`, `diff` and `export`: the operator's declarations as files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use rowhouse_control::catalog::{self, CatalogFile};
use serde_json::{Value, json};

use super::client::Client;
use super::show::{line, show};

/// A folder of TOML files.
#[derive(Debug, Args)]
pub struct Folder {
    /// The folder, or one file.
    #[arg(short = 'f', long = "folder")]
    folder: PathBuf,
    /// Remove what this catalogue declared before and no longer does.
    #[arg(long)]
    prune: bool,
    /// Exit with 10 if there are differences (diff).
    #[arg(long)]
    exit_code: bool,
}

/// Plans and applies.
pub async fn apply(client: &Client, folder: Folder, json: bool) -> anyhow::Result<ExitCode> {
    let catalog = read(&folder.folder)?;
    let plan = plan(client, &catalog).await?;
    if !json {
        print_plan(&plan);
    }
    let body = json!({"plan": plan["digest"], "catalog": catalog, "prune": folder.prune});
    let answer = client.post("/v1/catalog/apply", body).await?;
    if json {
        show(&answer, &[], true);
    } else {
        eprintln!("applied; next: rowhouse diff -f {} --exit-code", folder.folder.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Plans and shows.
pub async fn diff(client: &Client, folder: Folder, json: bool) -> anyhow::Result<ExitCode> {
    let catalog = read(&folder.folder)?;
    let plan = plan(client, &catalog).await?;
    if json {
        show(&plan, &[], true);
    } else {
        print_plan(&plan);
    }
    let differs = items(&plan).iter().any(|item| item["action"] != "keep");
    Ok(if folder.exit_code && differs { ExitCode::from(10) } else { ExitCode::SUCCESS })
}

/// Prints today's declarations.
pub async fn export(client: &Client) -> anyhow::Result<ExitCode> {
    let answer = client.get("/v1/catalog/export").await?;
    line(&serde_json::to_string_pretty(&answer)?);
    Ok(ExitCode::SUCCESS)
}

async fn plan(client: &Client, catalog: &Value) -> anyhow::Result<Value> {
    client.post("/v1/catalog/plan", catalog.clone()).await
}

fn items(plan: &Value) -> Vec<Value> {
    plan["items"].as_array().cloned().unwrap_or_default()
}

fn print_plan(plan: &Value) {
    let mut kept = 0;
    for item in items(plan) {
        let text = |field: &str| item[field].as_str().unwrap_or("").to_owned();
        match text("action").as_str() {
            "keep" => kept += 1,
            action => line(&format!("{action} {} {}", text("kind"), text("name"))),
        }
        for field in item["fields"].as_array().into_iter().flatten() {
            line(&format!("    {}: {} → {}", field["field"].as_str().unwrap_or("?"), field["old"], field["new"]));
        }
    }
    line(&format!("{kept} unchanged"));
}

fn read(folder: &Path) -> anyhow::Result<Value> {
    Ok(serde_json::to_value(read_catalog(folder)?)?)
}

/// A catalogue from a folder of TOML files, or one file; all errors at once.
pub fn read_catalog(folder: &Path) -> anyhow::Result<CatalogFile> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    catalog::parse_folder(files).map_err(|errors| {
        let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the catalogue has errors; nothing was sent\n  {}", lines.join("\n  "))
    })
}

fn collect(path: &Path, files: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    if path.is_file() {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        files.push((path.display().to_string(), text));
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    for entry in entries {
        let entry = entry?.path();
        if entry.extension().is_some_and(|end| end == "toml") {
            collect(&entry, files)?;
        }
    }
    if files.is_empty() {
        bail!("{} holds no .toml file", path.display());
    }
    Ok(())
}
