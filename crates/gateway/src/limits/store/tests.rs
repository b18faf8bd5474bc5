//! The library against the rule it copies, on a real server: every answer is equal, to the unit.

#[path = "../../../tests/it/redis_server.rs"]
#[allow(dead_code)]
mod redis_server;
#[path = "../../../tests/it/rows.rs"]
#[allow(dead_code)]
mod rows;

use std::collections::HashMap;

use redis::{Connection, ConnectionLike, Pipeline};
use redis_server::RedisServer;
use rowhouse_domain::limits::{Algorithm, Decided, Rule, Simulation, State, decide_all, simulate};
use serde_json::{Value, json};

use super::wire::{self, Asked};
use super::*;

/// The library with a clock that the caller gives, and keys that stay: the test's time is not the server's.
fn by_given_clock() -> String {
    let clock = "  local time = redis.call('TIME')\n  return time[1] * 1000000 + time[2]\n";
    let expiry = ", 'PX', ceil(ticks * tick / 1000) + 1000";
    assert!(wire::LIBRARY.contains(clock) && wire::LIBRARY.contains(expiry));
    wire::LIBRARY.replace(clock, "  return tonumber(given)\n").replace(expiry, "")
}

fn load(connection: &mut Connection, library: &str) {
    redis::cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(library).exec(connection).unwrap();
}

/// Repeatable numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as i64 % bound
    }

    fn rule(&mut self) -> Rule {
        const ALGORITHMS: [Algorithm; 4] = [
            Algorithm::TokenBucket,
            Algorithm::LeakyBucket,
            Algorithm::SlidingWindow,
            Algorithm::FixedWindow,
        ];
        loop {
            let algorithm = ALGORITHMS[self.below(4) as usize];
            let quota = [1, 3, 10, 100, 1_000, 999_999_937][self.below(6) as usize];
            let window_ms = [1, 7, 100, 1_000, 1_500, 60_000, 86_400_000][self.below(7) as usize];
            let burst = Some([1, 5, 60, 2_000][self.below(4) as usize]).filter(|_| self.below(2) == 0);
            if let Ok(rule) = Rule::new(algorithm, quota, window_ms, burst) {
                return rule;
            }
        }
    }
}

/// One call: its limits with the counter of each, when, and for how much.
struct Call {
    limits: Vec<(String, Rule, bool)>,
    now_us: i64,
    cost: i64,
}

/// A call over a few counters whose numbers change on the way, at a time that mostly goes on.
fn call(dice: &mut Dice, now_us: &mut i64, rules: &mut HashMap<i64, Rule>) -> Call {
    let step = [0, 1, 999, 40_000, 1_000_000, 61_000_000][dice.below(6) as usize];
    *now_us += if dice.below(50) == 0 { -dice.below(2_000_000) } else { step };
    let mut limits: Vec<(String, Rule, bool)> = Vec::new();
    for _ in 0..=dice.below(6) {
        let counter = dice.below(12);
        let changed = dice.below(40) == 0;
        let rule = match rules.get(&counter).copied().filter(|_| !changed) {
            Some(rule) => rule,
            None => dice.rule(),
        };
        rules.insert(counter, rule);
        let name = format!("c{counter}:{}{}", wire::kind(&rule), wire::tick(&rule));
        if limits.iter().all(|(known, _, _)| *known != name) {
            limits.push((name, rule, dice.below(5) == 0));
        }
    }
    let cost = [0, 1, 1, 1, 2, 7, 5_000][dice.below(7) as usize];
    Call { limits, now_us: *now_us, cost }
}

fn by_rule(states: &mut HashMap<String, State>, call: &Call) -> Decided {
    let standing = |(name, rule, watches): &(String, Rule, bool)| {
        (*rule, states.get(name).copied().unwrap_or_default(), *watches)
    };
    let standings: Vec<_> = call.limits.iter().map(standing).collect();
    let decided = decide_all(&standings, call.now_us, call.cost);
    for ((name, _, _), verdict) in call.limits.iter().zip(&decided.verdicts) {
        states.insert(name.clone(), verdict.next);
    }
    decided
}

#[test]
fn the_store_decides_as_the_rule_does() {
    let calls: usize = std::env::var("ROWHOUSE_LIMIT_CALLS").map_or(30_000, |calls| calls.parse().unwrap());
    let server = RedisServer::start();
    let mut connection = server.connection();
    load(&mut connection, &by_given_clock());
    let mut dice = Dice(0x5eed_1234_5678_9abc);
    let (mut now_us, mut rules, mut states) = (1_795_262_400_000_000, HashMap::new(), HashMap::new());
    let (mut done, mut refused) = (0, 0);
    while done < calls {
        let batch: Vec<Call> = (0..500).map(|_| call(&mut dice, &mut now_us, &mut rules)).collect();
        let mut pipeline = Pipeline::new();
        for call in &batch {
            let limits = call.limits.iter();
            let asked: Vec<_> =
                limits.map(|(name, rule, watches)| Asked { name, rule: *rule, watches: *watches }).collect();
            pipeline.add_command(wire::take_at(&asked, call.cost, &call.now_us.to_string()));
        }
        let packed = pipeline.get_packed_pipeline();
        let answers = connection.req_packed_commands(&packed, 0, batch.len()).unwrap();
        for (call, answer) in batch.iter().zip(answers) {
            let asked: Vec<_> = call
                .limits
                .iter()
                .map(|(name, rule, watches)| Asked { name, rule: *rule, watches: *watches })
                .collect();
            let expected = by_rule(&mut states, call);
            let taken = wire::taken(&asked, &answer).unwrap_or_else(|| panic!("{answer:?}"));
            assert_eq!(taken.allowed, expected.allowed, "call {done}");
            for ((told, wanted), limit) in taken.verdicts.iter().zip(&expected.verdicts).zip(&call.limits) {
                let of = |verdict: &Verdict| {
                    (
                        verdict.allowed,
                        verdict.remaining,
                        verdict.retry_after_us,
                        verdict.reset_after_us,
                        verdict.delay_us,
                    )
                };
                assert_eq!(
                    of(told),
                    of(wanted),
                    "call {done}: {limit:?} at {} for {}",
                    call.now_us,
                    call.cost
                );
            }
            refused += usize::from(!expected.allowed);
            done += 1;
        }
    }
    assert!(refused > calls / 10 && refused < calls * 9 / 10, "{refused} of {calls} were refused");
}

#[test]
fn a_simulation_tells_what_the_store_does() {
    let server = RedisServer::start();
    let mut connection = server.connection();
    load(&mut connection, &by_given_clock());
    let mut dice = Dice(0xabcd_ef01_2345_6789);
    for round in 0..20 {
        let rules: Vec<Rule> = std::iter::repeat_with(|| dice.rule()).take(6).collect();
        let limits: Vec<Value> = rules.iter().enumerate().map(|(place, rule)| limit(place, rule)).collect();
        let mut at_us = 0;
        let requests: Vec<(i64, i64)> = std::iter::repeat_with(|| {
            at_us += dice.below(700_000);
            (at_us, dice.below(4))
        })
        .take(200)
        .collect();
        let told: Vec<Value> =
            requests.iter().map(|(at, cost)| json!({"at_ms": *at as f64 / 1_000.0, "cost": cost})).collect();
        let simulation = json!({"limits": limits, "requests": told});
        let simulation: Simulation = serde_json::from_value(simulation).unwrap();
        let simulated = serde_json::to_value(simulate(&simulation).unwrap()).unwrap();
        let names: Vec<String> = (0..6).map(|place| format!("{round}:{place}")).collect();
        for ((at, cost), decision) in requests.iter().zip(simulated["decisions"].as_array().unwrap()) {
            let asked: Vec<Asked<'_>> = names
                .iter()
                .zip(&rules)
                .map(|(name, rule)| Asked { name, rule: *rule, watches: false })
                .collect();
            let answer = connection.req_command(&wire::take_at(&asked, *cost, &at.to_string())).unwrap();
            let taken = wire::taken(&asked, &answer).unwrap();
            assert_eq!(decision["allowed"], taken.allowed, "{decision}");
            for (verdict, limit) in taken.verdicts.iter().zip(decision["limits"].as_array().unwrap()) {
                let ms = |us: i64| us.div_euclid(1_000) + i64::from(us.rem_euclid(1_000) != 0);
                assert_eq!(limit["allowed"], verdict.allowed, "{decision}");
                assert_eq!(limit["remaining"], verdict.remaining, "{decision}");
                assert_eq!(limit["reset_after_ms"], ms(verdict.reset_after_us), "{decision}");
                assert_eq!(limit["retry_after_ms"], json!(verdict.retry_after_us.map(ms)), "{decision}");
                assert_eq!(limit["delay_ms"], ms(verdict.delay_us), "{decision}");
            }
        }
    }
}

/// The instant that `sequences.txt` counts from.
const NOON_US: i64 = 1_795_262_400_000_000;

#[test]
fn the_store_and_the_table_do_what_is_written_of_each_algorithm() {
    let server = RedisServer::start();
    let mut connection = server.connection();
    load(&mut connection, &by_given_clock());
    let table = LimitTable::new(64);
    for (number, row) in rows::rows().iter().enumerate() {
        let key = CounterKey::fixed(0, number as u64 + 1);
        for (request, decision) in row.requests.iter().zip(row.simulated()) {
            let (rule, now_us, cost) = (request.numbers.rule(), NOON_US + request.at_us, request.cost);
            let name = format!("row{number}:{}{}", wire::kind(&rule), wire::tick(&rule));
            let asked = [Asked { name: &name, rule, watches: false }];
            let answer = connection.req_command(&wire::take_at(&asked, cost, &now_us.to_string())).unwrap();
            let stored = wire::taken(&asked, &answer).unwrap().verdicts[0];
            let place = format!("{}: {} for {cost}", row.title, request.at_us);
            assert_eq!(rows::told(&decision), request.told, "{place}: the simulator");
            assert_eq!(rows::told(&in_millis(&stored)), request.told, "{place}: the store");
            let in_memory = table.charge(key, &rule, now_us, cost);
            assert_eq!(Verdict { next: stored.next, ..in_memory }, stored, "{place}: the table");
        }
    }
}

/// As the simulator tells it.
fn in_millis(verdict: &Verdict) -> Value {
    let ms = |us: i64| us.div_euclid(1_000) + i64::from(us.rem_euclid(1_000) != 0);
    json!({
        "allowed": verdict.allowed,
        "remaining": verdict.remaining,
        "retry_after_ms": verdict.retry_after_us.map(ms),
        "reset_after_ms": ms(verdict.reset_after_us),
        "delay_ms": ms(verdict.delay_us),
    })
}

fn limit(place: usize, rule: &Rule) -> Value {
    let mut limit = json!({
        "name": format!("l{place}"),
        "algorithm": rule.algorithm().as_str(),
        "quota": rule.quota(),
        "window_ms": rule.window() * rule.tick_us() / 1_000,
    });
    if rule.algorithm().is_bucket() {
        limit["burst"] = rule.most().into();
    }
    limit
}

#[test]
fn nothing_stays_for_ever_and_what_is_granted_is_taken() {
    let server = RedisServer::start();
    let mut connection = server.connection();
    load(&mut connection, wire::LIBRARY);
    for (name, algorithm) in
        [("b", Algorithm::TokenBucket), ("w", Algorithm::SlidingWindow), ("f", Algorithm::FixedWindow)]
    {
        // Thirty-one days: no window ends under the test but once a month, and then nothing below depends on it.
        let rule = Rule::new(algorithm, 1_000, 2_678_400_000, None).unwrap();
        let mut ask = |command: redis::Cmd| connection.req_command(&command).unwrap();
        let asked = [Asked { name, rule, watches: false }];
        let left = |answer| wire::taken(&asked, &answer).unwrap().verdicts[0].remaining;
        assert_eq!(left(ask(wire::take(&asked, 100))), 900);
        let wanted = Held::wanted(name.to_owned(), rule);
        let grant = |answer| wire::granted(&rule, &answer).unwrap();
        let granted = grant(ask(wire::lease(&wanted, 300, 2)));
        assert_eq!((granted.units, granted.remaining), (225, 675), "a half of each gateway's share of 900");
        assert!((1..=1_000_000).contains(&granted.valid_us));
        let held = Held { number: granted.number, ..wanted };
        ask(wire::give_back(&held, 25));
        assert_eq!(left(ask(wire::take(&asked, 0))), 700);
        ask(wire::charge(name, &rule, 690));
        assert_eq!(grant(ask(wire::lease(&held, 300, 2))).units, 0, "with ten left the store is asked");
        ask(wire::charge(name, &rule, 50_000));
        assert_eq!(left(ask(wire::take(&asked, 0))), 0, "never less");
        ask(wire::give_back(&held, 1_000_000));
        assert_eq!(left(ask(wire::take(&asked, 0))), 1_000, "never more");
    }
    connection.req_command(&wire::live("one")).unwrap();
    assert_eq!(connection.req_command(&wire::live("two")).unwrap(), redis::Value::Int(2));
    assert_eq!(server.keys_for_ever(), Vec::<String>::new());
}

#[test]
fn what_cannot_be_read_counts_as_nothing() {
    let server = RedisServer::start();
    let mut connection = server.connection();
    load(&mut connection, wire::LIBRARY);
    let rule = Rule::new(Algorithm::FixedWindow, 10, 86_400_000, None).unwrap();
    for state in ["", "b:1:2:3", "w:x:1:1:1", "w:1:-5:1:1000", "w:1:1:1"] {
        redis::cmd("SET").arg("k").arg(state).exec(&mut connection).unwrap();
        let asked = [Asked { name: "k", rule, watches: false }];
        let answer = connection.req_command(&wire::take(&asked, 1)).unwrap();
        assert_eq!(wire::taken(&asked, &answer).unwrap().verdicts[0].remaining, 9, "{state}");
    }
}
