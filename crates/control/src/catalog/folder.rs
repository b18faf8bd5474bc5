//! A catalogue as a folder of TOML files, in any split: one table for each thing, `[[service]]`, `[[route]]`,
//! `[[resource_type]]`, `[[role]]`, `[[tier]]`, `[[limit]]`, `[[meter]]`, `[[plan]]`. `[catalog] name = "…"`, in
//! any one file, names the catalogue; without it the name is `default`.
//!
//! Every error is found in one reading, each with file, line, column and key.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::known_fields::known_fields;
use super::{Definitions, Kind, nearest};

/// A named catalogue.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "super::api::CatalogBody", into = "super::api::CatalogBody")]
pub struct CatalogFile {
    /// Who owns what it declares.
    pub name: String,
    /// What it declares.
    pub definitions: Definitions,
    /// Where each thing and each of its fields stands, if it was read from files.
    pub places: Places,
}

/// Places of things (field `""`) and of their fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Places(BTreeMap<(Kind, String, String), Place>);

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The file's name as it was given.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// One error in the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{file}:{line}:{column}: {key}: {message}")]
pub struct CatalogError {
    /// The file's name as it was given.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The table or field that is wrong.
    pub key: String,
    /// What is wrong, and what was probably meant.
    pub message: String,
}

impl Places {
    /// Where a field stands, else where its thing stands. A field within another (`quotas.users`) is found at the
    /// outer one.
    pub fn find(&self, kind: Kind, name: &str, field: &str) -> Option<&Place> {
        let outer = field.split(['.', '/']).next().unwrap_or("");
        let at = |field: &str| self.0.get(&(kind, name.to_owned(), field.to_owned()));
        at(outer).or_else(|| at(""))
    }

    /// Where the pointer of a refused catalogue (`/routes/stamps.create/permission`) leads to.
    pub fn of_pointer(&self, pointer: &str) -> Option<&Place> {
        let mut parts = pointer.strip_prefix('/')?.splitn(3, '/');
        let plural = parts.next()?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == plural)?;
        self.find(kind, parts.next()?, parts.next().unwrap_or(""))
    }
}

/// Reads files (name, text) as one catalogue, or says everything that is wrong with them, in the order of the files.
///
/// # Errors
/// TOML that cannot be read, unknown tables and fields (with the nearest known name), values of a wrong type, fields
/// that are missing, names that stand twice. References between things are checked by the server.
pub fn parse_folder(files: Vec<(String, String)>) -> Result<CatalogFile, Vec<CatalogError>> {
    let mut reader = Reader::default();
    for (name, text) in &files {
        let before = reader.errors.len();
        reader.file(name, text);
        reader.errors[before..].sort_by_key(|error| (error.line, error.column));
    }
    if !reader.errors.is_empty() {
        return Err(reader.errors);
    }
    let name = reader.name.map_or_else(|| "default".to_owned(), |(name, _)| name);
    Ok(CatalogFile { name, definitions: reader.definitions, places: Places(reader.places) })
}

#[derive(Default)]
struct Reader {
    name: Option<(String, Place)>,
    definitions: Definitions,
    places: BTreeMap<(Kind, String, String), Place>,
    errors: Vec<CatalogError>,
}

/// A file that is being read.
#[derive(Clone, Copy)]
struct Source<'a> {
    name: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn place(&self, at: usize) -> Place {
        let before = &self.text[..at.min(self.text.len())];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            file: self.name.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    fn error(&self, at: usize, key: &str, message: impl Into<String>) -> CatalogError {
        let Place { file, line, column } = self.place(at);
        CatalogError { file, line, column, key: key.to_owned(), message: message.into() }
    }
}

impl Reader {
    fn file(&mut self, name: &str, text: &str) {
        let source = Source { name, text };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            self.errors.push(source.error(at, "", error.message()));
        }
        if !errors.is_empty() {
            return;
        }
        for (key, value) in table.into_inner() {
            let word = key.get_ref().to_string();
            match (word.as_str(), Kind::parse(&word)) {
                ("catalog", _) => self.header(source, &value),
                (_, Some(kind)) => self.things(source, kind, value),
                _ => {
                    let words = Kind::ALL.into_iter().map(Kind::word).chain(["catalog"]);
                    let message = unknown("table", &word, words);
                    self.errors.push(source.error(key.span().start, &word, message));
                }
            }
        }
    }

    fn header(&mut self, source: Source<'_>, value: &Spanned<DeValue<'_>>) {
        let name = value.get_ref().as_table().and_then(|table| {
            let only_name = table.len() == 1;
            table.get("name").filter(|_| only_name)
        });
        let Some((name, at)) = name.and_then(|name| Some((name.get_ref().as_str()?, name.span().start)))
        else {
            let message = "write `[catalog]` with the one field `name`, a text";
            return self.errors.push(source.error(value.span().start, "catalog", message));
        };
        let place = source.place(at);
        match &self.name {
            Some((other, first)) if other != name => {
                let message =
                    format!("the catalogue is already named `{other}` in {}:{}", first.file, first.line);
                self.errors.push(source.error(at, "catalog.name", message));
            }
            _ => self.name = Some((name.to_owned(), place)),
        }
    }

    fn things(&mut self, source: Source<'_>, kind: Kind, value: Spanned<DeValue<'_>>) {
        let at = value.span().start;
        let DeValue::Array(things) = value.into_inner() else {
            let message = format!("write `[[{kind}]]`, one for each {kind}");
            return self.errors.push(source.error(at, kind.word(), message));
        };
        for thing in things {
            match kind {
                Kind::Service => self.thing(source, kind, thing, |all| &mut all.services),
                Kind::ResourceType => self.thing(source, kind, thing, |all| &mut all.resource_types),
                Kind::Role => self.thing(source, kind, thing, |all| &mut all.roles),
                Kind::Meter => self.thing(source, kind, thing, |all| &mut all.meters),
                Kind::Plan => self.thing(source, kind, thing, |all| &mut all.plans),
                Kind::Flag => self.thing(source, kind, thing, |all| &mut all.flags),
                Kind::Tier => self.thing(source, kind, thing, |all| &mut all.tiers),
                Kind::Limit => self.thing(source, kind, thing, |all| &mut all.limits),
                Kind::Route => self.thing(source, kind, thing, |all| &mut all.routes),
            }
        }
    }

    fn thing<T: DeserializeOwned>(
        &mut self,
        source: Source<'_>,
        kind: Kind,
        thing: Spanned<DeValue<'_>>,
        list: impl Fn(&mut Definitions) -> &mut Vec<T>,
    ) {
        let at = thing.span().start;
        let Some(fields) = thing.get_ref().as_table() else {
            return self.errors.push(source.error(at, kind.word(), "not a table"));
        };
        let unknown_fields = self.unknown_fields::<T>(source, fields);
        self.remember(source, kind, at, fields);
        if unknown_fields {
            return;
        }
        match T::deserialize(ValueDeserializer::from(thing)) {
            Ok(definition) => list(&mut self.definitions).push(definition),
            Err(error) => {
                let at = error.span().map_or(at, |span| span.start);
                self.errors.push(source.error(at, kind.word(), with_nearest(error.message())));
            }
        }
    }

    /// Reports the fields that `T` does not have; whether there were any.
    fn unknown_fields<T: DeserializeOwned>(&mut self, source: Source<'_>, fields: &DeTable<'_>) -> bool {
        let known = known_fields::<T>();
        let before = self.errors.len();
        for key in fields.keys().filter(|key| !known.is_empty() && !known.contains(&key.get_ref().as_ref())) {
            let word = key.get_ref();
            let message = unknown("field", word, known.iter().copied());
            self.errors.push(source.error(key.span().start, word, message));
        }
        self.errors.len() > before
    }

    /// Keeps the places of a thing and its fields; a name that stands twice is an error.
    fn remember(&mut self, source: Source<'_>, kind: Kind, at: usize, fields: &DeTable<'_>) {
        let Some(name) = fields.get("name") else { return };
        let Some(text) = name.get_ref().as_str() else { return };
        let key = |field: &str| (kind, text.to_owned(), field.to_owned());
        if let Some(first) = self.places.get(&key("")) {
            let message = format!("the {kind} `{text}` stands already in {}:{}", first.file, first.line);
            return self.errors.push(source.error(name.span().start, "name", message));
        }
        self.places.insert(key(""), source.place(at));
        for field in fields.keys() {
            self.places.insert(key(field.get_ref()), source.place(field.span().start));
        }
    }
}

fn unknown<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(meant) => format!("there is no {what} `{word}`; did you mean `{meant}`?"),
        None => format!("there is no {what} `{word}`; there are {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// Adds the nearest match to serde's words about an unknown field or value within a field.
fn with_nearest(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let wrong = quoted.next().filter(|_| message.starts_with("unknown "));
    let meant = wrong.and_then(|wrong| nearest(wrong, quoted));
    meant.map_or_else(|| message.to_owned(), |meant| format!("{message}; did you mean `{meant}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        parse_folder(files).expect_err("errors").iter().map(ToString::to_string).collect()
    }

    const SERVICE: &str = "[[service]]\nname = \"echo\"\nupstreams = [\"127.0.0.1:1\"]\n";

    #[test]
    fn things_and_their_places_are_read_from_all_files() {
        let route = "[catalog]\nname = \"mine\"\n[[route]]\nname = \"echo.all\"\nservice = \"echo\"\npath = \"/*\"\npublic = true\n";
        let files = vec![("a.toml".to_owned(), SERVICE.to_owned()), ("b.toml".to_owned(), route.to_owned())];
        let catalog = parse_folder(files).expect("well-formed");
        assert_eq!(catalog.name, "mine");
        assert_eq!(catalog.definitions.services[0].connect_timeout_ms, 1_000, "defaults are filled in");
        let place = catalog.places.of_pointer("/routes/echo.all/path").expect("place");
        assert_eq!((place.file.as_str(), place.line, place.column), ("b.toml", 6, 1));
        let thing = catalog.places.of_pointer("/services/echo").expect("place");
        assert_eq!((thing.file.as_str(), thing.line), ("a.toml", 1));
    }

    #[test]
    fn every_error_has_its_place_and_the_nearest_match() {
        let wrong = "[[servise]]\nname = \"x\"\n\n[[route]]\nname = \"r\"\nservice = \"echo\"\npaht = \"/x\"\nprioritty = 1\n";
        assert_eq!(
            errors(&[("a.toml", SERVICE), ("b.toml", wrong)]),
            [
                "b.toml:1:3: servise: there is no table `servise`; did you mean `service`?",
                "b.toml:7:1: paht: there is no field `paht`; did you mean `path`?",
                "b.toml:8:1: prioritty: there is no field `prioritty`; did you mean `priority`?",
            ]
        );
    }

    #[test]
    fn wrong_types_missing_fields_and_inner_fields_are_told() {
        let wrong_type = errors(&[("a.toml", "[[service]]\nname = \"x\"\nupstreams = 7\n")]);
        assert!(wrong_type[0].starts_with("a.toml:3:13: service: invalid type"), "{wrong_type:?}");
        let missing = errors(&[("a.toml", "[[service]]\nname = \"x\"\n")]);
        assert!(missing[0].contains("missing field `upstreams`"), "{missing:?}");
        let inner = "[[route]]\nname = \"r\"\nservice = \"s\"\npath = \"/\"\nmetering = [{ meter = \"m\", quantiti = \"1\" }]\n";
        let inner = errors(&[("a.toml", inner)]);
        assert!(
            inner[0].starts_with("a.toml:5:") && inner[0].ends_with("did you mean `quantity`?"),
            "{inner:?}"
        );
    }

    #[test]
    fn a_name_stands_once_and_broken_toml_is_told() {
        let twice = errors(&[("a.toml", SERVICE), ("b.toml", SERVICE)]);
        assert_eq!(twice, ["b.toml:2:8: name: the service `echo` stands already in a.toml:1"]);
        let broken = errors(&[("a.toml", "[[service]\n"), ("b.toml", "[[nothing]]\n")]);
        assert!(
            broken[0].starts_with("a.toml:1:") && broken[1].starts_with("b.toml:1:3: nothing"),
            "{broken:?}"
        );
    }
}
