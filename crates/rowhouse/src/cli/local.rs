//! Commands that need no server: settings and error codes.

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use rowhouse_domain::refusal::{ALL, Kind, kind_by_code};
use serde_json::json;

use super::Global;
use super::show::line;
use crate::config::{self, Shown};
use crate::serve;

/// `rowhouse config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Whether the settings hold.
    Check,
    /// All settings, with their values now.
    Show {
        /// Where each comes from.
        #[arg(long)]
        origin: bool,
    },
    /// What one setting is for.
    Explain {
        /// As in `server.base_domain`.
        name: String,
    },
}

/// Runs `rowhouse config …`.
pub fn config(global: &Global, command: ConfigCommand) -> anyhow::Result<ExitCode> {
    let file = global.config.as_deref();
    let config = config::load(file, std::env::vars())?;
    for variable in config::strangers(std::env::vars()) {
        eprintln!("{variable} is no setting and is passed over; settings are ROWHOUSE_SECTION__KEY");
    }
    let settings = config::origins(&config, file, std::env::vars());
    match command {
        ConfigCommand::Check => {
            serve::check(&config)?;
            line("the settings hold");
        }
        ConfigCommand::Show { .. } if global.json => {
            line(&json!({"items": settings, "next_cursor": null}).to_string())
        }
        ConfigCommand::Show { origin } => settings.iter().for_each(|setting| line(&shown(setting, origin))),
        ConfigCommand::Explain { name } => {
            let Some(setting) = settings.iter().find(|setting| setting.name == name) else {
                let near: Vec<_> = nearest(&name, settings.iter().map(|setting| setting.name));
                bail!(
                    "there is no setting `{name}`; near it: {}\n  next: rowhouse config show",
                    near.join(", ")
                );
            };
            line(&format!("{}\n{}\nvariable: {}", shown(setting, true), setting.what, setting.variable));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(setting: &Shown, origin: bool) -> String {
    let own = match &setting.value {
        Some(value) => format!("{} = {value}", setting.name),
        None => format!("# {} is not set", setting.name),
    };
    if origin { format!("{own}  # {}", setting.origin) } else { own }
}

/// Runs `rowhouse explain CODE`, without a code: all codes.
pub fn explain(code: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    let Some(code) = code else {
        if json {
            let items: Vec<_> = ALL.iter().copied().map(as_json).collect();
            line(&json!({"items": items, "next_cursor": null}).to_string());
        } else {
            ALL.iter().for_each(|kind| line(&format!("{}\t{}\t{}", kind.code, kind.status, kind.title)));
        }
        return Ok(ExitCode::SUCCESS);
    };
    let Some(kind) = kind_by_code(code) else {
        let near = nearest(code, ALL.iter().map(|kind| kind.code));
        eprintln!(
            "rowhouse: there is no code `{code}`; near it: {}\n  next: rowhouse explain, for all codes",
            near.join(", ")
        );
        return Ok(ExitCode::from(3));
    };
    if json {
        line(&as_json(kind).to_string());
    } else {
        line(&format!("{} ({})\n  {}\n  cure: {}", kind.code, kind.status, kind.title, kind.cure));
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(kind: &Kind) -> serde_json::Value {
    json!({"code": kind.code, "status": kind.status, "fault": kind.fault, "title": kind.title, "cure": kind.cure})
}

/// The three names that take the fewest changes of letters.
fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<_> = names.map(|name| (distance(word, name), name)).collect();
    names.sort();
    names.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, one) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let change = corner + usize::from(one != *other);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_probably_meant_is_first() {
        assert_eq!(nearest("limits.exceded", ALL.iter().map(|kind| kind.code))[0], "limits.exceeded");
        assert_eq!((distance("kitten", "sitting"), distance("", "ab"), distance("a", "a")), (3, 2, 0));
    }
}
