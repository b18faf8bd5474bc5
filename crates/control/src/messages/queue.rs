//! Queueing, in the transaction of the change that a message tells of.

use jiff::Timestamp;
use rowhouse_domain::id::{MessageId, TenantId};
use rowhouse_domain::messages::Template;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;

use super::audience::To;
use super::content::Content;
use super::queries::{self, NewRow};
use super::texts::Values;
use crate::Control;

/// A message to be queued.
#[derive(Debug, Clone)]
pub struct NewMessage {
    template: &'static Template,
    tenant: TenantId,
    to: To,
    key: String,
    values: Values,
    expires_at: Option<Timestamp>,
}

impl NewMessage {
    /// About `tenant` (the operator's for what concerns none). `key` makes it once in the tenant and template: an id of what
    /// it tells of, at most 200 characters.
    pub fn new(template: &'static Template, tenant: TenantId, to: To, key: impl Into<String>) -> Self {
        NewMessage { template, tenant, to, key: key.into(), values: Values::new(), expires_at: None }
    }

    /// Tells one thing more. What comes from people is cleaned when it is rendered.
    pub fn value(mut self, name: &'static str, value: impl ToString) -> Self {
        self.values.insert(name.to_owned(), value.to_string());
        self
    }

    /// After this instant it is no use and is not sent any more.
    pub fn useless_after(mut self, time: Timestamp) -> Self {
        self.expires_at = Some(time);
        self
    }
}

/// Queues a message; whether it was queued now, or had been before.
///
/// # Errors
/// A refusal of ours for a value that the template needs and that is not there, and if the database fails.
pub async fn queue(control: &Control, transaction: &Transaction, new: NewMessage) -> Result<bool, Refusal> {
    let template = new.template;
    let made_later = matches!(new.to, To::Holder(_));
    let needs = if made_later { &[] } else { template.needs };
    if let Some(missing) = needs.iter().find(|name| !new.values.contains_key(**name)) {
        let detail = format!("the message `{}` needs the value `{missing}`", template.name);
        return Err(Refusal::new(&kind::INTERNAL, "A message could not be queued.").private(detail));
    }
    let now = control.clock().now();
    let id = MessageId(control.entropy().uuid_v7(now.as_microsecond()));
    let (to, number) = match &new.to {
        To::Address(address) | To::Holder(address) => (Some(address.clone()), None),
        To::Number(number) => (None, Some(number)),
        _ => (None, None),
    };
    let hint = to
        .as_ref()
        .filter(|_| !made_later)
        .map(|address| address.hint())
        .or_else(|| number.map(|number| number.hint()));
    let number = number.map(|number| number.as_str().to_owned());
    let row = NewRow {
        id,
        tenant: new.tenant,
        template: template.name,
        key: &new.key,
        audience: new.to.as_str(),
        user: new.to.user(),
        hint,
        content: Content { to, number, values: new.values }.close(control, id),
        priority: template.priority.rank(),
        expires_at: new.expires_at,
        parent: None,
        now,
    };
    Ok(queries::insert(transaction, &row).await?)
}
