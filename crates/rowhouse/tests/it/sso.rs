//! Single sign-on from end to end: the built binary, a certified provider (npm `oidc-provider`), and a browser without scripts that is
//! sent from one to the other and back.

use std::collections::BTreeMap;
use std::process::Stdio;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::platform::{Call, PATIENCE, Platform, free_port, text};
use crate::services::root;

const SECRET: &str = "a secret with: signs & blanks";

/// The provider, a process of its own.
struct Provider {
    port: u16,
    child: Child,
    /// It must not be closed while the provider may write.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Provider {
    async fn start(port: u16, redirect_uri: Option<&str>) -> Provider {
        // Its library lies below target; Node.js looks for it beside the program.
        let folder = root().join("target/provider");
        let program = folder.join(format!("provider-{port}.mjs"));
        std::fs::copy(root().join("crates/rowhouse/tests/provider/provider.mjs"), &program)
            .expect("scripts/test sets the provider up");
        let settings = json!({ "port": port, "redirect_uri": redirect_uri, "secret": SECRET }).to_string();
        let mut child = Command::new(root().join("target/venv/bin/node"))
            .arg(&program)
            .arg(settings)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("scripts/test sets node up");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if line == "ready" {
                    return true;
                }
            }
            false
        };
        assert!(
            timeout(PATIENCE, ready).await.expect("it starts in time"),
            "scripts/test installs the provider"
        );
        Provider { port, child, _output: lines }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The same, knowing where to send people back to.
    async fn again(mut self, redirect_uri: &str) -> Provider {
        self.child.kill().await.expect("it ends");
        Provider::start(self.port, Some(redirect_uri)).await
    }
}

/// A page as it came, and where it was.
struct Page {
    url: String,
    status: u16,
    headers: HeaderMap,
    text: String,
}

/// A browser without scripts: it keeps cookies by origin and goes where it is sent.
#[derive(Default)]
struct Browser {
    jars: BTreeMap<String, BTreeMap<String, String>>,
}

fn origin(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("not on loopback: {url}"));
    let at = rest.find('/').unwrap_or(rest.len());
    (&rest[..at], if at == rest.len() { "/" } else { &rest[at..] })
}

impl Browser {
    async fn send(&mut self, method: Method, url: &str, form: String) -> Page {
        let (host, path) = origin(url);
        let stream = TcpStream::connect(host).await.expect("a connection");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        let driver = tokio::spawn(connection);
        let jar = self.jars.entry(host.to_owned()).or_default();
        let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", host)
            .header("origin", format!("http://{host}"))
            .header("cookie", cookies.join("; "))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))
            .expect("a request");
        let answer =
            timeout(PATIENCE, sender.send_request(request)).await.expect("in time").expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        drop(sender);
        let _ = driver.await;
        for set in headers.get_all("set-cookie") {
            let set = set.to_str().expect("text");
            let (name, value) =
                set.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            match value.is_empty() {
                true => jar.remove(name),
                false => jar.insert(name.to_owned(), value.to_owned()),
            };
        }
        Page { url: url.to_owned(), status, headers, text: String::from_utf8_lossy(&body).into_owned() }
    }

    /// Follows redirects to a page.
    async fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..20 {
            let Some(to) = page.headers.get("location") else { return page };
            let to = to.to_str().expect("text");
            let to = if to.starts_with('/') {
                format!("http://{}{to}", origin(&page.url).0)
            } else {
                to.to_owned()
            };
            page = self.send(Method::GET, &to, String::new()).await;
        }
        panic!("sent around in circles: {}", page.url);
    }

    async fn open(&mut self, url: &str) -> Page {
        let page = self.send(Method::GET, url, String::new()).await;
        self.follow(page).await
    }

    async fn submit(&mut self, url: &str, form: &str) -> Page {
        let page = self.send(Method::POST, url, form.to_owned()).await;
        self.follow(page).await
    }

    /// Goes through the provider's own pages as `name`; the page of ours that it ends at.
    async fn log_in(&mut self, page: Page, name: &str) -> Page {
        assert!(page.url.contains("/interaction/"), "{} {}", page.url, page.text);
        let page = self.submit(&page.url, &format!("prompt=login&login={name}&password=x")).await;
        assert!(page.url.contains("/interaction/"), "{} {}", page.url, page.text);
        self.submit(&page.url, "prompt=consent").await
    }
}

fn hidden(page: &Page, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    let (_, rest) = page.text.split_once(&mark).unwrap_or_else(|| panic!("no {name}: {}", page.text));
    rest.split('"').next().expect("an end").to_owned()
}

#[tokio::test]
async fn people_come_in_by_their_own_organisations_provider() {
    let platform = Platform::start_with(&[("ROWHOUSE_OUTBOUND__ALLOW_NETWORKS", r#"["127.0.0.0/8"]"#)]).await;
    let acme = platform.tenant("acme-sso", "professional", "shared").await;
    platform.operate(Call::post("/v1/hosts?tenant=acme-sso", json!({ "name": "acme.example" }))).await;
    let provider = Provider::start(free_port(), None).await;
    let body = json!({ "name": "Acme login", "issuer": provider.url(), "client_id": "rowhouse",
        "client_secret": SECRET, "email_domains": ["acme.example"], "roles": ["developer"],
        "role_claim": "groups", "role_map": { "chiefs": ["tenant_admin"] } });
    let made = platform.operate(Call::post("/v1/connections?tenant=acme-sso", body)).await;
    let path = |rest: &str| format!("/v1/connections/{}{rest}?tenant=acme-sso", text(&made["id"]));
    assert_eq!(made["proven_domains"], json!(["acme.example"]), "{made}");
    let provider = provider.again(&text(&made["redirect_uri"])).await;
    let ours = |page: &Page, url: &str| {
        let (_, path) = origin(url);
        page.url.starts_with(&platform.control_url()) && page.url.ends_with(path)
    };
    // What it calls itself is where it is reached.
    let here = |url: &Value| text(url);

    // A test first: nobody is signed in, and the result says who it would be.
    let test = platform.operate(Call::post(&path("/test"), json!({}))).await;
    let mut browser = Browser::default();
    let page = browser.open(&here(&test["url"])).await;
    let page = browser.log_in(page, "ana").await;
    assert!(page.status == 200 && page.text.contains("It works"), "{} {}", page.url, page.text);
    let result = platform.operate(Call::get(&path("/test"))).await;
    assert_eq!(
        (&result["is_tested"], &result["result"]["user"], &result["result"]["claims"]["email"]),
        (&json!(true), &json!("new"), &json!("ana@acme.example")),
        "{result}"
    );
    // Not active yet: there is no way in.
    assert_eq!(browser.open(&here(&made["sign_in_url"])).await.status, 404);
    platform.operate(Call::post(&path("/state"), json!({ "state": "active" }))).await;

    // In by the address, without an account before.
    let mut ana = Browser::default();
    let page = ana.open(&format!("{}/account/sso", platform.control_url())).await;
    let form = format!("form={}&identifier=ana%40acme.example", hidden(&page, "form"));
    let page = ana.submit(&page.url, &form).await;
    let (_, start) = page.text.split_once("<a class=\"button\" href=\"").expect("a way on");
    let start = start.split('"').next().expect("an end").replace("&#x2f;", "/");
    let page = ana.open(&format!("{}{start}", platform.control_url())).await;
    let page = ana.log_in(page, "ana").await;
    assert!(ours(&page, "http://x/account"), "{} {}", page.url, page.text);
    assert!(page.text.contains("ana of Acme") && page.text.contains("single_sign_on"), "{}", page.text);
    let users = platform.operate(Call::get("/v1/users?tenant=acme-sso&q=ana")).await;
    assert_eq!(
        (&users["items"][0]["roles"], &users["items"][0]["source"]),
        (&json!(["developer"]), &json!("sso"))
    );

    // The chief is one here too; whose address is not proven is nobody.
    let mut chief = Browser::default();
    let page = chief.open(&here(&made["sign_in_url"])).await;
    let page = chief.log_in(page, "chief").await;
    assert!(ours(&page, "http://x/account"), "{} {}", page.url, page.text);
    let users = platform.operate(Call::get("/v1/users?tenant=acme-sso&q=chief")).await;
    assert_eq!(users["items"][0]["roles"], json!(["developer", "tenant_admin"]));
    let mut other = Browser::default();
    let page = other.open(&here(&made["sign_in_url"])).await;
    let page = other.log_in(page, "unverified").await;
    assert!(page.status == 403 && page.text.contains("verified"), "{} {}", page.url, page.text);

    // The server dies and comes back: who was signed in still is.
    platform.kill().await;
    platform.run().await;
    let page = ana.open(&format!("{}/account", platform.control_url())).await;
    assert!(page.text.contains("ana of Acme"), "{}", page.text);

    // A wrong secret, and a provider that is gone, are told to who asks.
    let mut wrong = json!({ "name": "Acme login", "issuer": provider.url(), "client_id": "rowhouse",
        "client_secret": "another", "email_domains": ["acme.example"] });
    let put = |body: &Value, version: &str| {
        Call::post(&path(""), body.clone()).method(Method::PUT).header("if-match", version)
    };
    platform.operate(put(&wrong, "\"1\"")).await;
    let page = other.open(&here(&made["sign_in_url"])).await;
    let page = match page.url.contains("/interaction/") {
        true => other.log_in(page, "ana").await,
        false => page,
    };
    assert!(page.status == 502 && page.text.contains("invalid_client"), "{} {}", page.url, page.text);
    let mut provider = provider;
    provider.child.kill().await.expect("it ends");
    wrong["name"] = json!("Another");
    let refused = platform.control(&acme.key, Call::post("/v1/connections", wrong)).await;
    assert_ne!(refused.status, 201, "{}", refused.body);
}
