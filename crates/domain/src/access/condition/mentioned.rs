//! What a condition's text could ask for, found once when it is read: looking through the text for each name takes longer than the
//! rest of a decision. A name that is written with escapes is not found; then it is missing, which is closed.

use super::attribute::{Attribute, Described};

/// Which names the text has.
pub(super) struct Mentioned {
    pub(super) auth_method: bool,
    pub(super) country: bool,
    pub(super) method: bool,
    pub(super) path: bool,
    pub(super) now: bool,
    pub(super) ip: bool,
    pub(super) mfa: bool,
    pub(super) action: bool,
    pub(super) params: bool,
    pub(super) principal: bool,
    pub(super) groups: bool,
    pub(super) resource: bool,
    /// Whether one of the entities is named at all, by its variable or by its type.
    pub(super) any_principal: bool,
    pub(super) any_resource: bool,
    pub(super) any_action: bool,
    /// Of what is declared.
    declared: Box<[Attribute]>,
}

impl Mentioned {
    /// By a text about types that declare these attributes.
    pub(super) fn by(text: &str, declared: &[Attribute]) -> Self {
        let has = |name: &str| text.contains(name);
        Mentioned {
            auth_method: has("auth_method"),
            country: has("country"),
            method: has("method"),
            path: has("path"),
            now: has("now"),
            ip: has("ip"),
            mfa: has("mfa"),
            action: has("action"),
            params: has("params"),
            principal: has("principal"),
            groups: has("groups"),
            resource: has("resource"),
            any_principal: has("rincipal"),
            any_resource: has("resource") || has("Thing"),
            any_action: has("ction"),
            declared: declared.iter().filter(|own| has(&own.name)).cloned().collect(),
        }
    }

    /// What is declared of one thing and mentioned.
    pub(super) fn declared(&self, of: Described) -> impl Iterator<Item = &Attribute> {
        self.declared.iter().filter(move |own| own.of == of)
    }
}
