//! What a form said, field by field.

use bytes::Bytes;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rowhouse_domain::refusal::{Refusal, kind};

use crate::identity::form;

/// Fields in their order; one may come more than once.
pub struct Fields(Vec<(String, String)>);

/// Whether a text is an id or a name, and so no more than one part of a path.
pub fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !text.is_empty() && text.len() <= 100 && text.bytes().all(plain)
}

impl Fields {
    pub fn read(body: &Bytes) -> Self {
        Fields(form::read(body).unwrap_or_default())
    }

    /// A field with the blanks around it; empty if it is not there.
    pub fn as_typed(&self, name: &str) -> &str {
        self.0.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    /// A field without the blanks around it; empty if it is not there.
    pub fn text(&self, name: &str) -> &str {
        self.as_typed(name).trim()
    }

    /// Whether the field was there at all.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(own, _)| own == name)
    }

    /// All values of a field, but empty ones.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let own = self.0.iter().filter(|(own, _)| own == name).map(|(_, value)| value.trim());
        own.filter(|value| !value.is_empty()).collect()
    }

    /// The words of a field, which blanks and commas keep apart.
    pub fn words(&self, name: &str) -> Vec<&str> {
        self.text(name).split([',', ' ', '\n', '\r', '\t']).filter(|own| !own.is_empty()).collect()
    }

    pub fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// Part of a path; refused if it is more than an id or a name.
    pub fn id(&self, name: &str) -> Result<&str, Refusal> {
        let own = self.text(name);
        if is_id(own) { Ok(own) } else { Err(super::incomplete()) }
    }

    /// The instant at which a day is over, UTC; none for an empty field.
    pub fn end_of_day(&self, name: &str) -> Result<Option<String>, Refusal> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        let day = text.parse::<Date>().ok().and_then(|day| day.tomorrow().ok());
        let end = day.and_then(|day| day.to_zoned(TimeZone::UTC).ok());
        let wrong = || Refusal::new(&kind::INVALID, "The day is written as 2026-12-31.");
        Ok(Some(end.ok_or_else(wrong)?.timestamp().to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &'static str) -> Fields {
        Fields::read(&Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_day_ends_with_the_next() {
        let end = |text| fields(text).end_of_day("until").map_err(|refusal| refusal.code().to_owned());
        assert_eq!(end("until=2026-12-31"), Ok(Some("2027-01-01T00:00:00Z".to_owned())));
        assert_eq!(end("until="), Ok(None));
        assert_eq!(end("other=1"), Ok(None));
        for odd in ["until=2026-02-30", "until=tomorrow", "until=2026-12-31T00:00:00Z%2F.."] {
            assert!(end(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn only_an_id_is_a_part_of_a_path() {
        for (text, fits) in
            [("user_01a", true), ("stamp-clerk", true), ("", false), ("../x", false), ("a?b", false)]
        {
            assert_eq!(is_id(text), fits, "{text}");
        }
        assert!(!is_id(&"a".repeat(101)));
    }

    #[test]
    fn a_password_keeps_its_blanks() {
        let own = fields("present=+a+b+&word=+x+&roles=a%0D%0Ab%2C+c");
        assert_eq!((own.as_typed("present"), own.text("word")), (" a b ", "x"));
        assert_eq!(own.words("roles"), ["a", "b", "c"]);
    }
}
