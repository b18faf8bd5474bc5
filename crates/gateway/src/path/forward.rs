//! Step 8: sending it.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{Response, StatusCode};
use rowhouse_domain::refusal::{Fault, Refusal, kind};
use rowhouse_domain::routes::Trouble;

use super::left::Left;
use super::prepare::{Outgoing, too_large};
use super::{Recording, Stop};
use crate::body::{AnswerSource, BodyError, BodyFate};
use crate::core::Core;
use crate::upstream::{
    Care, ConnectError, Connection, ExchangeError, InFlight, Message, SendError, Sending, Upstream,
};
use crate::websocket;

/// The head of an upstream's answer, and where the rest comes from.
pub(crate) struct Answered {
    pub(crate) response: Response<()>,
    pub(crate) source: AnswerSource,
    /// When the whole request must be over.
    pub(crate) until: Instant,
    /// How long the service may say nothing from here on.
    pub(crate) idle_timeout: Duration,
    pub(crate) reports_usage: bool,
    /// What is known of the service, if the rest does not come.
    pub(crate) care: Rc<Care>,
}

/// Waits for the head of the answer. A copy that does not answer the door is passed over; a request that may have been
/// sent is sent to another copy only if that does what sending it once does, and within the budget.
pub(crate) async fn forward(
    _core: &Rc<Core>,
    outgoing: Outgoing,
    recording: &mut Recording,
) -> Result<Answered, Stop> {
    let Outgoing { mut message, candidates, connect_timeout, first_byte_timeout, max_bytes, .. } = outgoing;
    let (care, idempotent, reports_usage) = (outgoing.care, outgoing.idempotent, outgoing.reports_usage);
    let (measures, idle_timeout) = (outgoing.measures, outgoing.idle_timeout);
    let over = recording.started + outgoing.whole_timeout;
    let until = outgoing.called_off.map_or(over, |own| recording.started + own);
    let at_us = recording.started_at_us;
    let mut now = recording.started;
    let mut candidates = candidates.into_iter().flatten().peekable();
    while let Some(upstream) = candidates.next() {
        let can_go_on = candidates.peek().is_some();
        loop {
            let open = upstream.open();
            let fresh = open.is_none();
            let connection = match open {
                Some(connection) => connection,
                None => {
                    let at = (now + connect_timeout).min(over);
                    match connect(&upstream, at).await {
                        Ok(connection) => {
                            now = Instant::now();
                            connection
                        }
                        Err(trouble) => {
                            upstream.note(at_us, Some(trouble));
                            break;
                        }
                    }
                }
            };
            if outgoing.called_off.is_some() && now >= until {
                return Err(too_late());
            }
            recording.upstream = Some(InFlight::at(&upstream));
            let sending = connection.send(message);
            let waiting = Waiting {
                sent: now,
                first_byte_timeout,
                until,
                over,
                max_bytes,
                care: &care,
                reports_usage,
                measures,
            };
            match wait(sending, &upstream, waiting, recording).await {
                Ok((response, source)) => {
                    let failed = is_failure(response.status());
                    if measures {
                        upstream.took(at_us, recording.upstream_us.unwrap_or(0), failed);
                    }
                    // A copy that answers well is told of when its answer has come to the end.
                    if failed {
                        upstream.note(at_us, Some(Trouble::Status(response.status().as_u16())));
                    } else if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                        upstream.note(at_us, None);
                    }
                    let elsewhere =
                        matches!(response.status().as_u16(), 502..=504) && idempotent && can_go_on;
                    if elsewhere && source.can_repeat() && care.credit.take() {
                        let Some(again) = source.again() else { unreachable!("it can be repeated") };
                        message = again;
                        break;
                    }
                    care.circuit.borrow_mut().note(at_us, failed);
                    return Ok(Answered { response, source, until, idle_timeout, reports_usage, care });
                }
                Err(Failure::NotSent(back)) => message = back,
                Err(Failure::Broken(Some(again), _)) if idempotent && can_go_on && care.credit.take() => {
                    upstream.note(at_us, Some(Trouble::Broken));
                    if measures {
                        upstream.took(at_us, 0, true);
                    }
                    message = again;
                    break;
                }
                Err(Failure::Broken(_, stop)) => {
                    // Of what the caller called off, the copy is judged when it was heard out.
                    if recording.left.is_none() && stop.refusal.kind().fault == Fault::Upstream {
                        let late = stop.refusal.code() == kind::UPSTREAM_TIMEOUT.code;
                        let trouble = if late { Trouble::NoAnswer } else { Trouble::Broken };
                        if late {
                            upstream.leave_shared_of_before(now);
                        }
                        upstream.note(at_us, Some(trouble));
                        if measures {
                            upstream.took(at_us, recording.upstream_us.unwrap_or(0), true);
                        }
                        care.circuit.borrow_mut().note(at_us, true);
                    }
                    return Err(stop);
                }
            }
            now = Instant::now();
            if fresh {
                break;
            }
        }
        now = Instant::now();
    }
    care.circuit.borrow_mut().note(at_us, true);
    Err(Refusal::new(&kind::NO_UPSTREAM, "No copy of the service answers.").retry_after(1).into())
}

/// Whether an answer says that the copy, and not the request, is at fault.
pub(crate) fn is_failure(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
}

async fn connect(upstream: &Rc<Upstream>, at: Instant) -> Result<Connection, Trouble> {
    match tokio::time::timeout_at(at.into(), upstream.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => {
            tracing::warn!(upstream = &*upstream.address, %error, "an upstream does not take connections");
            Err(if matches!(error, ConnectError::Tls(_)) { Trouble::Tls } else { Trouble::NotConnected })
        }
        Err(_elapsed) => {
            tracing::warn!(upstream = &*upstream.address, "connecting to an upstream took too long");
            Err(Trouble::ConnectTimeout)
        }
    }
}

/// How long to wait for what.
struct Waiting<'f> {
    sent: Instant,
    first_byte_timeout: Duration,
    /// Until when the client waits.
    until: Instant,
    /// When the whole request must be over, however long the client waits.
    over: Instant,
    /// Bytes that the route takes in a body.
    max_bytes: u64,
    care: &'f Rc<Care>,
    reports_usage: bool,
    measures: bool,
}

/// A request that the client waits for. If the client goes before there is an answer, breaks its body off, or waits no longer, it is left
/// behind, unless nothing of it was sent.
struct Awaited<'w> {
    sending: Option<Sending>,
    upstream: &'w Rc<Upstream>,
    waiting: Waiting<'w>,
    recording: &'w mut Recording,
}

/// What came of waiting.
enum Heard {
    Answer(Result<(Response<()>, AnswerSource), SendError>),
    /// The client's body ended before its end, or beyond what the route takes.
    BrokenOff,
    Late,
}

impl Awaited<'_> {
    /// Waits for the head of the answer.
    async fn head(&mut self) -> Heard {
        let Waiting { sent, first_byte_timeout, until, .. } = self.waiting;
        let mut at = (sent + first_byte_timeout).min(until);
        let Some(sending) = self.sending.as_mut() else { return Heard::Late };
        let outcome = poll_fn(|cx| {
            if let Poll::Ready(outcome) = sending.poll(cx, self.upstream) {
                return Poll::Ready(Heard::Answer(outcome));
            }
            if self.recording.request_body_broke_off() {
                return Poll::Ready(Heard::BrokenOff);
            }
            while sending.poll_alarm(at.into(), cx).is_ready() {
                let now = Instant::now();
                if self.recording.request_body_is_over() || now >= until {
                    return Poll::Ready(Heard::Late);
                }
                // The upstream cannot answer while the client still sends.
                at = (now + first_byte_timeout).min(until);
            }
            Poll::Pending
        });
        let outcome = outcome.await;
        let called_off = until < self.waiting.over && Instant::now() >= until;
        match outcome {
            Heard::BrokenOff => {}
            Heard::Late if called_off => {}
            Heard::Answer(_) | Heard::Late => self.sending = None,
        }
        outcome
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let Some(sending) = self.sending.take().filter(Sending::has_begun) else { return };
        let waiting = &self.waiting;
        self.recording.left = Some(Box::new(Left {
            sending,
            upstream: self.upstream.clone(),
            care: waiting.care.clone(),
            sent: waiting.sent,
            first_byte_timeout: waiting.first_byte_timeout,
            until: waiting.over,
            reports_usage: waiting.reports_usage,
            measures: waiting.measures,
        }));
    }
}

enum Failure {
    NotSent(Message),
    /// Perhaps it can be sent once more.
    Broken(Option<Message>, Stop),
}

async fn wait(
    sending: Sending,
    upstream: &Rc<Upstream>,
    waiting: Waiting<'_>,
    recording: &mut Recording,
) -> Result<(Response<()>, AnswerSource), Failure> {
    let (sent, max_bytes) = (waiting.sent, waiting.max_bytes);
    let mut awaited = Awaited { sending: Some(sending), upstream, waiting, recording };
    let outcome = awaited.head().await;
    drop(awaited);
    recording.upstream_us = Some(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX));
    match outcome {
        Heard::Answer(Ok((response, _)))
            if response.status() == StatusCode::SWITCHING_PROTOCOLS
                && !(recording.websocket.is_some() && websocket::is_granted(response.headers())) =>
        {
            let stop = Stop::new(&kind::UPSTREAM_FAILED, "The service changed the protocol unasked.");
            Err(Failure::Broken(None, stop))
        }
        Heard::Answer(Ok(answer)) => {
            recording.upstream_status = Some(answer.0.status().as_u16());
            Ok(answer)
        }
        Heard::Answer(Err(SendError::NotSent(message))) => Err(Failure::NotSent(message)),
        Heard::Answer(Err(SendError::Failed(error, again))) => {
            // Over HTTP/2 the rest of it was taken back with the request: what the service made of it will not be known.
            recording.unheard |= recording.request_body_broke_off();
            Err(Failure::Broken(again, failed(&error, max_bytes, recording)))
        }
        Heard::BrokenOff => Err(Failure::Broken(None, broken_off(max_bytes, recording))),
        Heard::Late => Err(Failure::Broken(None, too_late())),
    }
}

#[cold]
fn too_late() -> Stop {
    Stop::new(&kind::UPSTREAM_TIMEOUT, "The service did not answer in time.")
}

#[cold]
fn broken_off(max_bytes: u64, recording: &Recording) -> Stop {
    match recording.body.as_ref().map(|body| body.fate.get()) {
        Some(BodyFate::TooLarge) => too_large(max_bytes),
        Some(BodyFate::TooSlow) => {
            Stop { close: true, ..Stop::malformed("The body came too slowly: 1 KiB a second is the least.") }
        }
        _ => Stop::malformed("The body broke off or is framed wrongly."),
    }
}

/// Whose fault it was: the body's, if it ended badly, else the upstream's.
#[cold]
fn failed(error: &ExchangeError, max_bytes: u64, recording: &Recording) -> Stop {
    match error {
        _ if recording.request_body_broke_off() => broken_off(max_bytes, recording),
        ExchangeError::Body(BodyError::OtherLength) => broken_off(max_bytes, recording),
        _ => {
            let upstream = recording.upstream.as_ref().map_or("", |upstream| &upstream.address);
            tracing::warn!(upstream, %error, "an upstream did not answer properly");
            Stop::new(&kind::UPSTREAM_FAILED, "The service did not answer properly.")
        }
    }
}
