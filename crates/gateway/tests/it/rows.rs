//! `sequences.txt`: rows of requests for each algorithm, and what becomes of each, to the unit.

use rowhouse_domain::limits::{Algorithm, Rule, Simulation, simulate};
use serde_json::{Value, json};

/// The reviewed file.
pub const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/sequences.txt");

/// 2026-11-21T12:00:00Z, which the times are counted from.
pub const NOON: &str = "2026-11-21T12:00:00Z";

/// A limit and what arrives.
pub struct Row {
    pub title: String,
    pub requests: Vec<Request>,
}

/// One request, with the numbers that hold then.
pub struct Request {
    pub at_us: i64,
    pub cost: i64,
    pub numbers: Numbers,
    /// What the file says of it; nothing before it was written.
    pub told: String,
}

/// What a limit counts by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    pub algorithm: Algorithm,
    pub quota: i64,
    pub window_ms: i64,
    pub burst: Option<i64>,
}

impl Numbers {
    pub fn rule(&self) -> Rule {
        Rule::new(self.algorithm, self.quota, self.window_ms, self.burst).unwrap()
    }

    fn set(&mut self, words: &str) {
        for (name, number) in words.split_whitespace().filter_map(|word| word.split_once('=')) {
            let number = number.parse().unwrap();
            match name {
                "quota" => self.quota = number,
                "window_ms" => self.window_ms = number,
                "burst" => self.burst = Some(number),
                _ => panic!("{name}"),
            }
        }
    }

    fn json(&self) -> Value {
        let mut numbers = json!({"quota": self.quota, "window_ms": self.window_ms});
        if let Some(burst) = self.burst {
            numbers["burst"] = burst.into();
        }
        numbers
    }
}

/// All rows of the file.
pub fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(FILE).unwrap();
    let mut rows: Vec<Row> = Vec::new();
    let mut numbers = None;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        if let Some((limit, title)) = line.split_once(" | ") {
            let (algorithm, words) = limit.split_once(' ').unwrap();
            let algorithm = serde_json::from_value(algorithm.into()).unwrap();
            let own = numbers.insert(Numbers { algorithm, quota: 0, window_ms: 0, burst: None });
            own.set(words);
            rows.push(Row { title: title.to_owned(), requests: Vec::new() });
            continue;
        }
        let (numbers, row) = (numbers.as_mut().unwrap(), rows.last_mut().unwrap());
        if line.contains('=') {
            numbers.set(line);
            continue;
        }
        let (asked, told) = line.split_once(':').unwrap_or((line, ""));
        let (at_ms, cost) = asked.trim().split_once(char::is_whitespace).unwrap();
        let request = Request {
            at_us: micros(at_ms),
            cost: cost.trim().parse().unwrap(),
            numbers: *numbers,
            told: told.trim().to_owned(),
        };
        row.requests.push(request);
    }
    rows
}

/// Of a text, so that no float is in between.
fn micros(ms: &str) -> i64 {
    let (whole, part) = ms.split_once('.').unwrap_or((ms, ""));
    let thousandths: i64 = format!("{part:0<3}").parse().unwrap();
    let us = whole.parse::<i64>().unwrap() * 1_000;
    if whole.starts_with('-') { us - thousandths } else { us + thousandths }
}

impl Row {
    /// What the simulator answers to it, with the headers of each answer.
    pub fn simulated(&self) -> Vec<Value> {
        let first = &self.requests[0].numbers;
        let mut limit = first.json();
        (limit["name"], limit["algorithm"]) = ("one".into(), first.algorithm.as_str().into());
        let mut before = *first;
        let requests: Vec<Value> = self
            .requests
            .iter()
            .map(|request| {
                let at_ms: serde_json::Number =
                    serde_json::from_str(&format!("{}", request.at_us as f64 / 1_000.0)).unwrap();
                let mut told = json!({"at_ms": at_ms, "cost": request.cost});
                if request.numbers != before {
                    told["set"] = request.numbers.json();
                }
                before = request.numbers;
                told
            })
            .collect();
        let simulation = json!({"limit": limit, "start": NOON, "headers": true, "requests": requests});
        let simulation: Simulation = serde_json::from_value(simulation).unwrap();
        let simulated = serde_json::to_value(simulate(&simulation).unwrap()).unwrap();
        simulated["decisions"].as_array().unwrap().clone()
    }
}

/// A decision of the simulator as the file has it.
pub fn told(decision: &Value) -> String {
    let word = if decision["allowed"] == true { "yes" } else { "no" };
    let retry = &decision["retry_after_ms"];
    let retry = if retry.is_null() { "never".to_owned() } else { retry.to_string() };
    let [remaining, reset, delay] = ["remaining", "reset_after_ms", "delay_ms"].map(|name| &decision[name]);
    format!("{word} {remaining} {retry} {reset} {delay}")
}
