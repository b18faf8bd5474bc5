//! The usage a request caused: up to eight pairs of meter and quantity.

/// Most pairs one record can carry.
pub const USAGE_PAIRS_MAX: usize = 8;

/// Pairs of meter name and quantity in units of 10⁻¹² of the meter's unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsagePairs<'a> {
    pairs: [(&'a str, i128); USAGE_PAIRS_MAX],
    count: usize,
}

/// A ninth pair was added: the record has no room for it, the caller must send a usage event instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record holds at most {USAGE_PAIRS_MAX} usage pairs")]
pub struct UsageFull;

impl<'a> UsagePairs<'a> {
    /// Adds one pair; `quantity` is in 10⁻¹² units.
    pub fn push(&mut self, meter: &'a str, quantity: i128) -> Result<(), UsageFull> {
        let slot = self.pairs.get_mut(self.count).ok_or(UsageFull)?;
        *slot = (meter, quantity);
        self.count += 1;
        Ok(())
    }

    pub fn as_slice(&self) -> &[(&'a str, i128)] {
        &self.pairs[..self.count]
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a str, i128)> + '_ {
        self.as_slice().iter().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
