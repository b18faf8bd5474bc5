//! What a gateway in another process is told of the directory: everything at first, afterwards the difference of two
//! versions. Applying all parts of a change to the version it is from gives exactly the version it leads to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Directory, Key, Naming, Tenant, written};
use crate::access::Permissions;
use crate::id::TenantId;
use crate::identity::token::TokenKeys;
use crate::keys::PublicId;
use crate::limits::LimitDefinition;
use crate::routes::{CompiledTraffic, RouteDefinition, RouteTable, ServiceDefinition, TableError};
use crate::sharded::Sharded;

/// What belongs to no tenant. Told as a whole whenever anything of it changed: it is small.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Frame {
    #[serde(with = "written::shared")]
    naming: Arc<Naming>,
    #[serde(with = "written::shared")]
    services: Arc<[ServiceDefinition]>,
    #[serde(with = "written::shared")]
    traffic: Arc<[Option<CompiledTraffic>]>,
    /// As declared, in the table's order; the reader compiles them.
    routes: Vec<RouteDefinition>,
    #[serde(with = "written::shared")]
    limits: Arc<[LimitDefinition]>,
    #[serde(with = "written::shared")]
    permissions: Arc<Permissions>,
    #[serde(with = "written::shared")]
    tokens: Arc<TokenKeys>,
}

/// A change of the directory, or a part of one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    /// The version that it leads to.
    pub version: u64,
    /// The version that it is from; `None` is from nothing.
    pub from: Option<u64>,
    /// No part of it follows.
    pub is_last: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frame: Option<Frame>,
    #[serde(with = "written::shared_list")]
    tenants: Vec<Arc<Tenant>>,
    #[serde(with = "written::keys")]
    keys: Vec<(PublicId, Arc<Key>)>,
    hosts: Vec<(Box<str>, TenantId)>,
    gone_tenants: Vec<TenantId>,
    #[serde(with = "written::public_ids")]
    gone_keys: Vec<PublicId>,
    gone_hosts: Vec<Box<str>>,
}

/// Why a change cannot be applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChange {
    /// It is from another version than what is here.
    #[error("the change is from version {from}, and version {here} is here")]
    From {
        /// What it is from.
        from: u64,
        /// What is here.
        here: u64,
    },
    /// It begins with a part in the middle.
    #[error("the first change tells nothing of services and routes")]
    NoFrame,
    /// Its routes do not compile, as from a control plane of another release.
    #[error("its routes cannot be compiled: {0}")]
    Routes(#[from] TableError),
}

impl Change {
    /// What leads from `older` to `newer`; from nothing, everything.
    pub fn between(older: Option<&Directory>, newer: &Directory) -> Change {
        let nothing = Directory::empty();
        let base = older.unwrap_or(&nothing);
        let (tenants, gone_tenants) = newer.tenants.since(&base.tenants, Arc::ptr_eq);
        let same_key = |one: &Arc<Key>, other: &Arc<Key>| Arc::ptr_eq(one, other) || one == other;
        let (keys, gone_keys) = newer.keys.since(&base.keys, same_key);
        let (hosts, gone_hosts) = newer.hosts.since(&base.hosts, |one, other| one == other);
        Change {
            version: newer.version,
            from: older.map(|older| older.version),
            is_last: true,
            frame: (older.is_none() || !has_same_frame(base, newer)).then(|| Frame::of(newer)),
            tenants: tenants.into_iter().map(|(_, tenant)| tenant).collect(),
            keys,
            hosts,
            gone_tenants,
            gone_keys,
            gone_hosts,
        }
    }

    /// The same in parts of at most `entries_max` tenants, keys and hosts each, in the order to apply them in. A tenant
    /// comes before nothing that needs it: nothing of a change is seen before its last part.
    pub fn parts(mut self, entries_max: usize) -> Vec<Change> {
        let mut parts = Vec::new();
        while self.tenants.len() + self.keys.len() + self.hosts.len() > entries_max {
            let tenants = take(&mut self.tenants, entries_max);
            let keys = take(&mut self.keys, entries_max - tenants.len());
            let hosts = take(&mut self.hosts, entries_max - tenants.len() - keys.len());
            parts.push(Change {
                is_last: false,
                frame: self.frame.take(),
                tenants,
                keys,
                hosts,
                gone_tenants: std::mem::take(&mut self.gone_tenants),
                gone_keys: std::mem::take(&mut self.gone_keys),
                gone_hosts: std::mem::take(&mut self.gone_hosts),
                ..self
            });
        }
        parts.push(self);
        parts
    }

    /// Whether it begins from nothing.
    pub fn is_whole(&self) -> bool {
        self.from.is_none()
    }

    /// How much it tells: tenants, keys and hosts, those that are gone included.
    pub fn entries(&self) -> usize {
        self.tenants.len()
            + self.keys.len()
            + self.hosts.len()
            + self.gone_tenants.len()
            + self.gone_keys.len()
            + self.gone_hosts.len()
    }
}

/// The last `most` of a list.
fn take<T>(list: &mut Vec<T>, most: usize) -> Vec<T> {
    list.split_off(list.len().saturating_sub(most))
}

/// Whether nothing changed that belongs to no tenant. What was built anew with the same content counts as changed.
fn has_same_frame(one: &Directory, other: &Directory) -> bool {
    Arc::ptr_eq(&one.naming, &other.naming)
        && Arc::ptr_eq(&one.services, &other.services)
        && Arc::ptr_eq(&one.traffic, &other.traffic)
        && Arc::ptr_eq(&one.routes, &other.routes)
        && Arc::ptr_eq(&one.limits, &other.limits)
        && Arc::ptr_eq(&one.permissions, &other.permissions)
        && Arc::ptr_eq(&one.tokens, &other.tokens)
}

impl Frame {
    fn of(directory: &Directory) -> Frame {
        Frame {
            naming: directory.naming.clone(),
            services: directory.services.clone(),
            traffic: directory.traffic.clone(),
            routes: directory.routes.routes().iter().map(|route| route.definition.clone()).collect(),
            limits: directory.limits.clone(),
            permissions: directory.permissions.clone(),
            tokens: directory.tokens.clone(),
        }
    }
}

impl Directory {
    /// Applies a change, or a part of one. Its number is this directory's after the last part; what is half applied is
    /// nobody's to see. Parts that follow a first one come in order from one sender.
    ///
    /// # Errors
    /// If it is from another version, or cannot be compiled; this directory is as it was then.
    pub fn apply(&mut self, change: Change) -> Result<(), BadChange> {
        let here = self.version;
        if let Some(from) = change.from.filter(|from| *from != here) {
            return Err(BadChange::From { from, here });
        }
        if let Some(frame) = change.frame {
            self.put_frame(frame)?;
        } else if change.from.is_none() && self.routes.routes().is_empty() && self.permissions.is_empty() {
            return Err(BadChange::NoFrame);
        }
        change.gone_keys.iter().for_each(|id| self.keys.remove(id));
        change.gone_hosts.iter().for_each(|name| self.hosts.remove(&**name));
        change.gone_tenants.iter().for_each(|id| self.forget_tenant(*id));
        for tenant in change.tenants {
            self.forget_tenant(tenant.id);
            self.codes.insert(tenant.code.clone(), tenant.clone());
            self.tenants.insert(tenant.id, tenant);
        }
        change.keys.into_iter().for_each(|(id, key)| self.keys.insert(id, key));
        change.hosts.into_iter().for_each(|(name, tenant)| self.hosts.insert(name, tenant));
        if change.is_last {
            self.version = change.version;
        }
        Ok(())
    }

    fn put_frame(&mut self, frame: Frame) -> Result<(), BadChange> {
        let routes = RouteTable::new(&frame.routes, &frame.services, &frame.permissions)?;
        self.naming = frame.naming;
        self.services = frame.services;
        self.traffic = frame.traffic;
        self.routes = Arc::new(routes);
        self.limits = frame.limits;
        self.permissions = frame.permissions;
        self.tokens = frame.tokens;
        Ok(())
    }

    /// Takes a tenant's entry out, and its code unless that is another's by now.
    fn forget_tenant(&mut self, id: TenantId) {
        let Some(entry) = self.tenants.get(&id).cloned() else { return };
        self.tenants.remove(&id);
        if self.codes.get(&*entry.code).is_some_and(|holder| holder.id == id) {
            self.codes.remove(&*entry.code);
        }
    }
}

impl<K, V> Sharded<K, V>
where
    K: std::hash::Hash + Eq + Clone,
    V: Clone,
{
    /// What is new or another one than in `older`, and whose keys are gone. Looks at the shards that differ only.
    fn since(&self, older: &Self, same: impl Fn(&V, &V) -> bool) -> (Vec<(K, V)>, Vec<K>) {
        let (mut news, mut gone) = (Vec::new(), Vec::new());
        for (key, value) in self.entries_unlike(older) {
            if !older.get(key).is_some_and(|before| same(before, value)) {
                news.push((key.clone(), value.clone()));
            }
        }
        for (key, _) in older.entries_unlike(self) {
            if self.get(key).is_none() {
                gone.push(key.clone());
            }
        }
        (news, gone)
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
