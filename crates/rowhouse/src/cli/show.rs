//! Data on stdout: the API's own body with `--json`, else a table on a terminal, tabs without one.

use std::io::{IsTerminal, Write};

use serde_json::Value;

/// Prints an answer. `columns` are the fields shown of a list's items, as `a.b` for nested ones.
pub fn show(answer: &Value, columns: &[&str], json: bool) {
    if json {
        line(&answer.to_string());
    } else if let Some(items) = answer.get("items").and_then(Value::as_array) {
        table(items, columns);
        if let Some(cursor) = answer.get("next_cursor").and_then(Value::as_str) {
            eprintln!("more: --cursor {cursor}");
        }
    } else {
        line(&serde_json::to_string_pretty(answer).expect("JSON is printable"));
    }
}

fn table(items: &[Value], columns: &[&str]) {
    let rows: Vec<Vec<String>> =
        items.iter().map(|item| columns.iter().map(|column| cell(item, column)).collect()).collect();
    if !std::io::stdout().is_terminal() {
        rows.iter().for_each(|row| line(&row.join("\t")));
        return;
    }
    let widths: Vec<usize> = (0..columns.len())
        .map(|at| rows.iter().map(|row| row[at].chars().count()).chain([columns[at].len()]).max().unwrap_or(0))
        .collect();
    let heads: Vec<String> = columns.iter().map(|column| column.to_uppercase()).collect();
    for row in std::iter::once(&heads).chain(&rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
        line(cells.join("  ").trim_end());
    }
}

fn cell(item: &Value, column: &str) -> String {
    let found = column.split('.').try_fold(item, |value, key| value.get(key));
    match found {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) => list.iter().map(|v| v.as_str().map_or(v.to_string(), str::to_owned)).collect::<Vec<_>>().join(","),
        Some(other) => other.to_string(),
    }
}

/// Prints a line; a closed pipe (as of `head`) is no error.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
