//! Lines before something that there is little of and that all share: each of those who stand in one has some places, its further ones
//! wait in a line of its own, and all together have so many. So none takes all, however much it asks for.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lines in the book before those are forgotten in which nobody stands.
pub(crate) const KNOWN_MAX: usize = 1_024;

/// More of one wait than may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("as many as may wait already")]
pub struct Crowded;

/// The lines of all, by who stands in them.
#[derive(Debug)]
pub struct Lines<K> {
    each: usize,
    waiting_max: usize,
    all: Arc<Semaphore>,
    lines: Mutex<HashMap<K, Arc<Line>>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    _line: Arc<Line>,
}

/// One's places, and how many wait for one.
#[derive(Debug)]
struct Line {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl<K: Eq + Hash> Lines<K> {
    /// `each` places for one, `all` for all together, both at least 1; `waiting_max` of one wait at once, more are refused.
    pub fn new(each: usize, all: usize, waiting_max: usize) -> Self {
        let all = Arc::new(Semaphore::new(all.max(1)));
        Lines { each: each.max(1), waiting_max, all, lines: Mutex::default() }
    }

    /// A place, when it is the turn of `whose`.
    ///
    /// # Errors
    /// [`Crowded`] when as many of it wait as may.
    pub async fn take(&self, whose: K) -> Result<Place, Crowded> {
        let line = self.line(whose);
        let own = match line.places.clone().try_acquire_owned() {
            Ok(own) => own,
            Err(_taken) => {
                let _waiting = line.wait(self.waiting_max)?;
                line.places.clone().acquire_owned().await.map_err(|_closed| Crowded)?
            }
        };
        let all = self.all.clone().acquire_owned().await.map_err(|_closed| Crowded)?;
        Ok(Place { _own: own, _all: all, _line: line })
    }

    fn line(&self, whose: K) -> Arc<Line> {
        let mut lines = self.lock();
        if lines.len() >= KNOWN_MAX && !lines.contains_key(&whose) {
            lines.retain(|_, line| Arc::strong_count(line) > 1);
        }
        let fresh =
            || Arc::new(Line { places: Arc::new(Semaphore::new(self.each)), waiting: AtomicUsize::new(0) });
        lines.entry(whose).or_insert_with(fresh).clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that waits, until it is dropped.
struct Waiting<'l>(&'l AtomicUsize);

impl Line {
    fn wait(&self, most: usize) -> Result<Waiting<'_>, Crowded> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let waiting = Waiting(&self.waiting);
        if before < most { Ok(waiting) } else { Err(Crowded) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_which_nobody_stands_are_forgotten() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let lines = Lines::new(4, 14, 8);
            let _held = lines.take(1).await.expect("a place");
            for other in 2..=(KNOWN_MAX + 5) {
                lines.take(other).await.expect("a place");
            }
            let book = lines.lock();
            assert!(book.len() < 10 && book.contains_key(&1), "{}", book.len());
        });
    }
}
