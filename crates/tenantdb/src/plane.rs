//! What a service's process is told about the tenants' databases: where each tenant lies, with which rights, the keys
//! that sign contexts, and the keys that verify the gateway's context header.
//!
//! The control plane answers it as JSON to
//! `GET /internal/v1/tenantdb/watch?service=<service>&after=<version>[&tenant=<tenant>]` on its Unix socket: at once
//! if it has a newer version, else after at most [`HOLD_S`] seconds with 204. With `tenant`, only that tenant's place
//! is in it (a process of an instance of its own holds no other's keys). A plane holds secrets: it is sent over a
//! socket that only the services' user can open, and kept in a file with mode 0600.

use std::collections::{BTreeMap, BTreeSet};

use rowhouse_domain::id::TenantId;
use rowhouse_domain::tenancy::Isolation;
use serde::{Deserialize, Serialize};

use crate::{DatabaseKey, Rights};

/// Where the control plane answers planes.
pub const WATCH_PATH: &str = "/internal/v1/tenantdb/watch";

/// How long the control plane holds a request that has nothing new, in seconds.
pub const HOLD_S: u64 = 25;

/// One version of everything a service's process needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plane {
    /// Raised with every change; never goes back.
    pub version: u64,
    /// The service this plane is for.
    pub service: String,
    /// Functions that the service's own migrations define; its statements may call them.
    #[serde(default)]
    pub functions: BTreeSet<String>,
    /// Servers by name.
    pub cells: BTreeMap<String, PlaneCell>,
    /// Databases and their context keys.
    pub databases: Vec<PlaneDatabase>,
    /// Tenants' places; a tenant that is not here is unknown.
    pub places: BTreeMap<TenantId, PlanePlace>,
    /// The gateway's public keys, as JWKs (RFC 8037 §2).
    pub jwks: Vec<PlaneJwk>,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaneCell {
    /// Directory of its Unix socket, or a loopback address.
    pub host: String,
    /// Port (part of the socket's name too).
    pub port: u16,
    /// How many connections this process may have open to it, over all pools.
    pub connections: u32,
    /// The server is below the floor of known holes: the firewall refuses more.
    #[serde(default)]
    pub strict: bool,
}

/// A database that holds tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaneDatabase {
    /// Name of the cell.
    pub cell: String,
    /// Name of the database.
    pub database: String,
    /// The key to sign with.
    pub key: DatabaseKey,
}

/// Where one tenant lies, for this service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanePlace {
    /// Level.
    pub isolation: Isolation,
    /// Name of the cell.
    pub cell: String,
    /// Database.
    pub database: String,
    /// The service's schema in it.
    pub schema: String,
    /// Login: `rh_app` on `shared`, the tenant's own above.
    pub login: String,
    /// Raised by each move.
    pub epoch: u64,
    /// What the tenant may do just now.
    pub rights: Rights,
    /// Size of its pool (a shared place uses the shared pool's).
    pub connections: u32,
}

/// A public key of the gateway: `{"kty":"OKP","crv":"Ed25519","kid":"…","x":"<base64url>"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaneJwk {
    /// `OKP`.
    pub kty: String,
    /// `Ed25519`.
    pub crv: String,
    /// Key id of the token's header.
    pub kid: String,
    /// The 32 bytes, base64url without padding.
    pub x: String,
}

impl PlaneJwk {
    /// The JWK of an Ed25519 public key whose base64url text is `x`.
    pub fn ed25519(kid: impl Into<String>, x: impl Into<String>) -> Self {
        PlaneJwk { kty: "OKP".to_owned(), crv: "Ed25519".to_owned(), kid: kid.into(), x: x.into() }
    }
}
