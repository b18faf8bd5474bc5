//! How long a connection may go on, and how it ends when it may not, or when the gateway does.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::core::Core;
use crate::drain::Ticket;
use crate::idle::{Found, Use};

/// Watches one connection.
pub(crate) struct Watch<'t> {
    ticket: &'t Ticket,
    seen: Rc<Use>,
    patience: Patience,
    farewell: Farewell,
    registered: bool,
    told: bool,
}

impl<'t> Watch<'t> {
    pub(crate) fn new(core: &Core, ticket: &'t Ticket, seen: Rc<Use>) -> Self {
        let patience = Patience::new(core);
        Watch { ticket, seen, patience, farewell: Farewell::default(), registered: false, told: false }
    }

    /// What `connection` comes to; `None` if it was cut. `say_goodbye` is called once, when it is to end in good order, at once if that was so
    /// before.
    pub(crate) async fn over<C: Future>(
        &mut self,
        mut connection: Pin<&mut C>,
        mut say_goodbye: impl FnMut(Pin<&mut C>),
    ) -> Option<C::Output> {
        let mut said = false;
        let outcome = poll_fn(|cx| {
            let ends = self.look(cx);
            self.told |= ends != Ends::No;
            if self.told && !said {
                said = true;
                say_goodbye(connection.as_mut());
            }
            match connection.as_mut().poll(cx) {
                Poll::Pending if ends == Ends::AtOnce => Poll::Ready(None),
                polled => polled.map(Some),
            }
        });
        outcome.await
    }

    fn look(&mut self, cx: &mut Context<'_>) -> Ends {
        if !self.registered {
            self.registered = true;
            self.ticket.register(cx.waker());
        }
        let (seen, ticket) = (&*self.seen, self.ticket);
        let ends = self.patience.ends(seen, cx);
        let goes = ticket.draining() && (seen.http2.get() || self.farewell.is_due(seen, ticket.rounds()));
        if goes { ends.max(Ends::InGoodOrder) } else { ends }
    }
}

/// How long a connection may go on with a head that does not become whole: for `header_timeout` and at most half as long again; and without
/// being used: for `keep_alive_timeout`. An unused one is told to end, and cut after the same time again. One whose client does not take
/// its answer is cut after as long as a request may take.
struct Patience {
    look: tokio::time::Interval,
    unused: u32,
    unused_max: u32,
    incomplete: u32,
    stuck: u32,
    stuck_max: u32,
    told: bool,
}

/// A round of silence when the gateway ends.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);

/// Looks within `header_timeout`.
const LOOKS: u32 = 2;

/// How an HTTP/1 connection ends when the gateway does. A client that is about to ask cannot know that we are about to go, and an
/// answer whose head has left cannot say any more that it was the last. So a connection gets one more answer, which
/// says so, unless it stays unused for a whole round of silence.
#[derive(Default)]
struct Farewell {
    unused_since: Option<u32>,
}

impl Farewell {
    fn is_due(&mut self, seen: &Use, rounds: u32) -> bool {
        if seen.answers() {
            self.unused_since = None;
            return seen.is_last.get();
        }
        rounds > *self.unused_since.get_or_insert(rounds) + 1
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ends {
    No,
    InGoodOrder,
    AtOnce,
}

impl Patience {
    fn new(core: &Core) -> Self {
        let config = &core.shared.config;
        let every = (config.header_timeout / LOOKS).max(Duration::from_millis(1));
        let looks = |within: Duration| {
            u32::try_from(within.as_millis().div_ceil(every.as_millis())).unwrap_or(u32::MAX)
        };
        let (unused_max, stuck_max) = (looks(config.keep_alive_timeout), looks(config.whole_timeout));
        let mut look = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Patience { look, unused: 0, unused_max, incomplete: 0, stuck: 0, stuck_max, told: false }
    }

    fn ends(&mut self, seen: &Use, cx: &mut Context<'_>) -> Ends {
        let mut ends = Ends::No;
        while self.look.poll_tick(cx).is_ready() {
            ends = ends.max(self.after(seen.look(), seen));
        }
        ends
    }

    fn after(&mut self, found: Found, seen: &Use) -> Ends {
        // Saying good-bye moves bytes too.
        let unused = found == Found::Idle || (self.told && !seen.answers());
        self.unused = if unused { self.unused + 1 } else { 0 };
        self.incomplete = match found {
            Found::Begun => 1,
            Found::Incomplete => self.incomplete + 1,
            Found::Idle if self.incomplete > 0 => self.incomplete + 1,
            _ => 0,
        };
        self.stuck = if found == Found::Stuck { self.stuck + 1 } else { 0 };
        match () {
            () if self.stuck > self.stuck_max || self.incomplete > LOOKS => Ends::AtOnce,
            () if self.unused <= self.unused_max => Ends::No,
            () if self.told => Ends::AtOnce,
            () => {
                (self.told, self.unused) = (true, 0);
                Ends::InGoodOrder
            }
        }
    }
}
