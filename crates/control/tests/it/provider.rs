//! Another company's provider of identities, which says whatever a test has it say: over HTTP, signed with a key of its own. That the real
//! thing works is told by the stories of the whole binary, with a certified provider; here it lies.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What it publishes, what it will say, and what it was asked.
#[derive(Default)]
struct Mind {
    key_ids: Vec<String>,
    discovery: Value,
    token: VecDeque<(u16, Value)>,
    userinfo: Option<Value>,
    asked: Vec<String>,
    is_away: bool,
    held: Option<Arc<Held>>,
}

/// A provider that keeps who asks for tokens waiting.
#[derive(Default)]
pub struct Held {
    /// Somebody asks.
    pub came: Notify,
    /// They are answered.
    pub go: Notify,
}

/// One provider.
pub struct Provider {
    pub url: String,
    mind: Arc<Mutex<Mind>>,
}

fn key(id: &str) -> Ed25519KeyPair {
    let mut seed = [7; 32];
    for (at, byte) in id.bytes().enumerate().take(32) {
        seed[at] = byte;
    }
    Ed25519KeyPair::from_seed_unchecked(&seed).expect("a key")
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token with this header, signed with the key of this name.
pub fn signed(by: &str, header: &Value, claims: &Value) -> String {
    let text = format!("{}.{}", part(header), part(claims));
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(key(by).sign(text.as_bytes())))
}

pub async fn read(stream: &mut TcpStream) -> String {
    let (mut seen, mut buffer) = (Vec::new(), [0; 8192]);
    loop {
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        seen.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        if count == 0 {
            return text;
        }
    }
}

impl Mind {
    fn answer(&mut self, asked: &str) -> (u16, Value) {
        self.asked.push(asked.to_owned());
        if self.is_away {
            return (503, Value::Null);
        }
        match asked.split(' ').nth(1) {
            Some("/.well-known/openid-configuration") => (200, self.discovery.clone()),
            Some("/keys") => {
                let one = |id: &String| {
                    let x = URL_SAFE_NO_PAD.encode(key(id).public_key());
                    json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": x })
                };
                (200, json!({ "keys": self.key_ids.iter().map(one).collect::<Vec<_>>() }))
            }
            Some("/token") => self.token.pop_front().unwrap_or((400, json!({ "error": "invalid_grant" }))),
            Some("/me") => self.userinfo.clone().map_or((401, Value::Null), |told| (200, told)),
            _ => (404, Value::Null),
        }
    }
}

impl Provider {
    pub async fn start() -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let at = |path: &str| format!("{url}{path}");
        let discovery = json!({ "issuer": url, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
            "jwks_uri": at("/keys"), "userinfo_endpoint": at("/me"),
            "authorization_response_iss_parameter_supported": true });
        let mind = Mind { key_ids: vec!["one".to_owned()], discovery, ..Mind::default() };
        let provider = Provider { url: url.clone(), mind: Arc::new(Mutex::new(mind)) };
        let mind = provider.mind.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mind = mind.clone();
                tokio::spawn(async move {
                    let asked = read(&mut stream).await;
                    let held = mind.lock().expect("no panic while held").held.clone();
                    if let Some(held) = held.filter(|_| asked.starts_with("POST /token ")) {
                        held.came.notify_one();
                        held.go.notified().await;
                    }
                    let (status, body) = mind.lock().expect("no panic while held").answer(&asked);
                    let body = body.to_string();
                    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                });
            }
        });
        provider
    }

    fn change<T>(&self, change: impl FnOnce(&mut Mind) -> T) -> T {
        change(&mut self.mind.lock().expect("no panic while held"))
    }

    /// The next answer to a code.
    pub fn gives(&self, status: u16, body: Value) {
        self.change(|mind| mind.token.push_back((status, body)));
    }

    /// Who asks for tokens waits from now on.
    pub fn holds(&self) -> Arc<Held> {
        let held = Arc::new(Held::default());
        self.change(|mind| mind.held = Some(held.clone()));
        held
    }

    /// What it tells with an access token.
    pub fn tells(&self, claims: Value) {
        self.change(|mind| mind.userinfo = Some(claims));
    }

    /// The keys that it publishes from now on.
    pub fn turns(&self, key_ids: &[&str]) {
        self.change(|mind| mind.key_ids = key_ids.iter().map(|id| (*id).to_owned()).collect());
    }

    pub fn says_of_itself(&self, name: &str, value: Value) {
        self.change(|mind| mind.discovery[name] = value);
    }

    pub fn goes(&self, is_away: bool) {
        self.change(|mind| mind.is_away = is_away);
    }

    /// How often this path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        let mark = format!(" {path} ");
        self.change(|mind| mind.asked.iter().filter(|asked| asked.contains(&mark)).count())
    }

    /// The newest request for this path.
    pub fn newest(&self, path: &str) -> String {
        let mark = format!(" {path} ");
        self.change(|mind| {
            mind.asked.iter().rev().find(|asked| asked.contains(&mark)).cloned().unwrap_or_default()
        })
    }
}
