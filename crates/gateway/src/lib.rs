//! rowhouse-gateway
