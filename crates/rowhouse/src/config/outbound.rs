//! `[outbound]`: what is fetched from places that others name.

use std::path::PathBuf;

use rowhouse_control::outbound::Network;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `[outbound]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outbound {
    /// Networks that are called though they are not public.
    pub allow_networks: Vec<Block>,
    /// More authorities than the system's.
    pub authorities: Option<PathBuf>,
}

/// A block of addresses as it is written.
#[derive(Debug, Clone)]
pub struct Block(pub Network, String);

impl Serialize for Block {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&self.1)
    }
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        let network = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Block(network, text))
    }
}
