//! The catalogue that comes with the binary, and how a database gets it.

use std::sync::OnceLock;

use rowhouse_domain::access::{Permit, ResourceType, RoleDefinition, is_for_operator};
use rowhouse_domain::refusal::Refusal;

use super::{CatalogFile, Definitions, apply, load, parse_folder, queries};
use crate::Control;

macro_rules! files {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("../../../../catalog/", $name)))),*]
    };
}

/// The shipped catalogue.
pub fn shipped() -> &'static CatalogFile {
    static SHIPPED: OnceLock<CatalogFile> = OnceLock::new();
    SHIPPED.get_or_init(|| {
        let files = files![
            "catalog.toml",
            "access.toml",
            "flags.toml",
            "limits.toml",
            "meters.toml",
            "plans.toml",
            "stamping.toml",
            "tiers.toml"
        ];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
        parse_folder(files.into()).expect("a test reads the shipped catalogue")
    })
}

/// Brings the stored definitions to what this binary needs, at each start: `first` (usually [`shipped`]) where
/// nothing is stored yet, and what is lacking of our own resource types and of the roles of the operator's people.
/// Whether anything changed.
pub async fn prepare(control: &Control, first: &CatalogFile) -> Result<bool, Refusal> {
    let permit = Permit::for_system(None, "the shipped catalogue");
    let transaction = control.store.write(&permit).await?;
    queries::lock(&transaction).await?;
    let stored = load(&transaction).await?;
    let empty = stored == Definitions::default();
    let needed = needed(if empty { &first.definitions } else { &stored });
    let mut wanted = Vec::new();
    if needed != Definitions::default() {
        let name = shipped().name.clone();
        wanted.push(CatalogFile { name, definitions: needed, ..CatalogFile::default() });
    }
    if empty {
        wanted.push(first.clone());
    }
    let mut changes = Vec::new();
    for catalog in &wanted {
        changes.extend(apply(&transaction, catalog, None, false, permit.principal()).await?.1);
    }
    match changes.is_empty() {
        true => transaction.rollback().await?,
        false => transaction.commit_all(changes).await?,
    }
    Ok(!wanted.is_empty())
}

/// What `declared` lacks of what Rowhouse itself relies on.
fn needed(declared: &Definitions) -> Definitions {
    let ours = &shipped().definitions;
    let own_types = ours.resource_types.iter().filter(|kind| kind.service == "rowhouse");
    let resource_types = own_types.filter_map(|kind| lacking(kind, &declared.resource_types)).collect();
    let lacks = |role: &&RoleDefinition| !declared.roles.iter().any(|other| other.name == role.name);
    let of_operator = ours.roles.iter().filter(|role| is_for_operator(&role.name));
    Definitions {
        resource_types,
        roles: of_operator.filter(lacks).cloned().collect(),
        ..Definitions::default()
    }
}

/// The type with all actions that `kind` has, if it is not declared so; what was added to it stays.
fn lacking(kind: &ResourceType, declared: &[ResourceType]) -> Option<ResourceType> {
    let Some(there) = declared.iter().find(|other| other.name == kind.name) else {
        return Some(kind.clone());
    };
    let lacks = kind.actions.iter().filter(|action| !there.actions.contains(action)).cloned();
    let actions: Vec<String> = there.actions.iter().cloned().chain(lacks).collect();
    (actions.len() > there.actions.len()).then(|| ResourceType { actions, ..there.clone() })
}

#[cfg(test)]
mod tests {
    use super::super::compile;
    use super::*;

    #[test]
    fn the_shipped_catalogue_compiles_and_is_what_the_rules_say() {
        let shipped = shipped();
        let compiled = compile(&shipped.definitions).unwrap_or_else(|findings| panic!("{findings:#?}"));
        let by_name = |mut roles: Vec<rowhouse_domain::access::RoleDefinition>| {
            roles.sort_by(|a, b| a.name.cmp(&b.name));
            roles
        };
        let roles = by_name(shipped.definitions.roles.clone());
        assert_eq!(roles, by_name(rowhouse_domain::access::shipped_roles()));
        assert_eq!(shipped.definitions.tiers, rowhouse_domain::tenancy::shipped_tiers());
        assert_eq!(shipped.definitions.plans, rowhouse_domain::billing::plan::default_plans());
        let meters = rowhouse_domain::metering::catalogue::default_meters();
        assert_eq!(shipped.definitions.meters, meters);
        assert_eq!((compiled.routes.routes().len(), compiled.limits.len()), (5, 5));
        let viewer = compiled.roles.permissions("viewer").expect("a shipped role");
        assert_eq!(compiled.permissions.names_of(viewer), ["metadata_stamp:read", "system:read"]);
    }

    #[test]
    fn a_newer_binary_adds_what_it_needs_and_keeps_the_rest() {
        let mut stored = shipped().definitions.clone();
        assert_eq!(needed(&stored), Definitions::default());
        stored.resource_types.retain(|kind| kind.name != "audit");
        let tenant = stored.resource_types.iter_mut().find(|kind| kind.name == "tenant").expect("shipped");
        tenant.actions = vec!["read".into(), "own_action".into()];
        let missing = needed(&stored).resource_types;
        assert_eq!(missing.len(), 2);
        let tenant = missing.iter().find(|kind| kind.name == "tenant").expect("lacked actions");
        assert!(["own_action", "create"].iter().all(|want| tenant.actions.iter().any(|own| own == want)));
    }
}
