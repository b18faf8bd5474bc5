//! The event log and its proofs: the bytes of an event, the tree over them, what is signed, and the rules by
//! which anybody finds a change without our help. The sequencer writes with the same code that verifies.
#![deny(clippy::float_arithmetic)]

pub mod canonical;
mod canonical_reader;
#[cfg(test)]
mod canonical_tests;
pub mod catalog;
pub mod leaf;
mod leaf_reader;
#[cfg(test)]
mod leaf_tests;
pub mod note;
#[cfg(test)]
mod note_tests;
pub mod row;
pub mod tree;
#[cfg(test)]
mod tree_tests;
