//! Text messages leave by a provider that is called over HTTP: one POST for each, with a body of the operator's making.
//!
//! Each carries the message's own id as `Idempotency-Key`, so that a provider that knows such keys sends once what we had to ask for twice.

use std::fmt;
use std::time::Duration;

use rowhouse_domain::id::MessageId;
use rowhouse_domain::messages::Number;

use super::transport::DeliveryError;
use crate::outbound::{Outbound, Sent, check_url};

/// Longest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 * 1024;
/// Of the answer, what is kept, in characters.
const KEPT_MAX: usize = 200;

/// How the body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmsBody {
    /// `application/json`.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
}

/// A provider of text messages.
#[derive(Clone)]
pub struct SmsSettings {
    /// Where it is called: https, or http within the networks that may be called so.
    pub url: String,
    /// `Authorization`, if it asks for one.
    pub authorization: Option<String>,
    /// The body, with `{to}`, `{text}` and perhaps `{id}` in it, each within quotes in JSON and bare in a form.
    pub body: String,
    /// How values are written into it.
    pub kind: SmsBody,
    /// For a call altogether.
    pub timeout: Duration,
    /// Beginnings of numbers that texts go to, as `+49`.
    pub countries: Vec<String>,
    /// Texts to one of these in an hour.
    pub hourly_max: i32,
}

impl fmt::Debug for SmsSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SmsSettings")
            .field("url", &self.url)
            .field("countries", &self.countries)
            .finish_non_exhaustive()
    }
}

impl SmsSettings {
    /// What is wrong with them, in words that name the setting.
    pub fn check(&self) -> Result<(), String> {
        check_url(&self.url).map_err(|error| format!("messages.sms_url: {error}"))?;
        if let Some(lacks) = ["{to}", "{text}"].iter().find(|name| !self.body.contains(**name)) {
            return Err(format!("messages.sms_body: `{lacks}` is not in it"));
        }
        let sample = self.filled(&[("to", "+4915123456789"), ("text", "a \"quoted\" text\n"), ("id", "1")]);
        let is_json =
            self.kind != SmsBody::Json || serde_json::from_str::<serde_json::Value>(&sample).is_ok();
        if !is_json {
            return Err("messages.sms_body: it is no JSON, or a placeholder in it stands outside of quotes"
                .to_owned());
        }
        Ok(())
    }

    /// The body with `values` in their places. Nothing that a value holds is taken for a placeholder.
    fn filled(&self, values: &[(&str, &str)]) -> String {
        let mut out = String::new();
        let mut rest = self.body.as_str();
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            let known = values.iter().find_map(|(name, value)| {
                let after = from.strip_prefix('{')?.strip_prefix(name)?.strip_prefix('}')?;
                Some((after, *value))
            });
            match known {
                Some((after, value)) => {
                    out.push_str(&self.written(value));
                    rest = after;
                }
                None => {
                    out.push('{');
                    rest = &from[1..];
                }
            }
        }
        out + rest
    }

    fn written(&self, value: &str) -> String {
        match self.kind {
            SmsBody::Form => crate::identity::escape_form(value),
            SmsBody::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
        }
    }

    /// Hands one text over; what the provider answered.
    pub(super) async fn deliver(
        &self,
        outbound: &Outbound,
        id: MessageId,
        to: &Number,
        text: &str,
    ) -> Result<String, DeliveryError> {
        let id = id.to_string();
        let sent = Sent {
            authorization: self.authorization.as_deref(),
            content_type: match self.kind {
                SmsBody::Json => "application/json",
                SmsBody::Form => "application/x-www-form-urlencoded",
            },
            body: self.filled(&[("to", to.as_str()), ("text", text), ("id", &id)]),
            idempotency_key: &id,
            deadline: self.timeout,
        };
        let answered = outbound.send(&self.url, sent, ANSWER_MAX).await;
        let (status, body) =
            answered.map_err(|error| DeliveryError { is_final: false, detail: error.to_string() })?;
        let said: String = String::from_utf8_lossy(&body).chars().take(KEPT_MAX).collect();
        let said =
            said.replace(to.as_str(), &to.hint()).replace(&to.as_str()[1..], &to.hint()).replace(text, "…");
        if status.is_success() {
            return Ok(said);
        }
        // What speaks about us passes when it is corrected; so does haste.
        let about_us = matches!(status.as_u16(), 401 | 403 | 408 | 425 | 429);
        let detail = format!("the provider answered {status}: {said}");
        Err(DeliveryError { is_final: status.is_client_error() && !about_us, detail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(kind: SmsBody, body: &str) -> SmsSettings {
        SmsSettings {
            url: "https://texts.example/send".to_owned(),
            authorization: Some("Bearer secret".to_owned()),
            body: body.to_owned(),
            kind,
            timeout: Duration::from_secs(5),
            countries: vec!["+49".to_owned()],
            hourly_max: 10,
        }
    }

    #[test]
    fn values_stay_in_their_places() {
        let json = with(SmsBody::Json, r#"{"to":"{to}","body":"{text}","x":{"y":"{z}"}}"#);
        assert_eq!(json.check(), Ok(()));
        let filled = json.filled(&[("to", "+49151"), ("text", "\",\"to\":\"{to}\\"), ("id", "1")]);
        let read: serde_json::Value = serde_json::from_str(&filled).expect("JSON");
        assert_eq!(read["to"], "+49151", "{filled}");
        assert_eq!(read["body"], "\",\"to\":\"{to}\\", "{filled}");
        let form = with(SmsBody::Form, "To={to}&Body={text}");
        assert_eq!(form.check(), Ok(()));
        assert_eq!(
            form.filled(&[("to", "+49"), ("text", "a&To=+1 {to}")]),
            "To=%2B49&Body=a%26To%3D%2B1%20%7Bto%7D"
        );
        for bad in ["", "{}", r#"{"to":"{to}"}"#, r#"{"to":{to},"text":"{text}"}"#] {
            assert!(with(SmsBody::Json, bad).check().is_err(), "{bad}");
        }
        let url = SmsSettings { url: "texts.example".to_owned(), ..json.clone() };
        assert!(url.check().is_err_and(|words| words.starts_with("messages.sms_url")));
        assert!(!format!("{json:?}").contains("secret"));
    }
}
