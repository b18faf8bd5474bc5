//! A plane, made ready for look-ups.

use std::collections::HashMap;

use rowhouse_domain::id::TenantId;

use crate::plane::{Plane, PlaneCell, PlanePlace};
use crate::{ContextKeys, DatabaseKey};

/// One version of a plane with its indexes.
pub(crate) struct View {
    plane: Plane,
    context_keys: ContextKeys,
    /// Position in `plane.databases` by cell and database.
    databases: HashMap<(String, String), usize>,
}

impl View {
    pub fn new(plane: Plane) -> Self {
        let context_keys = ContextKeys::from_jwks(&plane.jwks);
        let name = |at: usize| (plane.databases[at].cell.clone(), plane.databases[at].database.clone());
        let databases = (0..plane.databases.len()).map(|at| (name(at), at)).collect();
        View { plane, context_keys, databases }
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

    /// How many connections this process may have to a server.
    pub fn budget(&self, host: &str, port: u16) -> Option<u32> {
        self.plane
            .cells
            .values()
            .find(|cell| cell.host == host && cell.port == port)
            .map(|cell| cell.connections)
    }
}
