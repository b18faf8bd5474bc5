//! Where each value came from, for `rowhouse config show --origin`.

use std::path::Path;

use super::Config;
use super::load::{overrides, path_of};

/// One line per setting: its name, its value, and `default`, the file, or the variable.
pub fn origins(
    config: &Config,
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Vec<(String, String, String)> {
    let text = file.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let in_file: toml::Table = toml::from_str(&text).unwrap_or_default();
    let variables: Vec<_> = overrides(environment).map(|(name, _)| (path_of(&name).join("."), name)).collect();
    let all = toml::Table::try_from(config).expect("settings are plain values");
    let mut lines = Vec::new();
    walk(&all, &mut Vec::new(), &mut |path, value| {
        let name = path.join(".");
        let origin = match variables.iter().find(|(own, _)| *own == name) {
            Some((_, variable)) => variable.clone(),
            None if stands_in(&in_file, path) => file.map(|f| f.display().to_string()).unwrap_or_default(),
            None => "default".to_owned(),
        };
        let shown = if name == "database.url" { "\"…\"".to_owned() } else { value.to_string() };
        lines.push((name, shown, origin));
    });
    lines
}

fn walk(table: &toml::Table, path: &mut Vec<String>, found: &mut impl FnMut(&[String], &toml::Value)) {
    for (key, value) in table {
        path.push(key.clone());
        match value.as_table() {
            Some(inner) => walk(inner, path, found),
            None => found(path, value),
        }
        path.pop();
    }
}

fn stands_in(table: &toml::Table, path: &[String]) -> bool {
    let (last, sections) = path.split_last().expect("a setting has a name");
    let inner = sections.iter().try_fold(table, |table, key| table.get(key)?.as_table());
    inner.is_some_and(|table| table.contains_key(last))
}
