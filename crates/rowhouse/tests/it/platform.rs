//! The built binary, started as a user would: a data directory of its own, real PostgreSQL, real HTTP. One platform
//! serves most stories, each with tenants of its own; stories that kill it start their own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::time::{Instant, interval, timeout};

/// Nothing in these stories takes so long; what does has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running Rowhouse.
pub struct Platform {
    data_dir: PathBuf,
    gateway: u16,
    control: u16,
    admin: u16,
    child: std::sync::Mutex<Option<Child>>,
    environment: Vec<(String, String)>,
    /// The operator's key.
    pub operator: String,
    /// The service behind the gateway: answers what it was sent.
    pub echo: u16,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Seen {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Seen {
    /// The status and, of a problem, the code.
    pub fn code(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or(""))
    }
}

/// A tenant with a principal and a key that may do everything in it.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub code: String,
    pub id: String,
    pub owner: String,
    pub key: String,
}

static SHARED: OnceCell<Platform> = OnceCell::const_new();
static NUMBER: AtomicU32 = AtomicU32::new(0);
static PORT: AtomicU16 = AtomicU16::new(0);

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    loop {
        let base = 26_000 + (std::process::id() % 4_000) as u16;
        let port = base + PORT.fetch_add(1, Ordering::Relaxed);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The platform that most stories share. It ends with this process: its guard sees the pipe close.
pub async fn shared() -> &'static Platform {
    SHARED.get_or_init(Platform::start).await
}

impl Platform {
    /// A platform of one's own.
    pub async fn start() -> Platform {
        Platform::start_with(&[]).await
    }

    /// A platform of one's own with further variables in its environment.
    pub async fn start_with(environment: &[(&str, &str)]) -> Platform {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let data_dir = std::env::temp_dir().join(format!("rowhouse-it-{}-{number}", std::process::id()));
        let mut platform = Platform {
            data_dir,
            gateway: free_port(),
            control: free_port(),
            admin: free_port(),
            child: std::sync::Mutex::new(None),
            operator: String::new(),
            echo: echo().await,
            environment: environment.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
        };
        platform.run().await;
        let key = std::fs::read_to_string(platform.data_dir.join("secrets/operator.key"))
            .expect("made at the start");
        platform.operator = key.trim().to_owned();
        platform.declare_echo().await;
        platform
    }

    /// Starts the process and waits until it is ready.
    pub async fn run(&self) {
        self.run_as(&["serve"]).await;
    }

    /// The same with these words of the command line.
    pub async fn run_as(&self, arguments: &[&str]) {
        let child = self.spawn(arguments);
        *self.child.lock().expect("no panic while held") = Some(child);
        self.ready().await;
    }

    /// Starts another process that takes over from the one that runs, waits until that one has ended and the other is ready.
    pub async fn upgrade(&self) {
        self.upgrade_as(&["serve", "--take-over"]).await;
    }

    /// The same with these words of the command line.
    pub async fn upgrade_as(&self, arguments: &[&str]) {
        let child = self.spawn(arguments);
        let before = self.child.lock().expect("no panic while held").replace(child);
        let ended = timeout(PATIENCE, before.expect("it runs").wait_with_output()).await;
        assert!(ended.expect("it ends in time").expect("it ran").status.success(), "{}", self.log());
        self.ready().await;
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        let address = |port| format!("127.0.0.1:{port}");
        std::fs::create_dir_all(&self.data_dir).expect("a directory");
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.data_dir.join("rowhouse.log"))
            .expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_rowhouse"))
            .args(arguments)
            .env("ROWHOUSE_SERVER__DATA_DIR", &self.data_dir)
            .env("ROWHOUSE_SERVER__GATEWAY_LISTEN", address(self.gateway))
            .env("ROWHOUSE_SERVER__CONTROL_LISTEN", address(self.control))
            .env("ROWHOUSE_SERVER__ADMIN_LISTEN", address(self.admin))
            .env("ROWHOUSE_JOURNAL__SEGMENT_MIB", "4")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the binary runs");
        follow_into_death(child.id().expect("it runs"), &self.data_dir);
        child
    }

    async fn ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut beat = interval(Duration::from_millis(25));
        loop {
            beat.tick().await;
            let ready = Call::get("/health/ready").try_send(self.admin).await;
            if ready.is_some_and(|seen| seen.status == 200) {
                return;
            }
            assert!(Instant::now() < deadline, "not ready; see {}", self.log());
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.data_dir.join("rowhouse.log")).unwrap_or_default()
    }

    /// `kill -9`.
    pub async fn kill(&self) {
        let child = self.child.lock().expect("no panic while held").take();
        child.expect("it runs").kill().await.expect("it dies");
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        let child = self.child.lock().expect("no panic while held");
        child.as_ref().and_then(Child::id).expect("it runs")
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Where the gateway listens, for who sends bytes of its own.
    pub fn gateway_port(&self) -> u16 {
        self.gateway
    }

    /// Where the control API, and metrics and health, listen.
    pub fn other_ports(&self) -> [u16; 2] {
        [self.control, self.admin]
    }

    /// A call through the gateway.
    pub async fn gateway(&self, call: Call) -> Seen {
        call.send(self.gateway).await
    }

    /// A call that may break off.
    pub async fn try_gateway(&self, call: Call) -> Option<Seen> {
        call.try_send(self.gateway).await
    }

    /// A call of the control API with `key`.
    pub async fn control(&self, key: &str, call: Call) -> Seen {
        call.header("authorization", &format!("Bearer {key}")).send(self.control).await
    }

    /// The operator's key.
    pub fn operator(&self) -> &str {
        &self.operator
    }

    /// A call of the control API that may break off.
    pub async fn try_control(&self, call: Call) -> Option<Seen> {
        call.try_send(self.control).await
    }

    /// A call of the operator that must succeed.
    pub async fn operate(&self, call: Call) -> Value {
        let shown = format!("{call:?}");
        let seen = self.control(&self.operator, call).await;
        assert!((200..300).contains(&seen.status), "{shown}: {} {}", seen.status, seen.body);
        seen.body
    }

    /// Where the control API is reached.
    pub fn control_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.control)
    }

    /// A page of the admin listener.
    pub async fn admin(&self, path: &str) -> Seen {
        Call::get(path).send(self.admin).await
    }

    async fn declare_echo(&self) {
        let mut catalog = self.operate(Call::get("/v1/catalog/export")).await;
        // All stories come from one address; what it may do is told by the gateway's own tests.
        for limit in catalog["limits"].as_array_mut().expect("a list") {
            if limit["name"] == "ip-arrival" {
                (limit["quota"], limit["burst"]) = (json!(1_000_000), json!(1_000_000));
            }
        }
        let push = |list: &mut Value, item: Value| list.as_array_mut().expect("a list").push(item);
        push(
            &mut catalog["services"],
            json!({"name": "echo", "upstreams": [format!("127.0.0.1:{}", self.echo)], "reports_usage": true}),
        );
        push(
            &mut catalog["resource_types"],
            json!({"name": "note", "service": "echo", "actions": ["create", "read", "update", "delete"], "role_defaults": "standard"}),
        );
        push(
            &mut catalog["routes"],
            json!({"name": "echo.notes", "service": "echo", "path": "/v1/notes/*", "resource_type": "note",
                "metering": [{"meter": "api_calls", "quantity": "1"}]}),
        );
        push(
            &mut catalog["routes"],
            json!({"name": "echo.open", "service": "echo", "path": "/open/*", "public": true}),
        );
        let plan = self.operate(Call::post("/v1/catalog/plan", catalog.clone())).await;
        let apply = json!({"plan": plan["digest"], "catalog": catalog, "prune": false});
        self.operate(Call::post("/v1/catalog/apply", apply)).await;
    }

    /// Makes a tenant and waits until it is served.
    pub async fn tenant(&self, code: &str, tier: &str, isolation: &str) -> Tenant {
        let body = json!({"code": code, "company_name": code, "tier": tier, "isolation": isolation});
        let operation = self.operate(Call::post("/v1/tenants", body)).await;
        self.ends(&operation["id"], "done").await;
        let id = text(&self.operate(Call::get(&format!("/v1/tenants/{code}"))).await["id"]);
        let accounts = self.operate(Call::get(&format!("/v1/service_accounts?tenant={code}"))).await;
        let owner = text(&accounts["items"][0]["id"]);
        let key = self.key(code, &owner, "tenant_admin").await;
        let tenant = Tenant { code: code.to_owned(), id, owner, key };
        self.until(200, || Call::get("/v1/notes/x").tenant(&tenant)).await;
        tenant
    }

    /// The text of a new key.
    pub async fn key(&self, tenant: &str, owner: &str, role: &str) -> String {
        text(&self.make_key(tenant, owner, role).await["key"])
    }

    /// A new key.
    pub async fn make_key(&self, tenant: &str, owner: &str, role: &str) -> Value {
        let owner = json!({"kind": "service_account", "id": owner});
        let body = json!({"name": role, "owner": owner, "roles": [role]});
        self.operate(Call::post(&format!("/v1/keys?tenant={tenant}"), body)).await
    }

    /// Follows an operation to its end, which must be `state`. It may take long, but not stand still for long.
    pub async fn ends(&self, id: &Value, state: &str) -> Value {
        let path = format!("/v1/operations/{}", text(id));
        let mut moved = Instant::now();
        let mut before = Value::Null;
        let mut pause = Duration::from_millis(25);
        loop {
            let operation = self.operate(Call::get(&path)).await;
            if operation["state"] != "running" {
                assert_eq!(operation["state"], state, "{operation}");
                return operation;
            }
            assert!(moved.elapsed() < PATIENCE, "it stands still: {operation}");
            if operation != before {
                (moved, before) = (Instant::now(), operation);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 5 / 4).min(Duration::from_millis(250));
        }
    }

    /// Calls the gateway until it answers with `status`: soon at first, and then more and more seldom, as a
    /// slow machine would otherwise see the caller's rate limit instead.
    pub async fn until(&self, status: u16, call: impl Fn() -> Call) {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(5);
        loop {
            let seen = self.gateway(call()).await;
            if seen.status == status {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "still {} {}, not {status}", seen.status, seen.body);
            tokio::time::sleep(pause).await;
            pause = (pause * 5 / 4).min(Duration::from_millis(250));
        }
    }

    /// Whole units of a meter, once they are `expected`; more is a failure at once.
    pub async fn counted(&self, tenant: &str, meter: &str, expected: u64) {
        let path = format!("/v1/usage?tenant={tenant}&meter={meter}&step=total");
        let deadline = Instant::now() + PATIENCE;
        let mut beat = interval(Duration::from_millis(25));
        loop {
            beat.tick().await;
            let answer = self.operate(Call::get(&path)).await;
            let counted: u64 = text(&answer["total"]["quantity"]).parse().expect("a whole number");
            assert!(counted <= expected, "{counted} counted, {expected} done");
            if counted == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{counted} counted, {expected} done");
        }
    }
}

/// Ends the process when this one ends, however it ends: a shell waits for the pipe to close. The platform that
/// tests share is never dropped.
#[allow(clippy::zombie_processes)] // it outlives this process, on purpose
pub fn follow_into_death(pid: u32, data_dir: &Path) {
    let shell = std::process::Command::new("sh")
        .args(["-c", "cat >/dev/null; kill -9 $0 2>/dev/null; sleep 2; rm -rf \"$1\""])
        .arg(pid.to_string())
        .arg(data_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    // Its pipe is open for as long as this process lives; it lives on, so nobody here waits for it.
    std::mem::forget(shell);
}

impl Drop for Platform {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.data_dir);
    }
}

/// The text of a field.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("expected text, found {value}")).to_owned()
}

/// A call to be made.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Value>,
}

impl Call {
    pub fn get(path: &str) -> Call {
        Call { method: Method::GET, path: path.to_owned(), headers: Vec::new(), body: None }
    }
    pub fn post(path: &str, body: Value) -> Call {
        Call { method: Method::POST, body: Some(body), ..Call::get(path) }
    }
    pub fn method(mut self, method: Method) -> Call {
        self.method = method;
        self
    }
    pub fn header(mut self, name: &str, value: &str) -> Call {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
    /// As `tenant`, by its subdomain and with its key.
    pub fn tenant(self, tenant: &Tenant) -> Call {
        self.header("host", &format!("{}.localhost", tenant.code)).header("x-api-key", &tenant.key)
    }

    async fn send(self, port: u16) -> Seen {
        let shown = format!("{self:?}");
        self.try_send(port).await.unwrap_or_else(|| panic!("no answer to {shown}"))
    }

    /// `None` if the connection broke.
    pub async fn try_send(self, port: u16) -> Option<Seen> {
        timeout(PATIENCE, self.exchange(port)).await.ok()?
    }

    async fn exchange(self, port: u16) -> Option<Seen> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        let driver = tokio::spawn(connection);
        let mut request = Request::builder().method(self.method).uri(&self.path);
        if !self.headers.iter().any(|(name, _)| name == "host") {
            request = request.header("host", "localhost");
        }
        if self.body.is_some() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let body = self.body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let answer = sender.send_request(request.body(Full::new(body)).expect("a request")).await.ok()?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        drop(sender);
        let _ = driver.await;
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        Some(Seen { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

/// A service that answers what it was sent: method, path and headers. `x-answer` asks for another status, `x-usage`
/// for a usage report. It lives as long as this process.
async fn echo() -> u16 {
    use axum::extract::Request;
    use axum::response::IntoResponse;
    async fn answer(request: Request) -> impl IntoResponse {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        let headers: serde_json::Map<String, Value> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
            .collect();
        let asked =
            |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = asked("x-answer").and_then(|status| status.parse().ok()).unwrap_or(200);
        let mut back = HeaderMap::new();
        if let Some(usage) = asked("x-usage") {
            back.insert("rowhouse-usage", usage.parse().expect("a header"));
        }
        let seen = json!({"method": parts.method.as_str(), "path": parts.uri.path(), "headers": headers, "bytes": body.len()});
        (http::StatusCode::from_u16(status).expect("a status"), back, axum::Json(seen))
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    // On a thread of its own: it must outlive the runtime of the test that started it.
    let listener = listener.into_std().expect("a listener");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            axum::serve(listener, axum::Router::new().fallback(answer)).await
        })
    });
    port
}
