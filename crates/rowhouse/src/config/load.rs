//! Reads the file and lays the environment over it.

use std::path::{Path, PathBuf};

use super::Config;

/// Prefix of variables that override a setting: `ROWHOUSE_SERVER__REGION=eu1`.
pub const ENVIRONMENT_PREFIX: &str = "ROWHOUSE_";

/// The settings cannot be used; says where and why.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the settings in {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A key or value in the file is wrong.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: PathBuf,
        /// Line, column, key and what is allowed.
        message: String,
    },
    /// A variable is wrong.
    #[error("the variable {variable}: {message}")]
    Variable {
        /// Its name.
        variable: String,
        /// What is wrong.
        message: String,
    },
}

/// The settings from `file` (none: defaults) under `environment`, which is all variables of the process.
pub fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let mut table = match file {
        Some(path) => read(path)?,
        None => toml::Table::new(),
    };
    let mut config: Config = table.clone().try_into().expect("read() has checked it");
    for (variable, text) in overrides(environment) {
        lay_over(&mut table, &variable, &text);
        config = table.clone().try_into().map_err(|error: toml::de::Error| ConfigError::Variable {
            variable: variable.clone(),
            message: error.message().to_owned(),
        })?;
    }
    Ok(config)
}

/// Variables that name a setting. `ROWHOUSE_URL` and `ROWHOUSE_TOKEN` are the command line's.
pub(super) fn overrides(
    environment: impl Iterator<Item = (String, String)>,
) -> impl Iterator<Item = (String, String)> {
    environment.filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX) && name.contains("__"))
}

/// Variables of the command line and of services, which are no settings.
const OTHERS: [&str; 6] = [
    "ROWHOUSE_URL",
    "ROWHOUSE_TOKEN",
    "ROWHOUSE_TOKEN_FILE",
    "ROWHOUSE_CONFIG",
    "ROWHOUSE_PLANE",
    "ROWHOUSE_PLANE_CACHE",
];

/// Variables that look like settings and are none, as `ROWHOUSE_REGION` without its section. They are no error: an
/// orchestrator may set some of its own with this prefix.
pub fn strangers(environment: impl Iterator<Item = (String, String)>) -> Vec<String> {
    let looks_like = |name: &str| name.starts_with(ENVIRONMENT_PREFIX) && !name.contains("__");
    environment
        .map(|(name, _)| name)
        .filter(|name| looks_like(name) && !OTHERS.contains(&name.as_str()))
        .collect()
}

/// The path of keys that a variable names.
pub(super) fn path_of(variable: &str) -> Vec<String> {
    let rest = &variable[ENVIRONMENT_PREFIX.len()..];
    rest.split("__").map(str::to_ascii_lowercase).collect()
}

fn read(path: &Path) -> Result<toml::Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let wrong =
        |error: toml::de::Error| ConfigError::File { path: path.to_owned(), message: error.to_string() };
    toml::from_str::<Config>(&text).map_err(wrong)?;
    toml::from_str(&text).map_err(wrong)
}

fn lay_over(table: &mut toml::Table, variable: &str, text: &str) {
    let path = path_of(variable);
    let (last, sections) = path.split_last().expect("split gives at least one part");
    let mut table = table;
    for section in sections {
        let entry = table.entry(section.clone()).or_insert_with(|| toml::Table::new().into());
        if !entry.is_table() {
            *entry = toml::Table::new().into();
        }
        table = entry.as_table_mut().expect("made one above");
    }
    // A value as TOML writes it (numbers, lists, booleans), else the text itself.
    let parsed = toml::from_str::<toml::Table>(&format!("value = {text}")).ok();
    let value = parsed.and_then(|mut table| table.remove("value"));
    table.insert(last.clone(), value.unwrap_or_else(|| text.into()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(list: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn the_environment_wins_and_wrong_variables_are_named() {
        let config =
            load(None, variables(&[("ROWHOUSE_SERVER__REGION", "eu1"), ("ROWHOUSE_JOURNAL__KEEP", "2h")]))
                .expect("good");
        assert_eq!(
            (config.server.region.as_str(), config.journal.keep),
            ("eu1", super::super::Span::seconds(7200))
        );
        let error = load(None, variables(&[("ROWHOUSE_SERVER__REGOIN", "eu1")])).expect_err("unknown key");
        let text = error.to_string();
        assert!(
            text.contains("ROWHOUSE_SERVER__REGOIN") && text.contains("regoin") && text.contains("region"),
            "{text}"
        );
        assert!(load(None, variables(&[("ROWHOUSE_URL", "x"), ("PATH", "y")])).is_ok());
        let listed = strangers(variables(&[
            ("ROWHOUSE_URL", "x"),
            ("ROWHOUSE_REGION", "y"),
            ("ROWHOUSE_SERVER__NODE", "z"),
        ]));
        assert_eq!(listed, ["ROWHOUSE_REGION"]);
        let error =
            load(None, variables(&[("ROWHOUSE_SERVER__DRAIN", "5")])).expect_err("no unit").to_string();
        assert!(error.contains("ROWHOUSE_SERVER__DRAIN") && error.contains("`30s`"), "{error}");
    }

    #[test]
    fn an_unknown_key_in_the_file_is_named_with_its_line() {
        let folder = std::env::temp_dir().join(format!("rowhouse-config-{}", std::process::id()));
        std::fs::write(&folder, "[server]\nregion = \"eu1\"\n[jurnal]\nkeep = \"2h\"\n").expect("temp file");
        let text = load(Some(&folder), variables(&[])).expect_err("unknown section").to_string();
        std::fs::remove_file(&folder).expect("own file");
        assert!(text.contains("line 3") && text.contains("jurnal") && text.contains("journal"), "{text}");
    }
}
