//! Commands that need no server: settings and error codes.

use std::process::ExitCode;

use clap::Subcommand;
use rowhouse_domain::refusal::{ALL, kind_by_code};

use super::Global;
use super::show::line;
use crate::config;

/// `rowhouse config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Whether the settings hold.
    Check,
    /// All settings.
    Show {
        /// Where each comes from.
        #[arg(long)]
        origin: bool,
    },
}

/// Runs `rowhouse config …`.
pub fn config(global: &Global, command: ConfigCommand) -> anyhow::Result<ExitCode> {
    let file = global.config.as_deref();
    let config = config::load(file, std::env::vars())?;
    let ConfigCommand::Show { origin } = command else {
        line("the settings hold");
        return Ok(ExitCode::SUCCESS);
    };
    for (name, value, from) in config::origins(&config, file, std::env::vars()) {
        line(&if origin { format!("{name} = {value}  # {from}") } else { format!("{name} = {value}") });
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `rowhouse explain CODE`.
pub fn explain(code: &str) -> anyhow::Result<ExitCode> {
    let Some(kind) = kind_by_code(code) else {
        let feature = code.split('.').next().unwrap_or("");
        let near: Vec<_> = ALL.iter().map(|k| k.code).filter(|c| c.starts_with(feature)).collect();
        anyhow::bail!("there is no code `{code}`; of this feature there are: {}", near.join(", "));
    };
    line(&format!("{} ({})\n  {}\n  cure: {}", kind.code, kind.status, kind.title, kind.cure));
    Ok(ExitCode::SUCCESS)
}
