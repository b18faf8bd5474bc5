//! From a rendered message to an e-mail (RFC 5322, MIME): plain text always, HTML beside it.

use std::time::{Duration, UNIX_EPOCH};

use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use rowhouse_domain::id::MessageId;
use rowhouse_domain::messages::{Address, clean};

use super::post::PostSettings;
use super::texts::Rendered;

/// It cannot be made into an e-mail.
#[derive(Debug, thiserror::Error)]
#[error("cannot be made into an e-mail: {0}")]
pub struct ComposeError(String);

/// The e-mail of a message. Its `Message-ID` is made from the message's own id: what arrives twice can be told.
pub fn compose(
    settings: &PostSettings,
    (id, created_s): (MessageId, i64),
    (brand, to): (&str, &Address),
    rendered: Rendered,
) -> Result<Message, ComposeError> {
    let wrong = |error: &dyn std::error::Error| ComposeError(error.to_string());
    let mailbox = |name: Option<String>, address: &Address| {
        address.as_str().parse().map(|email| Mailbox::new(name, email)).map_err(|error| wrong(&error))
    };
    let date = UNIX_EPOCH + Duration::from_secs(u64::try_from(created_s).unwrap_or(0));
    let brand = Some(clean(brand)).filter(|brand| !brand.trim().is_empty());
    let mut message = Message::builder()
        .from(mailbox(brand, &settings.from)?)
        .to(mailbox(None, to)?)
        .subject(rendered.subject)
        .date(date)
        .message_id(Some(format!("<{id}@{}>", settings.from.domain())));
    if let Some(address) = &settings.reply_to {
        message = message.reply_to(mailbox(None, address)?);
    }
    let parts = MultiPart::alternative_plain_html(rendered.text, rendered.html);
    let mut message = message.multipart(parts).map_err(|error| wrong(&error))?;
    // RFC 3834: no out-of-office answers to it.
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    message.headers_mut().insert_raw(HeaderValue::new(automatic, "auto-generated".to_owned()));
    Ok(message)
}
