//! From `[messages]` to the post office; a setting that cannot be used is named.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rowhouse_control::messages::{
    Post, PostSettings, SmsBody, SmsSettings, SmtpSettings, SmtpTls, TransportSettings,
};
use rowhouse_domain::messages::{Address, parse_beginning};

use crate::config::{MailTls, MailTransport, Messages, SmsFormat};

/// Opens it; connects to nothing.
pub fn open(settings: &Messages, data_dir: &Path) -> anyhow::Result<Post> {
    Ok(Post::open(post_settings(settings, data_dir)?)?)
}

/// What it is opened with.
pub fn post_settings(settings: &Messages, data_dir: &Path) -> anyhow::Result<PostSettings> {
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
    Ok(PostSettings {
        transport,
        from: address("from", &settings.from)?,
        reply_to: settings.reply_to.as_deref().map(|text| address("reply_to", text)).transpose()?,
        brand: settings.brand.clone(),
        templates: settings.templates.clone(),
        operators: operators.collect::<anyhow::Result<_>>()?,
        sms: settings.sms_url.as_ref().map(|url| sms(settings, url)).transpose()?,
    })
}

fn smtp(settings: &Messages) -> anyhow::Result<SmtpSettings> {
    let host = settings.host.clone().context("the setting messages.host is missing: smtp needs it")?;
    let tls = match settings.tls {
        MailTls::Starttls => SmtpTls::Starttls,
        MailTls::Implicit => SmtpTls::Implicit,
        MailTls::None => SmtpTls::None,
    };
    let login = match (&settings.username, &settings.password_file) {
        (Some(name), Some(file)) => Some((name.clone(), password(file)?)),
        (None, None) => None,
        _ => bail!("messages.username and messages.password_file belong together: set both or neither"),
    };
    Ok(SmtpSettings { host, port: settings.port(), tls, login })
}

fn sms(settings: &Messages, url: &str) -> anyhow::Result<SmsSettings> {
    let beginning = |text: &String| {
        parse_beginning(text).with_context(|| format!("the setting messages.sms_countries: `{text}`"))
    };
    if !(1..=30).contains(&settings.sms_timeout_s) || settings.sms_hourly_max < 1 {
        bail!("messages.sms_timeout_s is 1 to 30, messages.sms_hourly_max at least 1");
    }
    Ok(SmsSettings {
        url: url.to_owned(),
        authorization: settings.sms_authorization_file.as_deref().map(password).transpose()?,
        body: settings.sms_body.clone(),
        kind: match settings.sms_format {
            SmsFormat::Json => SmsBody::Json,
            SmsFormat::Form => SmsBody::Form,
        },
        timeout: Duration::from_secs(settings.sms_timeout_s),
        countries: settings.sms_countries.iter().map(beginning).collect::<anyhow::Result<_>>()?,
        hourly_max: settings.sms_hourly_max,
    })
}

fn password(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
