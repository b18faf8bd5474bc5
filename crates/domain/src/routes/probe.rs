//! Active health: a copy is asked again and again whether it is well. Pure: what it answered comes in.

use serde::{Deserialize, Serialize};

/// How copies are asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// Whether a request is sent, or a connection is enough.
    #[serde(default)]
    pub kind: ProbeKind,
    /// The path that is asked for, without a query.
    #[serde(default = "root")]
    pub path: String,
    /// From one question to the next, 100 to 3,600,000 ms.
    #[serde(default = "interval_default")]
    pub interval_ms: u32,
    /// Time to answer, 10 to 60,000 ms.
    #[serde(default = "timeout_default")]
    pub timeout_ms: u32,
    /// Bad answers in a row that put a copy out, 1 to 100.
    #[serde(default = "unhealthy_default")]
    pub unhealthy_after: u32,
    /// Good answers in a row that bring it back, 1 to 100.
    #[serde(default = "healthy_default")]
    pub healthy_after: u32,
}

/// What is asked of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// `GET` the path; a status of 200 to 399 is well.
    #[default]
    Http,
    /// It takes a connection.
    Tcp,
}

fn root() -> String {
    "/".to_owned()
}
fn interval_default() -> u32 {
    5_000
}
fn timeout_default() -> u32 {
    2_000
}
fn unhealthy_default() -> u32 {
    3
}
fn healthy_default() -> u32 {
    2
}

impl Default for HealthCheck {
    fn default() -> Self {
        HealthCheck {
            kind: ProbeKind::default(),
            path: root(),
            interval_ms: interval_default(),
            timeout_ms: timeout_default(),
            unhealthy_after: unhealthy_default(),
            healthy_after: healthy_default(),
        }
    }
}

impl HealthCheck {
    /// The first field that is out of its bounds, and the bounds.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let path_fits = self.path.starts_with('/')
            && self.path.len() <= 1_000
            && self.path.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && !b"?#".contains(&byte));
        match () {
            () if !path_fits => Err(("path", "a path that begins with a slash, without a query")),
            () if !(100..=3_600_000).contains(&self.interval_ms) => {
                Err(("interval_ms", "100 to 3,600,000 ms"))
            }
            () if !(10..=60_000).contains(&self.timeout_ms) => Err(("timeout_ms", "10 to 60,000 ms")),
            () if !(1..=100).contains(&self.unhealthy_after) => Err(("unhealthy_after", "1 to 100")),
            () if !(1..=100).contains(&self.healthy_after) => Err(("healthy_after", "1 to 100")),
            () => Ok(()),
        }
    }
}

/// What a copy's answers say of it. One that was never asked is taken to be well; its first answer decides at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Probed {
    asked: bool,
    is_out: bool,
    in_a_row: u32,
}

impl Probed {
    /// Whether it is not to be asked by others.
    pub fn is_out(&self) -> bool {
        self.is_out
    }

    /// An answer, or none. Whether that changed anything.
    pub fn note(&mut self, well: bool, check: &HealthCheck) -> bool {
        let first = !std::mem::replace(&mut self.asked, true);
        if well != self.is_out {
            self.in_a_row = 0;
            return false;
        }
        self.in_a_row += 1;
        let enough = if well { check.healthy_after } else { check.unhealthy_after };
        let turns = first || self.in_a_row >= enough;
        if turns {
            (self.is_out, self.in_a_row) = (!well, 0);
        }
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_answers_in_a_row_turn_it_and_the_first_at_once() {
        let check = HealthCheck::default();
        // Answers, and after each whether it is out.
        for (answers, out) in
            [("-", "o"), ("-+-++", "oooo."), ("+--+---", "......o"), ("+---+-++", "...oooo.")]
        {
            let mut probed = Probed::default();
            let told: String = answers
                .chars()
                .map(|answer| {
                    probed.note(answer == '+', &check);
                    if probed.is_out() { 'o' } else { '.' }
                })
                .collect();
            assert_eq!(told, out, "{answers}");
        }
    }
}
