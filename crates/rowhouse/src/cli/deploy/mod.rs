//! `rowhouse deploy render`: the shared fleet as Kubernetes manifests, from the settings file and a catalogue. It speaks to no
//! cluster, and variables of whoever runs it change nothing: equal files give equal bytes.

mod fleet;
mod pod_settings;
mod write;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use rowhouse_control::catalog::CatalogFile;
use rowhouse_domain::deploy::{self, Fleet};
use serde_json::json;

use self::write::Outcome;
use super::show::line;
use super::{Global, sign_in};
use crate::config;

/// `rowhouse deploy …`
#[derive(Debug, Subcommand)]
pub enum DeployCommand {
    /// Write the shared fleet as Kubernetes manifests: control plane, gateways, and the catalogue's services.
    Render(Render),
}

/// `rowhouse deploy render …`
#[derive(Debug, Args)]
pub struct Render {
    /// `yaml` for `kubectl apply -f`, `kustomize` for `kubectl apply -k` or as a base.
    #[arg(long, value_enum, default_value = "yaml")]
    format: Format,
    /// The folder for the files. What is in it and not ours stays, and is written over by nothing.
    #[arg(long)]
    out: PathBuf,
    /// A catalogue: a folder or file of TOML, or JSON as `rowhouse export` writes it. The running installation's if not said.
    #[arg(long)]
    catalog: Option<PathBuf>,
    /// The settings file; that of `--config` if not said.
    #[arg(long)]
    settings: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Yaml,
    Kustomize,
}

/// Runs `rowhouse deploy …`.
pub async fn run(global: &Global, command: DeployCommand) -> anyhow::Result<ExitCode> {
    let DeployCommand::Render(asked) = command;
    let file = asked.settings.as_deref().or(global.config.as_deref());
    let config = config::load(file, std::iter::empty())?;
    let text = file.map(std::fs::read_to_string).transpose().context("cannot read the settings")?;
    let own: toml::Table = toml::from_str(text.as_deref().unwrap_or_default())?;
    let catalog = match &asked.catalog {
        Some(path) => super::read_catalog(path)?,
        None => running(global).await?,
    };
    let format = match asked.format {
        Format::Yaml => deploy::Format::Yaml,
        Format::Kustomize => deploy::Format::Kustomize,
    };
    let fleet = fleet::of(&config, &own, catalog)?;
    let files = deploy::render(&fleet, format)?;
    let outcomes = write::write(&asked.out, &files)?;
    match global.json {
        true => as_json(&fleet, &outcomes),
        false => tell(&fleet, &outcomes, &asked),
    }
    if config.server.public_url.is_none() {
        eprintln!(
            "note: server.public_url is not set; errors link to {} and the audit logs are named after it for ever",
            fleet::public_url(&config)
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// What the running installation declares.
async fn running(global: &Global) -> anyhow::Result<CatalogFile> {
    let answer = sign_in::client(global).await?.get("/v1/catalog/export").await;
    let answer =
        answer.context("the catalogue of the running installation (--catalog names a file instead)")?;
    Ok(serde_json::from_value(answer)?)
}

fn as_json(fleet: &Fleet, outcomes: &[(String, Outcome)]) {
    let files: Vec<_> =
        outcomes.iter().map(|(name, outcome)| json!({"name": name, "action": outcome.word()})).collect();
    let secrets = fleet.secrets().into_iter();
    let secrets: Vec<_> =
        secrets.map(|own| json!({"name": own.name, "keys": own.keys, "what": own.what})).collect();
    line(&json!({"namespace": fleet.namespace(), "files": files, "secrets": secrets}).to_string());
}

fn tell(fleet: &Fleet, outcomes: &[(String, Outcome)], asked: &Render) {
    outcomes.iter().for_each(|(name, outcome)| line(&format!("{} {name}", outcome.word())));
    eprintln!("Secrets that you make in {}; none of them stands in a file:", fleet.namespace());
    for own in fleet.secrets() {
        eprintln!("  {}: {} ({})", own.name, own.keys.join(", "), own.what);
    }
    let option = match asked.format {
        Format::Yaml => "-f",
        Format::Kustomize => "-k",
    };
    eprintln!("next: kubectl apply --server-side --dry-run=server {option} {}", asked.out.display());
}
