//! `apply`, `diff` and `export`: the operator's declarations as files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use rowhouse_control::catalog::{self, CatalogFile};
use serde_json::{Value, json};

use super::client::{Client, Refused};
use super::show::{line, show};

/// `rowhouse apply …`
#[derive(Debug, Args)]
pub struct Apply {
    /// A folder of TOML files, or one file (TOML, or JSON as `rowhouse export` writes it).
    #[arg(short = 'f', long = "folder")]
    folder: PathBuf,
    /// Remove what this catalogue declared before and no longer does.
    #[arg(long)]
    prune: bool,
}

/// `rowhouse diff …`
#[derive(Debug, Args)]
pub struct Diff {
    /// A folder of TOML files, or one file (TOML, or JSON as `rowhouse export` writes it).
    #[arg(short = 'f', long = "folder")]
    folder: PathBuf,
    /// Exit with 10 if there are differences.
    #[arg(long)]
    exit_code: bool,
}

/// Plans and applies.
pub async fn apply(client: &Client, asked: Apply, json: bool) -> anyhow::Result<ExitCode> {
    let file = read_catalog(&asked.folder)?;
    let catalog = serde_json::to_value(&file)?;
    let plan = plan(client, &file, &catalog).await?;
    if !json {
        print_plan(&plan, asked.prune);
    }
    let body = json!({"plan": plan["digest"], "catalog": catalog, "prune": asked.prune});
    let answer = client.post("/v1/catalog/apply", body).await?;
    if json {
        show(&answer, &[], true);
    } else {
        eprintln!("applied; next: rowhouse diff -f {} --exit-code", asked.folder.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Plans and shows.
pub async fn diff(client: &Client, asked: Diff, json: bool) -> anyhow::Result<ExitCode> {
    let file = read_catalog(&asked.folder)?;
    let plan = plan(client, &file, &serde_json::to_value(&file)?).await?;
    if json {
        show(&plan, &[], true);
    } else {
        print_plan(&plan, false);
    }
    let differs = items(&plan).iter().any(|item| item["action"] != "keep");
    Ok(if asked.exit_code && differs { ExitCode::from(10) } else { ExitCode::SUCCESS })
}

/// Prints today's declarations.
pub async fn export(client: &Client) -> anyhow::Result<ExitCode> {
    let answer = client.get("/v1/catalog/export").await?;
    line(&serde_json::to_string_pretty(&answer)?);
    Ok(ExitCode::SUCCESS)
}

/// Asks for the plan; what the server finds wrong is told with its place in the files.
async fn plan(client: &Client, file: &CatalogFile, catalog: &Value) -> anyhow::Result<Value> {
    let answer = client.post("/v1/catalog/plan", catalog.clone()).await;
    answer.map_err(|error| match error.downcast::<Refused>() {
        Ok(Refused(mut problem)) => {
            for wrong in &mut problem.errors {
                if let Some(place) = file.places.of_pointer(&wrong.pointer) {
                    wrong.pointer =
                        format!("{}:{}:{}: {}", place.file, place.line, place.column, wrong.pointer);
                }
            }
            Refused(problem).into()
        }
        Err(error) => error,
    })
}

fn items(plan: &Value) -> Vec<Value> {
    plan["items"].as_array().cloned().unwrap_or_default()
}

fn print_plan(plan: &Value, prune: bool) {
    let mut kept = 0;
    for item in items(plan) {
        let text = |field: &str| item[field].as_str().unwrap_or("").to_owned();
        match text("action").as_str() {
            "keep" => kept += 1,
            "orphan" if prune => line(&format!("remove {} {}", text("kind"), text("name"))),
            "orphan" => line(&format!(
                "orphan {} {} (no longer declared; --prune removes it)",
                text("kind"),
                text("name")
            )),
            action => line(&format!("{action} {} {}", text("kind"), text("name"))),
        }
        for field in item["fields"].as_array().into_iter().flatten() {
            line(&format!(
                "    {}: {} → {}",
                field["field"].as_str().unwrap_or("?"),
                field["old"],
                field["new"]
            ));
        }
    }
    line(&format!("{kept} unchanged"));
}

/// A catalogue from a folder of TOML files, or one file; all errors at once.
pub fn read_catalog(folder: &Path) -> anyhow::Result<CatalogFile> {
    if folder.extension().is_some_and(|end| end == "json") {
        let text = std::fs::read(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        return serde_json::from_slice(&text)
            .with_context(|| format!("{} is no catalogue", folder.display()));
    }
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
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
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
