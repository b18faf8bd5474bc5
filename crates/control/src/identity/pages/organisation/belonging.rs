//! The groups that a person is in, and what each gives: in a group itself, or by another group that is in it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::people;
use super::visit::Visit;

/// The groups of a person with their grants, the oldest first; none if the visitor may not see groups. One call for the person and one for
/// each group that they are in.
pub async fn of(visit: &Visit<'_>, user: &str) -> Option<Vec<Value>> {
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    let mut next = vec![user.to_owned()];
    while let Some(member) = next.pop() {
        for mut group in visit.list(&format!("/v1/groups?member={member}")).await.ok()? {
            let id = group["id"].as_str().unwrap_or_default().to_owned();
            if found.contains_key(&id) {
                continue;
            }
            group["is_direct"] = json!(member == user);
            next.push(id.clone());
            found.insert(id, group);
        }
    }
    let mut groups: Vec<Value> = found.into_values().collect();
    let grants = visit.list("/v1/grants").await.unwrap_or_default();
    people::with_grants(&mut groups, &grants);
    Some(groups)
}
