//! Services and routes: what a request is matched to, and what that asks for.

mod balance;
mod circuit;
mod conditions;
mod cors;
mod discovered;
mod explain;
mod health;
mod path;
mod probe;
mod release;
mod seen;
mod table;
mod transform;
mod tree;
mod upstream_tls;

use std::collections::BTreeMap;

pub use balance::{PeakEwma, turns};
pub use circuit::Circuit;
pub use conditions::{Circumstances, Conditions};
pub use cors::Cors;
pub use discovered::Discovered;
pub use explain::{Asked, Considered, Explained, ExplainedRefusal, explain};
pub use health::Health;
pub use path::{PathError, normalise, one_reading};
pub use probe::{HealthCheck, ProbeKind, Probed};
pub use release::{
    BadTraffic, CompiledTraffic, ReleaseDefinition, SPLIT_TENANTS_MAX, SPLITS_MAX, Split, SplitCaller,
    SplitHeader, StickyBy, Traffic,
};
pub use seen::{CircuitState, SEEN_MAX, Seen, SeenBoard, Trouble};
use serde::{Deserialize, Serialize};
pub use table::{Match, Matched, Route, RouteTable, TableError};
pub use transform::{
    AnswerTransform, Deprecation, Edits, RequestTransform, is_reserved_in_answers, is_reserved_in_requests,
};

pub use upstream_tls::UpstreamTls;

/// Something the operator runs behind the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceDefinition {
    /// `[a-z][a-z0-9._-]{0,62}`.
    pub name: String,
    /// Addresses of its running copies, `host:port`, or names that DNS knows them by ([`Discovered`]); a tenant with an instance of its own has others.
    pub upstreams: Vec<String>,
    /// `http1`, `http2` (prior knowledge) or `grpc` (which is the same) towards the upstream.
    #[serde(default = "http1")]
    pub protocol: String,
    /// Which of its copies is asked.
    #[serde(default, skip_serializing_if = "Balancing::is_default")]
    pub balancing: Balancing,
    /// How often a copy comes, 1 to 100, by its address, for `weighted`; 1 for those that are not named.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, u32>,
    /// How its copies are asked whether they are well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// The name of the release that `upstreams` run; needed where there are others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Further releases, each with copies of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub releases: Vec<ReleaseDefinition>,
    /// How its copies are spoken to in TLS; in the clear if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
    /// Which pages of other origins may call it; where nothing is said it answers such questions itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Whether its `Rowhouse-Usage` header is believed.
    #[serde(default)]
    pub reports_usage: bool,
    /// Time to connect, 1 to 60,000 ms.
    #[serde(default = "connect_default")]
    pub connect_timeout_ms: u32,
    /// Time until the first byte of the answer, 1 to 600,000 ms.
    #[serde(default = "first_byte_default")]
    pub first_byte_timeout_ms: u32,
}

/// Which copy of a service is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balancing {
    /// In turn.
    #[default]
    RoundRobin,
    /// The one with the fewest requests that it has not answered.
    LeastConnections,
    /// The same one for the same tenant, as long as it is healthy.
    Hash,
    /// In turn, each as often as its weight says.
    Weighted,
    /// Of two drawn at random, the one that answers sooner for what it has to do (peak EWMA, power of two choices).
    PeakEwma,
}

impl ServiceDefinition {
    /// Whether its copies are spoken to in HTTP/2.
    pub fn speaks_http2(&self) -> bool {
        matches!(self.protocol.as_str(), "http2" | "grpc")
    }

    /// A service as it is when only its name and copies are declared.
    pub fn new(name: &str, upstreams: &[&str]) -> Self {
        ServiceDefinition {
            name: name.to_owned(),
            upstreams: upstreams.iter().map(|address| (*address).to_owned()).collect(),
            protocol: http1(),
            balancing: Balancing::default(),
            weights: BTreeMap::new(),
            health: None,
            release: None,
            releases: Vec::new(),
            tls: None,
            cors: None,
            reports_usage: false,
            connect_timeout_ms: connect_default(),
            first_byte_timeout_ms: first_byte_default(),
        }
    }
}

impl Balancing {
    fn is_default(&self) -> bool {
        *self == Balancing::default()
    }
}

/// Whether repeating a request does what doing it once does (RFC 9110 §9.2.2).
pub fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "TRACE")
}

fn http1() -> String {
    "http1".to_owned()
}
fn connect_default() -> u32 {
    1_000
}
fn first_byte_default() -> u32 {
    30_000
}
fn one() -> u32 {
    1
}
fn body_default() -> u64 {
    10 * 1024 * 1024
}

/// When usage of a metering rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum CountWhen {
    /// An upstream answered with a status below 500.
    #[default]
    AnsweredBelow500,
    /// An upstream answered.
    Answered,
    /// An upstream answered with a status below 400.
    Success,
    /// Always, refusals too.
    Always,
    /// Never by the rule: the quantity is only reserved against the quota, and what the service reports in
    /// `Rowhouse-Usage` is what counts.
    Reported,
    /// Each message of a WebSocket, in both directions; counted when it ends.
    Message,
}

impl CountWhen {
    /// Whether an answer counts; `status` is `None` when no upstream answered.
    pub fn counts(self, status: Option<u16>) -> bool {
        match (self, status) {
            (CountWhen::Always, _) | (CountWhen::Answered, Some(_)) => true,
            (CountWhen::AnsweredBelow500, Some(status)) => status < 500,
            (CountWhen::Success, Some(status)) => status < 400,
            (CountWhen::Message, Some(status)) => status == 101,
            (CountWhen::Reported, _) | (_, None) => false,
        }
    }

    /// Whether a request counts that the service has, and whose answer nobody will ever see: perhaps the work was done. What only
    /// the answer could say (how much, or how many messages) does not.
    pub fn counts_unheard(self) -> bool {
        !matches!(self, CountWhen::Reported | CountWhen::Message)
    }
}

/// What a request to a route counts as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeteringRule {
    /// The meter.
    pub meter: String,
    /// How much, as a decimal string.
    pub quantity: String,
    /// When.
    #[serde(default)]
    pub count_when: CountWhen,
}

/// Which requests of a route become audit events. Refused authorisation always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum AuditPolicy {
    /// None.
    None,
    /// POST, PUT, PATCH and DELETE.
    #[default]
    Changes,
    /// All.
    All,
}

impl AuditPolicy {
    /// Whether a served request with `method` becomes an event.
    pub fn records(self, method: &str) -> bool {
        match self {
            AuditPolicy::None => false,
            AuditPolicy::Changes => matches!(method, "POST" | "PUT" | "PATCH" | "DELETE"),
            AuditPolicy::All => true,
        }
    }
}

/// What a route's writing methods add to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Writes {
    /// The tenant's storage: they are stopped when it is full.
    Storage,
    /// Nothing that is kept.
    Nothing,
}

/// Maps requests to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteDefinition {
    /// `[a-z][a-z0-9._-]{0,62}`.
    pub name: String,
    /// The service.
    pub service: String,
    /// Methods in upper case; empty means all.
    #[serde(default)]
    pub methods: Vec<String>,
    /// `/v1/stamps` (exact), `/v1/stamps/{stamp_id}` (template) or `/v1/files/*` (prefix).
    pub path: String,
    /// What a request must be besides, as the version of an API that it asks for.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub when: Conditions,
    /// Breaks ties; higher first.
    #[serde(default)]
    pub priority: i32,
    /// The permission that is needed, `type:action`.
    #[serde(default)]
    pub permission: Option<String>,
    /// Or only the type, and the action comes from the method.
    #[serde(default)]
    pub resource_type: Option<String>,
    /// Open to callers without a credential.
    #[serde(default)]
    pub public: bool,
    /// The thing that the permission is needed on; if not said, it is needed on the whole tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<RouteResource>,
    /// The capture that names the resource, for the audit log.
    #[serde(default)]
    pub resource_from: Option<String>,
    /// What its requests count as.
    #[serde(default)]
    pub metering: Vec<MeteringRule>,
    /// Which requests become audit events.
    #[serde(default)]
    pub audit: AuditPolicy,
    /// Units that a request to it costs of each limit, 0 to 1,000,000.
    #[serde(default = "one")]
    pub cost: u32,
    /// Whether requests other than GET, HEAD, OPTIONS and DELETE store something; if not said, POST, PUT and PATCH do
    /// when the service has tables.
    #[serde(default)]
    pub writes: Option<Writes>,
    /// Whether it will go away, which its answers tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<Deprecation>,
    /// What is changed in requests on their way to the service.
    #[serde(default, skip_serializing_if = "RequestTransform::is_empty")]
    pub request: RequestTransform,
    /// What is changed in answers on their way back.
    #[serde(default, skip_serializing_if = "AnswerTransform::is_empty")]
    pub answer: AnswerTransform,
    /// Whether a connection may be turned into a WebSocket (RFC 6455), and so stay open as long as both want.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub websocket: bool,
    /// Largest body, in bytes.
    #[serde(default = "body_default")]
    pub body_max_bytes: u64,
    /// Time for the whole request, 1 to 3,600,000 ms.
    #[serde(default)]
    pub timeout_ms: Option<u32>,
    /// How long the service may say nothing in the middle of its answer, 1 to 3,600,000 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_ms: Option<u32>,
}

impl RouteDefinition {
    /// A route as it is when only its name, service and path are declared. It asks for nothing yet, so that it does not
    /// compile before it names a permission or says that it is public.
    pub fn new(name: &str, service: &str, path: &str) -> Self {
        RouteDefinition {
            name: name.to_owned(),
            service: service.to_owned(),
            methods: Vec::new(),
            path: path.to_owned(),
            when: Conditions::default(),
            deprecated: None,
            websocket: false,
            request: RequestTransform::default(),
            answer: AnswerTransform::default(),
            priority: 0,
            permission: None,
            resource_type: None,
            public: false,
            resource: None,
            resource_from: None,
            metering: Vec::new(),
            audit: AuditPolicy::default(),
            cost: one(),
            writes: None,
            body_max_bytes: body_default(),
            timeout_ms: None,
            idle_timeout_ms: None,
        }
    }
}

/// Where a route's request says which thing it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteResource {
    /// Its resource type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `path.{capture}`, as `path.stamp_id`.
    pub id_from: String,
}

impl RouteResource {
    /// The capture of the path that is the id.
    pub fn capture(&self) -> Option<&str> {
        self.id_from.strip_prefix("path.").filter(|name| !name.is_empty())
    }
}

/// The action that a method means for a route with only a `resource_type`.
pub fn action_of_method(method: &str) -> Option<&'static str> {
    Some(match method {
        "GET" | "HEAD" => "read",
        "POST" => "create",
        "PUT" | "PATCH" => "update",
        "DELETE" => "delete",
        _ => return None,
    })
}
