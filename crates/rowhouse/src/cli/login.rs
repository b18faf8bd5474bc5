//! `rowhouse login`: signing in as a person. The command line shows a code (RFC 8628), the person types it in any browser, and what it gets
//! lies in a file that only they can read. `rowhouse logout` ends it.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Global;
use super::client::{Answer, Client};

const CLIENT_ID: &str = "rowhouse-cli";
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
/// A token that is over so soon is renewed before it is used, in seconds.
const SPARE_S: i64 = 60;

/// What lies in the file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Session {
    /// The control API that it is for, and no other.
    url: String,
    access_token: String,
    refresh_token: String,
    /// Of the access token, in seconds since 1970.
    expires_at: i64,
}

/// Where it lies: `rowhouse/session.json` in the folder for settings.
pub fn file() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let folder = folder.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    folder.map(|folder| folder.join("rowhouse/session.json"))
}

fn now_s() -> i64 {
    crate::serve::system_clock().now_s()
}

async fn form(client: &Client, path: &str, fields: &[(&str, &str)]) -> anyhow::Result<Answer> {
    let pairs = fields.iter().map(|(name, value)| format!("{name}={}", escape(value)));
    let body = Bytes::from(pairs.collect::<Vec<_>>().join("&"));
    client.send(Method::POST, path, &[FORM], Some(body)).await
}

fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

/// Asks, waits for the person, keeps what comes.
pub async fn login(global: &Global) -> anyhow::Result<ExitCode> {
    let client = Client::new(&global.url, None)?;
    let begun = form(&client, "/oauth2/device_authorization", &[("client_id", CLIENT_ID)]).await?;
    let told: Value = serde_json::from_slice(&begun.body).unwrap_or_default();
    let text =
        |name: &str| told[name].as_str().with_context(|| format!("no sign-in here: HTTP {}", begun.status));
    let (device_code, shown, page) = (text("device_code")?, text("user_code")?, text("verification_uri")?);
    eprintln!("Open {page}\nand enter {shown}\n\nNever enter a code that somebody else sent you.");
    let mut pause = told["interval"].as_u64().unwrap_or(5).clamp(1, 60);
    loop {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        let fields = [("grant_type", DEVICE_GRANT), ("client_id", CLIENT_ID), ("device_code", device_code)];
        let answer = form(&client, "/oauth2/token", &fields).await?;
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match told["error"].as_str() {
            None if answer.status.is_success() => {
                let file = keep(&session(&global.url, &told)?)?;
                eprintln!("Signed in. The session lies in {}; `rowhouse logout` ends it.", file.display());
                return Ok(ExitCode::SUCCESS);
            }
            Some("authorization_pending") => {}
            Some("slow_down") => pause += 5,
            Some("access_denied") => bail!("you said no, or the browser has signed out"),
            Some("expired_token") => bail!("the code is over; next: rowhouse login"),
            other => bail!("the sign-in failed: {} {}", answer.status, other.unwrap_or_default()),
        }
    }
}

fn session(url: &str, told: &Value) -> anyhow::Result<Session> {
    let text =
        |name: &str| told[name].as_str().map(str::to_owned).with_context(|| format!("`{name}` is missing"));
    Ok(Session {
        url: url.to_owned(),
        access_token: text("access_token")?,
        refresh_token: text("refresh_token")?,
        expires_at: now_s() + told["expires_in"].as_i64().unwrap_or(0),
    })
}

/// Whole or not at all, and for nobody else to read.
fn keep(session: &Session) -> anyhow::Result<PathBuf> {
    let file = file().context("neither XDG_CONFIG_HOME nor HOME is set")?;
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let half_made = file.with_extension(format!("{}.new", std::process::id()));
    let mut open = std::fs::OpenOptions::new();
    let mut out = open.write(true).create_new(true).mode(0o600).open(&half_made)?;
    out.write_all(&serde_json::to_vec(session)?)?;
    out.sync_all()?;
    std::fs::rename(&half_made, &file)?;
    Ok(file)
}

fn kept() -> Option<Session> {
    serde_json::from_slice(&std::fs::read(file()?).ok()?).ok()
}

/// The access token of who has signed in to this API, renewed if it is nearly over; none if nobody has, or not any more.
pub async fn token(global: &Global) -> anyhow::Result<Option<String>> {
    let Some(session) = kept().filter(|own| own.url == global.url) else { return Ok(None) };
    if session.expires_at - now_s() > SPARE_S {
        return Ok(Some(session.access_token));
    }
    let client = Client::new(&global.url, None)?;
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", CLIENT_ID),
        ("refresh_token", &session.refresh_token),
    ];
    let answer = form(&client, "/oauth2/token", &fields).await?;
    if !answer.status.is_success() {
        // Another command may have been quicker; what it kept is good then.
        return Ok(kept()
            .filter(|own| own.url == global.url && own.expires_at > now_s())
            .map(|own| own.access_token));
    }
    let session = self::session(&global.url, &serde_json::from_slice(&answer.body)?)?;
    keep(&session)?;
    Ok(Some(session.access_token))
}

/// Ends it, here and there.
pub async fn logout() -> anyhow::Result<ExitCode> {
    let Some(session) = kept() else {
        eprintln!("Nobody is signed in.");
        return Ok(ExitCode::SUCCESS);
    };
    let client = Client::new(&session.url, None)?;
    let answer = form(&client, "/oauth2/revoke", &[("token", &session.refresh_token)]).await;
    if let Some(file) = file() {
        std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    if !answer?.status.is_success() {
        bail!("the file is gone, but {} did not end the session: end it on your account's page", session.url);
    }
    eprintln!("Signed out.");
    Ok(ExitCode::SUCCESS)
}
