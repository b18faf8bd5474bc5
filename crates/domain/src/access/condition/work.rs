//! What asking conditions may cost, counted in steps: about a comparison of two characters each. Who writes conditions, and who writes
//! the texts that they look at, has no more of a process than this. What is over it errs, which is closed.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

/// Largest text that a condition is given, in bytes.
pub const GIVEN_MAX: usize = 1024;
/// Most texts of a set, and their bytes together.
pub const MEMBERS_MAX: usize = 100;
pub const SET_MAX: usize = 4 * 1024;
/// Steps of all conditions of one decision.
pub const DECISION_MAX: u64 = 512 * 1024;
/// Steps of all decisions that are asked for at once.
pub const BATCH_MAX: u64 = 32 * DECISION_MAX;
/// What any condition costs.
pub(super) const FLOOR: u64 = 1_000;

pub(super) const TOO_MUCH: &str = "the conditions are too much work";

/// What is left for decisions that are asked for together.
#[derive(Debug)]
pub struct Batch(AtomicU64);

impl Default for Batch {
    fn default() -> Self {
        Batch(AtomicU64::new(BATCH_MAX))
    }
}

impl Batch {
    /// Whether it was too much: what was answered last, and what is asked from now on, is not to be relied on.
    pub fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// What is too much for it leaves nothing.
    fn spend(&self, steps: u64) -> bool {
        let left = self.0.load(Ordering::Relaxed).saturating_sub(steps);
        self.0.store(left, Ordering::Relaxed);
        left > 0
    }
}

/// What is left for one decision.
#[derive(Debug)]
pub(crate) struct Work(Cell<u64>);

impl Default for Work {
    fn default() -> Self {
        Work(Cell::new(DECISION_MAX))
    }
}

impl Work {
    /// Takes what a condition can cost at most. `false`: it is not to be asked.
    pub(super) fn spend(&self, steps: u64, batch: Option<&Batch>) -> bool {
        let left = self.0.get().checked_sub(steps);
        self.0.set(left.unwrap_or(0));
        left.is_some() && batch.is_none_or(|batch| batch.spend(steps))
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> u64 {
        self.0.get()
    }
}

/// What a condition is given: how much, and whether that is too much of one thing.
#[derive(Debug, Default)]
pub(super) struct Given {
    bytes: Cell<u64>,
    longest: Cell<usize>,
    too_long: RefCell<Option<String>>,
}

impl Given {
    /// Whether a text may be given; if not, nothing is.
    pub(super) fn text(&self, name: &str, text: &str) -> bool {
        self.longest.set(self.longest.get().max(text.len()));
        self.add(text.len());
        self.fits(text.len() <= GIVEN_MAX, || format!("`{name}` has more than {GIVEN_MAX} bytes"))
    }

    /// Whether a value may.
    pub(super) fn value(&self, name: &str, value: &Value) -> bool {
        match value {
            Value::String(text) => self.text(name, text),
            Value::Array(all) => {
                let bytes = all.iter().take(MEMBERS_MAX).filter_map(Value::as_str).map(str::len).sum();
                self.add(bytes);
                self.fits(all.len() <= MEMBERS_MAX && bytes <= SET_MAX, || {
                    format!("`{name}` has more than {MEMBERS_MAX} texts, or than {SET_MAX} bytes")
                })
            }
            _ => true,
        }
    }

    /// So many bytes that are ours.
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX)));
    }

    fn fits(&self, fits: bool, why: impl FnOnce() -> String) -> bool {
        if !fits {
            *self.too_long.borrow_mut() = Some(why());
        }
        fits
    }

    /// Bytes in all, and of the longest text.
    ///
    /// # Errors
    /// What was too long.
    pub(super) fn end(self) -> Result<(u64, usize), String> {
        match self.too_long.take() {
            Some(why) => Err(why),
            None => Ok((self.bytes.get(), self.longest.get())),
        }
    }
}
