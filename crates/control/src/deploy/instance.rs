//! What an instance is to be, and what it was found to be.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an instance is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Desired {
    /// Whether it is to be at all; `false` takes it away with all it holds.
    pub present: bool,
    /// Its directory: 16 hexadecimal digits, random.
    pub directory: String,
    /// Its own processes.
    pub applications: Vec<Application>,
    /// Ids of the operating system that are this tenant's alone, where root runs Rowhouse.
    #[serde(default)]
    pub ids: Option<Ids>,
}

/// User ids without a line in `/etc/passwd`, of one tenant alone: what runs as one of them reaches nothing of anybody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ids {
    /// The server's user and group.
    pub server: u32,
    /// The user of its own processes; their group is the server's.
    pub processes: u32,
}

/// A tenant's own process of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Application {
    /// The service.
    pub service: String,
    /// Where it listens, on the loopback interface.
    pub port: u16,
}

impl Application {
    /// Where the gateway reaches it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Where an instance stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// On its way to what it is to be.
    #[default]
    Starting,
    /// As it is to be.
    Running,
    /// Something did not start; it is tried again.
    Failed,
    /// Nothing of it is left.
    Gone,
}

/// What an instance was found to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Observed {
    /// Where it stands.
    pub phase: Phase,
    /// Its server, once it answers.
    pub server: Option<ObservedServer>,
    /// Its processes.
    pub applications: Vec<ObservedApplication>,
    /// Why something did not start.
    pub problem: Option<String>,
}

/// A server that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ObservedServer {
    /// Directory of its socket.
    pub host: String,
    /// Port in the socket's name.
    pub port: u16,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ObservedApplication {
    /// The service.
    pub service: String,
    /// Where it listens.
    pub address: String,
    /// Its process, while it runs.
    pub pid: Option<i32>,
    /// Whether it takes connections.
    pub serving: bool,
}

impl Observed {
    /// Whether the tenant's own process of `service` takes connections.
    pub fn serves(&self, service: &str) -> bool {
        self.applications.iter().any(|application| application.service == service && application.serving)
    }
}
