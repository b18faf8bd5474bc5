//! To whom: found when a message is sent, so that it reaches who is there then.

use rowhouse_domain::id::{OPERATOR_TENANT, TenantId, UserId};
use rowhouse_domain::messages::{Address, Number};
use rowhouse_store::{StoreError, Transaction};

use crate::{Control, identity, tenancy};

/// To whom a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// An address.
    Address(Address),
    /// Whoever has this address, if anybody does: who it is is asked when the message is due, so that queueing it tells nobody, be it by
    /// the time it takes. For [`template::PASSWORD_RESET`](rowhouse_domain::messages::template::PASSWORD_RESET), whose link is made then.
    Holder(Address),
    /// A number, as a text message.
    Number(Number),
    /// A person, at the address that is theirs when it is sent.
    User(UserId),
    /// Who administers the tenant; while nobody does, its billing contact.
    Administrators,
    /// The tenant's billing contact; without one, its administrators.
    BillingContact,
    /// The operator's administrators, and the addresses in `messages.operators`.
    Operators,
}

/// [`To::Holder`] as it is stored.
pub(super) const HOLDER: &str = "holder";

impl To {
    /// As it is stored and shown.
    pub fn as_str(&self) -> &'static str {
        match self {
            To::Address(_) => "address",
            To::Holder(_) => HOLDER,
            To::Number(_) => "number",
            To::User(_) => "user",
            To::Administrators => "administrators",
            To::BillingContact => "billing_contact",
            To::Operators => "operators",
        }
    }

    /// The person, if it is for one.
    pub fn user(&self) -> Option<UserId> {
        match self {
            To::User(user) => Some(*user),
            _ => None,
        }
    }

    /// What was stored; addresses are not: they lie sealed.
    pub(super) fn stored(word: &str, user: Option<UserId>) -> Option<To> {
        match (word, user) {
            ("user", Some(user)) => Some(To::User(user)),
            ("administrators", None) => Some(To::Administrators),
            ("billing_contact", None) => Some(To::BillingContact),
            ("operators", None) => Some(To::Operators),
            _ => None,
        }
    }
}

/// The addresses that a message about `tenant` would go to now, each once. The transaction must see the tenant; for
/// [`To::Operators`], the platform.
///
/// # Errors
/// If the database fails.
pub async fn addresses(
    control: &Control,
    transaction: &Transaction,
    tenant: TenantId,
    to: &To,
) -> Result<Vec<Address>, StoreError> {
    let mut found = match to {
        To::Address(address) => vec![address.clone()],
        To::Holder(address) => {
            let user = identity::holder_of(transaction, address).await?;
            user.map(|_| address.clone()).into_iter().collect()
        }
        To::Number(_) => Vec::new(),
        To::User(user) => identity::address_of(transaction, *user).await?.into_iter().collect(),
        To::Administrators => {
            let own = administrators(transaction, tenant).await?;
            if own.is_empty() { billing_contact(transaction, tenant).await? } else { own }
        }
        To::BillingContact => {
            let own = billing_contact(transaction, tenant).await?;
            if own.is_empty() { administrators(transaction, tenant).await? } else { own }
        }
        To::Operators => {
            let mut own = administrators(transaction, OPERATOR_TENANT).await?;
            own.extend(control.messages.settings.operators.iter().cloned());
            own
        }
    };
    found.sort_by_key(Address::key);
    found.dedup_by_key(|address| address.key());
    Ok(found)
}

async fn billing_contact(transaction: &Transaction, tenant: TenantId) -> Result<Vec<Address>, StoreError> {
    let record = tenancy::get(transaction, tenant).await?;
    let email = record.as_ref().and_then(|record| record.billing_contact["email"].as_str());
    Ok(email.and_then(|text| Address::parse(text).ok()).into_iter().collect())
}

async fn administrators(transaction: &Transaction, tenant: TenantId) -> Result<Vec<Address>, StoreError> {
    let people = identity::administrators(transaction, tenant).await?;
    Ok(people.iter().filter_map(|user| Address::parse(user.email.as_deref()?).ok()).collect())
}
