//! `Prefer: wait=5` (RFC 7240 §4.3): how long a client would wait for the answer that it wants.

use std::time::Duration;

use axum::http::HeaderMap;

/// How long the client waits, at most `longest`; `wait` alone means that long. `None` if it does not say.
pub fn preferred_wait(headers: &HeaderMap, longest: Duration) -> Option<Duration> {
    let given = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = given.flat_map(|value| value.split([',', ';'])).map(str::trim);
    preferences.find_map(|preference| match preference.split_once('=') {
        Some((name, seconds)) if name.trim() == "wait" => {
            let seconds = seconds.trim().trim_matches('"').parse().ok()?;
            Some(Duration::from_secs(seconds).min(longest))
        }
        None if preference == "wait" => Some(longest),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_says_it_counts_and_not_beyond_the_longest() {
        let wait = |texts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for text in texts {
                headers.append("prefer", text.parse().expect("a value"));
            }
            preferred_wait(&headers, Duration::from_secs(5)).map(|wait| wait.as_secs())
        };
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&["wait"]), Some(5));
        assert_eq!(wait(&["respond-async, wait=3"]), Some(3));
        assert_eq!(wait(&["respond-async", "wait = \"2\""]), Some(2));
        assert_eq!(wait(&["wait=900"]), Some(5));
        assert_eq!(wait(&["wait=long"]), None);
    }
}
