//! rowhouse-testing
