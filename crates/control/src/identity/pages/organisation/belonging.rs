//! The groups that a person is in, and what each gives: in a group itself, or by another group that is in it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::people;
use super::visit::Visit;

/// The groups of a person with their grants, in the order of their list; none if the visitor may not see groups.
/// One call for each group of the organisation.
pub async fn of(visit: &Visit<'_>, user: &str) -> Option<Vec<Value>> {
    let mut groups = visit.list("/v1/groups").await.ok()?;
    let mut members = BTreeMap::new();
    for group in &groups {
        let id = group["id"].as_str().unwrap_or_default().to_owned();
        let all = visit.list(&format!("/v1/groups/{id}/members")).await.unwrap_or_default();
        let ids = all.iter().filter_map(|own| own["principal"]["id"].as_str()).map(str::to_owned);
        members.insert(id, ids.collect::<BTreeSet<_>>());
    }
    let theirs = closure(&members, user);
    groups.retain(|group| group["id"].as_str().is_some_and(|id| theirs.contains(id)));
    let grants = visit.list("/v1/grants").await.unwrap_or_default();
    people::with_grants(&mut groups, &grants);
    for group in &mut groups {
        let own = group["id"].as_str().and_then(|id| members.get(id));
        group["is_direct"] = json!(own.is_some_and(|ids| ids.contains(user)));
    }
    Some(groups)
}

/// All groups that somebody is in, by whatever groups. Ids say their kind, so no two things have the same.
fn closure(members: &BTreeMap<String, BTreeSet<String>>, who: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut next = vec![who.to_owned()];
    while let Some(one) = next.pop() {
        for (group, ids) in members {
            if ids.contains(&one) && found.insert(group.clone()) {
                next.push(group.clone());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_in_a_group_counts_and_a_circle_ends() {
        let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
        let members = BTreeMap::from([
            ("group_a".to_owned(), set(&["user_1", "group_c"])),
            ("group_b".to_owned(), set(&["group_a"])),
            ("group_c".to_owned(), set(&["group_b"])),
            ("group_d".to_owned(), set(&["user_2"])),
        ]);
        assert_eq!(closure(&members, "user_1"), set(&["group_a", "group_b", "group_c"]));
        assert_eq!(closure(&members, "user_2"), set(&["group_d"]));
        assert!(closure(&members, "user_3").is_empty());
    }
}
