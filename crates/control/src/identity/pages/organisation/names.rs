//! Whom an id means: what is shown of people, groups and programs in place of their ids, as far as who looks may see them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::visit::Visit;

/// Names by id.
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// Those that the API shows to who looks; at most 1,000 of each sort.
    pub async fn of(visit: &Visit<'_>) -> Names {
        let mut names = BTreeMap::new();
        for list in ["/v1/users", "/v1/groups", "/v1/service_accounts"] {
            // What may not be seen keeps its id.
            let all = visit.list(list).await.unwrap_or_default();
            names.extend(all.iter().filter_map(named));
        }
        Names(names)
    }

    /// The name that belongs to an id, or else the id.
    pub fn name(&self, id: &str) -> String {
        match (self.0.get(id), id) {
            (Some(name), _) => name.clone(),
            (None, "everyone") => "everyone".to_owned(),
            (None, "system") => "the system".to_owned(),
            (None, "anonymous") => "nobody known".to_owned(),
            (None, id) => id.to_owned(),
        }
    }

    /// The same for `{"kind": …, "id": …}`.
    pub fn principal(&self, principal: &Value) -> String {
        match (principal["id"].as_str(), principal["kind"].as_str()) {
            (Some(id), _) if !id.is_empty() => self.name(id),
            (_, Some(kind)) => self.name(kind),
            _ => String::new(),
        }
    }

    /// People, by name: id and name.
    pub fn people(&self) -> Vec<(&str, &str)> {
        let own = self.0.iter().filter(|(id, _)| id.starts_with("user_") || id.starts_with("sa_"));
        let mut all: Vec<(&str, &str)> = own.map(|(id, name)| (id.as_str(), name.as_str())).collect();
        all.sort_unstable_by_key(|(_, name)| name.to_lowercase());
        all
    }
}

fn named(row: &Value) -> Option<(String, String)> {
    let text = |name: &str| row[name].as_str().filter(|text| !text.is_empty());
    let name = match (text("full_name"), text("email")) {
        (Some(name), Some(email)) => format!("{name} ({email})"),
        (None, Some(email)) => email.to_owned(),
        _ => text("title").or(text("name"))?.to_owned(),
    };
    Some((text("id")?.to_owned(), name))
}

/// An instant of the API's, as people read it: to the minute, UTC.
pub fn utc(time: &Value) -> String {
    let text = time.as_str().unwrap_or_default();
    text.get(..16).map(|text| format!("{} UTC", text.replace('T', " "))).unwrap_or_default()
}
