//! The query of an event search, checked, and its place in the pages. The pages of one search end where the log
//! ended when the first was asked for: reading adds events, and a reader must come to an end.

use rowhouse_domain::audit::catalog::EventType;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::Deserialize;
use utoipa::IntoParams;

use super::read::{Search, StoredEvent};
use crate::Control;
use crate::api::{Page, cursor};

/// `GET /v1/audit/events?…`
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Whose log; the operator's own if an operator does not say.
    pub tenant: Option<String>,
    /// Exact name, as in `keys.key_created`.
    event: Option<String>,
    /// One of the closed list of types.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// `success` or `failure`.
    result: Option<String>,
    /// Id of the actor.
    actor: Option<String>,
    /// `<kind>:<id>` of a target.
    resource: Option<String>,
    /// Recorded at this instant or later (RFC 3339).
    from: Option<String>,
    /// Recorded before this instant (RFC 3339).
    to: Option<String>,
    /// `index`, oldest first, or `-index`.
    sort: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl Filter {
    /// The first or next page of this search in `log`. One item more is looked for than is shown.
    pub fn search(&self, control: &Control, log: TenantId) -> Result<Search, Refusal> {
        let (after, before) = match &self.cursor {
            Some(cursor) => parse_place(&cursor::open(control, &self.query(log), cursor)?)?,
            None => (-1, i64::MAX),
        };
        Ok(Search {
            after,
            before,
            backwards: self.backwards()?,
            event: self.event.clone(),
            event_type: self.known("type", &self.event_type, |name| EventType::parse(name).is_some())?,
            result: self.known("result", &self.result, |word| matches!(word, "success" | "failure"))?,
            actor: self.actor.clone(),
            resource: self.resource.clone(),
            from_us: instant("from", self.from.as_deref())?,
            to_us: instant("to", self.to.as_deref())?,
            limit: Page { limit: self.limit, ..Page::default() }.size()? + 1,
        })
    }

    /// The cursor behind `last`, the last event shown. `search` ends where the log ended.
    pub fn next(&self, control: &Control, log: TenantId, search: &Search, last: &StoredEvent) -> String {
        let (mut after, mut before) = (search.after, search.before);
        let index = i64::try_from(last.index).unwrap_or(i64::MAX);
        *(if search.backwards { &mut before } else { &mut after }) = index;
        cursor::seal(control, &self.query(log), &format!("{after} {before}"))
    }

    fn query(&self, log: TenantId) -> String {
        let Filter { event, event_type, result, actor, resource, from, to, sort, .. } = self;
        format!("audit events {log} {:?}", (event, event_type, result, actor, resource, from, to, sort))
    }

    fn backwards(&self) -> Result<bool, Refusal> {
        match self.sort.as_deref() {
            None | Some("index") => Ok(false),
            Some("-index") => Ok(true),
            Some(_) => Err(wrong("sort", "`index` or `-index`")),
        }
    }

    fn known(
        &self,
        field: &str,
        given: &Option<String>,
        is_known: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, Refusal> {
        match given {
            Some(word) if !is_known(word) => Err(wrong(field, "there is no such word")),
            given => Ok(given.clone()),
        }
    }
}

fn parse_place(place: &str) -> Result<(i64, i64), Refusal> {
    let parsed =
        place.split_once(' ').and_then(|(after, before)| Some((after.parse().ok()?, before.parse().ok()?)));
    parsed.ok_or_else(|| Refusal::new(&kind::CURSOR_INVALID, "The cursor is not of this query."))
}

fn instant(field: &str, given: Option<&str>) -> Result<Option<i64>, Refusal> {
    let parse = |text: &str| text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_microsecond);
    given
        .map(|text| parse(text).map_err(|_| wrong(field, "an instant, as in 2026-11-21T10:00:00Z")))
        .transpose()
}

fn wrong(field: &str, why: &str) -> Refusal {
    let refusal = Refusal::new(&kind::INVALID, format!("`{field}` is not valid."));
    refusal.field(format!("/{field}"), "invalid", why.to_owned())
}
