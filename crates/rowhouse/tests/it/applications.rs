//! A program that people sign in to with their account here, written with a library of others: discovery, the page that asks, the code,
//! the ID token verified with published keys, userinfo, a refresh, the end.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::browser::{Browser, escape, hidden};
use crate::platform::{Call, PATIENCE, Platform, shared, text};
use crate::services::root;
use crate::sign_in::mailed;

const PASSWORD: &str = "correct horse battery staple";
/// Nobody listens there.
const BACK: &str = "https://reports.example/back?from=here";

/// The program, a process of its own.
struct Program {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(settings: &Value) -> Program {
        let mut child = Command::new(root().join("target/venv/bin/python"))
            .arg(root().join("crates/rowhouse/tests/it/application.py"))
            .arg(settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("scripts/test sets Python up");
        let output = BufReader::new(child.stdout.take().expect("piped")).lines();
        Program { child, output }
    }

    async fn says(&mut self) -> Value {
        let line = timeout(PATIENCE, self.output.next_line()).await.expect("it speaks in time");
        let line = line.expect("it is read").expect("the program went on");
        serde_json::from_str(&line).expect("JSON")
    }

    async fn told(&mut self, what: &Value) {
        let input = self.child.stdin.as_mut().expect("piped");
        input.write_all(format!("{what}\n").as_bytes()).await.expect("it listens");
    }
}

/// Somebody of the tenant, in a browser of their own where they are signed in.
async fn signed_in(platform: &Platform, tenant: &str, address: &str) -> Browser {
    let invite = json!({ "email": address, "roles": ["developer"] });
    platform.operate(Call::post(&format!("/v1/invitations?tenant={tenant}"), invite)).await;
    let accept =
        json!({ "token": mailed(platform, address).await, "full_name": "Ana Ito", "password": PASSWORD });
    let accepted =
        platform.try_control(Call::post("/v1/invitations/accept", accept)).await.expect("an answer");
    assert_eq!(accepted.status, 200, "{}", accepted.body);
    let mut browser = Browser::stopping_at(BACK);
    let page = browser.open(&format!("{}/account/sign_in", platform.control_url())).await;
    let form = format!(
        "form={}&identifier={}&password={}",
        hidden(&page, "form"),
        escape(address),
        escape(PASSWORD)
    );
    let page = browser.submit(&page.url, &form).await;
    assert!(page.text.contains("Ana Ito"), "{} {}", page.url, page.text);
    browser
}

#[tokio::test]
async fn a_program_of_others_signs_people_in_with_their_account_here() {
    let platform = shared().await;
    platform.tenant("programs", "professional", "shared").await;
    let mut browser = signed_in(platform, "programs", "ana@programs.example").await;
    for kind in ["web", "public"] {
        let body = json!({ "name": "Reports", "kind": kind, "redirect_uris": [BACK] });
        let made = platform.operate(Call::post("/v1/applications?tenant=programs", body)).await;
        let mut program = Program::start(&json!({ "issuer": platform.control_url(), "client_id": made["id"],
            "client_secret": made["client_secret"], "redirect_uri": BACK }));
        let url = text(&program.says().await["url"]);
        let page = browser.open(&url).await;
        assert!(page.text.contains("<strong>Reports</strong>"), "{} {}", page.url, page.text);
        let names = ["form", "client_id", "redirect_uri", "state", "code_challenge", "nonce", "scope"];
        let fields: Vec<String> =
            names.iter().map(|name| format!("{name}={}", escape(&hidden(&page, name)))).collect();
        let form = format!("{}&decision=yes", fields.join("&"));
        let page = browser.submit(&format!("{}/oauth2/authorize", platform.control_url()), &form).await;
        assert!(
            page.url.starts_with(BACK) && page.url.contains("code="),
            "{kind}: {} {}",
            page.url,
            page.text
        );
        program.told(&json!({ "callback": page.url })).await;
        let got = program.says().await;
        assert_eq!((&got["header"]["typ"], &got["header"]["alg"]), (&json!("JWT"), &json!("EdDSA")), "{got}");
        assert_eq!(
            (&got["claims"]["email"], &got["claims"]["name"], &got["claims"]["email_verified"]),
            (&json!("ana@programs.example"), &json!("Ana Ito"), &json!(true)),
            "{got}"
        );
        assert_eq!(
            (&got["userinfo"]["sub"], &got["after"]["sub"]),
            (&got["claims"]["sub"], &got["claims"]["sub"])
        );
        assert_eq!((&got["is_rotated"], &got["revoked"]), (&json!(true), &json!(200)), "{got}");
        // What it revoked is over, at once for new tokens and soon for those that are out.
        let token = format!("Bearer {}", text(&got["access_token"]));
        let notes =
            || Call::get("/v1/notes/7").header("host", "programs.localhost").header("authorization", &token);
        platform.until(401, notes).await;
    }
}
