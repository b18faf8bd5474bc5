//! Step 8: sending it. A copy that does not answer the door is passed over once; a request that may have been
//! sent is never sent again.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{Response, StatusCode};
use rowhouse_domain::refusal::{Refusal, kind};

use super::prepare::{Outgoing, too_large};
use super::{Recording, Stop};
use crate::body::{AnswerSource, BodyError, BodyFate};
use crate::core::Core;
use crate::upstream::{Connection, ExchangeError, Message, SendError, Sending, Upstream};

/// The head of an upstream's answer, and where the rest comes from.
pub(crate) struct Answered {
    pub(crate) response: Response<()>,
    pub(crate) source: AnswerSource,
    /// When the whole request must be over.
    pub(crate) until: Instant,
    pub(crate) reports_usage: bool,
}

/// Waits for the head of the answer.
pub(crate) async fn forward(
    _core: &Rc<Core>,
    outgoing: Outgoing,
    recording: &mut Recording,
) -> Result<Answered, Stop> {
    let Outgoing { mut message, candidates, connect_timeout, first_byte_timeout, max_bytes, .. } = outgoing;
    let until = recording.started + outgoing.whole_timeout;
    let mut now = recording.started;
    for upstream in candidates {
        loop {
            let open = upstream.open();
            let fresh = open.is_none();
            let connection = match open {
                Some(connection) => connection,
                None => {
                    let at = (now + connect_timeout).min(until);
                    let Some(connection) = connect(&upstream, at).await else { break };
                    now = Instant::now();
                    connection
                }
            };
            recording.upstream = Some(upstream.clone());
            let sending = connection.send(message);
            let waiting = Waiting { now, first_byte_timeout, until, max_bytes };
            match wait(sending, &upstream, waiting, recording).await {
                Ok((response, source)) => {
                    let reports_usage = outgoing.reports_usage;
                    return Ok(Answered { response, source, until, reports_usage });
                }
                Err(Failure::NotSent(back)) => message = back,
                Err(Failure::Stop(stop)) => return Err(stop),
            }
            now = Instant::now();
            if fresh {
                break;
            }
        }
        now = Instant::now();
    }
    Err(Refusal::new(&kind::NO_UPSTREAM, "No copy of the service answers.").retry_after(1).into())
}

async fn connect(upstream: &Rc<Upstream>, at: Instant) -> Option<Connection> {
    match tokio::time::timeout_at(at.into(), upstream.connect()).await {
        Ok(Ok(connection)) => Some(connection),
        Ok(Err(error)) => {
            tracing::warn!(upstream = &*upstream.address, %error, "an upstream does not take connections");
            None
        }
        Err(_elapsed) => {
            tracing::warn!(upstream = &*upstream.address, "connecting to an upstream took too long");
            None
        }
    }
}

/// How long to wait for what.
struct Waiting {
    now: Instant,
    first_byte_timeout: Duration,
    until: Instant,
    /// Bytes that the route takes in a body.
    max_bytes: u64,
}

enum Failure {
    NotSent(Message),
    Stop(Stop),
}

async fn wait(
    mut sending: Sending,
    upstream: &Rc<Upstream>,
    waiting: Waiting,
    recording: &mut Recording,
) -> Result<(Response<()>, AnswerSource), Failure> {
    let Waiting { now, first_byte_timeout, until, max_bytes } = waiting;
    let mut at = (now + first_byte_timeout).min(until);
    let outcome = poll_fn(|cx| {
        if let Poll::Ready(outcome) = sending.poll(cx, upstream) {
            return Poll::Ready(Some(outcome));
        }
        while sending.poll_alarm(at.into(), cx).is_ready() {
            let now = Instant::now();
            if recording.request_body_is_over() || now >= until {
                return Poll::Ready(None);
            }
            // The upstream cannot answer while the client still sends.
            at = (now + first_byte_timeout).min(until);
        }
        Poll::Pending
    })
    .await;
    recording.upstream_us = Some(u64::try_from(now.elapsed().as_micros()).unwrap_or(u64::MAX));
    match outcome {
        Some(Ok((response, _))) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Err(Failure::Stop(Stop::new(&kind::UPSTREAM_FAILED, "The service changed the protocol unasked.")))
        }
        Some(Ok(answer)) => {
            recording.upstream_status = Some(answer.0.status().as_u16());
            Ok(answer)
        }
        Some(Err(SendError::NotSent(message))) => Err(Failure::NotSent(message)),
        Some(Err(SendError::Failed(error))) => Err(Failure::Stop(failed(&error, max_bytes, recording))),
        None => Err(Failure::Stop(Stop::new(&kind::UPSTREAM_TIMEOUT, "The service did not answer in time."))),
    }
}

/// Whose fault it was: the body's, if it ended badly, else the upstream's.
#[cold]
fn failed(error: &ExchangeError, max_bytes: u64, recording: &Recording) -> Stop {
    match (recording.body.as_ref().map(|body| body.fate.get()), error) {
        (Some(BodyFate::TooLarge), _) => too_large(max_bytes),
        (Some(BodyFate::Broken), _) | (_, ExchangeError::Body(BodyError::OtherLength)) => {
            Stop::malformed("The body broke off or is framed wrongly.")
        }
        _ => {
            let upstream = recording.upstream.as_ref().map_or("", |upstream| &upstream.address);
            tracing::warn!(upstream, %error, "an upstream did not answer properly");
            Stop::new(&kind::UPSTREAM_FAILED, "The service did not answer properly.")
        }
    }
}
