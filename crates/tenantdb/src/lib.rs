//! rowhouse-tenantdb
