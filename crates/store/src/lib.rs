//! rowhouse-store
