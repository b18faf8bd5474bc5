//! From `[messages]` to the post office; a setting that cannot be used is named.

use std::path::Path;

use anyhow::{Context, bail};
use rowhouse_control::messages::{Post, PostSettings, SmtpSettings, SmtpTls, TransportSettings};
use rowhouse_domain::messages::Address;

use crate::config::{MailTls, MailTransport, Messages};

/// Opens it; connects to nothing.
pub fn open(settings: &Messages, data_dir: &Path) -> anyhow::Result<Post> {
    let transport = match settings.transport {
        MailTransport::File => {
            TransportSettings::Folder(settings.folder.clone().unwrap_or_else(|| data_dir.join("messages")))
        }
        MailTransport::Smtp => TransportSettings::Smtp(smtp(settings)?),
    };
    let address = |name: &str, text: &str| {
        Address::parse(text).with_context(|| format!("the setting messages.{name}: `{text}` is no address"))
    };
    let operators = settings.operators.iter().map(|text| address("operators", text));
    Ok(Post::open(PostSettings {
        transport,
        from: address("from", &settings.from)?,
        reply_to: settings.reply_to.as_deref().map(|text| address("reply_to", text)).transpose()?,
        brand: settings.brand.clone(),
        templates: settings.templates.clone(),
        operators: operators.collect::<anyhow::Result<_>>()?,
    })?)
}

fn smtp(settings: &Messages) -> anyhow::Result<SmtpSettings> {
    let host = settings.host.clone().context("the setting messages.host is missing: smtp needs it")?;
    let tls = match settings.tls {
        MailTls::Starttls => SmtpTls::Starttls,
        MailTls::Implicit => SmtpTls::Implicit,
        MailTls::None => SmtpTls::None,
    };
    let usual = if tls == SmtpTls::Implicit { 465 } else { 587 };
    let login = match (&settings.username, &settings.password_file) {
        (Some(name), Some(file)) => Some((name.clone(), password(file)?)),
        (None, None) => None,
        _ => bail!("messages.username and messages.password_file belong together: set both or neither"),
    };
    Ok(SmtpSettings { host, port: settings.port.unwrap_or(usual), tls, login })
}

fn password(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
