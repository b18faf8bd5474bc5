//! What other engines' documentation and test suites ask, as sequences for `access/simulate` that begin with nothing: every step says
//! what becomes of it. The files in `access_cases/` are reviewed; `control` sends the same ones over HTTP. What cannot be said here
//! stands in them, too, and why.

use std::collections::BTreeSet;
use std::path::Path;

use rowhouse_domain::access::simulate::{Step, World, run};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    about: String,
    #[serde(default)]
    steps: Vec<Value>,
    #[serde(default)]
    not_expressible: Option<String>,
}

/// The files with their cases, by name.
fn files() -> Vec<(String, Vec<Case>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/access_cases");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.file_stem().expect("a name").to_string_lossy().into_owned(), path))
        .collect();
    files.sort();
    let read = |path: &Path| std::fs::read(path).expect("a file");
    files
        .into_iter()
        .map(|(name, path)| {
            let cases = serde_json::from_slice(&read(&path));
            (name.clone(), cases.unwrap_or_else(|error| panic!("{name}: {error}")))
        })
        .collect()
}

/// A step without what is expected of it, and that: `ok` if nothing is said.
fn split(mut step: Value) -> (Value, String) {
    let expected = step.as_object_mut().and_then(|step| step.remove("expect"));
    let expected = expected.map_or("ok".to_owned(), |word| word.as_str().expect("a word").to_owned());
    (step, expected)
}

/// `ok` and `allow`; of a no its reason, of a refusal its code.
fn word(told: &Value) -> &str {
    let field = match told["result"].as_str() {
        Some("refused") => "code",
        Some("deny") => "reason",
        _ => "result",
    };
    told[field].as_str().expect("a word")
}

/// What is not as it is expected to be, with the step.
fn faults(case: Case) -> Vec<String> {
    let (steps, expected): (Vec<Value>, Vec<String>) = case.steps.into_iter().map(split).unzip();
    let at = "2026-11-21T09:00:00Z".parse().expect("a time");
    let read: Result<Vec<Step>, _> = serde_json::from_value(steps.clone().into());
    let read = read.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let told = run(&World::default(), at, read).expect("nothing can be compiled");
    let told = serde_json::to_value(told.steps).expect("wire types are JSON");
    let all = steps.iter().zip(expected).zip(told.as_array().expect("a list"));
    let fault = |((step, expected), told): ((&Value, String), &Value)| {
        (word(told) != expected).then(|| format!("expected {expected}, told {told}\n     {step}"))
    };
    all.filter_map(fault).collect()
}

#[test]
fn what_other_engines_decide_is_decided_so() {
    let (mut count, mut wrong) = (0, String::new());
    for (file, cases) in files() {
        for case in cases.into_iter().filter(|case| case.not_expressible.is_none()) {
            count += 1;
            let name = format!("{file}: {}", case.name);
            for fault in faults(case) {
                wrong += &format!("{name}\n  {fault}\n");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(count >= 60, "{count} cases");
}

/// A case that asks nothing, or does not say where it comes from, proves nothing.
#[test]
fn every_case_asks_and_says_what_it_is_about() {
    let mut names = BTreeSet::new();
    for (file, cases) in files() {
        for case in cases {
            let checks = case.steps.iter().filter(|step| step["op"] == "check").count();
            let is_whole = match &case.not_expressible {
                Some(why) => !why.is_empty() && case.steps.is_empty(),
                None => checks > 0 || case.steps.iter().any(|step| step.get("expect").is_some()),
            };
            assert!(is_whole && !case.about.is_empty(), "{file}: {}", case.name);
            assert!(names.insert((file.clone(), case.name.clone())), "{file}: {} twice", case.name);
        }
    }
}
