//! Who can hold a grant or be in a group: people and service accounts of the tenant, its groups, and everyone.

use rowhouse_domain::access::{Holder, Principal, PrincipalKind};
use rowhouse_domain::id::{GroupId, ServiceAccountId, TenantId, UserId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::group_queries;
use crate::{identity, keys};

/// A holder as it is written in bodies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HolderBody {
    /// `user`, `service_account`, `group`, or `everyone` for each principal of the tenant.
    pub kind: String,
    /// Its id, with the noun in front; none for everyone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
}

impl HolderBody {
    /// Reads it; `pointer` is where it stands in the body.
    pub(super) fn parse(&self, pointer: &str) -> Result<Holder, Refusal> {
        let wrong = |field: &str, detail: String| {
            Refusal::new(&kind::INVALID, "The principal is not well-formed.").field(
                format!("{pointer}/{field}"),
                "malformed",
                detail,
            )
        };
        let principal = |kind, id| Holder::Principal(Principal { kind, id });
        let holder = match self.kind.as_str() {
            "user" => self.id.parse::<UserId>().map(|id| principal(PrincipalKind::User, id.0)),
            "service_account" => {
                self.id.parse::<ServiceAccountId>().map(|id| principal(PrincipalKind::ServiceAccount, id.0))
            }
            "group" => self.id.parse::<GroupId>().map(|id| Holder::Group(id.0)),
            "everyone" if self.id.is_empty() => Ok(Holder::Everyone),
            "everyone" => return Err(wrong("id", "everyone has no id".to_owned())),
            _ => return Err(wrong("kind", "user, service_account, group or everyone".to_owned())),
        };
        holder.map_err(|error| wrong("id", error.to_string()))
    }
}

impl From<Holder> for HolderBody {
    fn from(holder: Holder) -> Self {
        let (kind, id) = match holder {
            Holder::Principal(principal) => (principal.kind.as_str(), principal.to_string()),
            Holder::Group(id) => ("group", GroupId(id).to_string()),
            Holder::Everyone => ("everyone", String::new()),
        };
        HolderBody { kind: kind.to_owned(), id }
    }
}

/// 404 for a service account or group that the tenant has not; 422 for a person who does not belong to it.
pub(super) async fn refuse_unknown(
    transaction: &Transaction,
    tenant: TenantId,
    holder: Holder,
) -> Result<(), Refusal> {
    match holder {
        Holder::Everyone => Ok(()),
        Holder::Group(id) => {
            let found = group_queries::one(transaction, GroupId(id)).await?;
            let own = found.filter(|group| group.tenant == tenant);
            own.map(drop).ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such group."))
        }
        Holder::Principal(Principal { kind: PrincipalKind::ServiceAccount, id }) => {
            keys::service_account_of(transaction, tenant, id).await.map(drop)
        }
        Holder::Principal(Principal { id, .. }) => {
            match identity::is_member(transaction, tenant, UserId(id)).await? {
                true => Ok(()),
                false => Err(Refusal::new(&kind::INVALID, "The person does not belong to the tenant.")
                    .field("/principal/id", "unknown", "invite them first")),
            }
        }
    }
}

/// The change, said to be on the holder.
pub(super) fn on(change: Change, holder: Holder) -> Change {
    match holder {
        Holder::Principal(principal) => change.on(principal.kind.as_str(), principal),
        Holder::Group(id) => change.on("group", GroupId(id)),
        Holder::Everyone => change.on("group", "everyone"),
    }
}
