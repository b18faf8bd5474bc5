//! What a token says.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::access::{Principal, PrincipalKind};
use crate::id::{ApplicationId, ServiceAccountId, SessionId, TenantId, UserId};

/// Who a token speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A person.
    User(UserId),
    /// A machine.
    ServiceAccount(ServiceAccountId),
}

impl Subject {
    /// As a principal.
    pub fn principal(self) -> Principal {
        match self {
            Subject::User(id) => Principal { kind: PrincipalKind::User, id: id.0 },
            Subject::ServiceAccount(id) => Principal { kind: PrincipalKind::ServiceAccount, id: id.0 },
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&self.principal())
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
        let user = || text.parse().map(Subject::User);
        let machine = || text.parse().map(Subject::ServiceAccount);
        match text.starts_with("user_") {
            true => user().map_err(serde::de::Error::custom),
            false => machine().map_err(serde::de::Error::custom),
        }
    }
}

/// The claims, all of them: one more makes it another token. Times are whole seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenClaims {
    /// Who issued it.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// Who it speaks for.
    #[serde(rename = "sub")]
    pub subject: Subject,
    /// Who may believe it.
    #[serde(rename = "aud")]
    pub audience: Vec<String>,
    /// The one tenant it is for.
    pub tenant: TenantId,
    /// The session whose end is its end.
    #[serde(rename = "sid")]
    pub session: SessionId,
    /// Its own id.
    #[serde(rename = "jti")]
    pub id: String,
    /// When it was issued.
    #[serde(rename = "iat")]
    pub issued_at: i64,
    /// From when on it is good.
    #[serde(rename = "nbf")]
    pub not_before: i64,
    /// From when on it is not.
    #[serde(rename = "exp")]
    pub expires_at: i64,
    /// When its bearer last proved who they are (OpenID Connect Core §2).
    pub auth_time: i64,
    /// How strongly proven: `1`, `2` or `3`.
    #[serde(rename = "acr")]
    pub assurance: String,
    /// By what (RFC 8176).
    #[serde(rename = "amr")]
    pub methods: Vec<String>,
    /// The application that a person has let in (RFC 9068 §2.2); none for who signed in here themselves, and for machines.
    #[serde(rename = "client_id", default, skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationId>,
    /// What the application is told, and may do at most besides, apart by spaces (RFC 9068 §2.2.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

impl TokenClaims {
    /// Whether the person has shown something of their own, which no tenant's provider can show for them.
    pub fn has_own(&self) -> bool {
        self.methods.iter().any(|method| !matches!(method.as_str(), "fed" | "mfa"))
    }

    /// Whether an application was given this scope; what is of no application has every one.
    pub fn has_scope(&self, wanted: &str) -> bool {
        let given = self.scope.as_deref().unwrap_or_default();
        self.application.is_none() || given.split(' ').any(|own| own == wanted)
    }
}

impl TokenClaims {
    /// Whether a person has shown two factors.
    pub fn is_of_two_factors(&self) -> bool {
        matches!(self.subject, Subject::User(_)) && matches!(self.assurance.as_str(), "2" | "3")
    }
}
