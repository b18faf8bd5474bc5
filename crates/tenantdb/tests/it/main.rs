//! The crate against real PostgreSQL: every test starts a server of its own in a temporary directory.

mod attacks;
mod cluster;
mod copies;
mod differential;
mod doctor;
mod functions;
mod house;
mod levels;
mod migrating;
mod places;
mod pools;
mod probes;
mod shapes;
mod watching;
