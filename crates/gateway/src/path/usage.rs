//! `Rowhouse-Usage`: what a service says a request used, as a dictionary of structured fields (RFC 9651 §3.2).
//! Integers, decimals, or strings for more digits; a member that is something else is left out.

use http::{HeaderMap, HeaderName};
use rowhouse_domain::metering::quantity::Quantity;

/// The header, on answers of upstreams only.
pub(crate) static USAGE: HeaderName = HeaderName::from_static("rowhouse-usage");
/// Members that are looked at.
const MEMBERS_MAX: usize = 8;

/// One meter and how much.
pub(crate) type Reported = (Box<str>, Quantity);

/// Reads the header. A later member of the same name replaces an earlier one.
pub(crate) fn reported(headers: &HeaderMap) -> Vec<Reported> {
    let mut all: Vec<Reported> = Vec::new();
    let values = headers.get_all(&USAGE).iter().filter_map(|value| value.to_str().ok());
    for (meter, quantity) in values.flat_map(split_members).filter_map(member) {
        all.retain(|(known, _)| &**known != meter);
        if all.len() < MEMBERS_MAX {
            all.push((meter.into(), quantity));
        }
    }
    all
}

fn member(text: &str) -> Option<(&str, Quantity)> {
    let (meter, value) = text.trim_matches([' ', '\t']).split_once('=')?;
    let well_named = meter.starts_with(|c: char| c.is_ascii_lowercase())
        && meter.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b));
    let number = match value.strip_prefix('"') {
        Some(rest) => rest.split_once('"')?.0,
        None => value.split(';').next()?.trim_end_matches([' ', '\t']),
    };
    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
    let quantity = (well_named && plain).then(|| Quantity::parse(number).ok()).flatten()?;
    Some((meter, quantity))
}

/// Splits at commas that are not within a string.
fn split_members(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    value.split(move |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(value: &'static str) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(USAGE.clone(), HeaderValue::from_static(value));
        reported(&headers).into_iter().map(|(meter, q)| (meter.to_string(), q.to_string())).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(meter, quantity)| ((*meter).to_owned(), (*quantity).to_owned())).collect()
    }

    #[test]
    fn integers_decimals_and_strings() {
        assert_eq!(
            of(r#"stamps_created=3, hash_operations="12.5",bytes=1.25"#),
            pairs(&[("stamps_created", "3"), ("hash_operations", "12.5"), ("bytes", "1.25")])
        );
        assert_eq!(of("a=1;unit=x, a=2"), pairs(&[("a", "2")]), "parameters are ignored, the last wins");
    }

    #[test]
    fn what_is_no_number_is_left_out_alone() {
        assert_eq!(of(r#"flag, A=1, x=?1, y="a,b", z="7""#), pairs(&[("z", "7")]));
        assert_eq!(of("e=1e3"), pairs(&[]), "structured fields have no exponents");
        assert_eq!(of("a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1").len(), 8);
    }
}
