//! Where each value came from, for `rowhouse config show --origin`.

use std::path::Path;

use serde::Serialize;

use super::Config;
use super::load::{ENVIRONMENT_PREFIX, overrides, path_of};
use super::settings::SETTINGS;

/// A setting as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// As in `server.region`.
    pub name: &'static str,
    /// As TOML writes it; none if it is not set and has no fixed default.
    pub value: Option<String>,
    /// `default`, the file, or the variable.
    pub origin: String,
    /// The variable that would override it.
    pub variable: String,
    /// What it is for.
    pub what: &'static str,
}

/// Every setting, its value, and where that comes from.
pub fn origins(
    config: &Config,
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Vec<Shown> {
    let text = file.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let in_file: toml::Table = toml::from_str(&text).unwrap_or_default();
    let variables: Vec<_> =
        overrides(environment).map(|(name, _)| (path_of(&name).join("."), name)).collect();
    let all = toml::Table::try_from(config).expect("settings are plain values");
    let shown = SETTINGS.iter().map(|setting| {
        let variable = variables.iter().find(|(own, _)| is_within(own, setting.name));
        let origin = match variable {
            Some((_, variable)) => variable.clone(),
            None if find(&in_file, setting.name).is_some() => {
                file.map(|f| f.display().to_string()).unwrap_or_default()
            }
            None => "default".to_owned(),
        };
        let value =
            find(&all, setting.name).filter(|value| !value.as_table().is_some_and(toml::Table::is_empty));
        Shown {
            name: setting.name,
            value: value.map(|value| {
                if matches!(setting.name, "database.url" | "limits.store_url") {
                    "\"…\"".to_owned()
                } else {
                    value.to_string()
                }
            }),
            origin,
            variable: format!("{ENVIRONMENT_PREFIX}{}", setting.name.replace('.', "__").to_uppercase()),
            what: setting.what,
        }
    });
    shown.collect()
}

/// Whether `path` is `setting` or stands within it.
fn is_within(path: &str, setting: &str) -> bool {
    path.strip_prefix(setting).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn find<'a>(table: &'a toml::Table, name: &str) -> Option<&'a toml::Value> {
    match name.split_once('.') {
        Some((section, rest)) => find(table.get(section)?.as_table()?, rest),
        None => table.get(name),
    }
}
