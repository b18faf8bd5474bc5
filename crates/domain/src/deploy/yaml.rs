//! Writes a value as YAML: the part of the language that means the same to every reader (YAML 1.1 and 1.2), in one order of
//! keys, so that equal values are equal bytes.
//!
//! Ours, because what there is to write is JSON with better line ends: the known library is archived, its heirs are young, and
//! none of them writes keys in the order that people read manifests in. The tests hold it against another language's reader.

use std::fmt::Write;

use serde_json::{Map, Value};

/// Keys that come first, in this order; all others follow by the alphabet.
const FIRST: [&str; 5] = ["apiVersion", "kind", "metadata", "name", "namespace"];
/// Words that are no text to some reader.
const NO_TEXT: [&str; 11] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];

/// One document, without the line that begins it, with a newline at its end.
pub fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => object(&mut out, map, 0, false),
        other => {
            scalar(&mut out, other, 0);
        }
    }
    out
}

/// `begun`: whether the first key stands on a line that is there already.
fn object(out: &mut String, map: &Map<String, Value>, indent: usize, begun: bool) {
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort_by_key(|key| {
        (FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()), key.as_str())
    });
    for (number, key) in keys.into_iter().enumerate() {
        if number > 0 || !begun {
            pad(out, indent);
        }
        out.push_str(&word(key));
        out.push(':');
        below(out, &map[key], indent);
    }
}

/// What follows a key.
fn below(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            object(out, map, indent + 2, false);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            items.iter().for_each(|item| one_of_list(out, item, indent));
        }
        other => {
            out.push(' ');
            scalar(out, other, indent + 2);
        }
    }
}

fn one_of_list(out: &mut String, item: &Value, indent: usize) {
    pad(out, indent);
    out.push_str("- ");
    match item {
        Value::Object(map) if !map.is_empty() => object(out, map, indent + 2, true),
        other => scalar(out, other, indent + 2),
    }
}

/// A value on the rest of the line, or text over several lines at `indent`. A list within a list stands in JSON's form.
fn scalar(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::String(text) if is_block(text) => block(out, text, indent),
        Value::String(text) => {
            out.push_str(&word(text));
            out.push('\n');
        }
        other => {
            let _ = writeln!(out, "{other}");
        }
    }
}

/// Text that can stand over several lines as it is.
fn is_block(text: &str) -> bool {
    let inner = text.strip_suffix('\n').unwrap_or(text);
    inner.contains('\n')
        && !inner.ends_with(['\n', ' '])
        && !inner.starts_with([' ', '\n', '\t'])
        && inner.chars().all(|c| c == '\n' || is_plain(c))
}

fn block(out: &mut String, text: &str, indent: usize) {
    out.push_str(if text.ends_with('\n') { "|\n" } else { "|-\n" });
    for line in text.lines() {
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// Text on one line: bare where nobody could take it for anything else.
fn word(text: &str) -> String {
    let bare = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_./-".contains(c))
        && !NO_TEXT.contains(&text.to_ascii_lowercase().as_str());
    if bare { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if is_plain(c) => out.push(c),
            c => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}

/// Characters that every reader takes as they are (YAML 1.2 §5.1), without those that end lines somewhere.
fn is_plain(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_written_as_people_read_them() {
        let value = json!({
            "spec": {"b": [1, {"name": "x", "a": "on"}, [], {}], "a": {}, "t": "one\n  two\n\nthree\n"},
            "kind": "Thing", "metadata": {"name": "a", "labels": {"x.io/y": "1Gi"}}, "apiVersion": "v1",
        });
        let expected = "apiVersion: v1\nkind: Thing\nmetadata:\n  name: a\n  labels:\n    x.io/y: \"1Gi\"\nspec:\n  a: {}\n  b:\n  \
             - 1\n  - name: x\n    a: \"on\"\n  - []\n  - {}\n  t: |\n    one\n      two\n\n    three\n";
        assert_eq!(document(&value), expected);
    }

    #[test]
    fn what_could_be_misread_is_quoted() {
        let table = [
            ("", "\"\""),
            ("1", "\"1\""),
            ("0x10", "\"0x10\""),
            ("1:30", "\"1:30\""),
            ("Yes", "\"Yes\""),
            ("NULL", "\"NULL\""),
            ("~", "\"~\""),
            ("a: b", "\"a: b\""),
            ("a #b", "\"a #b\""),
            ("a\"\\", "\"a\\\"\\\\\""),
            ("a\tb\u{7f}\u{85}\u{2028}", "\"a\\u0009b\\u007f\\u0085\\u2028\""),
            (" a\nb", "\" a\\u000ab\""),
            ("a\nb\n\n", "\"a\\u000ab\\u000a\\u000a\""),
            ("ein Maß", "\"ein Maß\""),
            ("apps/v1", "apps/v1"),
        ];
        for (text, expected) in table {
            assert_eq!(document(&json!(text)).trim_end_matches('\n'), expected, "{text:?}");
        }
    }
}
