//! The event log and its proofs: the bytes of an event, the tree over them, what is signed, and the rules by
//! which anybody finds a change without our help. The sequencer writes with the same code that verifies.
#![deny(clippy::float_arithmetic)]

pub mod bundle;
pub mod canonical;
mod canonical_reader;
#[cfg(test)]
mod canonical_tests;
pub mod catalog;
pub mod finding;
pub mod leaf;
mod leaf_reader;
#[cfg(test)]
mod leaf_tests;
pub mod note;
#[cfg(test)]
mod note_tests;
pub mod proof;
#[cfg(test)]
mod proof_tests;
pub mod row;
pub mod tile;
pub mod tree;
#[cfg(test)]
mod tree_tests;
pub mod verify;
mod verify_checkpoints;
mod verify_events;
mod verify_heads;
#[cfg(test)]
mod verify_history;
mod verify_missing;
mod verify_rows;
#[cfg(test)]
mod verify_tests;
