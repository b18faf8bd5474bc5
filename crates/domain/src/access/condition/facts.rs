//! What is known of a request or a question when conditions are asked.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::Batch;
use crate::access::Principal;

/// Who is asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// In whose right.
    pub principal: Principal,
    /// The groups that it is in at the asked instant.
    pub groups: &'a [Uuid],
}

/// Facts. What is `None` is missing to a condition that asks for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    /// The thing that is asked about: its type and id. `None` is the whole tenant.
    pub thing: Option<(&'a str, &'a str)>,
    /// Where the request comes from. An IPv4 address in IPv6 dress is one of IPv4.
    pub ip: Option<IpAddr>,
    /// Whether a second factor was shown.
    pub mfa: Option<bool>,
    /// For how many seconds that has been so.
    pub mfa_age_s: Option<i64>,
    /// `api_key`, `token`, `issuer` or `certificate`.
    pub auth_method: Option<&'a str>,
    /// Two letters.
    pub country: Option<&'a str>,
    /// The request's method.
    pub method: Option<&'a str>,
    /// The request's path, as it is matched.
    pub path: Option<&'a str>,
    /// What the question says of the action.
    pub action: Option<&'a Map<String, Value>>,
    /// Of who is asked about, besides kind, id and groups.
    pub principal: Option<&'a Map<String, Value>>,
    /// Of the thing, where nothing is stored of that name.
    pub resource: Option<&'a Map<String, Value>>,
    /// What principals and groups are called where it is not by their ids: in simulations.
    pub called: Option<&'a BTreeMap<Uuid, String>>,
    /// Whatever else a question's context says; what is declared of it can be asked for.
    pub context: Option<&'a Map<String, Value>>,
    /// What all questions that are asked together may cost; `None`: it is asked alone.
    pub batch: Option<&'a Batch>,
}

impl<'a> Facts<'a> {
    /// Nothing but the time.
    pub const NONE: Facts<'static> = Facts {
        thing: None,
        ip: None,
        mfa: None,
        mfa_age_s: None,
        auth_method: None,
        country: None,
        method: None,
        path: None,
        action: None,
        principal: None,
        resource: None,
        called: None,
        context: None,
        batch: None,
    };

    /// What a question's context says. What is of another type than it should be is missing.
    pub fn of_context(context: &'a Map<String, Value>) -> Self {
        let text = |name: &str| context.get(name).and_then(Value::as_str);
        Facts {
            ip: text("ip").and_then(|text| text.parse().ok()),
            mfa: context.get("mfa").and_then(Value::as_bool),
            mfa_age_s: context.get("mfa_age_s").and_then(Value::as_i64),
            auth_method: text("auth_method"),
            country: text("country"),
            method: text("method"),
            path: text("path"),
            action: context.get("action").and_then(Value::as_object),
            context: Some(context),
            ..Facts::NONE
        }
    }

    /// The same about one thing.
    #[must_use]
    pub fn on(self, kind: &'a str, id: &'a str) -> Self {
        Facts { thing: Some((kind, id)), ..self }
    }
}
