//! Messages: once and only with their change, to whom they belong, through a real mail server and into a folder, tried
//! again, left, sent again; and nothing that a value holds gets out of its place.

mod server;

use std::path::PathBuf;

use rowhouse_control::messages::{self, NewMessage, To};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OPERATOR_TENANT, TenantId};
use rowhouse_domain::messages::{Address, template};
use rowhouse_store::Change;
use serde_json::{Value, json};

use crate::platform::Platform;

const ACME: TenantId = TenantId(uuid::Uuid::from_u128(7));
const BOLT: TenantId = TenantId(uuid::Uuid::from_u128(8));

fn address(text: &str) -> Address {
    Address::parse(text).expect("an address")
}

fn invitation(key: &str, inviter: &str) -> NewMessage {
    NewMessage::new(&template::INVITATION, ACME, To::Address(address("ben@acme.example")), key)
        .value("inviter", inviter)
        .value("link", "https://console.example/i#token-4711")
        .value("expires", "2026-11-28")
}

/// Queues in a transaction of its own, and ends it so; whether it was queued.
async fn queue(platform: &Platform, new: NewMessage, commits: bool) -> bool {
    let permit = Permit::for_system(None, "a test");
    let transaction = platform.control.store.write(&permit).await.expect("a transaction");
    let queued = messages::queue(&platform.control, &transaction, new).await.expect("queued");
    let change =
        Change::new(OPERATOR_TENANT, "messages.test_sent", "create", permit.principal()).on("tenant", ACME);
    match commits {
        true => transaction.commit(change).await.expect("committed"),
        false => transaction.rollback().await.expect("rolled back"),
    }
    queued
}

/// Sends everything that is due; how many tries that were.
async fn send_all(platform: &Platform) -> usize {
    let mut tries = 0;
    while messages::turn(&platform.control).await.expect("a turn") {
        tries += 1;
        assert!(tries < 100, "it ends");
    }
    tries
}

/// The files in the folder, by name.
fn files(platform: &Platform) -> Vec<(PathBuf, String)> {
    let Ok(folder) = std::fs::read_dir(platform.mail_folder()) else { return Vec::new() };
    let mut files: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("text");
        (path, text)
    };
    files.into_iter().map(read).collect()
}

async fn states(platform: &Platform) -> String {
    platform.ask("SELECT coalesce(string_agg(template || ' ' || state, ', ' ORDER BY key), '') FROM messages.messages").await
}

#[tokio::test]
async fn a_message_goes_out_once_and_only_with_its_change() {
    let platform = Platform::start().await;
    assert!(queue(&platform, invitation("i1", "Ana"), false).await);
    assert_eq!(send_all(&platform).await, 0, "its change was rolled back");
    assert!(queue(&platform, invitation("i1", "Ana"), true).await);
    assert!(!queue(&platform, invitation("i1", "Ana"), true).await, "the same key");
    assert!(queue(&platform, invitation("i2", "Ana"), true).await, "another key");
    assert_eq!(send_all(&platform).await, 2);
    assert_eq!(send_all(&platform).await, 0);
    let files = files(&platform);
    assert_eq!(files.len(), 2);
    let text = &files[0].1;
    assert!(text.contains("To: ben@acme.example") && text.contains("Subject: Ana invites you to"), "{text}");
    assert!(text.contains("token-4711") && text.contains("Auto-Submitted: auto-generated"), "{text}");
    assert!(text.contains("text/plain") && text.contains("text/html"), "{text}");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&files[0].0).expect("a file").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "it lets somebody in");
}

#[tokio::test]
async fn neither_address_nor_link_lies_in_the_database() {
    let platform = Platform::start().await;
    queue(&platform, invitation("i1", "Ana"), true).await;
    let row = "SELECT count(*) FROM messages.messages m WHERE m::text LIKE '%ben@acme%' OR m::text LIKE '%token-4711%' \
               OR position('ben@acme'::bytea IN content) > 0";
    assert_eq!(platform.ask(row).await, "0");
    send_all(&platform).await;
    assert_eq!(platform.ask(row).await, "0");
    let operator = platform.operator();
    let list = platform.get(&operator, "/v1/messages").await;
    let id = list["items"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        (list["items"][0]["to"].as_str(), list["items"][0]["state"].as_str()),
        (Some("b…@acme.example"), Some("sent"))
    );
    let whole = platform.get(&operator, &format!("/v1/messages/{id}")).await;
    assert!(
        whole["text"].as_str().is_some_and(|text| text.contains("Ana") && !text.contains("4711")),
        "{whole}"
    );
    let (status, refused) =
        platform.call(&operator, "POST", &format!("/v1/messages/{id}/resend"), Some(json!({}))).await;
    assert_eq!(
        (status, refused["code"].as_str()),
        (409, Some("messages.not_resendable")),
        "its link is forgotten"
    );
}

#[tokio::test]
async fn nothing_that_a_value_holds_becomes_a_header_or_a_link() {
    let platform = Platform::start().await;
    let hostile =
        "Eve\r\nBcc: all@evil.example\r\n\r\n<script>x</script>\u{1}Click\u{2}https://evil.example\u{3}";
    queue(&platform, invitation("i1", hostile), true).await;
    send_all(&platform).await;
    let text = &files(&platform)[0].1;
    let head = text.split("\r\n\r\n").next().expect("a head");
    let unfolded = head.replace("\r\n ", " ");
    assert!(!unfolded.lines().any(|line| line.to_ascii_lowercase().starts_with("bcc:")), "{head}");
    let html = text.split_once("Content-Type: text/html").expect("a part with looks").1;
    assert!(
        html.contains("Eve") && !html.contains("<script>") && !html.contains("href=3D\"https://evil"),
        "{html}"
    );
}

#[tokio::test]
async fn roles_become_addresses_when_it_is_sent() {
    let platform = Platform::start().await;
    let to = |to, key: &str| NewMessage::new(&template::TENANT_RESUMED, ACME, to, key);
    queue(&platform, to(To::Administrators, "nobody"), true).await;
    assert_eq!(send_all(&platform).await, 1);
    assert_eq!(states(&platform).await, "tenant_resumed suppressed", "nobody is there");
    let catalogue = rowhouse_control::catalog::shipped();
    rowhouse_control::catalog::prepare(&platform.control, catalogue).await.expect("the catalogue");
    platform.execute(&format!(
        "INSERT INTO tenancy.tenants (tenant_id, code, company_name, tier, isolation, region, status, billing_contact, metadata, \
         created_by, created_at, updated_at) VALUES ('{}', 'acme', 'Acme GmbH', 'basic', 'shared', 'eu1', 'active', \
         '{{\"email\": \"bills@acme.example\"}}', '{{}}', 'test', now(), now())", ACME.0)).await;
    queue(&platform, to(To::Administrators, "k"), true).await;
    queue(&platform, to(To::BillingContact, "l"), true).await;
    assert_eq!(send_all(&platform).await, 4, "each is found, and sent");
    let files = files(&platform);
    assert_eq!(files.len(), 2);
    assert!(files.iter().all(|(_, text)| text.contains("To: bills@acme.example") && text.contains("Acme GmbH is resumed")));
}

#[tokio::test]
async fn another_tenant_sees_nothing_and_can_send_nothing() {
    let platform = Platform::start().await;
    let (_, acme) = platform.tenant(ACME.as_u128(), "acme", &["message:read", "message:send"]);
    let (_, bolt) = platform.tenant(BOLT.as_u128(), "bolt", &["message:read", "message:send"]);
    let (_, without) = platform.tenant(9, "crane", &["usage:read"]);
    queue(
        &platform,
        NewMessage::new(&template::TENANT_RESUMED, ACME, To::Address(address("a@acme.example")), "r"),
        true,
    )
    .await;
    queue(&platform, NewMessage::new(&template::TENANT_RESUMED, ACME, To::Operators, "o"), true).await;
    let own = platform.get(&acme, "/v1/messages").await;
    assert_eq!(
        own["items"].as_array().map(Vec::len),
        Some(1),
        "what is for the operator is not shown: {own}"
    );
    let id = own["items"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(platform.get(&bolt, "/v1/messages").await["items"], json!([]));
    for (method, path) in [
        ("GET", format!("/v1/messages/{id}")),
        ("POST", format!("/v1/messages/{id}/resend")),
        ("GET", "/v1/messages?tenant=acme".to_owned()),
    ] {
        let body = (method == "POST").then(|| json!({}));
        assert_eq!(platform.call(&bolt, method, &path, body).await.0, 404, "{method} {path}");
    }
    assert_eq!(platform.call(&without, "GET", "/v1/messages", None).await.0, 403);
    let test = json!({"to": "x@y.zz"});
    assert_eq!(platform.call(&acme, "POST", "/v1/templates/welcome/send_test", Some(test)).await.0, 404);
    let bad = json!({"to": "x@y.zz\r\nBcc: a@b.cc"});
    assert_eq!(
        platform.call(&platform.operator(), "POST", "/v1/templates/welcome/send_test", Some(bad)).await.0,
        422
    );
}

#[tokio::test]
async fn templates_are_listed_and_previewed() {
    let platform = Platform::start().await;
    let operator = platform.operator();
    let list = platform.get(&operator, "/v1/templates").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(template::ALL.len()));
    let body = json!({"values": {"inviter": "<b>Ana</b>"}});
    let (status, seen) =
        platform.call(&operator, "POST", "/v1/templates/invitation/preview", Some(body)).await;
    assert_eq!((status, &seen["missing"]), (200, &json!(["link", "expires"])), "{seen}");
    assert!(seen["html"].as_str().is_some_and(|html| html.contains("&lt;b&gt;Ana")), "{seen}");
    let french = json!({"language": "fr"});
    assert_eq!(
        platform.call(&operator, "POST", "/v1/templates/invitation/preview", Some(french)).await.0,
        422
    );
    assert_eq!(
        platform.call(&operator, "POST", "/v1/templates/nothing/preview", Some(json!({}))).await.0,
        404
    );
    let script = json!({"values": {"link": "javascript:alert(1)"}});
    assert_eq!(platform.call(&operator, "POST", "/v1/templates/welcome/preview", Some(script)).await.0, 422);
}

#[tokio::test]
async fn what_is_no_use_any_more_is_not_sent_and_all_is_forgotten_after_a_week() {
    let platform = Platform::start().await;
    let soon = platform.control.clock().now() + jiff::SignedDuration::from_secs(60);
    queue(&platform, invitation("late", "Ana").useless_after(soon), true).await;
    platform.hand.advance_us(61_000_000);
    assert_eq!(send_all(&platform).await, 1);
    assert_eq!(states(&platform).await, "invitation suppressed");
    assert_eq!(files(&platform).len(), 0);
    let with_content = "SELECT count(*) FROM messages.messages WHERE content IS NOT NULL";
    queue(&platform, invitation("sent", "Ana"), true).await;
    send_all(&platform).await;
    messages::keep_house(&platform.control, true).await.expect("kept");
    assert_eq!(platform.ask(with_content).await, "1");
    platform.hand.advance_us(7 * 24 * 3600 * 1_000_000 + 1);
    messages::keep_house(&platform.control, true).await.expect("kept");
    assert_eq!(platform.ask(with_content).await, "0");
    let operator = platform.operator();
    let list = platform.get(&operator, "/v1/messages?state=sent").await;
    let id = list["items"][0]["id"].as_str().expect("an id");
    assert_eq!(platform.get(&operator, &format!("/v1/messages/{id}")).await["text"], Value::Null);
}
