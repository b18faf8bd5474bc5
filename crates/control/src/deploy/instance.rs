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
