//! Tokens as somebody might send them, generated and put to three verifiers: our own, PyJWT and joserfc. **What either of the others refuses
//! we never accept.** What we refuse and one of them accepts stands in `stricter.txt` with its reason: one that is not there fails the
//! test, and so does one that is there and does not come up any more.
//!
//! Every single change is tried on tokens of each algorithm; then changes are put together at random.
//! `ROWHOUSE_TOKENS=100000` tries so many of these.

mod changes;
mod draft;
mod signers;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use changes::CHANGES;
use draft::Draft;
use signers::Signers;

/// When all of it happens, in seconds.
pub(crate) const NOW_S: i64 = 1_795_255_200;
/// Put together at random if nothing else is asked for.
const AT_RANDOM: usize = 1_500;

/// Why we are stricter: the reason of each change.
fn reviewed() -> BTreeMap<&'static str, &'static str> {
    let lines =
        include_str!("stricter.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(" = ").expect("`change = reason`")).collect()
}

/// One token and the names of what was changed.
struct Case {
    token: String,
    world: &'static str,
    changes: Vec<&'static str>,
}

/// A generator that is the same in each run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

fn one_change_each(signers: &Signers) -> Vec<Case> {
    let mut cases = Vec::new();
    for algorithm in draft::ALGORITHMS {
        let plain = Draft::new(algorithm);
        cases.push(Case { token: plain.token(signers), world: plain.world, changes: vec![] });
        for (name, change) in CHANGES {
            let mut draft = Draft::new(algorithm);
            change(&mut draft);
            cases.push(Case { token: draft.token(signers), world: draft.world, changes: vec![name] });
        }
    }
    cases
}

fn at_random(signers: &Signers, count: usize) -> Vec<Case> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let one = |_| {
        let mut draft = Draft::new(draft::ALGORITHMS[random.below(draft::ALGORITHMS.len())]);
        let mut changes = Vec::new();
        for _ in 0..random.below(4) {
            let (name, change) = CHANGES[random.below(CHANGES.len())];
            change(&mut draft);
            changes.push(name);
        }
        let mut token = draft.token(signers).into_bytes();
        if random.below(3) == 0 && !token.is_empty() {
            // One character is another one of the same alphabet.
            let at = random.below(token.len());
            token[at] =
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."[random.below(65)];
            changes.push("another character");
        }
        let token = String::from_utf8_lossy(&token).into_owned();
        Case { token, world: draft.world, changes }
    };
    (0..count).map(one).collect()
}

/// What the others say: of each token whether PyJWT accepts it and whether joserfc does.
fn others(signers: &Signers, cases: &[Case]) -> Vec<[bool; 2]> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join("../../target/venv/bin/python");
    assert!(program.exists(), "{} is missing: scripts/test installs it", program.display());
    let mut python = Command::new(program)
        .arg(root.join("tests/tokens/other_verifiers.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = python.stdin.take().expect("piped");
    let output = BufReader::new(python.stdout.take().expect("piped"));
    let answers: Vec<[bool; 2]> = std::thread::scope(|scope| {
        scope.spawn(move || {
            let _ = writeln!(input, "{}", signers.settings(NOW_S));
            for case in cases {
                let asked = serde_json::json!({ "world": case.world, "token": case.token });
                if writeln!(input, "{asked}").is_err() {
                    return;
                }
            }
        });
        let read = |line: std::io::Result<String>| {
            let line = line.expect("text");
            let (one, other) = line.split_once(' ').expect("two words");
            [one == "yes", other == "yes"]
        };
        output.lines().map(read).collect()
    });
    assert!(python.wait().expect("it ends").success());
    assert_eq!(answers.len(), cases.len(), "an answer for each");
    answers
}

/// Whether a difference was looked at: of this world, or of both.
fn reason<'r>(reviewed: &BTreeMap<&'r str, &str>, world: &str, change: &str) -> Option<&'r str> {
    let of_world = format!("{world}: {change}");
    [of_world.as_str(), change]
        .into_iter()
        .find_map(|name| reviewed.get_key_value(name).map(|(name, _)| *name))
}

#[test]
fn what_others_refuse_is_not_believed() {
    let signers = Signers::new();
    let count = std::env::var("ROWHOUSE_TOKENS").ok().and_then(|text| text.parse().ok()).unwrap_or(AT_RANDOM);
    let mut cases = one_change_each(&signers);
    let singles = cases.len();
    cases.extend(at_random(&signers, count));
    let reviewed = reviewed();
    let (mut believed, mut wrong, mut stricter) = (0, Vec::new(), BTreeSet::new());
    for (at, (case, others)) in cases.iter().zip(others(&signers, &cases)).enumerate() {
        let Case { token, world, changes } = case;
        let own = signers.believes(world, token, NOW_S);
        believed += usize::from(own);
        let excused: Vec<&str> =
            changes.iter().filter_map(|change| reason(&reviewed, world, change)).collect();
        match (own, others) {
            (true, [true, true]) | (false, [false, false]) => {}
            (true, _) => wrong.push(format!("WE BELIEVE {world} {changes:?} {others:?} {token}")),
            (false, _) if excused.is_empty() => {
                wrong.push(format!("only we refuse {world} {changes:?} {others:?} {token}"));
            }
            (false, _) if at < singles => stricter.extend(excused.into_iter().map(str::to_owned)),
            (false, _) => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let listed: BTreeSet<String> = reviewed.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(listed, stricter, "each reason is still needed");
    assert!(believed > count / 20, "{believed} of {} were believed: enough to show something", cases.len());
}
