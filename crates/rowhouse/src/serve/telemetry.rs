//! Logs on stderr: lines on a terminal, JSON without one.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::Telemetry;

/// What is logged, and whether as JSON.
///
/// # Errors
/// Names the setting that cannot be used.
pub fn chosen(settings: &Telemetry) -> anyhow::Result<(EnvFilter, bool)> {
    let filter = EnvFilter::try_new(&settings.log_level).context("telemetry.log_level")?;
    let json = match settings.log_format.as_deref() {
        Some("json") => true,
        Some("text") => false,
        None => !std::io::stderr().is_terminal(),
        Some(other) => anyhow::bail!("telemetry.log_format is `{other}`; it may be `text` or `json`"),
    };
    Ok((filter, json))
}

/// Starts logging; call once.
pub fn start(settings: &Telemetry) -> anyhow::Result<()> {
    let (filter, json) = chosen(settings)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        log.json().init()
    } else {
        log.init()
    }
    Ok(())
}
