//! Single sign-on from end to end: the built binary, a certified provider (npm `oidc-provider`), and a browser without scripts that is
//! sent from one to the other and back.

use std::process::Stdio;

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::browser::{Browser, Page, hidden, origin};
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

/// Goes through the provider's own pages as `name`; the page of ours that it ends at.
async fn log_in(browser: &mut Browser, page: Page, name: &str) -> Page {
    assert!(page.url.contains("/interaction/"), "{} {}", page.url, page.text);
    let page = browser.submit(&page.url, &format!("prompt=login&login={name}&password=x")).await;
    assert!(page.url.contains("/interaction/"), "{} {}", page.url, page.text);
    browser.submit(&page.url, "prompt=consent").await
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
    let page = log_in(&mut browser, page, "ana").await;
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
    let page = log_in(&mut ana, page, "ana").await;
    assert!(ours(&page, "http://x/account"), "{} {}", page.url, page.text);
    assert!(page.text.contains("ana of Acme") && page.text.contains("single sign on"), "{}", page.text);
    let users = platform.operate(Call::get("/v1/users?tenant=acme-sso&q=ana")).await;
    assert_eq!(
        (&users["items"][0]["roles"], &users["items"][0]["source"]),
        (&json!(["developer"]), &json!("sso"))
    );

    // The chief is one here too; whose address is not proven is nobody.
    let mut chief = Browser::default();
    let page = chief.open(&here(&made["sign_in_url"])).await;
    let page = log_in(&mut chief, page, "chief").await;
    assert!(ours(&page, "http://x/account"), "{} {}", page.url, page.text);
    let users = platform.operate(Call::get("/v1/users?tenant=acme-sso&q=chief")).await;
    let mut roles = users["items"][0]["roles"].as_array().expect("roles").clone();
    roles.sort_by_key(Value::to_string);
    assert_eq!(roles, ["developer", "tenant_admin"], "{users}");
    let mut other = Browser::default();
    let page = other.open(&here(&made["sign_in_url"])).await;
    let page = log_in(&mut other, page, "unverified").await;
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
        true => log_in(&mut other, page, "ana").await,
        false => page,
    };
    assert!(page.status == 502 && page.text.contains("invalid_client"), "{} {}", page.url, page.text);
    let mut provider = provider;
    provider.child.kill().await.expect("it ends");
    wrong["name"] = json!("Another");
    let refused = platform.control(&acme.key, Call::post("/v1/connections", wrong)).await;
    assert_ne!(refused.status, 201, "{}", refused.body);
}
