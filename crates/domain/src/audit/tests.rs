//! Tables and properties of the log.
