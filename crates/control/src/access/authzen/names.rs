//! Subjects by what they are called outside: a person by the address that they have proven, a service account by its name. Both are one of
//! their kind in a tenant, so a name means one or nobody; another tenant's mean nobody. What has the form of our ids is an id and never
//! a name. Answers have our ids.

use std::collections::{BTreeSet, HashMap};

use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::messages::Address;
use rowhouse_domain::refusal::Refusal;
use serde_json::Value;

use crate::Shared;
use crate::api::PrincipalBody;
use crate::{identity, keys};

/// By kind and what was written.
#[derive(Debug, Default)]
pub struct Names(HashMap<(String, String), Principal>);

impl Names {
    /// Looks up those of `subjects` that are not written as ids; asks nobody if all are.
    pub async fn of(
        control: &Shared,
        permit: &Permit,
        tenant: TenantId,
        subjects: impl Iterator<Item = &Value>,
    ) -> Result<Self, Refusal> {
        let (mut people, mut accounts) = (BTreeSet::new(), BTreeSet::new());
        for (kind, id) in subjects.filter_map(written) {
            match kind {
                "user" => people.insert(id),
                "service_account" => accounts.insert(id),
                _ => false,
            };
        }
        let key = |id: &&str| Some((Address::parse(id).ok()?.key(), (*id).to_owned()));
        let people: Vec<(String, String)> = people.iter().filter_map(key).collect();
        let accounts: Vec<&str> = accounts.into_iter().collect();
        if people.is_empty() && accounts.is_empty() {
            return Ok(Names::default());
        }
        let keys: Vec<&str> = people.iter().map(|(key, _)| key.as_str()).collect();
        let transaction = control.store.read(permit).await?;
        let members = identity::members_by_address(&transaction, tenant, &keys).await?;
        let named = keys::accounts_by_name(&transaction, tenant, &accounts).await?;
        transaction.finish().await?;
        let mut names = HashMap::new();
        for (key, id) in people {
            if let Some(user) = members.get(&key) {
                names.insert(("user".to_owned(), id), Principal { kind: PrincipalKind::User, id: user.0 });
            }
        }
        for (name, id) in named {
            let principal = Principal { kind: PrincipalKind::ServiceAccount, id };
            names.insert(("service_account".to_owned(), name), principal);
        }
        Ok(Names(names))
    }

    /// Who is meant.
    pub fn find(&self, kind: &str, id: &str) -> Option<Principal> {
        // Mostly there are none.
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&(kind.to_owned(), id.to_owned())).copied()
    }
}

/// Kind and name of a subject that is not written as an id.
fn written(subject: &Value) -> Option<(&str, &str)> {
    let (kind, id) = (subject["type"].as_str()?, subject["id"].as_str()?);
    let is_id = PrincipalBody { kind: kind.to_owned(), id: id.to_owned() }.parse("").is_ok();
    (!is_id).then_some((kind, id))
}
