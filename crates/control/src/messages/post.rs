//! The post office of this process: how mail leaves, whom it is from, what it says, and what was sent so far.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use rowhouse_domain::messages::Address;

use super::sms::SmsSettings;
use super::texts::{TextError, Texts};
use super::transport::Transport;

/// `[messages]`, parsed.
#[derive(Debug, Clone)]
pub struct PostSettings {
    /// How mail leaves.
    pub transport: TransportSettings,
    /// Whom it is from.
    pub from: Address,
    /// Where answers go.
    pub reply_to: Option<Address>,
    /// The name that messages speak in, unless a tenant has its own.
    pub brand: String,
    /// The operator's own texts.
    pub templates: Option<PathBuf>,
    /// Who is told what concerns the operator, beside the operator's administrators.
    pub operators: Vec<Address>,
    /// Who sends text messages for us; without one, none are sent.
    pub sms: Option<SmsSettings>,
}

/// How mail leaves.
#[derive(Debug, Clone)]
pub enum TransportSettings {
    /// As files, into a folder that is made.
    Folder(PathBuf),
    /// To a mail server.
    Smtp(SmtpSettings),
}

/// A mail server that takes our mail.
#[derive(Debug, Clone)]
pub struct SmtpSettings {
    /// Its name, also in its certificate.
    pub host: String,
    /// Usually 587.
    pub port: u16,
    /// Whether and how the connection is encrypted.
    pub tls: SmtpTls,
    /// Name and password.
    pub login: Option<(String, String)>,
}

/// Encryption on the way to the mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// `STARTTLS`, and no mail without it (RFC 3207).
    Starttls,
    /// From the first byte (RFC 8314).
    Implicit,
    /// None; only for a server on this machine.
    None,
}

/// Mail cannot leave as it is set up.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// A text of the operator's is wrong.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The mail server's settings are wrong.
    #[error("the mail server's settings cannot be used: {0}")]
    Smtp(String),
    /// What is sent to the provider of text messages cannot be made.
    #[error("the setting {0}")]
    Sms(String),
    /// A login would cross the network in clear.
    #[error("a login for the mail server needs encryption: set `messages.tls`")]
    LoginInClear,
}

/// What was sent since the process started, and what waits.
#[derive(Debug, Default)]
pub struct Counts {
    /// Handed to the transport.
    pub sent: AtomicU64,
    /// Tries that failed and are repeated.
    pub deferred: AtomicU64,
    /// Given up.
    pub failed: AtomicU64,
    /// Of nobody's: not sent.
    pub suppressed: AtomicU64,
    /// Waiting when it was last looked.
    pub waiting: AtomicU64,
    /// Left for a person when it was last looked.
    pub dead: AtomicU64,
}

/// The post office.
#[derive(Debug)]
pub struct Post {
    pub(super) settings: PostSettings,
    pub(super) transport: Transport,
    pub(super) texts: Texts,
    /// For metrics.
    pub counts: Counts,
}

impl Post {
    /// Opens it.
    ///
    /// # Errors
    /// For texts of the operator's that do not render, and for a mail server that cannot be used as it is set up.
    pub fn open(settings: PostSettings) -> Result<Self, PostError> {
        let texts = match &settings.templates {
            Some(folder) => Texts::with_folder(folder)?,
            None => Texts::shipped(),
        };
        if let Some(sms) = &settings.sms {
            sms.check().map_err(PostError::Sms)?;
        }
        let transport = Transport::open(&settings.transport)?;
        Ok(Post { settings, transport, texts, counts: Counts::default() })
    }

    /// Into a folder, from `messages@localhost.localdomain`: for a laptop, and for tests.
    pub fn to_folder(folder: PathBuf) -> Self {
        let from = Address::parse("messages@localhost.localdomain").expect("an address");
        let settings = PostSettings {
            transport: TransportSettings::Folder(folder),
            from,
            reply_to: None,
            brand: "Rowhouse".to_owned(),
            templates: None,
            operators: Vec::new(),
            sms: None,
        };
        Post::open(settings).expect("a folder needs nothing")
    }

    /// The name that messages speak in, unless a tenant has its own.
    pub fn brand(&self) -> &str {
        &self.settings.brand
    }

    /// Who sends text messages, if anybody.
    pub fn sms(&self) -> Option<&SmsSettings> {
        self.settings.sms.as_ref()
    }

    pub(super) fn count(&self, of: impl Fn(&Counts) -> &AtomicU64) {
        of(&self.counts).fetch_add(1, Ordering::Relaxed);
    }
}
