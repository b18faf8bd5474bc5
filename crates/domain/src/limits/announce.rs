//! What an answer tells of limits: `RateLimit-Policy` and `RateLimit` (RFC 9651 structured fields by
//! draft-ietf-httpapi-ratelimit-headers-11). Text is added to a buffer of the caller's.

use super::{Rule, Verdict};

/// How one visible limit stands after a request.
#[derive(Debug, Clone, Copy)]
pub struct Announced {
    /// Its numbers.
    pub rule: Rule,
    /// Units left.
    pub remaining: i64,
    /// When it is as new again, or, if it refused, when to come back; whole seconds.
    pub reset_s: i64,
    /// Whether it is the one that refused.
    pub binds: bool,
}

impl Announced {
    /// What a verdict tells. A refusal says when to come back, and at least one second.
    pub fn of(rule: Rule, verdict: &Verdict, binds: bool) -> Self {
        let wait_us = verdict.retry_after_us.filter(|_| binds);
        let reset_s = match wait_us {
            Some(wait_us) => whole_seconds(wait_us).max(1),
            None => whole_seconds(verdict.reset_after_us),
        };
        Announced { rule, remaining: verdict.remaining, reset_s, binds }
    }

    /// Which of several, each with its place, is told of: the one that refused, else the one with the least share left.
    pub fn told(all: &[(usize, Announced)]) -> Option<(usize, &Announced)> {
        let share = |announced: &Announced| {
            // Compared in millionths; nearer than that they are equal. Both numbers are at most 10⁹.
            announced.remaining * 1_000_000 / announced.rule.most()
        };
        let places = || all.iter().map(|(place, announced)| (*place, announced));
        places()
            .find(|(_, announced)| announced.binds)
            .or_else(|| places().min_by_key(|(_, announced)| share(announced)))
    }
}

fn whole_seconds(us: i64) -> i64 {
    us / 1_000_000 + i64::from(us % 1_000_000 != 0)
}

/// Adds the policies of limits, by name.
pub fn put_policy<'a>(text: &mut Vec<u8>, limits: impl Iterator<Item = (&'a str, Rule)>) {
    for (index, (name, rule)) in limits.enumerate() {
        let (units, window_s) = rule.announced();
        text.extend_from_slice(if index == 0 { b"\"" } else { b", \"" });
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b"\";q=");
        put_number(text, units);
        text.extend_from_slice(b";w=");
        put_number(text, window_s);
    }
}

/// Adds `RateLimit` and the three older values: `ends` are where each of the four ends.
pub fn put_standing(text: &mut Vec<u8>, name: &str, told: &Announced, now_s: i64) -> [usize; 4] {
    let mut ends = [0; 4];
    text.push(b'"');
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"\";r=");
    put_number(text, told.remaining);
    text.extend_from_slice(b";t=");
    put_number(text, told.reset_s);
    ends[0] = text.len();
    for (end, number) in ends[1..].iter_mut().zip([told.rule.most(), told.remaining, now_s + told.reset_s]) {
        put_number(text, number);
        *end = text.len();
    }
    ends
}

/// A number in decimal. The formatter of the standard library takes ten times as long.
fn put_number(text: &mut Vec<u8>, number: i64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        text.push(b'-');
    }
    text.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use super::super::Algorithm;
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 10, 99, 1_000_000_000, i64::MAX, -1, i64::MIN] {
            let mut text = b"w=".to_vec();
            put_number(&mut text, number);
            assert_eq!(text, format!("w={number}").into_bytes());
        }
    }

    #[test]
    fn a_bucket_announces_its_burst_and_a_window_its_quota() {
        let bucket = Rule::new(Algorithm::TokenBucket, 100, 1000, Some(1000)).expect("in bounds");
        let window = Rule::new(Algorithm::SlidingWindow, 600, 60_000, None).expect("in bounds");
        let odd = Rule::new(Algorithm::FixedWindow, 1, 1_500, None).expect("in bounds");
        let mut text = Vec::new();
        put_policy(&mut text, [("tenant-default", bucket), ("user", window), ("odd", odd)].into_iter());
        let expected = r#""tenant-default";q=1000;w=10, "user";q=600;w=60, "odd";q=1;w=2"#;
        assert_eq!(String::from_utf8(text).expect("ASCII"), expected);
    }

    #[test]
    fn the_one_that_refused_is_told_of_else_the_tightest() {
        let rule = Rule::new(Algorithm::TokenBucket, 10, 1000, Some(10)).expect("in bounds");
        let of = |remaining, binds| Announced { rule, remaining, reset_s: 1, binds };
        let told = |all: &[Announced]| {
            let places: Vec<_> = all.iter().copied().enumerate().collect();
            Announced::told(&places).map(|(place, _)| place)
        };
        assert_eq!(told(&[of(5, false), of(3, false), of(4, false)]), Some(1));
        assert_eq!(told(&[of(0, false), of(3, true)]), Some(1));
        assert_eq!(told(&[]), None);
    }
}
