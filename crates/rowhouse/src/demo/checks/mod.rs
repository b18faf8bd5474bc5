//! What `--check` asserts: the path of a request from the door to the invoice, refusals included, seen from
//! outside with plain HTTP.

mod calls;
mod evidence;
mod life;
mod power;
mod refusals;
mod resolving;

use anyhow::ensure;
pub use calls::{Call, Seen};

use super::house::House;
use super::setting::Setting;
use crate::cli::show::line;

/// Collects what was asserted.
pub struct Tally {
    passed: u32,
    failed: u32,
}

impl Tally {
    /// Prints one outcome: what was asserted, and what was seen.
    pub fn note(&mut self, what: &str, outcome: anyhow::Result<String>) {
        match outcome {
            Ok(seen) => {
                self.passed += 1;
                line(&format!("ok    {what}: {seen}"));
            }
            Err(error) => {
                self.failed += 1;
                line(&format!("FAIL  {what}: {error:#}"));
            }
        }
    }
}

/// Runs all checks; the number that failed.
pub async fn run(house: &mut House, setting: &Setting) -> anyhow::Result<u32> {
    let mut tally = Tally { passed: 0, failed: 0 };
    resolving::check(house, setting, &mut tally).await?;
    refusals::check(house, setting, &mut tally).await?;
    evidence::check(house, setting, &mut tally).await?;
    life::check(house, setting, &mut tally).await?;
    power::check(house, setting, &mut tally).await?;
    line(&format!("{} passed, {} failed", tally.passed, tally.failed));
    Ok(tally.failed)
}

/// Asserts a status and, for a refusal, its code and that it says what to do.
pub fn expect(seen: &Seen, status: u16, code: &str) -> anyhow::Result<String> {
    ensure!(seen.status == status, "status {} instead of {status}: {}", seen.status, seen.body);
    if code.is_empty() {
        return Ok(format!("{status}"));
    }
    ensure!(seen.body["code"] == code, "code {} instead of {code}", seen.body["code"]);
    let next = seen.body["next"].as_str().unwrap_or("");
    ensure!(!next.is_empty(), "the problem does not say what to do");
    Ok(format!("{status} {code} — {next}"))
}
