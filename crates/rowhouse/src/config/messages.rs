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
    /// Where the provider of text messages is called; without it none are sent.
    pub sms_url: Option<String>,
    /// File with what it is shown as `Authorization`.
    pub sms_authorization_file: Option<PathBuf>,
    /// What it is sent, with `{to}`, `{text}` and `{id}`.
    pub sms_body: String,
    /// How that is written.
    pub sms_format: SmsFormat,
    /// For a call, 1 to 30.
    pub sms_timeout_s: u64,
    /// Beginnings of numbers that texts go to.
    pub sms_countries: Vec<String>,
    /// Texts to one of these in an hour.
    pub sms_hourly_max: i32,
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
            sms_url: None,
            sms_authorization_file: None,
            sms_body: r#"{"to":"{to}","text":"{text}"}"#.to_owned(),
            sms_format: SmsFormat::Json,
            sms_timeout_s: 10,
            sms_countries: Vec::new(),
            sms_hourly_max: 300,
        }
    }
}

impl Messages {
    /// The mail server's port.
    pub fn port(&self) -> u16 {
        let usual = if self.tls == MailTls::Implicit { 465 } else { 587 };
        self.port.unwrap_or(usual)
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

/// How the body for the provider of text messages is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmsFormat {
    /// `application/json`.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
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
