//! `POST /v1/usage/events`: CloudEvents in JSON, one or a batch.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rowhouse_domain::access::Permit;
use rowhouse_domain::metering::event::{self, EventError, UsageEvent};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::claims::{EventState, states};
use super::door::{Door, Rejection};
use super::ingestion::{Accepted, LANE};
use super::reported::Reported;
use super::{EVENTS_MAX, PROJECTION};
use crate::api::{Answer, Caller, Parameters, preferred_wait};
use crate::projection::Source;
use crate::{Control, Shared};

/// Longest wait that `Prefer: wait` can ask for.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// How events are taken.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct IngestQuery {
    /// The tenant of events without a `subject`: an id or a code.
    pub tenant: Option<String>,
    /// Whether one refused event refuses all; default false.
    #[serde(default)]
    pub atomic: bool,
}

/// Events that will be counted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Taken {
    /// How many.
    pub accepted: usize,
    /// Events that were refused.
    pub rejected: Vec<Rejected>,
    /// Where the last of them lies in the journal: node, lane, sequence.
    pub position: String,
}

/// Events that were counted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Counted {
    /// How many count now.
    pub counted: usize,
    /// How many were reported before.
    pub duplicate: usize,
    /// How many say something else than what was reported under their id before; they do not count.
    pub conflict: usize,
    /// Events that were refused.
    pub rejected: Vec<Rejected>,
    /// One by one.
    pub results: Vec<Outcome>,
}

/// How one event fared.
#[derive(Debug, Serialize, ToSchema)]
pub struct Outcome {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// Its id.
    pub id: String,
    /// `counted`, `duplicate`, `conflict`, or `set_aside` if it could not be counted for a reason of ours.
    pub state: &'static str,
}

/// A refused event.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Rejected {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// Its id, if it could be read.
    pub id: Option<String>,
    /// A stable code.
    pub code: &'static str,
    /// In words.
    pub detail: String,
}

/// Reports usage: CloudEvents 1.0 in JSON, one or an array of up to 1,000. The answer leaves when the events are
/// durable; with `Prefer: wait=5`, when they are counted.
#[utoipa::path(
    post,
    path = "/v1/usage/events",
    operation_id = "metering.report_events",
    tag = "metering",
    params(IngestQuery),
    request_body(content = serde_json::Value, content_type = "application/cloudevents-batch+json"),
    responses((status = 202, body = Taken), (status = 200, body = Counted))
)]
pub async fn report_events(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(query): Parameters<IngestQuery>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Response> {
    let own = caller.scope(query.tenant.as_deref())?;
    let permit = caller.permit("usage:create", own)?;
    let body = body.map_err(|_| Refusal::new(&kind::TOO_LARGE, "The body is larger than 4 MiB."))?;
    let events = parse(&headers, &body)?;
    let meters = control.ingestion.meters(&control).await?;
    let now = control.clock().now();
    let door = Door { directory: caller.directory(), meters: &meters, now, own };
    let batch = Batch::judge(&door, events);
    if batch.accepted.is_empty() || (query.atomic && !batch.rejected.is_empty()) {
        return Err(batch.refusal().into());
    }
    let reported: Vec<Reported> = batch.accepted.iter().map(|(_, event)| event.clone()).collect();
    let place = control.ingestion.accept(&reported).await?;
    if let Some(wait) = preferred_wait(&headers, WAIT_MAX)
        && let Some(counted) = counted(&control, &permit, &batch, &place, wait).await?
    {
        return Ok((StatusCode::OK, Json(counted)).into_response());
    }
    let last = place.sequences.last().expect("one event at least was accepted");
    let position = format!("{}.{LANE}.{last}", place.node);
    let taken = Taken { accepted: batch.accepted.len(), rejected: batch.rejected, position };
    Ok((StatusCode::ACCEPTED, Json(taken)).into_response())
}

/// Events with their places.
struct Batch {
    accepted: Vec<(usize, Reported)>,
    rejected: Vec<Rejected>,
}

impl Batch {
    fn judge(door: &Door<'_>, events: Vec<Result<UsageEvent, EventError>>) -> Self {
        let mut batch = Batch { accepted: Vec::new(), rejected: Vec::new() };
        for (index, event) in events.into_iter().enumerate() {
            let id = event.as_ref().ok().map(|event| event.id.clone());
            match event.map_err(Rejection::from).and_then(|event| door.judge(&event)) {
                Ok(reported) => batch.accepted.push((index, reported)),
                Err(Rejection { code, detail }) => batch.rejected.push(Rejected { index, id, code, detail }),
            }
        }
        batch
    }

    fn refusal(&self) -> Refusal {
        let refusal = Refusal::new(&kind::METERING_REJECTED, "None of the events was accepted.");
        self.rejected.iter().fold(refusal, |refusal, one| {
            let code = one.code.rsplit('.').next().unwrap_or("rejected");
            refusal.field(format!("/{}", one.index), code, one.detail.clone())
        })
    }
}

fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Result<UsageEvent, EventError>>, Refusal> {
    let malformed = |detail: &str| Refusal::new(&kind::METERING_MALFORMED, detail);
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Refusal::new(&kind::UNSUPPORTED_MEDIA, "A compressed body is not taken here."));
    }
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media = given.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let text = std::str::from_utf8(body).map_err(|_| malformed("The body is not UTF-8."))?.trim();
    let is_list = text.starts_with('[');
    let fits = match media.as_str() {
        "application/json" => true,
        "application/cloudevents+json" => !is_list,
        "application/cloudevents-batch+json" => is_list,
        _ => return Err(Refusal::new(&kind::UNSUPPORTED_MEDIA, format!("`{given}` is not taken here."))),
    };
    let events = match (fits, is_list) {
        (false, _) => return Err(malformed("The body does not fit its content type.")),
        (true, true) => event::parse_batch(text).ok_or_else(|| malformed("The body is not a JSON array."))?,
        (true, false) => {
            serde_json::from_str::<serde::de::IgnoredAny>(text)
                .map_err(|_| malformed("The body is not JSON."))?;
            vec![event::parse(text)]
        }
    };
    match events.len() {
        0 => Err(malformed("The batch is empty.")),
        1..=EVENTS_MAX => Ok(events),
        _ => Err(Refusal::new(&kind::TOO_LARGE, format!("A batch has at most {EVENTS_MAX} events."))),
    }
}

/// How the events fared, once they are projected; `None` when that takes longer than `wait`.
async fn counted(
    control: &Control,
    permit: &Permit,
    batch: &Batch,
    place: &Accepted,
    wait: Duration,
) -> Answer<Option<Counted>> {
    let last = *place.sequences.last().expect("one event at least was accepted");
    if tokio::time::timeout(wait, control.projections.passed(PROJECTION, LANE, last)).await.is_err() {
        return Ok(None);
    }
    let source = Source { node: place.node.clone(), lane: LANE.to_owned() };
    let events: Vec<Reported> = batch.accepted.iter().map(|(_, event)| event.clone()).collect();
    let transaction = control.store.read(permit).await?;
    let states = states(&transaction, &source, &events, &place.sequences).await?;
    transaction.finish().await?;
    let count = |wanted| states.iter().filter(|state| **state == Some(wanted)).count();
    let word = |state: &Option<EventState>| state.map_or("set_aside", EventState::as_str);
    let results = batch.accepted.iter().zip(&states).map(|((index, event), state)| Outcome {
        index: *index,
        id: event.id.clone(),
        state: word(state),
    });
    Ok(Some(Counted {
        counted: count(EventState::Counted),
        duplicate: count(EventState::Duplicate),
        conflict: count(EventState::Conflict),
        results: results.collect(),
        rejected: batch.rejected.clone(),
    }))
}
