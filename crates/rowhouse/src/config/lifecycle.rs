//! `[lifecycle]`: backups of tenants.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `[lifecycle]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lifecycle {
    /// When the day's backups are taken, UTC.
    pub backup_at: TimeOfDay,
    /// Where backups and exports lie.
    pub backup_directory: Option<PathBuf>,
    /// Whether erasing a tenant at once takes two principals.
    pub erase_now_by_two: bool,
}

/// A time of day, as in `02:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOfDay(u16);

impl Default for TimeOfDay {
    fn default() -> Self {
        TimeOfDay(2 * 60)
    }
}

impl TimeOfDay {
    /// Minutes after midnight.
    pub fn minute(self) -> u16 {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let (hours, minutes) = text.split_once(':')?;
        let number = |digits: &str| digits.parse::<u16>().ok().filter(|_| digits.len() == 2);
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        (hours < 24 && minutes < 60).then_some(TimeOfDay(hours * 60 + minutes))
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&format_args!("{:02}:{:02}", self.0 / 60, self.0 % 60))
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        TimeOfDay::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format_args!("`{text}` is no time of day; write it as 02:00"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day() {
        assert_eq!(TimeOfDay::parse("02:05"), Some(TimeOfDay(125)));
        for wrong in ["24:00", "2:00", "02:60", "0200", "-1:00", ""] {
            assert_eq!(TimeOfDay::parse(wrong), None, "{wrong}");
        }
    }
}
