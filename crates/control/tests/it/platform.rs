//! A control plane for one test: a database of its own on one server of this process, a journal in a directory
//! of its own, a clock that is moved by hand.

mod databases;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rowhouse_control::identity::{Hashing, HashingSettings};
use rowhouse_control::outbound::{Outbound, Settings as OutboundSettings};
use rowhouse_control::{Control, Settings, Shared};
use rowhouse_domain::access::{self, AccessTable, GrantDefinition, GrantEffect, GrantTarget, Principal};
use rowhouse_domain::access::{PrincipalKind, RoleCatalogue};
use rowhouse_domain::clock::{Clock, Hand};
use rowhouse_domain::context::ContextSigner;
use rowhouse_domain::directory::{Directory, DirectoryWatch, Key, Naming, Tenant};
use rowhouse_domain::entropy::Entropy;
use rowhouse_domain::id::{KeyId, OPERATOR_TENANT, TenantId};
use rowhouse_domain::keys::{self, Environment, KeyStanding, KeyState, Pepper, Peppers};
use rowhouse_domain::tenancy::{Isolation, Status};
use rowhouse_journal::{Journal, Options};
use rowhouse_store::Store;
use rowhouse_store::pool::PoolBounds;
use rowhouse_store::server::{PrivateServer, SUPERUSER};
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio_postgres::NoTls;
use uuid::Uuid;

use self::databases::{Database, migrate, server};
pub use self::databases::{execute, scratch, server_spec};

/// 2026-11-21T10:00:00Z.
pub const START_US: i64 = 1_795_255_200_000_000;
/// Nothing in these tests takes so long; what does has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Everything a test works with.
pub struct Platform {
    pub control: Shared,
    pub journal: Arc<Journal>,
    pub hand: Hand,
    pub config: tokio_postgres::Config,
    _directory: Scratch,
    database: Option<Arc<Database>>,
    address: OnceCell<SocketAddr>,
}

/// A directory that is removed at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Platform {
    /// A platform with a database of its own on the shared server.
    pub async fn start() -> Platform {
        let server = tokio::task::spawn_blocking(server).await.expect("the server");
        Platform::on_copy(server.connect_config("postgres", SUPERUSER), "template").await
    }

    /// A platform on a server of the test's own, which it may stop.
    pub async fn on_own_server(server: &PrivateServer) -> Platform {
        Platform::on_own_server_with(server, |_| ()).await
    }

    /// The same with other settings.
    pub async fn on_own_server_with(server: &PrivateServer, change: impl FnOnce(&mut Settings)) -> Platform {
        migrate(&server.connect_config("postgres", SUPERUSER), "rowhouse").await;
        let config = server.connect_config("rowhouse", SUPERUSER);
        let mut platform = Platform::on(config);
        change(&mut Arc::get_mut(&mut platform.control).expect("nobody else has it yet").settings);
        platform
    }

    /// Another process on the same database.
    pub fn beside(&self) -> Platform {
        Platform { database: self.database.clone(), ..Platform::on(self.config.clone()) }
    }

    /// Platforms on copies of this one's database as it is now. This one is over.
    pub async fn copies<const N: usize>(self) -> [Platform; N] {
        let Platform { config: mut admin, database, .. } = self;
        let database = database.expect("a database of its own on the shared server");
        let source = database.name();
        admin.dbname("postgres");
        // Whoever is still connected stands in the way of a copy.
        execute(&admin, &format!("ALTER DATABASE {source} ALLOW_CONNECTIONS false")).await;
        let connected = format!("FROM pg_stat_activity WHERE datname = '{source}'");
        execute(&admin, &format!("SELECT pg_terminate_backend(pid, 10000) {connected}")).await;
        let mut platforms = Vec::new();
        for _ in 0..N {
            platforms.push(Platform::on_copy(admin.clone(), source).await);
        }
        platforms.try_into().unwrap_or_else(|_| unreachable!("N platforms were made"))
    }

    /// On a copy of the database `source` of the shared server.
    async fn on_copy(admin: tokio_postgres::Config, source: &str) -> Platform {
        let database = Database::copy(admin, source).await;
        let platform = Platform::on(database.config());
        Platform { database: Some(Arc::new(database)), ..platform }
    }

    fn on(config: tokio_postgres::Config) -> Platform {
        let directory = scratch("journal");
        let (clock, hand) = Clock::by_hand(START_US);
        let mut options = Options::new("n1");
        options.segment_bytes = 1024 * 1024;
        let (journal, _) = Journal::open(&directory, options).expect("a journal");
        let journal = Arc::new(journal);
        let control = Arc::new(control(config.clone(), clock, &journal, directory.join("messages")));
        let (directory, address) = (Scratch(directory), OnceCell::new());
        Platform { control, journal, hand, config, _directory: directory, database: None, address }
    }

    /// A tenant that the directory knows, and a key of its own with these permissions.
    pub fn tenant(&self, number: u128, code: &str, permissions: &[&str]) -> (TenantId, String) {
        let id = TenantId::from_u128(number);
        let owner = Principal { kind: PrincipalKind::ServiceAccount, id: Uuid::from_u128(number + 1000) };
        let mut directory = (*self.control.directory.current()).clone();
        directory.version += 1;
        let all = directory.permissions.clone();
        let grants: Vec<_> = permissions
            .iter()
            .map(|permission| GrantDefinition {
                principal: owner,
                effect: GrantEffect::Allow,
                target: GrantTarget::Permission((*permission).into()),
                valid_from_us: None,
                valid_until_us: None,
            })
            .collect();
        let access = access::compile(1, &grants, &RoleCatalogue::default(), &all);
        directory.put_tenant(tenant_entry(id, code, access));
        let (text, public_id) = keys::generate(Environment::Live, "eu1", self.control.entropy());
        let mut permits = access::PermissionSet::default();
        for permission in permissions {
            permits.extend(&all.matching(permission).expect("a declared permission"));
        }
        let pepper = self.control.peppers.current();
        let key = Key {
            id: KeyId(self.control.entropy().uuid_v7(START_US)),
            tenant: id,
            owner,
            environment: Environment::Live,
            standing: KeyStanding {
                state: KeyState::Active,
                not_before_us: None,
                expires_at_us: None,
                owner_enabled: true,
            },
            digest: pepper.digest(&text),
            pepper: pepper.version(),
            permits,
            narrowed: None,
            family: KeyId::from_u128(1),
        };
        directory.keys.insert(public_id, Arc::new(key));
        self.control.directory.publish(directory);
        (id, text)
    }

    /// Where messages to people are put.
    pub fn mail_folder(&self) -> PathBuf {
        self._directory.0.join("messages")
    }

    /// The operator, with every permission.
    pub fn operator(&self) -> String {
        self.tenant(OPERATOR_TENANT.as_u128(), "operator", &["*:*"]).1
    }

    /// Sends a request to the control API; status and body of the answer.
    pub async fn call(&self, key: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.call_with(key, (method, path), None, body).await
    }

    /// The same with a further header.
    pub async fn call_with(
        &self,
        key: &str,
        (method, path): (&str, &str),
        further: Option<(&str, &str)>,
        body: Option<Value>,
    ) -> (u16, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "control.test")
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json");
        if let Some((name, value)) = further {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(Bytes::from(body.map_or(String::new(), |body| body.to_string()))))
            .expect("a request");
        self.send(request).await
    }

    /// The same without any credential.
    pub async fn call_as_nobody(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "control.test")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .expect("a request");
        self.send(request).await
    }

    /// A page as a browser gets it, or what it answers to a form.
    pub async fn page(&self, method: &str, path: &str, form: &str) -> (u16, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "control.test")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form.to_owned())))
            .expect("a request");
        let (status, body) = self.send_raw(request).await;
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    /// A form with one header more.
    pub async fn form_with(&self, path: &str, (name, value): (&str, &str), form: &str) -> (u16, String) {
        let request = Request::builder()
            .method("POST")
            .uri(path)
            .header("host", "control.test")
            .header("content-type", "application/x-www-form-urlencoded")
            .header(name, value)
            .body(Full::new(Bytes::from(form.to_owned())))
            .expect("a request");
        let (status, body) = self.send_raw(request).await;
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    /// Asks the control API; panics unless it answers 200.
    pub async fn get(&self, key: &str, path: &str) -> Value {
        let (status, body) = self.call(key, "GET", path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// A GET whose body is not JSON.
    pub async fn fetch(&self, key: &str, path: &str) -> (u16, Vec<u8>) {
        let request = Request::builder()
            .uri(path)
            .header("host", "control.test")
            .header("authorization", format!("Bearer {key}"))
            .body(Full::default())
            .expect("a request");
        let (status, body) = self.send_raw(request).await;
        (status, body.to_vec())
    }

    /// Sends one request over a connection of its own.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> (u16, Value) {
        let (status, body) = self.send_raw(request).await;
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn send_raw(&self, request: Request<Full<Bytes>>) -> (u16, Bytes) {
        let (status, _, body) = self.exchange(request).await;
        (status, body)
    }

    /// Sends one request over a connection of its own; with the headers of the answer.
    pub async fn exchange(&self, request: Request<Full<Bytes>>) -> (u16, http::HeaderMap, Bytes) {
        let address = *self.address.get_or_init(|| serve(&self.control)).await;
        let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(request).await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        drop(sender);
        let _ = driver.await;
        (status, headers, body)
    }

    /// The first column of the only row of `sql`, as text, past row-level security.
    pub async fn ask(&self, sql: &str) -> String {
        let (client, connection) = self.config.connect(NoTls).await.expect("a connection");
        let driver = tokio::spawn(connection);
        let rows = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        drop(client);
        driver.await.expect("the connection's task").expect("the connection ends well");
        let cell = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
            _ => None,
        });
        cell.unwrap_or_else(|| "no row".to_owned())
    }

    /// Runs `sql` past row-level security.
    pub async fn execute(&self, sql: &str) {
        execute(&self.config, sql).await;
    }
}

/// Serves the control API on loopback, as long as the test runs.
async fn serve(control: &Shared) -> SocketAddr {
    let app = rowhouse_control::api::router(control.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let bounds = rowhouse_control::api::Bounds::of(1_024, &control.settings.trusted_proxies);
    let (running, stop) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        rowhouse_control::api::listen(listener, app, bounds, stop).await;
        drop(running);
    });
    address
}

fn control(config: tokio_postgres::Config, clock: Clock, journal: &Journal, messages: PathBuf) -> Control {
    // Repeatable and never the same twice: a counter, mixed.
    let counter = AtomicU64::new(1);
    let entropy = Entropy::new(move |bytes| {
        for chunk in bytes.chunks_mut(8) {
            let next = counter.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (next ^ (next >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes();
            chunk.copy_from_slice(&mixed[..chunk.len()]);
        }
    });
    let naming = Naming { region: "eu1".to_owned(), ..Naming::default() };
    let mut directory = Directory::empty();
    directory.naming = Arc::new(naming.clone());
    directory.permissions = Arc::new(permissions());
    let signer = ContextSigner::new("test", &[7; 32]);
    Control {
        store: Store::new(config, PoolBounds::default(), clock, entropy),
        directory: DirectoryWatch::new(directory),
        peppers: Peppers::new(vec![Pepper::new(1, &[9; 32])]),
        context_signer: signer,
        audit: rowhouse_control::audit::Keys::new([5; 32], "audit.test"),
        projections: Default::default(),
        usage_changes: Default::default(),
        resources: Default::default(),
        ingestion: rowhouse_control::metering::Ingestion::open(journal).expect("the lane of reported events"),
        sound: Default::default(),
        stock: Default::default(),
        fleet: Default::default(),
        nodes: Default::default(),
        upstreams: Default::default(),
        hashing: Hashing::new(HashingSettings { memory_kib: 64, passes: 1, permits: 2 }),
        sign_in_sources: Default::default(),
        missed_keys: Default::default(),
        outbound: Outbound::new(OutboundSettings {
            allow_networks: vec!["127.0.0.0/8".parse().expect("a block")],
            authorities: None,
        }),
        messages: rowhouse_control::messages::Post::to_folder(messages),
        settings: Settings {
            public_url: "http://127.0.0.1:8081".into(),
            node: "n1".into(),
            region: "eu1".into(),
            cursor_key: [3; 32],
            sealing_key: [4; 32],
            deploy: Default::default(),
            backups: Default::default(),
            naming,
            hosts: Default::default(),
            erase_now_by_two: false,
            below_floor: Default::default(),
            trusted_proxies: Vec::new(),
        },
    }
}

fn permissions() -> access::Permissions {
    let kinds = [
        "usage",
        "meter",
        "quota",
        "plan",
        "subscription",
        "invoice",
        "tenant",
        "key",
        "role",
        "audit",
        "user",
        "invitation",
    ];
    let actions = ["read", "create", "update", "delete"].map(str::to_owned).to_vec();
    let mut all: BTreeMap<_, _> = kinds.into_iter().map(|kind| (kind.to_owned(), actions.clone())).collect();
    all.insert("message".to_owned(), ["read", "send"].map(str::to_owned).to_vec());
    all.insert("audit".to_owned(), ["read", "export"].map(str::to_owned).to_vec());
    access::Permissions::new(&all).expect("few permissions")
}

fn tenant_entry(id: TenantId, code: &str, access: AccessTable) -> Tenant {
    Tenant {
        id,
        code: code.into(),
        tier: "basic".into(),
        isolation: Isolation::Shared,
        region: "eu1".into(),
        status: Status::Active,
        service: Status::Active.service(None, None),
        api_access: true,
        features: Vec::new(),
        enforcements: Vec::new(),
        imposed: Vec::new(),
        ended_sessions: Default::default(),
        issuers: Default::default(),
        authorities: Default::default(),
        access: Arc::new(access),
        limits: Vec::new(),
        quotas: Vec::new(),
        upstreams: Vec::new(),
        version: 1,
    }
}
