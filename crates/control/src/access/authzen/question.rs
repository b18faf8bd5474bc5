//! Whose rights a question is decided by: those of the tenant that the caller is of, as the gateway has them, or newer ones if
//! the caller knows of a change that it wants to see.

use std::sync::Arc;

use axum::http::HeaderMap;
use rowhouse_domain::access::{
    AccessTable, Batch, Facts, PermissionSet, Permissions, Principal, Reason, ResourceKey, may_on, of_key,
};
use rowhouse_domain::id::{SessionId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use serde_json::{Map, Value};

use super::names::Names;
use super::wire::{Action, Entity};
use crate::Shared;
use crate::access::{Rules, stored};
use crate::api::{Caller, PrincipalBody};

/// `acme:12`: the version that an answer must have seen.
const AT_LEAST: &str = "rowhouse-at-least";

/// What decides.
pub struct Judge {
    /// Rights.
    pub table: Arc<AccessTable>,
    /// What they are about.
    pub permissions: Arc<Permissions>,
    /// Whose.
    pub tenant: TenantId,
    /// `acme:12`.
    pub version: String,
    /// Whom names mean that are not ids.
    names: Names,
    /// When.
    pub now_us: i64,
}

impl Judge {
    /// For the caller's tenant, or for the operator's people the one that `X-Tenant-Id` or `X-Tenant-Code` names.
    pub async fn of(control: &Shared, caller: &Caller, headers: &HeaderMap) -> Result<Judge, Refusal> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let named = text("x-tenant-id").or_else(|| text("x-tenant-code"));
        let id = caller.one_tenant(named)?;
        let permit = caller.permit("access:evaluate", Some(id))?;
        let no_tenant = || Refusal::new(&kind::NOT_FOUND, "There is no such tenant.");
        let tenant = caller.directory().tenants.get(&id).ok_or_else(no_tenant)?;
        let (mut table, mut permissions) = (tenant.access.clone(), caller.directory().permissions.clone());
        let wanted = text(AT_LEAST).and_then(|text| text.rsplit_once(':'));
        let wanted = wanted
            .filter(|(code, _)| *code == &*tenant.code)
            .and_then(|(_, number)| number.parse::<u64>().ok());
        if wanted.is_some_and(|wanted| wanted > table.version) {
            let transaction = control.store.read(&permit).await?;
            let rules = Rules::load_for(&transaction, id).await?;
            table = Arc::new(stored::of_one(&transaction, id, &rules).await?.compile(&rules));
            transaction.finish().await?;
            permissions = Arc::new(rules.permissions);
        }
        let version = format!("{}:{}", tenant.code, table.version);
        let names = Names::default();
        Ok(Judge { table, permissions, tenant: id, version, names, now_us: caller.now_us() })
    }

    /// The same, who knows whom these subjects mean if they are written by name.
    pub async fn knowing<'v>(
        self,
        (control, caller): (&Shared, &Caller),
        subjects: impl Iterator<Item = &'v Value>,
    ) -> Result<Judge, Refusal> {
        let permit = caller.permit("access:evaluate", Some(self.tenant))?;
        let names = Names::of(control, &permit, self.tenant, subjects).await?;
        Ok(Judge { names, ..self })
    }

    /// What a subject may do, and what its key is limited to if it is one; `None` for nobody of the tenant. In the session that its
    /// properties name: with the roles that were chosen in it. In one that is another's, as in none, nothing is chosen.
    pub fn subject(&self, caller: &Caller, subject: &Entity) -> Option<Subject> {
        let Entity { kind, id, properties } = subject;
        let by_id = PrincipalBody { kind: kind.clone(), id: id.clone() }.parse("").ok();
        let principal = by_id.or_else(|| self.names.find(kind, id))?;
        if kind != "api_key" {
            let session = properties.get("session").and_then(Value::as_str).and_then(|id| id.parse().ok());
            return Some(Subject { principal, session, scope: None });
        }
        let mut keys = caller.directory().keys.iter().map(|(_, key)| key);
        let key = keys.find(|key| key.id.0 == principal.id && key.tenant == self.tenant)?;
        // One that is revoked, disabled or over decides nothing any more.
        if key.standing.refuses(self.now_us).is_some() {
            return None;
        }
        let scope = caller.directory().permissions.names_of(&key.permits);
        let mut own = PermissionSet::default();
        scope.into_iter().filter_map(|name| self.permissions.id(name)).for_each(|bit| own.insert(bit));
        Some(Subject { principal: key.owner, session: None, scope: Some(own) })
    }

    /// The word for why, `granted` for yes.
    pub fn decide(
        &self,
        subject: Option<&Subject>,
        action: &str,
        (kind, id): (&str, &str),
        facts: Facts<'_>,
    ) -> &'static str {
        let (key, facts) = (ResourceKey::new(kind, id), facts.on(kind, id));
        let Some(bit) = self.permissions.id(&format!("{kind}:{action}")) else { return "unknown_permission" };
        let Some(Subject { principal, session, scope }) = subject else { return Reason::NoGrant.as_str() };
        let rights = self.table.rights_in(principal, *session);
        let owned = may_on(&self.table, rights, bit, key, (self.now_us, &facts));
        of_key(scope.map(|scope| scope.contains(bit)), owned).as_str()
    }

    /// The same for what is written.
    pub fn evaluate(
        &self,
        caller: &Caller,
        subject: &Entity,
        action: &Action,
        resource: &Entity,
        (context, batch): (&Map<String, Value>, &Batch),
    ) -> &'static str {
        let facts = Facts {
            batch: Some(batch),
            action: Some(&action.properties),
            principal: Some(&subject.properties),
            resource: Some(&resource.properties),
            ..Facts::of_context(context)
        };
        let who = self.subject(caller, subject);
        self.decide(who.as_ref(), &action.name, (&resource.kind, &resource.id), facts)
    }
}

/// Who is asked about.
pub struct Subject {
    /// In whose right.
    pub principal: Principal,
    /// In which of its sessions, if the question names one (the subject's property `session`).
    session: Option<SessionId>,
    scope: Option<PermissionSet>,
}
