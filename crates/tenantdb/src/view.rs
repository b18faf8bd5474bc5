//! A plane, made ready for look-ups.

use std::collections::HashMap;

use std::sync::Arc;

use rowhouse_domain::id::TenantId;
use rowhouse_domain::tenancy::Isolation;
use rowhouse_firewall::{Ground, Level};

use crate::plane::{Plane, PlaneCell, PlanePlace};
use crate::{ContextKeys, DatabaseKey};

/// One version of a plane with its indexes.
pub(crate) struct View {
    plane: Plane,
    context_keys: ContextKeys,
    /// Position in `plane.databases` by cell and database.
    databases: HashMap<(String, String), usize>,
    /// What the firewall stands on, by level and whether the server is below the floor.
    grounds: HashMap<(Level, bool), Arc<Ground>>,
}

/// The level as the firewall tells it apart.
pub(crate) fn level(isolation: Isolation) -> Level {
    match isolation {
        Isolation::Shared => Level::Shared,
        Isolation::Schema => Level::Schema,
        Isolation::Database | Isolation::Instance => Level::Own,
    }
}

impl View {
    pub fn new(plane: Plane) -> Self {
        let context_keys = ContextKeys::from_jwks(&plane.jwks);
        let name = |at: usize| (plane.databases[at].cell.clone(), plane.databases[at].database.clone());
        let databases = (0..plane.databases.len()).map(|at| (name(at), at)).collect();
        let grounds = [Level::Shared, Level::Schema, Level::Own]
            .into_iter()
            .flat_map(|level| [(level, false), (level, true)])
            .map(|(level, strict)| {
                let functions = plane.functions.clone();
                (
                    (level, strict),
                    Arc::new(Ground { strict, functions, ..Ground::new(&plane.service, level) }),
                )
            })
            .collect();
        View { plane, context_keys, databases, grounds }
    }

    /// The service whose plane this is.
    pub fn service(&self) -> &str {
        &self.plane.service
    }

    pub fn version(&self) -> u64 {
        self.plane.version
    }

    pub fn context_keys(&self) -> &ContextKeys {
        &self.context_keys
    }

    /// Where the tenant lies, on which server, and the key of that database.
    pub fn find(&self, tenant: TenantId) -> Option<(&PlanePlace, &PlaneCell, &DatabaseKey)> {
        let place = self.plane.places.get(&tenant)?;
        let cell = self.plane.cells.get(&place.cell)?;
        let at = *self.databases.get(&(place.cell.clone(), place.database.clone()))?;
        Some((place, cell, &self.plane.databases[at].key))
    }

    /// What statements at `place` are judged by.
    pub fn ground(&self, place: &PlanePlace, cell: &PlaneCell) -> Arc<Ground> {
        self.grounds[&(level(place.isolation), cell.strict)].clone()
    }

    /// How many connections this process may have to a server.
    pub fn budget(&self, host: &str, port: u16) -> Option<u32> {
        self.plane
            .cells
            .values()
            .find(|cell| cell.host == host && cell.port == port)
            .map(|cell| cell.connections)
    }
}
