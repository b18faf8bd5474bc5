//! A meter: what usage is counted as. A draft is how it is written down; a [`Meter`] is one that keeps the rules.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    content::is_pointer,
    quantity::Quantity,
    rounding::{Rounding, Scale},
};

/// Longest name of a meter.
pub const NAME_BYTES_MAX: usize = 63;
/// Most pointers a value is added up from.
pub const POINTERS_MAX: usize = 4;
/// Most dimensions of a meter.
pub const DIMENSIONS_MAX: usize = 8;

/// Whether a text is `[a-z][a-z0-9._-]{0,62}`.
pub fn is_meter_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}

/// Where usage comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeterSource {
    /// Records of the gateway.
    Requests,
    /// The ingestion API and the `Rowhouse-Usage` header.
    #[default]
    Events,
    /// Collectors of levels.
    Sampled,
}

/// How the values of a period become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    Count,
    #[default]
    Sum,
    Max,
    Min,
    Avg,
    Unique,
    Last,
    TimeWeighted,
}

/// Whether a value is a change of the level, or the new level. Of `last` and `time_weighted`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Delta,
    Level,
}

/// How finely `time_weighted` looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// By the microsecond.
    #[default]
    Exact,
    /// Each civil day counts whole, with its highest level.
    Day,
}

/// Aggregates each bucket and adds the buckets up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    Hour,
    Day,
}

/// Which events or requests belong to a meter. What is empty or absent does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// 1 to 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_class: Option<u8>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dimensions: BTreeMap<String, String>,
}

/// What is aggregated: `"/pointer"`, a list of pointers, or `{"constant":"1"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ValueDraft {
    Pointer(String),
    Pointers(Vec<String>),
    Constant { constant: Quantity },
}

/// A meter, unchecked: the wire form of `[[meter]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeterDraft {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// UN/ECE Recommendation 20; `C62` (one) if empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unit_code: String,
    pub source: MeterSource,
    #[serde(rename = "match")]
    pub matches: Match,
    pub aggregation: Aggregation,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<ValueDraft>,
    pub mode: Mode,
    pub resolution: Resolution,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Bucket>,
    pub carry: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    pub round: Rounding,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dimensions: BTreeMap<String, String>,
    pub negative: bool,
}

/// Where an event's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSource {
    Constant(Quantity),
    /// One to four, added.
    Pointers(Vec<String>),
}

/// How values are aggregated: the part of a meter that the aggregation needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measure {
    pub aggregation: Aggregation,
    pub mode: Mode,
    pub resolution: Resolution,
    pub bucket: Option<Bucket>,
    pub carry: bool,
    pub scale: Option<Scale>,
    pub round: Rounding,
    pub negative: bool,
}

/// A valid meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    pub name: String,
    pub unit: String,
    pub unit_code: String,
    pub source: MeterSource,
    pub matches: Match,
    pub value: ValueSource,
    pub measure: Measure,
    /// Name → pointer.
    pub dimensions: BTreeMap<String, String>,
}

/// One mistake in a meter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MeterProblem {
    /// JSON pointer into the meter.
    pub pointer: String,
    pub detail: &'static str,
}

impl MeterDraft {
    /// The meter, or everything that is wrong with it.
    pub fn meter(&self) -> Result<Meter, Vec<MeterProblem>> {
        let mut problems = self.measure_problems();
        problems.extend(self.naming_problems());
        problems.extend(self.value_problems());
        problems.extend(self.dimension_problems());
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Meter {
            name: self.name.clone(),
            unit: self.unit.clone(),
            unit_code: if self.unit_code.is_empty() { "C62".to_owned() } else { self.unit_code.clone() },
            source: self.source,
            matches: self.matches.clone(),
            value: self.value_source(),
            measure: self.unchecked_measure(),
            dimensions: self.dimensions.clone(),
        })
    }

    /// How it aggregates: all that a simulation needs.
    pub fn measure(&self) -> Result<Measure, Vec<MeterProblem>> {
        let problems = self.measure_problems();
        if problems.is_empty() { Ok(self.unchecked_measure()) } else { Err(problems) }
    }

    fn unchecked_measure(&self) -> Measure {
        Measure {
            aggregation: self.aggregation,
            mode: self.mode,
            resolution: self.resolution,
            bucket: self.bucket,
            carry: self.carry,
            scale: self.scale,
            round: self.round,
            negative: self.negative,
        }
    }

    fn value_source(&self) -> ValueSource {
        match &self.value {
            Some(ValueDraft::Constant { constant }) => ValueSource::Constant(*constant),
            Some(ValueDraft::Pointer(pointer)) => ValueSource::Pointers(vec![pointer.clone()]),
            Some(ValueDraft::Pointers(pointers)) => ValueSource::Pointers(pointers.clone()),
            None if self.aggregation == Aggregation::Count => ValueSource::Constant(Quantity::ONE),
            None => ValueSource::Pointers(vec!["/quantity".to_owned()]),
        }
    }

    fn measure_problems(&self) -> Vec<MeterProblem> {
        let level = matches!(self.aggregation, Aggregation::Last | Aggregation::TimeWeighted);
        let held = level || matches!(self.aggregation, Aggregation::Max | Aggregation::Min);
        let rules = [
            (self.mode == Mode::Level && !level, "/mode", "only last and time_weighted have a level"),
            (self.carry && !held, "/carry", "only max, min, last and time_weighted carry a level"),
            (
                self.resolution == Resolution::Day && self.aggregation != Aggregation::TimeWeighted,
                "/resolution",
                "only time_weighted looks by day",
            ),
            (
                self.bucket.is_some() && self.resolution == Resolution::Day,
                "/bucket",
                "a resolution of days has no buckets",
            ),
            (self.scale.is_some_and(|scale| !scale.is_valid()), "/scale", "a decimal above zero is needed"),
            (!self.round.is_valid(), "/round/digits", "-12 to 12"),
        ];
        broken(&rules)
    }

    fn naming_problems(&self) -> Vec<MeterProblem> {
        let code = &self.unit_code;
        let is_code = code.len() <= 3 && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let types: BTreeSet<_> = self.matches.types.iter().collect();
        let rules = [
            (!is_meter_name(&self.name), "/name", "a lower-case letter, then at most 62 of a-z 0-9 . _ -"),
            (self.unit.is_empty() || self.unit.chars().count() > 32, "/unit", "1 to 32 characters"),
            (!is_code, "/unit_code", "a code of UN/ECE Recommendation 20"),
            (
                types.len() != self.matches.types.len() || self.matches.types.iter().any(String::is_empty),
                "/match/types",
                "each event type once",
            ),
            (
                self.source != MeterSource::Requests && types.is_empty(),
                "/match/types",
                "an event type is needed",
            ),
            (
                self.matches.status_class.is_some_and(|class| !(1..=5).contains(&class)),
                "/match/status_class",
                "1 to 5",
            ),
        ];
        broken(&rules)
    }

    fn value_problems(&self) -> Vec<MeterProblem> {
        let ValueSource::Pointers(pointers) = self.value_source() else {
            let unique = self.aggregation == Aggregation::Unique;
            return broken(&[(unique, "/value", "a constant has no distinct values")]);
        };
        broken(&[
            (pointers.is_empty() || pointers.len() > POINTERS_MAX, "/value", "1 to 4 pointers"),
            (!pointers.iter().all(|pointer| is_pointer(pointer)), "/value", "not a JSON pointer"),
        ])
    }

    fn dimension_problems(&self) -> Vec<MeterProblem> {
        let sound = |(name, pointer): (&String, &String)| is_meter_name(name) && is_pointer(pointer);
        broken(&[
            (self.dimensions.len() > DIMENSIONS_MAX, "/dimensions", "at most 8"),
            (!self.dimensions.iter().all(sound), "/dimensions", "names with JSON pointers"),
            (
                self.matches.dimensions.keys().any(|name| !self.dimensions.contains_key(name)),
                "/match/dimensions",
                "not a dimension of this meter",
            ),
        ])
    }
}

fn broken(rules: &[(bool, &str, &'static str)]) -> Vec<MeterProblem> {
    let broken = rules.iter().filter(|(broken, ..)| *broken);
    broken.map(|(_, pointer, detail)| MeterProblem { pointer: (*pointer).to_owned(), detail }).collect()
}

impl Measure {
    /// Changes of a level may fall; other values only where the meter says so.
    pub fn takes_negative(&self) -> bool {
        let level = matches!(self.aggregation, Aggregation::Last | Aggregation::TimeWeighted);
        self.negative || (level && self.mode == Mode::Delta)
    }
}

impl Meter {
    pub fn takes_negative(&self) -> bool {
        self.measure.takes_negative()
    }

    /// Whether an event of this type with these dimensions belongs to the meter.
    pub fn matches_event(&self, event_type: &str, dimensions: &BTreeMap<String, String>) -> bool {
        self.source != MeterSource::Requests
            && self.matches.types.iter().any(|own| own == event_type)
            && self.matches.dimensions.iter().all(|(name, value)| dimensions.get(name) == Some(value))
    }
}
