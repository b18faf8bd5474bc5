//! Trying limits out: a row of requests in, what would have become of each out. Pure: no state is read or kept.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize, Serializer};

use super::{
    Algorithm, Announced, BadNumbers, Decided, Enforcement, Rule, State, Verdict, decide_all, put_policy,
    put_standing,
};

/// Requests that one simulation takes.
const REQUESTS_MAX: usize = 100_000;
/// Limits that one request can meet.
const LIMITS_MAX: usize = 16;
/// Units that one request can cost.
const COST_MAX: i64 = 1_000_000;

/// What to try.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Simulation {
    /// One limit; or `limits`.
    #[serde(default)]
    limit: Option<TriedLimit>,
    /// 1 to 16 limits, by name; or `limit`.
    #[serde(default)]
    limits: Option<Vec<TriedLimit>>,
    /// What `at_ms` counts from; 1970 if not said, so that windows begin at 0.
    #[serde(default)]
    start: Option<Timestamp>,
    /// Whether each decision tells the headers of its answer.
    #[serde(default)]
    headers: bool,
    /// What arrives, in this order.
    requests: Vec<TriedRequest>,
}

/// A limit as it is tried: of a declared one, what decides.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TriedLimit {
    #[serde(default)]
    name: Option<String>,
    algorithm: Algorithm,
    quota: i64,
    window_ms: i64,
    #[serde(default)]
    burst: Option<i64>,
    #[serde(default)]
    enforcement: Enforcement,
    #[serde(default = "yes")]
    visible: bool,
    // What a declared limit says besides; read so that it can be pasted as it is.
    #[serde(default, rename = "scope")]
    _scope: Option<IgnoredAny>,
    #[serde(default, rename = "match")]
    _match: Option<IgnoredAny>,
    #[serde(default, rename = "tiers")]
    _tiers: Option<IgnoredAny>,
    #[serde(default, rename = "services")]
    _services: Option<IgnoredAny>,
    #[serde(default, rename = "mode")]
    _mode: Option<IgnoredAny>,
    #[serde(default, rename = "on_store_failure")]
    _on_store_failure: Option<IgnoredAny>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TriedRequest {
    /// Milliseconds since the start, up to three decimals.
    at_ms: serde_json::Number,
    #[serde(default = "one")]
    cost: i64,
    /// New numbers from here on.
    #[serde(default)]
    set: Option<serde_json::Value>,
}

fn one() -> i64 {
    1
}

/// Numbers that change on the way.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNumbers {
    #[serde(default)]
    quota: Option<i64>,
    #[serde(default)]
    window_ms: Option<i64>,
    #[serde(default)]
    burst: Option<i64>,
}

/// Why it cannot be tried. Each names its place as a JSON pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {reason}")]
pub struct BadSimulation {
    /// Where.
    pub pointer: String,
    /// Why.
    pub reason: BadSimulationReason,
}

/// Why it cannot be tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSimulationReason {
    /// Numbers that no limit can have.
    #[error(transparent)]
    Numbers(#[from] BadNumbers),
    /// Something else.
    #[error("{0}")]
    Value(String),
}

/// What came out.
#[derive(Debug, Serialize)]
pub struct Simulated {
    decisions: Vec<Decision>,
    summary: Summary,
}

#[derive(Debug, Serialize)]
struct Decision {
    at_ms: Millis,
    cost: i64,
    allowed: bool,
    #[serde(flatten)]
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<&'static str, String>>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    One {
        limit: i64,
        #[serde(flatten)]
        told: Told,
    },
    Several {
        binding: Option<String>,
        limits: Vec<OfLimit>,
    },
}

#[derive(Debug, Serialize)]
struct OfLimit {
    name: String,
    allowed: bool,
    #[serde(flatten)]
    told: Told,
    shadow: bool,
}

#[derive(Debug, Serialize)]
struct Told {
    remaining: i64,
    retry_after_ms: Option<i64>,
    reset_after_ms: i64,
    delay_ms: i64,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    allowed: u64,
    refused: u64,
    cost_allowed: i64,
    cost_refused: i64,
}

/// Microseconds, told in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Millis(i64);

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 1_000 {
            0 => serializer.serialize_i64(self.0 / 1_000),
            _ => serializer.serialize_f64(self.0 as f64 / 1_000.0),
        }
    }
}

/// A limit on its way through the requests.
struct Running<'s> {
    tried: &'s TriedLimit,
    name: &'s str,
    quota: i64,
    window_ms: i64,
    burst: Option<i64>,
    rule: Rule,
    state: State,
}

/// Tries it.
///
/// # Errors
/// Numbers out of bounds, too many limits or requests, and whatever else cannot be tried, with its place.
pub fn simulate(simulation: &Simulation) -> Result<Simulated, BadSimulation> {
    let several = simulation.limits.is_some();
    let mut running = begin(simulation)?;
    if simulation.requests.len() > REQUESTS_MAX {
        return Err(bad("/requests", format!("{REQUESTS_MAX} requests are the most")));
    }
    let start_us = simulation.start.map_or(0, Timestamp::as_microsecond);
    let mut decisions = Vec::with_capacity(simulation.requests.len());
    let mut summary = Summary::default();
    for (index, request) in simulation.requests.iter().enumerate() {
        let pointer = format!("/requests/{index}");
        let at_us = micros(&request.at_ms).ok_or_else(|| {
            bad(&format!("{pointer}/at_ms"), "milliseconds with up to three decimals are wanted".to_owned())
        })?;
        if !(0..=COST_MAX).contains(&request.cost) {
            return Err(bad(&format!("{pointer}/cost"), format!("it can be 0 to {COST_MAX}")));
        }
        if let Some(set) = &request.set {
            change(&mut running, set, several, &format!("{pointer}/set"))?;
        }
        let now_us = start_us.saturating_add(at_us);
        let decided = decide(&mut running, now_us, request.cost);
        summary.add(decided.allowed, request.cost);
        decisions.push(Decision {
            at_ms: Millis(at_us),
            cost: request.cost,
            allowed: decided.allowed,
            headers: simulation.headers.then(|| headers(&running, &decided, now_us)),
            outcome: outcome(&running, &decided, several),
        });
    }
    Ok(Simulated { decisions, summary })
}

fn bad(pointer: &str, reason: String) -> BadSimulation {
    BadSimulation { pointer: pointer.to_owned(), reason: BadSimulationReason::Value(reason) }
}

fn begin(simulation: &Simulation) -> Result<Vec<Running<'_>>, BadSimulation> {
    let tried: Vec<(String, &TriedLimit)> = match (&simulation.limit, &simulation.limits) {
        (Some(limit), None) => vec![("/limit".to_owned(), limit)],
        (None, Some(limits)) if (1..=LIMITS_MAX).contains(&limits.len()) => {
            limits.iter().enumerate().map(|(index, limit)| (format!("/limits/{index}"), limit)).collect()
        }
        (None, Some(_)) => return Err(bad("/limits", format!("1 to {LIMITS_MAX} limits can be tried"))),
        _ => return Err(bad("", "either `limit` or `limits` is wanted".to_owned())),
    };
    let mut running: Vec<Running<'_>> = Vec::with_capacity(tried.len());
    for (pointer, limit) in tried {
        let name = match (&limit.name, &simulation.limits) {
            (Some(name), _) => name.as_str(),
            (None, None) => "limit",
            (None, Some(_)) => return Err(bad(&pointer, "each of several limits has a `name`".to_owned())),
        };
        if running.iter().any(|other| other.name == name) {
            return Err(bad(&format!("{pointer}/name"), format!("`{name}` is there twice")));
        }
        let (quota, window_ms, burst) = (limit.quota, limit.window_ms, limit.burst);
        let rule = rule(limit.algorithm, quota, window_ms, burst, &pointer)?;
        running.push(Running { tried: limit, name, quota, window_ms, burst, rule, state: State::default() });
    }
    Ok(running)
}

fn rule(
    algorithm: Algorithm,
    quota: i64,
    window_ms: i64,
    burst: Option<i64>,
    pointer: &str,
) -> Result<Rule, BadSimulation> {
    Rule::new(algorithm, quota, window_ms, burst).map_err(|numbers| {
        let field = match numbers {
            BadNumbers::OutOfBounds { name, .. } => format!("{pointer}/{name}"),
            BadNumbers::TooSlow { .. } | BadNumbers::TooFine { .. } => pointer.to_owned(),
        };
        BadSimulation { pointer: field, reason: numbers.into() }
    })
}

/// Gives limits new numbers; what is used stays used, unless the length of a tick changes with them.
fn change(
    running: &mut [Running<'_>],
    set: &serde_json::Value,
    several: bool,
    pointer: &str,
) -> Result<(), BadSimulation> {
    let wanted = |value: &serde_json::Value, pointer: &str| {
        NewNumbers::deserialize(value).map_err(|error| bad(pointer, error.to_string()))
    };
    if !several {
        let numbers = wanted(set, pointer)?;
        return running.iter_mut().try_for_each(|limit| limit.change(&numbers, pointer));
    }
    let by_name = set.as_object().ok_or_else(|| bad(pointer, "it names its limits".to_owned()))?;
    for (name, value) in by_name {
        let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        let numbers = wanted(value, &pointer)?;
        let limit = running.iter_mut().find(|limit| limit.name == name);
        limit
            .ok_or_else(|| bad(&pointer, "there is no such limit".to_owned()))?
            .change(&numbers, &pointer)?;
    }
    Ok(())
}

impl Running<'_> {
    fn change(&mut self, numbers: &NewNumbers, pointer: &str) -> Result<(), BadSimulation> {
        self.quota = numbers.quota.unwrap_or(self.quota);
        self.window_ms = numbers.window_ms.unwrap_or(self.window_ms);
        self.burst = numbers.burst.or(self.burst);
        let rule = rule(self.tried.algorithm, self.quota, self.window_ms, self.burst, pointer)?;
        if rule.tick_us() != self.rule.tick_us() {
            self.state = State::default();
        }
        self.rule = rule;
        Ok(())
    }

    fn watches(&self) -> bool {
        self.tried.enforcement == Enforcement::Shadow
    }

    fn is_off(&self) -> bool {
        self.tried.enforcement == Enforcement::Off
    }
}

fn decide(running: &mut [Running<'_>], now_us: i64, cost: i64) -> Decided {
    let on: Vec<usize> = (0..running.len()).filter(|place| !running[*place].is_off()).collect();
    let standings = on.iter().map(|place| &running[*place]);
    let standings: Vec<_> = standings.map(|limit| (limit.rule, limit.state, limit.watches())).collect();
    let decided = decide_all(&standings, now_us, cost);
    // Those that are off are looked at only.
    let mut verdicts: Vec<Verdict> =
        running.iter().map(|limit| limit.rule.decide(State::default(), now_us, 0)).collect();
    for (place, verdict) in on.iter().zip(decided.verdicts) {
        running[*place].state = verdict.next;
        verdicts[*place] = verdict;
    }
    Decided { allowed: decided.allowed, binding: decided.binding.map(|place| on[place]), verdicts }
}

fn outcome(running: &[Running<'_>], decided: &Decided, several: bool) -> Outcome {
    let told = |verdict: &Verdict| Told {
        remaining: verdict.remaining,
        retry_after_ms: verdict.retry_after_us.map(whole_millis),
        reset_after_ms: whole_millis(verdict.reset_after_us),
        delay_ms: whole_millis(verdict.delay_us),
    };
    if !several {
        return Outcome::One { limit: running[0].rule.most(), told: told(&decided.verdicts[0]) };
    }
    let of_limit = |(limit, verdict): (&Running<'_>, &Verdict)| OfLimit {
        name: limit.name.to_owned(),
        allowed: verdict.allowed,
        told: told(verdict),
        shadow: limit.watches(),
    };
    Outcome::Several {
        binding: decided.binding.map(|place| running[place].name.to_owned()),
        limits: running.iter().zip(&decided.verdicts).map(of_limit).collect(),
    }
}

/// The headers of the answer; absent ones are left out.
fn headers(running: &[Running<'_>], decided: &Decided, now_us: i64) -> BTreeMap<&'static str, String> {
    let mut headers = BTreeMap::new();
    let enforced = |limit: &Running<'_>| limit.tried.enforcement == Enforcement::Enforce;
    let announced: Vec<(usize, Announced)> = (0..running.len())
        .filter(|place| running[*place].tried.visible && enforced(&running[*place]))
        .map(|place| {
            let binds = decided.binding == Some(place);
            (place, Announced::of(running[place].rule, &decided.verdicts[place], binds))
        })
        .collect();
    if let Some((told, standing)) = Announced::told(&announced) {
        let mut text = Vec::new();
        put_policy(&mut text, announced.iter().map(|(place, own)| (running[*place].name, own.rule)));
        let policy = text.len();
        let ends = put_standing(&mut text, running[told].name, standing, now_us.div_euclid(1_000_000));
        let text = String::from_utf8_lossy(&text);
        headers.insert("RateLimit-Policy", text[..policy].to_owned());
        let names = ["RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"];
        let mut start = policy;
        for (name, end) in names.into_iter().zip(ends) {
            headers.insert(name, text[start..end].to_owned());
            start = end;
        }
    }
    let retry = decided.binding.and_then(|place| decided.verdicts[place].retry_after_us);
    if let Some(retry_us) = retry {
        headers.insert(
            "Retry-After",
            (whole_millis(retry_us).div_euclid(1_000) + i64::from(retry_us % 1_000_000 != 0))
                .max(1)
                .to_string(),
        );
    }
    headers
}

fn whole_millis(us: i64) -> i64 {
    us / 1_000 + i64::from(us % 1_000 != 0)
}

/// Milliseconds with up to three decimals, in µs.
fn micros(at_ms: &serde_json::Number) -> Option<i64> {
    let text = at_ms.to_string();
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let part = part.trim_end_matches('0');
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: i64 = format!("{part:0<3}").parse().ok()?;
    let us = whole.parse::<i64>().ok()?.checked_mul(1_000)?;
    if whole.starts_with('-') { us.checked_sub(thousandths) } else { us.checked_add(thousandths) }
}

impl Summary {
    fn add(&mut self, allowed: bool, cost: i64) {
        let (count, sum) = match allowed {
            true => (&mut self.allowed, &mut self.cost_allowed),
            false => (&mut self.refused, &mut self.cost_refused),
        };
        *count += 1;
        *sum += cost;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn run(simulation: Value) -> Value {
        let simulation: Simulation = serde_json::from_value(simulation).expect("a simulation");
        serde_json::to_value(simulate(&simulation).expect("can be tried")).expect("writes")
    }

    fn pointer(simulation: Value) -> String {
        let simulation: Simulation = serde_json::from_value(simulation).expect("a simulation");
        simulate(&simulation).expect_err("cannot be tried").pointer
    }

    /// The published example.
    #[test]
    fn published_sequence() {
        let requests: Vec<Value> = [(0, 1), (0, 2), (0, 1), (100, 1), (150, 0), (150, 4), (1000, 3)]
            .map(|(at, cost)| json!({"at_ms":at,"cost":cost}))
            .to_vec();
        let simulated = run(json!({
            "limit": {"algorithm":"token_bucket","quota":10,"window_ms":1000,"burst":3}, "requests": requests}));
        let decision = |at_ms: i64, cost: i64, allowed: bool, remaining: i64, retry: Value, reset: i64| {
            json!({"at_ms":at_ms,"cost":cost,"allowed":allowed,"limit":3,"remaining":remaining,
                "retry_after_ms":retry,"reset_after_ms":reset,"delay_ms":0})
        };
        assert_eq!(
            simulated,
            json!({"decisions":[
            decision(0, 1, true, 2, json!(0), 100),
            decision(0, 2, true, 0, json!(0), 300),
            decision(0, 1, false, 0, json!(100), 300),
            decision(100, 1, true, 0, json!(0), 300),
            decision(150, 0, true, 0, json!(0), 250),
            decision(150, 4, false, 0, Value::Null, 250),
            decision(1000, 3, true, 0, json!(0), 300)],
            "summary":{"allowed":5,"refused":2,"cost_allowed":7,"cost_refused":5}})
        );
    }

    #[test]
    fn several_limits_name_the_one_that_binds_and_numbers_change_on_the_way() {
        let simulated = run(json!({
            "limits": [
                {"name":"fast","algorithm":"token_bucket","quota":2,"window_ms":1000},
                {"name":"daily","algorithm":"fixed_window","quota":3,"window_ms":86_400_000},
                {"name":"trial","algorithm":"sliding_window","quota":1,"window_ms":1000,"enforcement":"shadow"}],
            "requests": [{"at_ms":0.125},{"at_ms":1},{"at_ms":1000},{"at_ms":1000,"set":{"daily":{"quota":10}}},
                {"at_ms":2000},{"at_ms":2000},{"at_ms":2000}]}));
        let seen: Vec<Value> = simulated["decisions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|decision| {
                json!([
                    decision["allowed"],
                    decision["binding"],
                    decision["limits"][1]["remaining"],
                    decision["limits"][2]["allowed"]
                ])
            })
            .collect();
        assert_eq!(
            json!(seen),
            json!([
                [true, null, 2, true],
                [true, null, 1, false],
                [true, null, 0, false],
                [false, "fast", 7, false],
                [true, null, 6, true],
                [true, null, 5, false],
                [false, "fast", 5, false]
            ])
        );
        assert_eq!(simulated["decisions"][0]["at_ms"], json!(0.125));
        assert_eq!(simulated["decisions"][0]["limits"][2]["shadow"], json!(true));
    }

    #[test]
    fn headers_as_the_gateway_sends_them() {
        let simulated = run(json!({
            "start": "2026-11-21T12:00:00Z", "headers": true,
            "limits": [
                {"name":"tenant-default","algorithm":"token_bucket","quota":100,"window_ms":1000,"burst":1000},
                {"name":"user-default","algorithm":"sliding_window","quota":2,"window_ms":60_000},
                {"name":"hidden","algorithm":"token_bucket","quota":1,"window_ms":1,"visible":false}],
            "requests": [{"at_ms":0},{"at_ms":10},{"at_ms":20}]}));
        assert_eq!(
            simulated["decisions"][0]["headers"],
            json!({
            "RateLimit-Policy": "\"tenant-default\";q=1000;w=10, \"user-default\";q=2;w=60",
            "RateLimit": "\"user-default\";r=1;t=60",
            "X-RateLimit-Limit": "2", "X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "1795262460"})
        );
        let refused = &simulated["decisions"][2];
        assert_eq!(
            (&refused["binding"], &refused["headers"]["Retry-After"]),
            (&json!("user-default"), &json!("90"))
        );
        assert_eq!(refused["headers"]["RateLimit"], json!("\"user-default\";r=0;t=90"));
    }

    #[test]
    fn what_cannot_be_tried_is_told_with_its_place() {
        let limit = json!({"algorithm":"token_bucket","quota":1,"window_ms":1000});
        assert_eq!(pointer(json!({"requests":[]})), "");
        assert_eq!(pointer(json!({"limits":[],"requests":[]})), "/limits");
        assert_eq!(pointer(json!({"limits":[limit],"requests":[]})), "/limits/0");
        assert_eq!(pointer(json!({"limit":limit,"requests":[{"at_ms":0.0001}]})), "/requests/0/at_ms");
        assert_eq!(pointer(json!({"limit":limit,"requests":[{"at_ms":1e300}]})), "/requests/0/at_ms");
        assert_eq!(pointer(json!({"limit":limit,"requests":[{"at_ms":0,"cost":-1}]})), "/requests/0/cost");
        let set = json!({"limit":limit,"requests":[{"at_ms":0,"set":{"quota":0}}]});
        assert_eq!(pointer(set), "/requests/0/set/quota");
        let zero = json!({"limit":{"algorithm":"token_bucket","quota":0,"window_ms":1000},"requests":[]});
        assert_eq!(pointer(zero), "/limit/quota");
    }
}
