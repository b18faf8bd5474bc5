//! WebSockets (RFC 6455): a request that a route and its service let become one. From then on bytes pass both ways as they
//! are, messages are counted, and the request is judged again by the same steps whenever the directory changes, so that
//! whoever may not any more is told so (1008) within a second. A record is written when it begins, every minute in which something was
//! said, and at the end; each counts the messages since the one before, so that what dies with the process is a minute's at most.

mod frames;
mod way;

pub(crate) use way::Passed;

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, Method, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use way::Way;

use crate::connection::Peer;
use crate::core::Core;
use crate::path::{Recording, judge};
use crate::stream::Stream;

/// From one look at the directory, at the time and at whether it is used, to the next.
const LOOK: Duration = Duration::from_secs(1);
/// Judged again without a new version after so many looks: keys and tokens end by themselves.
const JUDGED_AFTER_LOOKS: u32 = 15;
/// Looks that a frame which is being sent has to end before the connection is cut within it.
const PATIENCE_LOOKS: u32 = 2;

/// The gateway goes, or nobody says anything (RFC 6455 §7.4.1).
const GOING_AWAY: u16 = 1001;
/// Who is at the other end may not any more.
const POLICY: u16 = 1008;

/// Whether a request asks to become a WebSocket.
pub(crate) fn is_asked(parts: &Parts) -> bool {
    let says = |headers: &HeaderMap, name, wanted: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && parts.headers.get_all(UPGRADE).iter().count() == 1
        && parts.headers.get(UPGRADE).is_some_and(|own| own.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && says(&parts.headers, CONNECTION, "upgrade")
        && parts.headers.contains_key("sec-websocket-key")
}

/// Whether a service's answer of 101 is to that, and to nothing else.
pub(crate) fn is_granted(headers: &HeaderMap) -> bool {
    let mut upgrades = headers.get_all(UPGRADE).iter();
    let own = upgrades.next().is_some_and(|own| own.as_bytes().eq_ignore_ascii_case(b"websocket"));
    own && upgrades.next().is_none() && headers.contains_key("sec-websocket-accept")
}

/// A request whose service has answered 101.
pub(crate) struct Tunnel {
    /// To the service.
    pub(crate) upstream: Stream,
    /// What the service has said behind its answer already.
    pub(crate) arrived: Bytes,
    pub(crate) recording: Box<Recording>,
    /// The request, to be judged again.
    pub(crate) parts: Parts,
    /// How long nobody may say anything.
    pub(crate) idle: Duration,
}

/// Passes bytes, first those that the client has `said` already, until one side ends, the caller may not any more, nobody says anything, or the gateway goes.
pub(crate) async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    core: &Rc<Core>,
    peer: &Rc<Peer>,
    tunnel: Tunnel,
    (client, said): (S, Bytes),
    drains: impl Fn() -> bool,
) {
    let Tunnel { upstream, arrived, mut recording, parts, idle } = tunnel;
    recording.goes_on();
    let mut look = tokio::time::interval_at(Instant::now() + LOOK, LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut carrying = Carrying {
        watch: Watch {
            core,
            peer,
            parts: &parts,
            version: recording.view.directory.version,
            looks_unused: 0,
            looks_unjudged: 0,
            idle_looks: u32::try_from(idle.as_secs()).unwrap_or(u32::MAX).max(1),
        },
        client,
        upstream,
        up: Way::beginning(&said),
        down: Way::beginning(&arrived),
        look,
        looks_per_record: u32::try_from(core.shared.config.streams_recorded.as_secs())
            .unwrap_or(u32::MAX)
            .max(1),
        looks_unrecorded: 0,
        recording,
        ending: None,
        code: None,
    };
    poll_fn(|cx| carrying.poll(cx, &drains)).await;
    if let Some(code) = carrying.code
        && carrying.up.is_between_frames()
    {
        // The service hears of it, if its socket takes it at once.
        let close = frames::masked_close(code, core.random.bytes());
        let mut cx = Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut carrying.upstream).poll_write(&mut cx, &close);
        let _ = Pin::new(&mut carrying.upstream).poll_flush(&mut cx);
    }
    let Carrying { mut recording, up, down, .. } = carrying;
    recording.tunnelled(up.passed(), down.passed());
    recording.served();
}

/// A WebSocket while it is open.
struct Carrying<'a, S> {
    watch: Watch<'a>,
    client: S,
    upstream: Stream,
    /// From the client to the service.
    up: Way,
    /// From the service to the client.
    down: Way,
    look: Interval,
    recording: Box<Recording>,
    /// Looks from one record to the next, and since the last.
    looks_per_record: u32,
    looks_unrecorded: u32,
    /// How it is ended from here, and the looks left to do it in good order.
    ending: Option<(Vec<u8>, u32)>,
    /// What for.
    code: Option<u16>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Carrying<'_, S> {
    fn poll(&mut self, cx: &mut Context<'_>, drains: &impl Fn() -> bool) -> Poll<()> {
        while self.look.poll_tick(cx).is_ready() {
            self.record();
            match &mut self.ending {
                Some((_, 0)) => return Poll::Ready(()),
                Some((_, looks)) => *looks -= 1,
                None => {
                    let moved = self.up.moved() | self.down.moved();
                    if let Some((code, reason)) = self.watch.end_for(moved) {
                        self.end(code, reason);
                    }
                }
            }
        }
        if self.ending.is_none() && drains() {
            self.end(GOING_AWAY, "going away");
        }
        let (client, upstream) = (Pin::new(&mut self.client), Pin::new(&mut self.upstream));
        // Either end is the end: what follows a close is for nobody.
        if self.ending.is_none() && self.up.pump(cx, client, upstream).is_ready() {
            return Poll::Ready(());
        }
        let (client, upstream) = (Pin::new(&mut self.client), Pin::new(&mut self.upstream));
        match &mut self.ending {
            None => self.down.pump(cx, upstream, client),
            Some((close, _)) => self.down.finish(cx, upstream, client, close),
        }
    }

    /// Notes what passed, and writes it once in a while.
    fn record(&mut self) {
        self.recording.tunnelled(self.up.passed(), self.down.passed());
        self.looks_unrecorded = self.looks_unrecorded.saturating_add(1);
        if self.looks_unrecorded >= self.looks_per_record && self.recording.has_news() {
            self.looks_unrecorded = 0;
            self.recording.goes_on();
        }
    }

    fn end(&mut self, code: u16, reason: &str) {
        self.ending = Some((frames::close(code, reason), PATIENCE_LOOKS));
        self.code = Some(code);
    }
}

/// What a WebSocket may end for.
struct Watch<'a> {
    core: &'a Rc<Core>,
    peer: &'a Rc<Peer>,
    parts: &'a Parts,
    /// The version of the directory that it was judged by.
    version: u64,
    looks_unused: u32,
    looks_unjudged: u32,
    idle_looks: u32,
}

impl Watch<'_> {
    /// Why it has to end, if it has to: code and reason of the close.
    fn end_for(&mut self, moved: bool) -> Option<(u16, &'static str)> {
        self.looks_unused = if moved { 0 } else { self.looks_unused + 1 };
        self.looks_unjudged += 1;
        if self.looks_unused >= self.idle_looks {
            return Some((GOING_AWAY, "nothing was said"));
        }
        let newest = self.core.shared.directory.version();
        if newest == self.version && self.looks_unjudged < JUDGED_AFTER_LOOKS {
            return None;
        }
        (self.version, self.looks_unjudged) = (newest, 0);
        let refusal = judge(self.core, self.peer, self.parts).err()?;
        tracing::info!(code = refusal.code(), "a WebSocket is ended: its caller may not any more");
        Some((POLICY, refusal.code()))
    }
}
