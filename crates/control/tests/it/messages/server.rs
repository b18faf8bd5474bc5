//! Through a real mail server (PyPI `aiosmtpd`), which the tests make refuse, stall and come back.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rowhouse_control::messages::{Post, PostSettings, SmtpSettings, SmtpTls, TransportSettings};
use serde_json::json;

use super::*;

/// A mail server of the test's own, which prints what it takes.
struct MailServer {
    process: Child,
    port: u16,
    output: BufReader<std::process::ChildStdout>,
}

/// Answers as the receiver's name says: `later@` 451, `never@` 550, everybody else is taken.
const PROGRAM: &str = r#"
import asyncio, json, sys
from aiosmtpd.controller import UnthreadedController
class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("later@"): return f"451 {address} is away, try again"
        if address.startswith("never@"): return f"550 there is no {address}"
        envelope.rcpt_tos.append(address)
        return "250 OK"
    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "data": envelope.content.decode()}), flush=True)
        return "250 taken as 4711"
loop = asyncio.new_event_loop()
controller = UnthreadedController(Handler(), hostname="127.0.0.1", port=int(sys.argv[1]), loop=loop)
controller.begin()
print(controller.server.sockets[0].getsockname()[1], flush=True)
loop.run_forever()
"#;

impl MailServer {
    fn start(port: u16) -> MailServer {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv/bin/python");
        assert!(python.exists(), "run: scripts/test, which installs the mail server of the tests");
        let mut process = Command::new(python)
            .args(["-c", PROGRAM, &port.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let mut output = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("the port");
        MailServer { process, port: line.trim().parse().expect("a port: is aiosmtpd installed?"), output }
    }

    /// The next message that it took.
    fn taken(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A platform whose mail leaves through `port`.
async fn platform(port: u16) -> Platform {
    let mut platform = Platform::start().await;
    let smtp = SmtpSettings { host: "127.0.0.1".to_owned(), port, tls: SmtpTls::None, login: None };
    let settings = PostSettings {
        transport: TransportSettings::Smtp(smtp),
        from: address("hello@rowhouse.example"),
        reply_to: Some(address("help@rowhouse.example")),
        brand: "Rowhouse".to_owned(),
        templates: None,
        operators: vec![address("ops@rowhouse.example")],
        sms: None,
    };
    let control = Arc::get_mut(&mut platform.control).expect("nobody else has it yet");
    control.messages = Post::open(settings).expect("opened");
    platform
}

fn to(receiver: &str) -> NewMessage {
    NewMessage::new(&template::BACKUP_FAILED, ACME, To::Address(address(receiver)), receiver)
        .value("problem", "full: Ä")
}

#[tokio::test]
async fn a_mail_server_takes_what_is_for_people_and_for_the_operator() {
    let mut server = MailServer::start(0);
    let platform = platform(server.port).await;
    queue(&platform, to("ana@acme.example"), true).await;
    queue(&platform, NewMessage::new(&template::TENANT_RESUMED, ACME, To::Operators, "o"), true).await;
    send_all(&platform).await;
    let first = server.taken();
    assert_eq!(
        (&first["from"], &first["to"]),
        (&json!("hello@rowhouse.example"), &json!(["ana@acme.example"]))
    );
    let data = first["data"].as_str().expect("text");
    for line in
        ["From: Rowhouse <hello@rowhouse.example>", "Reply-To: help@rowhouse.example", "MIME-Version: 1.0"]
    {
        assert!(data.contains(line), "{line} in {data}");
    }
    let id =
        platform.ask("SELECT message_id::text FROM messages.messages WHERE template = 'backup_failed'").await;
    let id = rowhouse_domain::id::MessageId(id.parse().expect("a uuid"));
    assert!(data.contains(&format!("Message-ID: <{id}@rowhouse.example>")), "{data}");
    assert_eq!(server.taken()["to"], json!(["ops@rowhouse.example"]));
    let row = platform
        .ask("SELECT state || ' ' || provider_id FROM messages.messages WHERE template = 'backup_failed'")
        .await;
    assert!(row.starts_with("sent ") && row.contains("4711"), "{row}");
    assert_eq!(platform.control.messages.counts.sent.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_fails_is_tried_eight_times_over_a_day_then_left_and_sent_again_by_a_person() {
    let server = MailServer::start(0);
    let platform = platform(server.port).await;
    queue(&platform, to("later@acme.example"), true).await;
    queue(&platform, to("never@acme.example"), true).await;
    assert_eq!(send_all(&platform).await, 2);
    assert_eq!(states(&platform).await, "backup_failed queued, backup_failed failed", "5xx is for good");
    let mut tries = 1;
    for _ in 0..24 * 60 {
        platform.hand.advance_us(60_000_000);
        tries += send_all(&platform).await;
    }
    assert_eq!(tries, 8);
    assert_eq!(states(&platform).await, "backup_failed failed, backup_failed failed");
    let operator = platform.operator();
    let dead = platform.get(&operator, "/v1/messages?state=failed").await;
    let items = dead["items"].as_array().expect("items");
    assert_eq!(items.len(), 2);
    let late = items.iter().find(|item| item["problem"].to_string().contains("451")).expect("it says why");
    assert!(
        items
            .iter()
            .all(|item| !item.to_string().contains("later@acme") && !item.to_string().contains("never@acme")),
        "{dead}"
    );
    let path = format!("/v1/messages/{}/resend", late["id"].as_str().expect("an id"));
    let (status, again) = platform.call(&operator, "POST", &path, Some(json!({}))).await;
    assert_eq!((status, &again["state"], &again["attempts"]), (200, &json!("queued"), &json!(0)), "{again}");
    assert_eq!(platform.call(&operator, "POST", &path, Some(json!({}))).await.0, 409, "it is under way");
    assert_eq!(send_all(&platform).await, 1);
    let events = "SELECT count(*) FROM audit.outbox WHERE draft->>'event' = 'messages.message_resent'";
    assert_eq!(platform.ask(events).await, "1");
}

#[tokio::test]
async fn messages_wait_for_a_mail_server_that_is_away() {
    let server = MailServer::start(0);
    let port = server.port;
    drop(server);
    let platform = platform(port).await;
    queue(&platform, to("ana@acme.example"), true).await;
    assert_eq!(send_all(&platform).await, 1);
    assert_eq!(states(&platform).await, "backup_failed queued");
    let mut server = MailServer::start(port);
    platform.hand.advance_us(31_000_000);
    assert_eq!(send_all(&platform).await, 1);
    assert_eq!(server.taken()["to"], json!(["ana@acme.example"]));
}

#[tokio::test]
async fn a_sender_that_dies_leaves_the_message_to_the_next_and_says_nothing_later() {
    let platform = Platform::start().await;
    queue(&platform, invitation("i", "Ana"), true).await;
    // What a claim leaves behind when its process is killed.
    platform.execute("UPDATE messages.messages SET state = 'sending', attempts = 1, next_try_at = next_try_at + interval '120 seconds'").await;
    assert_eq!(send_all(&platform).await, 0, "its lease runs");
    platform.hand.advance_us(121_000_000);
    assert_eq!(send_all(&platform).await, 1);
    assert_eq!(states(&platform).await, "invitation sent");
    assert_eq!(files(&platform).len(), 1);
}

#[tokio::test]
async fn senders_of_two_processes_send_each_message_once() {
    let platform = Platform::start().await;
    let other = platform.beside();
    for number in 0..20 {
        queue(&platform, invitation(&format!("i{number}"), "Ana"), true).await;
    }
    let (first, second) = tokio::join!(send_all(&platform), send_all(&other));
    assert_eq!(first + second, 20);
    assert_eq!(files(&platform).len() + files(&other).len(), 20);
}
