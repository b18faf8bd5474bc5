//! What a message holds of people: its address and its values, sealed as this message and nothing else.

use rowhouse_domain::id::MessageId;
use rowhouse_domain::messages::{Address, Number, Template};
use serde::{Deserialize, Serialize};

use super::texts::Values;
use crate::Control;
use crate::tenancy::{Seal, SealBroken};

const PURPOSE: &str = "messages/content/v1";
/// Stands where a code or a link stood.
const FORGOTTEN: &str = "***";
/// The same where a link must be one.
const FORGOTTEN_LINK: &str = "https://***";

/// Sealed in the row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Where it goes; not known while it is for somebody's role.
    pub to: Option<Address>,
    /// The number that it goes to, for a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// What it tells.
    pub values: Values,
}

impl Content {
    /// Seals it as the message `id`.
    pub fn close(&self, control: &Control, id: MessageId) -> Vec<u8> {
        let plain = serde_json::to_vec(self).expect("text fields");
        seal(control).seal(control.entropy(), &[&id.to_string()], &plain)
    }

    /// Opens what was sealed as the message `id`.
    pub fn open(control: &Control, id: MessageId, sealed: &[u8]) -> Result<Self, SealBroken> {
        let plain = seal(control).open(&[&id.to_string()], sealed)?;
        serde_json::from_slice(&plain).map_err(|_| SealBroken)
    }

    /// The number, if it is a text.
    pub fn number(&self) -> Option<Number> {
        Number::parse(self.number.as_deref()?).ok()
    }

    /// The same without what lets somebody in.
    pub fn without_secrets(mut self, template: &Template) -> Self {
        for name in template.secrets {
            if let Some(value) = self.values.get_mut(*name) {
                let forgotten = if *name == "link" { FORGOTTEN_LINK } else { FORGOTTEN };
                *value = forgotten.to_owned();
            }
        }
        self
    }
}

fn seal(control: &Control) -> Seal {
    Seal::new(&control.settings.sealing_key, PURPOSE)
}
