//! One core's open connections, and telling them that the end has come.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::Waker;

use tokio::sync::Notify;

/// Counts open connections and wakes them when draining begins.
#[derive(Default)]
pub(crate) struct Drain {
    draining: Cell<bool>,
    rounds: Cell<u32>,
    next: Cell<u64>,
    open: RefCell<HashMap<u64, Option<Waker>>>,
    changed: Notify,
}

impl Drain {
    /// Counts a connection until the ticket is dropped.
    pub(crate) fn ticket(self: &Rc<Self>) -> Ticket {
        let number = self.next.replace(self.next.get() + 1);
        self.open.borrow_mut().insert(number, None);
        Ticket { drain: self.clone(), number }
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.open.borrow().len()
    }

    /// Tells every connection to finish with its next answer.
    pub(crate) fn begin(&self) {
        self.draining.set(true);
        self.wake();
    }

    /// Whether that has been said.
    pub(crate) fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Lets a round of silence pass: a connection that was unused for a whole one finishes without another answer.
    pub(crate) fn round(&self) {
        self.rounds.set(self.rounds.get() + 1);
        self.wake();
    }

    fn wake(&self) {
        for waker in self.open.borrow().values().flatten() {
            waker.wake_by_ref();
        }
    }

    /// Waits until fewer than `count` connections are open.
    pub(crate) async fn below(&self, count: usize) {
        while self.open() >= count {
            self.changed.notified().await;
        }
    }
}

/// One open connection.
pub(crate) struct Ticket {
    drain: Rc<Drain>,
    number: u64,
}

impl Ticket {
    /// Whether the connection should finish.
    pub(crate) fn draining(&self) -> bool {
        self.drain.draining()
    }

    /// Rounds of silence so far.
    pub(crate) fn rounds(&self) -> u32 {
        self.drain.rounds.get()
    }

    /// Asks for `waker` to be woken when the connection should finish.
    pub(crate) fn register(&self, waker: &Waker) {
        self.drain.open.borrow_mut().insert(self.number, Some(waker.clone()));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.drain.open.borrow_mut().remove(&self.number);
        self.drain.changed.notify_one();
    }
}
