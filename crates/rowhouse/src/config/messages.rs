//! `[messages]`: how mail to people leaves.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[messages]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Messages {
    /// As files, or to a mail server.
    pub transport: MailTransport,
    /// Where files go; `<data_dir>/messages` if not set.
    pub folder: Option<PathBuf>,
    /// The mail server's name.
    pub host: Option<String>,
    /// Its port; 587, or 465 with implicit TLS, if not set.
    pub port: Option<u16>,
    /// Encryption on the way to it.
    pub tls: MailTls,
    /// The name we sign in to it with.
    pub username: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// Whom mail is from.
    pub from: String,
    /// Where answers go.
    pub reply_to: Option<String>,
    /// The name that messages speak in.
    pub brand: String,
    /// Addresses told what concerns the operator.
    pub operators: Vec<String>,
    /// Folder with texts of the operator's own.
    pub templates: Option<PathBuf>,
}

impl Default for Messages {
    fn default() -> Self {
        Messages {
            transport: MailTransport::File,
            folder: None,
            host: None,
            port: None,
            tls: MailTls::Starttls,
            username: None,
            password_file: None,
            from: "rowhouse@localhost.localdomain".to_owned(),
            reply_to: None,
            brand: "Rowhouse".to_owned(),
            operators: Vec::new(),
            templates: None,
        }
    }
}

/// How mail leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTransport {
    /// `.eml` files in a folder.
    File,
    /// A mail server.
    Smtp,
}

/// Encryption on the way to the mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// `STARTTLS`, required.
    Starttls,
    /// From the first byte.
    Implicit,
    /// None.
    None,
}
