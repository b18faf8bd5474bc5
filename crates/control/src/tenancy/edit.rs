//! Editing a tenant: what a PATCH (RFC 7396) may change, and within which bounds.

use std::collections::BTreeMap;

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{RequestId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, Transaction};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::queries::{self, Edited, TenantRecord};
use super::residency;
use crate::api::IfMatch;
use crate::catalog::{self, QuotaLimit};
use crate::{Control, tenancy};

const METADATA_MAX: usize = 16 * 1024;
const METADATA_KEYS_MAX: usize = 64;
const OVERRIDES_MAX: usize = 64;

/// What to change; what is absent stays, `null` clears.
#[derive(Debug, Default, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantEdit {
    /// 1 to 200 characters.
    pub company_name: Option<String>,
    /// Merged: `email`, `address`, `payment_method`.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<Object>)]
    pub billing_contact: Option<Value>,
    /// Merged; at most 16 KiB and 64 keys in all.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Value>,
    /// Meter → decimal string or `unlimited`; `null` gives the tier's back.
    pub quota_overrides: Option<BTreeMap<String, Option<String>>>,
    /// At most 16 regions or zones; the tenant's bytes rest nowhere else. Empty: wherever its home region permits.
    pub residency: Option<Vec<String>>,
}

/// Whom bills go to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, serde::Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BillingContact {
    /// At most 254 characters.
    pub email: Option<String>,
    /// Where it is.
    pub address: Option<Address>,
    /// Opaque.
    pub payment_method: Option<String>,
}

/// A postal address; each line at most 100 characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, serde::Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Address {
    pub line1: Option<String>,
    pub line2: Option<String>,
    pub city: Option<String>,
    pub state: Option<String>,
    pub postal_code: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
}

/// `null` is a value here, unlike an absent field.
fn given<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(input).map(Some)
}

/// RFC 7396 §2.
fn merge(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut merged = match target {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    };
    for (name, value) in patch {
        match value {
            Value::Null => drop(merged.remove(name)),
            value => {
                let before = merged.remove(name).unwrap_or(Value::Null);
                merged.insert(name.clone(), merge(before, value));
            }
        }
    }
    Value::Object(merged)
}

/// Checks a company's name; the refusal names `/company_name`.
pub fn check_company_name(name: &str) -> Result<(), Refusal> {
    match name.trim() == name && (1..=200).contains(&name.chars().count()) {
        true => Ok(()),
        false => Err(wrong(
            "/company_name",
            "out_of_bounds",
            "1 to 200 characters, none of them a space at an end",
        )),
    }
}

/// Checks metadata; the refusal names `/metadata`.
pub fn check_metadata(metadata: &Value) -> Result<(), Refusal> {
    let fields = metadata.as_object().map(serde_json::Map::len);
    match fields {
        Some(count) if count <= METADATA_KEYS_MAX && metadata.to_string().len() <= METADATA_MAX => Ok(()),
        _ => Err(wrong("/metadata", "out_of_bounds", "an object of at most 64 keys and 16 KiB")),
    }
}

impl BillingContact {
    /// Checks lengths; the refusal names each wrong field below `at`.
    pub fn check(&self, at: &str) -> Result<(), Refusal> {
        let address = self.address.clone().unwrap_or_default();
        let country = address.country.as_deref();
        let is_country = |code: &str| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
        let fields = [
            ("email", &self.email, 254),
            ("payment_method", &self.payment_method, 100),
            ("address/line1", &address.line1, 100),
            ("address/line2", &address.line2, 100),
            ("address/city", &address.city, 100),
            ("address/state", &address.state, 100),
            ("address/postal_code", &address.postal_code, 100),
        ];
        let mut refusal = Refusal::new(&kind::INVALID, "The billing contact is wrong.");
        for (name, value, longest) in fields {
            if value.as_ref().is_some_and(|value| value.chars().count() > longest) {
                refusal = refusal.field(
                    format!("{at}/{name}"),
                    "too_long",
                    format!("at most {longest} characters"),
                );
            }
        }
        if self.email.as_deref().is_some_and(|email| !email.contains('@')) {
            refusal = refusal.field(format!("{at}/email"), "malformed", "an e-mail address");
        }
        if country.is_some_and(|code| !is_country(code)) {
            refusal =
                refusal.field(format!("{at}/address/country"), "malformed", "two capital letters, as in DE");
        }
        if refusal.errors().is_empty() { Ok(()) } else { Err(refusal) }
    }
}

fn wrong(pointer: &str, code: &str, detail: &str) -> Refusal {
    Refusal::new(&kind::INVALID, "A field of the tenant is wrong.").field(pointer, code, detail)
}

/// Edits a tenant and answers what it is then.
///
/// # Errors
/// 412 if it was changed meanwhile, 422 with every wrong field.
pub(super) async fn edit(
    control: &Control,
    permit: &Permit,
    tenant: TenantId,
    (if_match, edit): (&IfMatch, TenantEdit),
    request_id: RequestId,
) -> Result<TenantRecord, Refusal> {
    let transaction = control.store.write(permit).await?;
    let gone = || Refusal::new(&kind::NOT_FOUND, "There is no such tenant.");
    let before = queries::lock(&transaction, tenant).await?.ok_or_else(gone)?;
    if_match.check(before.tenant.version)?;
    let mut after = apply(&transaction, before.clone(), &edit).await?;
    if let Some(residency) = edit.residency.as_ref().filter(|wanted| **wanted != before.residency) {
        residency::effect(control, &transaction, &before, residency).await?.require_nothing_outside()?;
        queries::set_residency(&transaction, tenant, residency).await?;
        after.residency.clone_from(residency);
    }
    let fields = changed_fields(&before, &after);
    if fields.is_empty() {
        transaction.rollback().await?;
        return Ok(before);
    }
    let edited = Edited {
        company_name: &after.tenant.company_name,
        billing_contact: &after.billing_contact,
        metadata: &after.metadata,
        quota_overrides: &after.tenant.quota_overrides,
    };
    queries::update(&transaction, tenant, &edited).await?;
    let stored = queries::get(&transaction, tenant).await?.ok_or_else(gone)?;
    let change = Change::new(tenant, "tenancy.tenant_changed", "update", permit.principal())
        .on("tenant", tenant)
        .details(json!({ "fields": fields }))
        .request(request_id)
        .notify(Notice::tenant(tenant));
    transaction.commit(change).await?;
    Ok(stored)
}

async fn apply(
    transaction: &Transaction,
    mut record: TenantRecord,
    edit: &TenantEdit,
) -> Result<TenantRecord, Refusal> {
    if let Some(name) = &edit.company_name {
        check_company_name(name)?;
        record.tenant.company_name.clone_from(name);
    }
    if let Some(patch) = &edit.billing_contact {
        let merged = merge(record.billing_contact, patch);
        let merged = if merged.is_null() { json!({}) } else { merged };
        let contact: BillingContact = serde_json::from_value(merged)
            .map_err(|error| wrong("/billing_contact", "invalid", &error.to_string()))?;
        contact.check("/billing_contact")?;
        record.billing_contact = serde_json::to_value(contact).expect("text fields");
    }
    if let Some(patch) = &edit.metadata {
        let merged = merge(record.metadata, patch);
        record.metadata = if merged.is_null() { json!({}) } else { merged };
        check_metadata(&record.metadata)?;
    }
    if let Some(patch) = &edit.quota_overrides {
        let meters = catalog::load(transaction).await?.meters;
        let known = |name: &str| meters.iter().any(|meter| meter.name == name);
        tenancy::edit::override_quotas(&mut record.tenant.quota_overrides, patch, known)?;
    }
    Ok(record)
}

fn override_quotas(
    overrides: &mut BTreeMap<String, String>,
    patch: &BTreeMap<String, Option<String>>,
    known: impl Fn(&str) -> bool,
) -> Result<(), Refusal> {
    let mut refusal = Refusal::new(&kind::INVALID, "A quota is wrong.");
    for (meter, value) in patch {
        let at = format!("/quota_overrides/{meter}");
        match value {
            None => drop(overrides.remove(meter)),
            Some(_) if !known(meter) => refusal = refusal.field(at, "unknown", "there is no such meter"),
            Some(value) if QuotaLimit::parse(value).is_none() => {
                refusal =
                    refusal.field(at, "malformed", "a decimal string that is not negative, or `unlimited`");
            }
            Some(value) => drop(overrides.insert(meter.clone(), value.clone())),
        }
    }
    if overrides.len() > OVERRIDES_MAX {
        refusal = refusal.field("/quota_overrides", "too_many", "at most 64");
    }
    if refusal.errors().is_empty() { Ok(()) } else { Err(refusal) }
}

/// Names only: what stands in them may be personal.
fn changed_fields(before: &TenantRecord, after: &TenantRecord) -> Vec<&'static str> {
    let fields = [
        ("company_name", before.tenant.company_name != after.tenant.company_name),
        ("billing_contact", before.billing_contact != after.billing_contact),
        ("metadata", before.metadata != after.metadata),
        ("quota_overrides", before.tenant.quota_overrides != after.tenant.quota_overrides),
        ("residency", before.residency != after.residency),
    ];
    fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7396, appendix A.
    #[test]
    fn patches_merge_as_the_standard_says() {
        for (target, patch, result) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            assert_eq!(merge(target.clone(), &patch), result, "{target} with {patch}");
        }
    }

    #[test]
    fn quotas_are_decimals_of_known_meters() {
        let mut overrides = BTreeMap::from([("users".to_owned(), "5".to_owned())]);
        let patch =
            |meter: &str, value: Option<&str>| BTreeMap::from([(meter.to_owned(), value.map(str::to_owned))]);
        let known = |name: &str| ["users", "stamps"].contains(&name);
        override_quotas(&mut overrides, &patch("stamps", Some("unlimited")), known).expect("right");
        override_quotas(&mut overrides, &patch("users", None), known).expect("right");
        assert_eq!(overrides, BTreeMap::from([("stamps".to_owned(), "unlimited".to_owned())]));
        for (meter, value) in [("flights", "1"), ("users", "-1"), ("users", "many"), ("users", "")] {
            let refused = override_quotas(&mut overrides, &patch(meter, Some(value)), known);
            assert_eq!(refused.expect_err("wrong").status(), 422, "{meter} {value}");
        }
    }
}
