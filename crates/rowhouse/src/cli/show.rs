//! Data on stdout: the API's own body with `--json`, else a table on a terminal, tabs without one.

use std::io::{IsTerminal, Write};

use serde_json::Value;

/// Prints an answer. `columns` are the fields shown of a list's items, as `a.b` for nested ones; a thing that is
/// no list is shown with all its fields, one a line.
pub fn show(answer: &Value, columns: &[&str], json: bool) {
    if json {
        line(&answer.to_string());
    } else if let Some(items) = answer.get("items").and_then(Value::as_array) {
        table(items, columns);
        if let Some(cursor) = answer.get("next_cursor").and_then(Value::as_str) {
            eprintln!("there are more; next: the same with --all, or with --cursor {cursor}");
        }
    } else {
        fields(answer);
    }
}

/// Prints a table of `columns`, headed on a terminal.
pub fn table(items: &[Value], columns: &[&str]) {
    if items.is_empty() {
        eprintln!("nothing");
    }
    let rows = items.iter().map(|item| columns.iter().map(|column| cell(item, column)).collect()).collect();
    let heads = columns.iter().map(|column| column.to_uppercase()).collect();
    aligned(Some(heads), rows);
}

/// Prints all fields of a thing, nested ones as `a.b`.
pub fn fields(thing: &Value) {
    let mut rows = Vec::new();
    flatten(thing, &mut String::new(), &mut rows);
    aligned(None, rows);
}

fn flatten(value: &Value, path: &mut String, rows: &mut Vec<Vec<String>>) {
    let Some(inner) = value.as_object().filter(|inner| !inner.is_empty()) else {
        rows.push(vec![path.clone(), word(value)]);
        return;
    };
    for (name, value) in inner {
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(name);
        flatten(value, path, rows);
        path.truncate(length);
    }
}

fn aligned(heads: Option<Vec<String>>, rows: Vec<Vec<String>>) {
    if !std::io::stdout().is_terminal() {
        rows.iter().for_each(|row| line(&row.join("\t")));
        return;
    }
    if rows.is_empty() {
        return;
    }
    let rows: Vec<Vec<String>> = heads.into_iter().chain(rows).collect();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
        line(cells.join("  ").trim_end());
    }
}

fn cell(item: &Value, column: &str) -> String {
    column.split('.').try_fold(item, |value, key| value.get(key)).map_or_else(|| "-".to_owned(), word)
}

/// Text as tenants chose it, without the power to steer a terminal, to begin a new row or to turn one round.
fn printable(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// A value as one word of a table.
fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => printable(text),
        Value::Array(list) if list.is_empty() => "-".to_owned(),
        Value::Array(list) => list
            .iter()
            .map(|v| v.as_str().map_or_else(|| v.to_string(), printable))
            .collect::<Vec<_>>()
            .join(","),
        Value::Object(fields) if fields.is_empty() => "-".to_owned(),
        other => other.to_string(),
    }
}

/// Prints a line; a closed pipe (as of `head`) is no error.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_thing_is_shown_field_by_field() {
        let mut rows = Vec::new();
        flatten(&json!({"a": {"b": 1, "c": null}, "d": ["x", "y"], "e": {}}), &mut String::new(), &mut rows);
        assert_eq!(rows, [["a.b", "1"], ["a.c", "-"], ["d", "x,y"], ["e", "-"]]);
        assert_eq!(cell(&json!({"a": {"b": "t"}}), "a.b"), "t");
        assert_eq!(cell(&json!({"a": 1}), "a.b"), "-");
    }

    #[test]
    fn what_tenants_wrote_cannot_steer_a_terminal() {
        let rows = [
            ("plain Zürich 東京", "plain Zürich 東京"),
            ("\u{1b}]0;x\u{7}", "\\u{1b}]0;x\\u{7}"),
            ("two\nrows\tcells", "two\\nrows\\tcells"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
        ];
        for (text, expected) in rows {
            assert_eq!(word(&json!(text)), expected);
            assert_eq!(word(&json!([text])), expected);
        }
    }
}
