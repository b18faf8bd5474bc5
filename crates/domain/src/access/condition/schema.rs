//! A condition is checked once for each type that its grant is about, by Cedar's strict validator.

use std::collections::BTreeMap;
use std::str::FromStr;

use cedar_policy::{Expression, Policy, PolicySet, Schema, ValidationMode, ValidationWarning, Validator};
use miette::Diagnostic;
use serde_json::{Map, Value, json};

use super::attribute::{Attribute, AttributeKind, Described, REQUEST};
use super::scan::weigh;
use super::{Condition, ConditionFault, PARAMETERS_MAX, TEXT_MAX};

impl Condition {
    /// Reads and checks a condition for a grant about these resource types, with what each declares.
    ///
    /// # Errors
    /// For what is too long, too deep or too much work, cannot be read, asks for what is not declared or might not be there, compares what cannot be
    /// compared, or is always the same.
    pub fn check(
        text: &str,
        parameters: Map<String, Value>,
        kinds: &BTreeMap<&str, &[Attribute]>,
    ) -> Result<Condition, ConditionFault> {
        let at_start = |message: String| ConditionFault { line: 1, column: 1, message };
        if text.trim().is_empty() || text.len() > TEXT_MAX {
            return Err(at_start(format!("a condition has 1 to {TEXT_MAX} bytes")));
        }
        weigh(text).map_err(|(at, message)| fault(text, at, message))?;
        let declared = parameters_schema(&parameters).map_err(at_start)?;
        if let Err(errors) = Expression::from_str(text) {
            return Err(told(text, 0, &errors));
        }
        let schema = schema(kinds, &declared).map_err(at_start)?;
        let validator = Validator::new(schema);
        refuse_invalid(&validator, text, ("", ""))?;
        // What is never false is found as what is never true.
        refuse_invalid(&validator, text, ("!(", ")")).map_err(|fault| at_start(fault.message))?;
        Ok(Condition::new(text, parameters))
    }
}

fn refuse_invalid(validator: &Validator, text: &str, around: (&str, &str)) -> Result<(), ConditionFault> {
    let head = format!("permit(principal, action, resource) when {{ {}", around.0);
    let policy = Policy::parse(None, format!("{head}{text}\n{} }};", around.1));
    let policy = policy.map_err(|errors| told(text, head.len(), &errors))?;
    let mut set = PolicySet::new();
    let broken = |message: String| ConditionFault { line: 1, column: 1, message };
    set.add(policy).map_err(|error| broken(error.to_string()))?;
    let result = validator.validate(&set, ValidationMode::Strict);
    if let Some(error) = result.validation_errors().next() {
        return Err(told(text, head.len(), error));
    }
    match result
        .validation_warnings()
        .any(|warning| matches!(warning, ValidationWarning::ImpossiblePolicy(_)))
    {
        true if around.0.is_empty() => Err(broken("it is never true".to_owned())),
        true => Err(broken("it is always true".to_owned())),
        false => Ok(()),
    }
}

/// Where and what, as the text's author sees it: `before` bytes stand in front of it.
fn told(text: &str, before: usize, error: &dyn Diagnostic) -> ConditionFault {
    let at = error.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
    let message = error.to_string();
    let message =
        message.split_once("`, ").map_or(message.as_str(), |(head, rest)| match head.contains("policy") {
            true => rest,
            false => message.as_str(),
        });
    fault(text, at.saturating_sub(before), message.to_owned())
}

fn fault(text: &str, at: usize, message: String) -> ConditionFault {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    ConditionFault { line, column, message }
}

fn type_of(kind: AttributeKind) -> Value {
    match kind {
        AttributeKind::Text => json!({ "type": "String" }),
        AttributeKind::Integer => json!({ "type": "Long" }),
        AttributeKind::Bool => json!({ "type": "Boolean" }),
        AttributeKind::Datetime => json!({ "type": "Extension", "name": "datetime" }),
        AttributeKind::Ip => json!({ "type": "Extension", "name": "ipaddr" }),
        AttributeKind::Texts => json!({ "type": "Set", "element": { "type": "String" } }),
    }
}

fn optional(kind: AttributeKind, required: bool) -> Value {
    let mut own = type_of(kind);
    own["required"] = required.into();
    own
}

/// A grant's parameters are texts, whole numbers, yes or no, and lists of texts.
fn parameters_schema(parameters: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let text = serde_json::to_string(parameters).unwrap_or_default();
    if text.len() > PARAMETERS_MAX {
        return Err(format!("parameters have at most {PARAMETERS_MAX} bytes"));
    }
    let kind_of = |value: &Value| match value {
        Value::String(_) => Some(AttributeKind::Text),
        Value::Bool(_) => Some(AttributeKind::Bool),
        Value::Number(number) if number.is_i64() => Some(AttributeKind::Integer),
        Value::Array(all) if all.iter().all(Value::is_string) => Some(AttributeKind::Texts),
        _ => None,
    };
    let one = |(name, value): (&String, &Value)| match kind_of(value) {
        Some(kind) => Ok((name.clone(), type_of(kind))),
        None => Err(format!("parameter `{name}`: text, a whole number, true or false, or a list of texts")),
    };
    parameters.iter().map(one).collect()
}

/// The Cedar type of the things of a resource type.
fn entity_type(kind: &str) -> String {
    format!("Thing_{kind}")
}

fn schema(kinds: &BTreeMap<&str, &[Attribute]>, parameters: &Map<String, Value>) -> Result<Schema, String> {
    let mut principal: Map<String, Value> = Map::new();
    let (mut entities, mut actions) = (Map::new(), Map::new());
    for (kind, attributes) in kinds {
        let of = |wanted: Described| {
            let own = attributes.iter().filter(move |own| own.of == wanted);
            own.map(|own| (own.name.clone(), optional(own.kind, own.required))).collect::<Map<_, _>>()
        };
        principal.extend(of(Described::Principal));
        let mut context = of(Described::Context);
        context.extend(REQUEST.map(|(name, kind)| (name.to_owned(), type_of(kind))));
        context.insert("action".into(), json!({ "type": "Record", "attributes": of(Described::Action) }));
        context.insert("params".into(), json!({ "type": "Record", "attributes": parameters }));
        let mut resource = of(Described::Resource);
        resource.insert("id".into(), type_of(AttributeKind::Text));
        let name = entity_type(kind);
        entities.insert(name.clone(), json!({ "shape": { "type": "Record", "attributes": resource } }));
        let applies = json!({
            "principalTypes": ["Principal"],
            "resourceTypes": [name],
            "context": { "type": "Record", "attributes": context },
        });
        actions.insert((*kind).to_owned(), json!({ "appliesTo": applies }));
    }
    principal.insert("kind".into(), type_of(AttributeKind::Text));
    principal.insert("id".into(), type_of(AttributeKind::Text));
    principal.insert("groups".into(), type_of(AttributeKind::Texts));
    entities.insert("Principal".into(), json!({ "shape": { "type": "Record", "attributes": principal } }));
    let whole = json!({ "": { "entityTypes": entities, "actions": actions } });
    Schema::from_json_value(whole).map_err(|error| format!("the declared attributes cannot be used: {error}"))
}
