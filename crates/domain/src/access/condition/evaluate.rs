//! Asks a condition. Only what its text mentions is handed to it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::LazyLock;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, EvalResult, EvaluationError, Request,
    RestrictedExpression, eval_expression,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::attribute::{Attribute, AttributeKind, Described};
use super::work::{FLOOR, GIVEN_MAX, Given, TOO_MUCH};
use super::{Condition, Facts, Outcome, Subject, Work};

type Pairs = Vec<(String, RestrictedExpression)>;

static PRINCIPAL: LazyLock<EntityTypeName> = LazyLock::new(|| "Principal".parse().expect("a plain name"));
static THING: LazyLock<EntityTypeName> = LazyLock::new(|| "Thing".parse().expect("a plain name"));
static ACTION: LazyLock<EntityTypeName> = LazyLock::new(|| "Action".parse().expect("a plain name"));
/// Stands for who and what a condition does not name.
static UNNAMED: LazyLock<EntityUid> = LazyLock::new(|| uid(&THING, ""));
static NO_ENTITIES: LazyLock<Entities> = LazyLock::new(Entities::empty);

impl Condition {
    /// Whether it holds at `now_us`. What it can cost is taken from `work` first.
    pub(crate) fn evaluate(
        &self,
        subject: Subject<'_>,
        stored: Option<&Map<String, Value>>,
        facts: &Facts<'_>,
        (now_us, work): (i64, &Work),
    ) -> Outcome {
        let Some(asked) = &self.0.asked else {
            return Outcome::Error("the condition cannot be read".to_owned());
        };
        if !work.spend(FLOOR, facts.batch) {
            return Outcome::Error(TOO_MUCH.to_owned());
        }
        let given = Given::default();
        let question = match &asked.constants {
            Some(_) => self.quick_question((subject, stored), facts, now_us, &given).map(|own| (own, None)),
            None => self.question((subject, stored), facts, now_us, &given),
        };
        // What is too long is told first: nothing else was made of it.
        let (question, (bytes, longest)) = match given.end().and_then(|given| Ok((question?, given))) {
            Ok(all) => all,
            Err(error) => return Outcome::Error(error),
        };
        if !work.spend(bytes.saturating_add(self.0.weight.steps(longest)), facts.batch) {
            return Outcome::Error(TOO_MUCH.to_owned());
        }
        let (request, entities) = question;
        let entities = asked.constants.as_ref().or(entities.as_ref()).unwrap_or(&NO_ENTITIES);
        match eval_expression(&request, entities, &asked.expression) {
            Ok(EvalResult::Bool(true)) => Outcome::True,
            Ok(EvalResult::Bool(false)) => Outcome::False,
            Ok(_) => Outcome::Error("it is neither true nor false".to_owned()),
            Err(EvaluationError::RecordAttrDoesNotExist(error)) => {
                Outcome::Missing(self.named(&error.to_string()))
            }
            Err(EvaluationError::EntityAttrDoesNotExist(error)) => {
                Outcome::Missing(self.named(&error.to_string()))
            }
            Err(error) => Outcome::Error(error.to_string()),
        }
    }

    /// What it is asked with: of principal, resource and action only what it names. Most name none of them, and are asked without
    /// entities.
    fn question(
        &self,
        (subject, stored): (Subject<'_>, Option<&Map<String, Value>>),
        facts: &Facts<'_>,
        now_us: i64,
        given: &Given,
    ) -> Result<(Request, Option<Entities>), String> {
        let mentioned = &self.0.mentioned;
        let principal = named(mentioned.any_principal, &PRINCIPAL, || subject.principal.to_string());
        let id = facts.thing.map_or("", |(_, id)| id);
        let id = if id.len() <= GIVEN_MAX { id } else { "" };
        let resource = named(mentioned.any_resource, &THING, || id.to_owned());
        let action =
            named(mentioned.any_action, &ACTION, || facts.thing.map_or("", |(kind, _)| kind).to_owned());
        let mut entities = Vec::with_capacity(2);
        if mentioned.any_principal {
            entities.push(entity(principal.clone(), self.principal(subject, facts, given))?);
        }
        if mentioned.any_resource {
            entities.push(entity(resource.clone(), self.resource(stored, facts, given))?);
        }
        let entities = match entities.is_empty() {
            true => None,
            false => Some(Entities::from_entities(entities, None).map_err(told_error)?),
        };
        let context = self.context(facts, (datetime(now_us), &address), given);
        let context = Context::from_pairs(context).map_err(told_error)?;
        let request = Request::new(principal, action, resource, context, None).map_err(told_error)?;
        Ok((request, entities))
    }

    /// The same for a text that asks for nothing but attributes, all of which are in the context.
    fn quick_question(
        &self,
        (subject, stored): (Subject<'_>, Option<&Map<String, Value>>),
        facts: &Facts<'_>,
        now_us: i64,
        given: &Given,
    ) -> Result<Request, String> {
        let mentioned = &self.0.mentioned;
        let now = written(now_us).map(RestrictedExpression::new_string);
        let ip = |ip: IpAddr| RestrictedExpression::new_string(folded(ip).to_string());
        let mut all = self.context(facts, (now, &ip), given);
        let mut put = |name: &str, pairs: Pairs| {
            // Two types may declare the same; it was given once.
            let pairs: HashMap<_, _> = pairs.into_iter().collect();
            let record = RestrictedExpression::new_record(pairs).map_err(told_error)?;
            all.push((name.to_owned(), record));
            Ok::<_, String>(())
        };
        if mentioned.any_principal {
            put("Principal", self.principal(subject, facts, given))?;
        }
        if mentioned.any_resource {
            put("Resource", self.resource(stored, facts, given))?;
        }
        let context = Context::from_pairs(all).map_err(told_error)?;
        let nobody = || UNNAMED.clone();
        Request::new(nobody(), nobody(), nobody(), context, None).map_err(told_error)
    }

    /// The name that is missing, as the text has it.
    fn named(&self, error: &str) -> String {
        let name =
            error.split('`').filter(|part| !part.contains([' ', '"', ':'])).find(|part| !part.is_empty());
        let name = name.unwrap_or("attribute");
        let of = ["context.action", "context.params", "context", "resource", "principal"];
        let written = |of: &&&str| self.says(&format!("{of}.{name}"));
        of.iter().find(written).map_or_else(|| name.to_owned(), |of| format!("{of}.{name}"))
    }

    fn context(
        &self,
        facts: &Facts<'_>,
        (now, address): (Option<RestrictedExpression>, &dyn Fn(IpAddr) -> RestrictedExpression),
        given: &Given,
    ) -> Pairs {
        let mentioned = &self.0.mentioned;
        let mut pairs = Pairs::new();
        let mut put = |name: &str, value: Option<RestrictedExpression>| {
            if let Some(value) = value {
                pairs.push((name.to_owned(), value));
            }
        };
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        for own in mentioned.declared(Described::Context) {
            let value = facts.context.and_then(|all| all.get(&own.name));
            let value = value.filter(|value| given.value(&own.name, value));
            put(&own.name, value.and_then(|value| typed(own.kind, value)));
        }
        for (name, is_mentioned, value) in [
            ("auth_method", mentioned.auth_method, facts.auth_method),
            ("country", mentioned.country, facts.country),
            ("method", mentioned.method, facts.method),
            ("path", mentioned.path, facts.path),
        ] {
            if is_mentioned {
                put(name, value.filter(|own| given.text(name, own)).map(text));
            }
        }
        if mentioned.now {
            put("now", now);
        }
        if mentioned.ip {
            put("ip", facts.ip.map(address));
        }
        if mentioned.mfa {
            put("mfa", facts.mfa.map(RestrictedExpression::new_bool));
            put("mfa_age_s", facts.mfa_age_s.map(RestrictedExpression::new_long));
        }
        if mentioned.action {
            let own = self.attributes(Described::Action, None, facts.action, given);
            put("action", RestrictedExpression::new_record(own).ok());
        }
        if mentioned.params {
            let own = self.parameters().iter();
            let own = own.filter(|(name, value)| given.value(name, value));
            let own = own.filter_map(|(name, value)| Some((name.clone(), natural(value)?)));
            put("params", RestrictedExpression::new_record(own).ok());
        }
        pairs
    }

    fn principal(&self, subject: Subject<'_>, facts: &Facts<'_>, given: &Given) -> Pairs {
        let mut pairs = self.attributes(Described::Principal, None, facts.principal, given);
        if self.0.mentioned.principal {
            let text = |text: String| RestrictedExpression::new_string(text);
            pairs.push(("kind".to_owned(), text(subject.principal.kind.as_str().to_owned())));
            let name =
                |id: Uuid, own: String| facts.called.and_then(|all| all.get(&id)).cloned().unwrap_or(own);
            pairs.push(("id".to_owned(), text(name(subject.principal.id, subject.principal.to_string()))));
            if self.0.mentioned.groups {
                let group = |group: &Uuid| text(name(*group, crate::id::GroupId(*group).to_string()));
                given.add(64 * subject.groups.len());
                let groups = RestrictedExpression::new_set(subject.groups.iter().map(group));
                pairs.push(("groups".to_owned(), groups));
            }
        }
        pairs
    }

    fn resource(&self, stored: Option<&Map<String, Value>>, facts: &Facts<'_>, given: &Given) -> Pairs {
        let mut pairs = self.attributes(Described::Resource, stored, facts.resource, given);
        if let Some((_, id)) = facts.thing
            && self.0.mentioned.resource
            && given.text("resource.id", id)
        {
            pairs.push(("id".to_owned(), RestrictedExpression::new_string(id.to_owned())));
        }
        pairs
    }

    /// What is declared and mentioned: as it is stored, else as the question has it.
    fn attributes(
        &self,
        of: Described,
        stored: Option<&Map<String, Value>>,
        sent: Option<&Map<String, Value>>,
        given: &Given,
    ) -> Pairs {
        let value = |own: &Attribute| {
            let value = stored.and_then(|all| all.get(&own.name)).or_else(|| sent?.get(&own.name))?;
            let value = Some(value).filter(|value| given.value(&own.name, value))?;
            Some((own.name.clone(), typed(own.kind, value)?))
        };
        self.0.mentioned.declared(of).filter_map(value).collect()
    }
}

/// Somebody or something that the condition names, or what stands for all others.
fn named(is_named: bool, kind: &EntityTypeName, id: impl FnOnce() -> String) -> EntityUid {
    if is_named { uid(kind, &id()) } else { UNNAMED.clone() }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn entity(uid: EntityUid, pairs: Pairs) -> Result<Entity, String> {
    Entity::new(uid, pairs.into_iter().collect::<HashMap<_, _>>(), HashSet::new()).map_err(told_error)
}

fn told_error(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// As it is declared; what is of another type is as if it were not there.
pub(super) fn typed(kind: AttributeKind, value: &Value) -> Option<RestrictedExpression> {
    match kind {
        AttributeKind::Text => value.as_str().map(|text| RestrictedExpression::new_string(text.to_owned())),
        AttributeKind::Integer => value.as_i64().map(RestrictedExpression::new_long),
        AttributeKind::Bool => value.as_bool().map(RestrictedExpression::new_bool),
        AttributeKind::Datetime => datetime(value.as_str()?.parse::<Timestamp>().ok()?.as_microsecond()),
        AttributeKind::Ip => {
            let text = value.as_str()?;
            match text.parse::<IpAddr>() {
                Ok(ip) => Some(address(ip)),
                Err(_) => {
                    text.parse::<ipnet::IpNet>().ok().map(|net| RestrictedExpression::new_ip(net.to_string()))
                }
            }
        }
        AttributeKind::Texts => natural(value).filter(|_| value.is_array()),
    }
}

/// As it looks.
fn natural(value: &Value) -> Option<RestrictedExpression> {
    match value {
        Value::String(text) => Some(RestrictedExpression::new_string(text.clone())),
        Value::Bool(own) => Some(RestrictedExpression::new_bool(*own)),
        Value::Number(number) => number.as_i64().map(RestrictedExpression::new_long),
        Value::Array(all) => {
            let texts: Option<Vec<_>> = all.iter().map(|one| one.as_str().map(str::to_owned)).collect();
            Some(RestrictedExpression::new_set(texts?.into_iter().map(RestrictedExpression::new_string)))
        }
        Value::Null | Value::Object(_) => None,
    }
}

fn datetime(us: i64) -> Option<RestrictedExpression> {
    written(us).map(RestrictedExpression::new_datetime)
}

fn address(ip: IpAddr) -> RestrictedExpression {
    RestrictedExpression::new_ip(folded(ip).to_string())
}

/// Cedar counts milliseconds, and reads no other form.
fn written(us: i64) -> Option<String> {
    let time = TimeZone::UTC.to_datetime(Timestamp::from_microsecond(us).ok()?);
    let (date, of_day) = (time.date(), time.time());
    Some(format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        date.year(),
        date.month(),
        date.day(),
        of_day.hour(),
        of_day.minute(),
        of_day.second(),
        of_day.millisecond(),
    ))
}

/// An IPv4 address in IPv6 dress is one of IPv4 (RFC 4291 §2.5.5.2).
fn folded(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}
