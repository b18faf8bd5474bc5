//! Step 8: sending it. A copy that does not answer the door is passed over once; a request that may have been
//! sent is never sent again.

use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use rowhouse_domain::refusal::{Refusal, kind};

use super::deadline::Elapsed;
use super::prepare::{Outgoing, too_large};
use super::{Deadline, Recording, Stop};
use crate::body::{BodyFate, UpstreamBody};
use crate::core::Core;
use crate::upstream::{Pooled, SendError, Upstream};

/// The head of an upstream's answer, and where the rest comes from.
pub(crate) struct Answered {
    pub(crate) response: Response<Incoming>,
    pub(crate) pooled: Pooled,
    pub(crate) deadline: Deadline,
    pub(crate) reports_usage: bool,
}

/// Waits for the head of the answer.
pub(crate) async fn forward(
    _core: &Rc<Core>,
    outgoing: Outgoing,
    recording: &mut Recording,
) -> Result<Answered, Stop> {
    let Outgoing { mut request, candidates, connect_timeout, first_byte_timeout, .. } = outgoing;
    let whole = recording.started + outgoing.whole_timeout;
    let mut deadline = Deadline::at(whole.into());
    let mut now = recording.started;
    for upstream in candidates {
        loop {
            let open = upstream.open();
            let fresh = open.is_none();
            let pooled = match open {
                Some(pooled) => pooled,
                None => {
                    deadline.move_to((now + connect_timeout).min(whole).into());
                    let Some(pooled) = connect(&upstream, &mut deadline).await else { break };
                    now = Instant::now();
                    pooled
                }
            };
            recording.upstream = Some(upstream.clone());
            let waiting = Waiting { now, first_byte_timeout, whole };
            match send(pooled, request, &mut deadline, waiting, recording).await {
                Ok((response, pooled)) => {
                    deadline.move_to(whole.into());
                    return Ok(Answered {
                        response,
                        pooled,
                        deadline,
                        reports_usage: outgoing.reports_usage,
                    });
                }
                Err(Failure::NotSent(back)) => request = back,
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

async fn connect(upstream: &Rc<Upstream>, deadline: &mut Deadline) -> Option<Pooled> {
    match deadline.guard(upstream.connect()).await {
        Ok(Ok(pooled)) => Some(pooled),
        Ok(Err(error)) => {
            tracing::warn!(upstream = &*upstream.address, %error, "an upstream does not take connections");
            None
        }
        Err(Elapsed) => {
            tracing::warn!(upstream = &*upstream.address, "connecting to an upstream took too long");
            None
        }
    }
}

/// How long to wait for what.
struct Waiting {
    now: Instant,
    first_byte_timeout: Duration,
    whole: Instant,
}

enum Failure {
    NotSent(Request<UpstreamBody>),
    Stop(Stop),
}

async fn send(
    mut pooled: Pooled,
    request: Request<UpstreamBody>,
    deadline: &mut Deadline,
    waiting: Waiting,
    recording: &mut Recording,
) -> Result<(Response<Incoming>, Pooled), Failure> {
    let Waiting { now, first_byte_timeout, whole } = waiting;
    let max_bytes = match request.body() {
        UpstreamBody::Client { max_bytes, .. } => *max_bytes,
        UpstreamBody::Empty => 0,
    };
    deadline.move_to((now + first_byte_timeout).min(whole).into());
    if !pooled.is_ready() {
        match deadline.guard(pooled.ready()).await {
            Ok(true) => {}
            Ok(false) => return Err(Failure::NotSent(request)),
            Err(Elapsed) => return Err(Failure::Stop(timed_out())),
        }
    }
    let outcome = {
        let mut sending = std::pin::pin!(pooled.send(request));
        loop {
            match deadline.guard(sending.as_mut()).await {
                // The upstream cannot answer while the client still sends.
                Err(Elapsed) if !recording.request_body_is_over() && Instant::now() < whole => {
                    deadline.move_to((Instant::now() + first_byte_timeout).min(whole).into());
                }
                outcome => break outcome,
            }
        }
    };
    recording.upstream_us = Some(u64::try_from(now.elapsed().as_micros()).unwrap_or(u64::MAX));
    match outcome {
        Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Err(Failure::Stop(Stop::new(&kind::UPSTREAM_FAILED, "The service changed the protocol unasked.")))
        }
        Ok(Ok(response)) => {
            recording.upstream_status = Some(response.status().as_u16());
            Ok((response, pooled))
        }
        Ok(Err(SendError::NotSent(request))) => Err(Failure::NotSent(*request)),
        Ok(Err(SendError::Failed(error))) => Err(Failure::Stop(failed(&error, max_bytes, recording))),
        Err(Elapsed) => Err(Failure::Stop(timed_out())),
    }
}

#[cold]
fn timed_out() -> Stop {
    Stop::new(&kind::UPSTREAM_TIMEOUT, "The service did not answer in time.")
}

/// Whose fault it was: the body's, if it ended badly, else the upstream's.
#[cold]
fn failed(error: &hyper::Error, max_bytes: u64, recording: &Recording) -> Stop {
    match recording.body.as_ref().map(|body| body.fate.get()) {
        Some(BodyFate::TooLarge) => too_large(max_bytes),
        Some(BodyFate::Broken) => Stop::malformed("The body broke off or is framed wrongly."),
        _ => {
            let upstream = recording.upstream.as_ref().map_or("", |upstream| &upstream.address);
            tracing::warn!(upstream, %error, "an upstream did not answer properly");
            Stop::new(&kind::UPSTREAM_FAILED, "The service did not answer properly.")
        }
    }
}
