//! How mail leaves: to a mail server, or into a folder.

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::post::{PostError, SmtpTls, TransportSettings};

/// Longest wait for each answer of the mail server.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Longest time for one message altogether; shorter than its lease.
const DELIVERY_MAX: Duration = Duration::from_secs(60);

/// A message did not leave.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct DeliveryError {
    /// Whether trying again is no use: the server has refused it for good.
    pub is_final: bool,
    /// What the server or the file system said.
    pub detail: String,
}

/// A way out.
pub enum Transport {
    /// Files.
    Folder(PathBuf),
    /// A mail server.
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Transport::Folder(_) => "Folder",
            Transport::Smtp(_) => "Smtp",
        })
    }
}

impl Transport {
    /// Makes ready what is needed; connects to nothing.
    pub fn open(settings: &TransportSettings) -> Result<Self, PostError> {
        let own = match settings {
            TransportSettings::Folder(folder) => return Ok(Transport::Folder(folder.clone())),
            TransportSettings::Smtp(own) => own,
        };
        let parameters =
            || TlsParameters::new(own.host.clone()).map_err(|error| PostError::Smtp(error.to_string()));
        let tls = match own.tls {
            SmtpTls::Starttls => Tls::Required(parameters()?),
            SmtpTls::Implicit => Tls::Wrapper(parameters()?),
            SmtpTls::None if own.login.is_some() => return Err(PostError::LoginInClear),
            SmtpTls::None => Tls::None,
        };
        let mut smtp = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&own.host)
            .port(own.port)
            .timeout(Some(ANSWER_MAX))
            .tls(tls);
        if let Some((name, password)) = &own.login {
            smtp = smtp.credentials(Credentials::new(name.clone(), password.clone()));
        }
        Ok(Transport::Smtp(smtp.build()))
    }

    /// Hands one message over; the mail server's answer, or the file's name. `name` is the same whenever the same message
    /// is handed over: in a folder it is there once.
    pub async fn deliver(&self, name: &str, message: &Message) -> Result<String, DeliveryError> {
        match self {
            Transport::Folder(folder) => write(folder.clone(), name.to_owned(), message.formatted()).await,
            Transport::Smtp(smtp) => send(smtp, message).await,
        }
    }
}

async fn send(smtp: &AsyncSmtpTransport<Tokio1Executor>, message: &Message) -> Result<String, DeliveryError> {
    let late = DeliveryError { is_final: false, detail: "the mail server took too long".to_owned() };
    match tokio::time::timeout(DELIVERY_MAX, smtp.send(message.clone())).await {
        Ok(Ok(response)) => Ok(response.message().collect::<Vec<_>>().join(" ")),
        Ok(Err(error)) => Err(DeliveryError { is_final: refused_for_good(&error), detail: chain(&error) }),
        Err(_) => Err(late),
    }
}

/// A 5xx speaks about this message, unless it speaks about us: a login that is refused passes when it is corrected.
fn refused_for_good(error: &lettre::transport::smtp::Error) -> bool {
    let about_us =
        error.status().is_some_and(|code| matches!(u16::from(code), 500..=509 | 521 | 530 | 534 | 535 | 538));
    error.is_permanent() && !about_us
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = inner.source();
    }
    text
}

/// Whole or not at all, and only for its owner to read: messages let people in.
async fn write(folder: PathBuf, name: String, bytes: Vec<u8>) -> Result<String, DeliveryError> {
    let file = format!("{name}.eml");
    let target = folder.join(&file);
    let written = tokio::task::spawn_blocking(move || put(&folder, &target, &bytes)).await;
    let failed = |detail: String| DeliveryError { is_final: false, detail };
    written.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
    Ok(file)
}

fn put(folder: &Path, target: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let half_made = target.with_extension("new");
    let mut open = std::fs::OpenOptions::new();
    let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(&half_made)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    std::fs::rename(&half_made, target)
}
