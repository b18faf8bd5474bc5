//! What a route changes in headers, compiled. Declarations cannot name what is not theirs to change; whatever they
//! name, what frames a message and what only the gateway says passes here unchanged.

use http::{HeaderMap, HeaderName, HeaderValue};
use rowhouse_domain::routes::{Edits, is_reserved_in_answers};

/// Changes of headers, in this order: renamed, removed, set, added.
pub(crate) struct HeaderEdits {
    rename: Vec<(HeaderName, HeaderName)>,
    /// Those that are set are among them.
    remove: Vec<HeaderName>,
    put: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderEdits {
    /// Compiles them; `None` if nothing is changed.
    pub(crate) fn new(edits: &Edits, is_reserved: fn(&str) -> bool) -> Option<Self> {
        let name = |text: &str| HeaderName::try_from(text).ok().filter(|_| !is_reserved(text));
        let value = |(own, text): (&String, &String)| Some((name(own)?, HeaderValue::try_from(text).ok()?));
        let own = HeaderEdits {
            rename: edits.rename.iter().filter_map(|(old, new)| Some((name(old)?, name(new)?))).collect(),
            remove: edits.remove.iter().chain(edits.set.keys()).filter_map(|own| name(own)).collect(),
            put: edits.set.iter().chain(&edits.add).filter_map(value).collect(),
        };
        let changes = !(own.rename.is_empty() && own.remove.is_empty() && own.put.is_empty());
        changes.then_some(own)
    }

    /// The name that a header goes by; `None` if it goes no further.
    pub(crate) fn passes<'n>(&'n self, name: &'n HeaderName) -> Option<&'n HeaderName> {
        let renamed = self.rename.iter().find(|(old, _)| old == name);
        let name = renamed.map_or(name, |(_, new)| new);
        (!self.remove.contains(name)).then_some(name)
    }

    /// What is put beside what passes.
    pub(crate) fn put(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.put.iter().map(|(name, value)| (name, value))
    }

    /// Puts one more; of those that only the gateway tells here, in place of the service's.
    pub(crate) fn and_put(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::try_from(value).ok();
        let name = HeaderName::from_static(name);
        if is_reserved_in_answers(name.as_str()) {
            self.remove.push(name.clone());
        }
        self.put.extend(value.map(|value| (name, value)));
        self
    }

    /// Changes nothing.
    pub(crate) fn none() -> Self {
        HeaderEdits { rename: Vec::new(), remove: Vec::new(), put: Vec::new() }
    }

    /// Makes the changes in headers that are all there.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for (old, new) in &self.rename {
            let values: Vec<HeaderValue> = headers.get_all(old).iter().cloned().collect();
            headers.remove(old);
            for value in values {
                headers.append(new.clone(), value);
            }
        }
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.put {
            headers.append(name.clone(), value.clone());
        }
    }
}
