//! A credential as browsers tell it (`PublicKeyCredential.toJSON`, §5.1). Members that we don't read are left alone: browsers add some.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use utoipa::ToSchema;

const TRANSPORTS: [&str; 7] = ["ble", "cable", "hybrid", "internal", "nfc", "smart-card", "usb"];

/// The answer of an authenticator. Bytes are base64url without padding.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CredentialBody {
    /// Its id.
    id: String,
    /// `public-key`.
    r#type: String,
    response: CredentialResponse,
}

/// What it says: `attestationObject` for an enrolment; `authenticatorData` and `signature` for a sign-in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CredentialResponse {
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    #[serde(default)]
    attestation_object: Option<String>,
    #[serde(default)]
    authenticator_data: Option<String>,
    #[serde(default)]
    signature: Option<String>,
    #[serde(default)]
    user_handle: Option<String>,
    #[serde(default)]
    transports: Option<Vec<String>>,
}

/// An enrolment, decoded.
pub struct RegistrationParts {
    pub id: Vec<u8>,
    pub client_data: Vec<u8>,
    pub attestation: Vec<u8>,
    pub transports: Vec<String>,
}

/// A sign-in, decoded.
pub struct AssertionParts {
    pub id: Vec<u8>,
    pub client_data: Vec<u8>,
    pub authenticator_data: Vec<u8>,
    pub signature: Vec<u8>,
    pub user_handle: Option<Vec<u8>>,
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

impl CredentialBody {
    /// From a form's field.
    pub fn parse(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// As an enrolment.
    pub fn registration(&self) -> Option<RegistrationParts> {
        let known = |own: &&String| TRANSPORTS.contains(&own.as_str());
        let transports = self.response.transports.iter().flatten().filter(known).take(TRANSPORTS.len());
        (self.r#type == "public-key").then_some(())?;
        Some(RegistrationParts {
            id: bytes(&self.id)?,
            client_data: bytes(&self.response.client_data)?,
            attestation: bytes(self.response.attestation_object.as_deref()?)?,
            transports: transports.cloned().collect(),
        })
    }

    /// As a sign-in.
    pub fn assertion(&self) -> Option<AssertionParts> {
        (self.r#type == "public-key").then_some(())?;
        let handle = self.response.user_handle.as_deref().filter(|text| !text.is_empty());
        Some(AssertionParts {
            id: bytes(&self.id)?,
            client_data: bytes(&self.response.client_data)?,
            authenticator_data: bytes(self.response.authenticator_data.as_deref()?)?,
            signature: bytes(self.response.signature.as_deref()?)?,
            user_handle: match handle {
                Some(handle) => Some(bytes(handle)?),
                None => None,
            },
        })
    }
}
