//! The journal as its users see it: real files, real processes.

mod append;
mod place;
