//! rowhouse-control
