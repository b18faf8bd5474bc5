//! On which ground a statement stands: whose it is, and how much there is beside it that it must not touch.

use std::collections::BTreeSet;

/// The level of isolation, as far as the firewall tells it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Tables that all tenants share: nothing of the catalog.
    Shared,
    /// A schema beside others' schemas: of the catalog, types.
    Schema,
    /// A database or server of the tenant's own: the catalog is its own.
    Own,
}

impl Level {
    /// The word in keys of the cache.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Level::Shared => "shared",
            Level::Schema => "schema",
            Level::Own => "own",
        }
    }
}

/// What a verdict depends on besides the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    /// The service.
    pub service: String,
    /// The level.
    pub level: Level,
    /// The server is below the floor of known holes: `ON CONFLICT DO UPDATE … WHERE` is refused too.
    pub strict: bool,
    /// Schemas that names may be qualified with.
    pub schemas: BTreeSet<String>,
    /// Functions that the service's migrations define.
    pub functions: BTreeSet<String>,
}

impl Ground {
    /// The ground of `service` on `level`, without functions of its own.
    pub fn new(service: &str, level: Level) -> Self {
        Ground {
            service: service.to_owned(),
            level,
            strict: false,
            schemas: BTreeSet::from([service.replace('-', "_")]),
            functions: BTreeSet::new(),
        }
    }
}
