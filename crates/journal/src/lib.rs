//! rowhouse-journal
