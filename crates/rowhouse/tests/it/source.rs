//! Reads the tree's own source: files, and the string literals in them.

use std::path::{Path, PathBuf};

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is there")
}

/// All `.rs` files below `folder`.
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of the tree") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The string literals of a Rust file, with escapes and continued lines resolved; comments are passed over.
pub fn string_literals(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['"', '/', '\'', 'r']) {
        let (before, here) = rest.split_at(at);
        let word_before = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        rest = if here.starts_with("//") {
            &here[here.find('\n').unwrap_or(here.len())..]
        } else if here.starts_with("'\"'") || here.starts_with("'\\\"'") {
            &here[3 + usize::from(here.starts_with("'\\"))..]
        } else if let (Some(hashes), false) = (raw_start(here), word_before) {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = &here[2 + hashes..];
            let length = body.find(&end).unwrap_or(body.len());
            found.push(body[..length].to_owned());
            &body[(length + end.len()).min(body.len())..]
        } else if let Some(body) = here.strip_prefix('"') {
            let (literal, after) = plain_literal(body);
            found.push(literal);
            after
        } else {
            &here[1..]
        };
    }
    found
}

fn raw_start(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.bytes().take_while(|b| *b == b'#').count();
    after[hashes..].starts_with('"').then_some(hashes)
}

fn plain_literal(text: &str) -> (String, &str) {
    let mut literal = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (literal, &text[at + 1..]),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('\n') => {
                    let after = chars.as_str();
                    let skipped = after.len() - after.trim_start().len();
                    let resume = after[..skipped].chars().count();
                    for _ in 0..resume {
                        chars.next();
                    }
                }
                Some('n') => literal.push('\n'),
                Some(other) => literal.push(other),
                None => break,
            },
            c => literal.push(c),
        }
    }
    (literal, "")
}

/// Whether a literal is a statement of SQL that can be prepared. The first part of one that is put together at compile
/// time (the catalogue's, one for each of its tables) is not; those are executed by the catalogue's own tests.
pub fn is_statement(literal: &str) -> bool {
    let starts = ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "WITH "];
    let is_part = ["FROM ", "INTO ", "UPDATE "].iter().any(|end| literal.ends_with(end));
    starts.iter().any(|start| literal.trim_start().starts_with(start)) && !literal.contains('{') && !is_part
}

#[test]
fn literals_are_read_as_the_compiler_reads_them() {
    let text = r##"
        // "a comment"
        let a = "SELECT 1 \
                 FROM t"; let q = '"'; let b = r#"raw "quoted" text"#; let c = "say \"hi\"\n";
        let r = for_r("x");
    "##;
    assert_eq!(string_literals(text), ["SELECT 1 FROM t", "raw \"quoted\" text", "say \"hi\"\n", "x"]);
}
