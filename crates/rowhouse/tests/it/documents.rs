//! The reference pages say what the code says: their tables are made from it and compared here, and no relative
//! link leads nowhere. `scripts/docs` (`WRITE_DOCS=1`) writes the tables anew.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use rowhouse_domain::audit::catalog::EVENTS;
use rowhouse_domain::refusal::ALL;
use serde_json::Value;

use crate::platform::shared;
use crate::source::root;

const BEGIN: &str = "<!-- made by scripts/docs: begin -->\n";
const END: &str = "<!-- made by scripts/docs: end -->";

/// Compares what stands between the marks in a page with `table`, or puts it there.
fn check(page: &str, table: &str) {
    let file = root().join("docs/reference").join(page);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let (before, rest) = text.split_once(BEGIN).unwrap_or_else(|| panic!("{page} has no begin mark"));
    let (own, after) = rest.split_once(END).unwrap_or_else(|| panic!("{page} has no end mark"));
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&file, format!("{before}{BEGIN}{table}{END}{after}")).expect("the page is ours");
        return;
    }
    let differs = own.lines().zip(table.lines()).find(|(own, made)| own != made);
    assert!(
        own == table,
        "docs/reference/{page} is out of date; run scripts/docs. First difference: {differs:?}"
    );
}

/// A table of Markdown.
fn table(heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for row in rows {
        let cells: Vec<_> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// The wire word of an enum.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).expect("an enum");
    value.as_str().expect("without fields").to_owned()
}

/// The built binary's stdout, without settings of this machine.
fn rowhouse(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rowhouse"))
        .args(arguments)
        .env_clear()
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn every_error_stands_in_its_page() {
    let rows = ALL.iter().map(|kind| {
        vec![
            code(kind.code),
            kind.status.to_string(),
            word(&kind.fault),
            kind.title.to_owned(),
            kind.cure.to_owned(),
        ]
    });
    check("errors.md", &table(&["code", "status", "fault", "title", "what to do"], rows));
}

#[test]
fn every_event_stands_in_its_page() {
    let rows = EVENTS.iter().map(|event| {
        let own = event.event_type;
        vec![
            code(event.name),
            own.name().to_owned(),
            own.class().to_string(),
            word(&own.severity()),
            word(&own.retention()),
        ]
    });
    check("events.md", &table(&["event", "type", "OCSF class", "severity", "kept as"], rows));
}

#[test]
fn every_setting_stands_in_its_page() {
    let shown: Value = serde_json::from_str(&rowhouse(&["config", "show", "--json"])).expect("JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let rows = shown["items"].as_array().expect("a list").iter().map(|setting| {
        let value = setting["value"].as_str().map_or_else(|| "not set".to_owned(), code);
        vec![code(&text(&setting["name"])), value, text(&setting["what"])]
    });
    check("configuration.md", &table(&["setting", "default", "what it is"], rows));
}

#[test]
fn every_command_stands_in_its_page() {
    let mut rows = Vec::new();
    commands(&mut Vec::new(), &mut rows);
    assert!(rows.len() > 50, "{rows:?}");
    check("command-line.md", &table(&["command", "what it does"], rows));
}

/// Walks down the commands that `-h` lists; the last ones become rows.
fn commands(path: &mut Vec<String>, rows: &mut Vec<Vec<String>>) {
    let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
    arguments.push("-h");
    let help = rowhouse(&arguments);
    let Some((_, rest)) = help.split_once("Commands:\n") else {
        let usage = help.lines().find_map(|line| line.strip_prefix("Usage: ")).expect("a usage line");
        let what = help.lines().next().unwrap_or_default().to_owned();
        rows.push(vec![code(&usage.replace(" [OPTIONS]", "")), what]);
        return;
    };
    let listed = rest.lines().take_while(|line| line.starts_with("  "));
    for line in listed.filter(|line| !line.starts_with("   ")) {
        let name = line.split_whitespace().next().expect("a name");
        if name == "help" {
            continue;
        }
        path.push(name.to_owned());
        commands(path, rows);
        path.pop();
    }
}

#[tokio::test]
async fn every_metric_stands_in_its_page() {
    let page = shared().await.admin("/metrics").await.body;
    let page = page.as_str().expect("text");
    let families = page.lines().filter_map(|line| line.strip_prefix("# HELP ")).map(|line| {
        let (name, help) = line.split_once(' ').expect("a name and its help");
        let kind =
            page.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {name} ")[..])).expect("a type");
        vec![code(name), kind.to_owned(), help.to_owned()]
    });
    let families: Vec<_> = families.collect();
    assert!(families.len() > 5, "{families:?}");
    check("metrics.md", &table(&["metric", "type", "what it counts"], families));
}

/// All `.md` files of the project.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the tree") {
        let path = entry.expect("readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" && !name.ends_with("-data") {
            pages(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// Targets of the links of a page; code blocks and code words are passed over.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        in_block ^= line.trim_start().starts_with("```");
        let words: String = line.split('`').step_by(2).collect();
        let line = if line.contains("](") && !in_block { words } else { continue };
        found.extend(
            line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to.to_owned()),
        );
    }
    found
}

/// The name that a heading is linked by.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

#[test]
fn no_link_leads_nowhere() {
    let mut files = Vec::new();
    pages(&root(), &mut files);
    assert!(files.iter().any(|file| file.ends_with("docs/README.md")), "the pages are found");
    let mut broken = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).expect("readable");
        for link in
            links(&text).into_iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:"))
        {
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { file.clone() } else { file.with_file_name("").join(path) };
            let has_heading = || {
                let text = std::fs::read_to_string(&target).unwrap_or_default();
                text.lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line.trim_start_matches('#')) == heading)
            };
            if !target.exists() || (!heading.is_empty() && !has_heading()) {
                broken.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn links_are_read_as_a_reader_sees_them() {
    let text = "See [a](b.md) and [`c`](d.md#e), not `[x](y)`.\n```\n[q](r)\n```\n";
    assert_eq!(links(text), ["b.md", "d.md#e"]);
    assert_eq!(anchor(" Two words, and `code`"), "two-words-and-code");
}
