//! Ids in paths and bodies: the noun in front is checked, so that an id of another kind is told as such.

use std::str::FromStr;

use rowhouse_domain::access::{Principal, PrincipalKind};
use rowhouse_domain::id::{IdError, KeyId, ServiceAccountId, UserId};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Reads the id of a path: 422 `api.wrong_kind` for one of another kind, 404 for what is no id.
pub fn path_id<T: FromStr<Err = IdError>>(text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error: IdError| match error {
        IdError::WrongKind { .. } => Refusal::new(&kind::WRONG_KIND, format!("{error}.")),
        IdError::Malformed { .. } => Refusal::new(&kind::NOT_FOUND, "There is nothing with this id."),
    })
}

/// A principal as it is written in bodies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrincipalBody {
    /// `user`, `service_account` or `api_key`.
    pub kind: String,
    /// Its id, with the noun in front.
    pub id: String,
}

impl PrincipalBody {
    /// Reads it; `pointer` is where it stands in the body.
    pub fn parse(&self, pointer: &str) -> Result<Principal, Refusal> {
        let wrong = |field: &str, detail: String| {
            Refusal::new(&kind::INVALID, "The principal is not well-formed.").field(
                format!("{pointer}/{field}"),
                "malformed",
                detail,
            )
        };
        let (kind, id) = match self.kind.as_str() {
            "user" => (PrincipalKind::User, self.id.parse::<UserId>().map(|id| id.0)),
            "service_account" => {
                (PrincipalKind::ServiceAccount, self.id.parse::<ServiceAccountId>().map(|id| id.0))
            }
            "api_key" => (PrincipalKind::ApiKey, self.id.parse::<KeyId>().map(|id| id.0)),
            _ => return Err(wrong("kind", "user, service_account or api_key".to_owned())),
        };
        let id = id.map_err(|error| wrong("id", error.to_string()))?;
        Ok(Principal { kind, id })
    }
}

impl From<Principal> for PrincipalBody {
    fn from(principal: Principal) -> Self {
        PrincipalBody { kind: principal.kind.as_str().to_owned(), id: principal.to_string() }
    }
}

/// The kind of a principal as it is stored.
pub fn stored_kind(word: &str) -> Option<PrincipalKind> {
    [PrincipalKind::User, PrincipalKind::ServiceAccount, PrincipalKind::ApiKey]
        .into_iter()
        .find(|kind| kind.as_str() == word)
}
