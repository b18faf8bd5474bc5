//! What is said to the store and what it answers: see `library.lua` for the order of the words.

use redis::{Cmd, Value};
use rowhouse_domain::limits::{Algorithm, Rule, State, Verdict};

use super::{Held, Taken};

/// The functions that keep the counters.
pub(super) const LIBRARY: &str = include_str!("library.lua");

/// The set of gateways that live.
const GATEWAYS: &str = "rh:gateways";

/// A limit that is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The counter's name.
    pub(crate) name: &'a str,
    pub(crate) rule: Rule,
    /// It refuses nothing.
    pub(crate) watches: bool,
}

/// What a lease came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) units: i64,
    /// What is left for others.
    pub(super) remaining: i64,
    pub(super) reset_us: i64,
    pub(super) valid_us: i64,
    pub(super) number: i64,
}

/// The letter of an algorithm.
pub(super) fn kind(rule: &Rule) -> &'static str {
    match rule.algorithm() {
        Algorithm::TokenBucket | Algorithm::LeakyBucket => "b",
        Algorithm::SlidingWindow => "w",
        Algorithm::FixedWindow => "f",
    }
}

/// The letter of a tick: another one counts anew.
pub(super) fn tick(rule: &Rule) -> char {
    match rule.tick_us() {
        1 => 'u',
        1_000 => 'm',
        _ => 's',
    }
}

/// Time is the store's.
const BY_YOUR_CLOCK: &str = "";

fn numbers(command: &mut Cmd, rule: &Rule) {
    command.arg(kind(rule)).arg(rule.quota()).arg(rule.window()).arg(rule.tick_us()).arg(rule.most());
}

pub(super) fn take(asked: &[Asked<'_>], cost: i64) -> Cmd {
    take_at(asked, cost, BY_YOUR_CLOCK)
}

pub(super) fn take_at(asked: &[Asked<'_>], cost: i64, now: &str) -> Cmd {
    let mut command = Cmd::new();
    command.arg("FCALL").arg("rh1_take").arg(asked.len());
    for limit in asked {
        command.arg(limit.name);
    }
    command.arg(now);
    for limit in asked {
        numbers(&mut command, &limit.rule);
        command.arg(cost).arg(u8::from(limit.watches));
    }
    command
}

pub(super) fn taken(asked: &[Asked<'_>], answer: &Value) -> Option<Taken> {
    let numbers = integers(answer)?;
    let (head, rest) = numbers.split_at_checked(3)?;
    if rest.len() != 5 * asked.len() {
        return None;
    }
    let now_us = head[2];
    let verdict = |(limit, five): (&Asked<'_>, &[i64])| {
        let (rule, tick_us) = (&limit.rule, limit.rule.tick_us());
        let leaky = rule.algorithm() == Algorithm::LeakyBucket;
        Verdict {
            allowed: five[0] == 1,
            remaining: five[1],
            retry_after_us: (five[2] >= 0).then_some(five[2] * tick_us),
            reset_after_us: five[3] * tick_us,
            delay_us: if leaky { five[4] * tick_us } else { 0 },
            next: if rule.algorithm().is_bucket() {
                State { at: now_us.div_euclid(tick_us), window: rule.window(), ..State::default() }
            } else {
                State::default()
            },
        }
    };
    let verdicts = asked.iter().zip(rest.chunks_exact(5)).map(verdict).collect();
    Some(Taken { verdicts, allowed: head[0] == 1 })
}

fn one(function: &str, name: &str, rule: &Rule) -> Cmd {
    let mut command = Cmd::new();
    command.arg("FCALL").arg(function).arg(1).arg(name).arg(BY_YOUR_CLOCK);
    numbers(&mut command, rule);
    command
}

pub(super) fn lease(wanted: &Held, want: i64, gateways: i64) -> Cmd {
    let mut command = one("rh1_lease", &wanted.name, &wanted.rule);
    command.arg(want).arg(gateways);
    command
}

pub(super) fn granted(rule: &Rule, answer: &Value) -> Option<Granted> {
    let [units, remaining, reset, valid_us, number] = integers(answer)?.try_into().ok()?;
    Some(Granted { units, remaining, reset_us: reset * rule.tick_us(), valid_us, number })
}

pub(super) fn give_back(held: &Held, units: i64) -> Cmd {
    let mut command = one("rh1_return", &held.name, &held.rule);
    command.arg(units).arg(held.number);
    command
}

pub(super) fn charge(name: &str, rule: &Rule, units: i64) -> Cmd {
    let mut command = one("rh1_charge", name, rule);
    command.arg(units);
    command
}

pub(super) fn live(id: &str) -> Cmd {
    let mut command = Cmd::new();
    command.arg("FCALL").arg("rh1_live").arg(1).arg(GATEWAYS).arg(BY_YOUR_CLOCK).arg(id);
    command
}

fn integers(answer: &Value) -> Option<Vec<i64>> {
    let Value::Array(items) = answer else { return None };
    items.iter().map(|item| if let Value::Int(number) = item { Some(*number) } else { None }).collect()
}
