//! Reading one level where it is: the way from a tenant to its place, and what is asked there.

use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::directory::Quota;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_store::{StoreError, Transaction};
use rowhouse_tenantdb::cell::SHARED_DATABASE;
use rowhouse_tenantdb::name::schema_of_service;
use rowhouse_tenantdb::place::{Counted, Gauge, count};
use rowhouse_tenantdb::tables::TableKind;
use rowhouse_tenantdb::{Cell, DatabaseKey, Place};

use super::collect::{MEMBERSHIPS, STORAGE, TABLE};
use super::measurement::Measurement;
use super::quotas_of;
use crate::tenancy::{self, cells, places, service_tables};
use crate::{Control, identity};

/// Units of 10⁻¹² GB in a byte.
const UNITS_OF_BYTE: i128 = 1_000;

/// What is to be read, and where.
pub struct Target {
    quota: Option<Quota>,
    at: Option<At>,
    /// People, who are counted in the control database.
    people: Option<u64>,
}

/// A place that can be read.
struct At {
    cell: Cell,
    place: Place,
    what: What,
}

enum What {
    /// Own schemas, and on the shared level all tables with rows of tenants.
    Storage { schemas: Vec<String>, tables: Vec<(String, String)> },
    /// Rows of a table.
    Rows { key: DatabaseKey, schema: String, table: String, condition: Option<String> },
}

impl Target {
    /// Where it is read; `None` while the tenant has no place, or the table is not there.
    pub fn place(&self) -> Option<(&Cell, &Place)> {
        self.at.as_ref().map(|at| (&at.cell, &at.place))
    }

    /// The quota that the level stands against.
    pub fn quota(&self) -> Option<&Quota> {
        self.quota.as_ref()
    }
}

/// What a measurement is about; `None` when nobody wants it any more.
pub async fn target(control: &Control, due: &Measurement) -> Result<Option<Target>, StoreError> {
    let permit = Permit::for_system(Some(due.tenant), "measuring");
    let transaction = control.store.read(&permit).await?;
    let found = tenancy::load_tenants(&transaction, Some(due.tenant)).await?.pop();
    let Some(row) = found.filter(|row| !row.status.is_over()) else { return Ok(None) };
    let now: Timestamp = control.clock().now();
    let quotas = quotas_of(&transaction, &row, now).await;
    let quotas = quotas.map_err(|_| StoreError::Stored { what: "the tier of a tenant" })?;
    let quota = quotas.into_iter().find(|quota| *quota.meter == *due.meter);
    let collects = quota.as_ref().is_some_and(|quota| quota.rule.collect.is_some());
    let is_wanted = match due.collector.as_str() {
        STORAGE => quota.is_some() && !collects,
        TABLE => collects,
        // Billed where there is no quota of them.
        MEMBERSHIPS => !collects,
        _ => false,
    };
    if !is_wanted {
        return Ok(None);
    }
    let (mut at_place, mut people) = (None, None);
    match due.collector.as_str() {
        MEMBERSHIPS => people = Some(identity::count_members(&transaction, due.tenant).await?),
        _ => at_place = at(control, &transaction, due, quota.as_ref()).await?,
    }
    transaction.finish().await?;
    Ok(Some(Target { quota, at: at_place, people }))
}

async fn at(
    control: &Control,
    transaction: &Transaction,
    due: &Measurement,
    quota: Option<&Quota>,
) -> Result<Option<At>, StoreError> {
    let Some(row) = places::get(transaction, due.tenant).await? else { return Ok(None) };
    if !row.rights.can_read() {
        return Ok(None);
    }
    let Some(cell) = cells::get(transaction, &row.cell).await? else { return Ok(None) };
    let installed = service_tables::installed(transaction, &row.cell, &row.place).await?;
    let collect = quota.and_then(|quota| quota.rule.collect.clone());
    let Some(collect) = collect.filter(|_| due.collector == TABLE) else {
        let schemas = installed.into_iter().map(|own| own.schema).collect();
        let tables =
            if row.place.database == SHARED_DATABASE { tables(transaction).await? } else { Vec::new() };
        return Ok(Some(At { cell, place: row.place, what: What::Storage { schemas, tables } }));
    };
    let names = collect.names().map(|(service, table)| (service.to_owned(), table.to_owned()));
    let Some((service, table)) = names else { return Ok(None) };
    let Some(own) = installed.into_iter().find(|own| own.service == service) else { return Ok(None) };
    let key = cells::newest_key(transaction, control, &row.cell, &row.place.database).await;
    let key = key.map_err(|_| StoreError::Stored { what: "a context key" })?;
    let Some(key) = key else { return Ok(None) };
    let what = What::Rows { key, schema: own.schema, table, condition: collect.condition };
    Ok(Some(At { cell, place: row.place, what }))
}

/// All shared tables with rows of tenants.
async fn tables(transaction: &Transaction) -> Result<Vec<(String, String)>, StoreError> {
    let mut all = Vec::new();
    for service in service_tables::all(transaction).await? {
        let schema = schema_of_service(&service.service);
        let own = service.manifest.tables.iter().filter(|(_, table)| table.kind == TableKind::Tenant);
        all.extend(own.map(|(name, _)| (schema.clone(), name.clone())));
    }
    Ok(all)
}

/// Reads. `None` while there is nothing to be read; else what went wrong, in words.
pub async fn read(target: &Target) -> Result<Option<Quantity>, String> {
    if let Some(people) = target.people {
        return Ok(Quantity::from_integer(i128::from(people)));
    }
    let Some(at) = &target.at else { return Ok(None) };
    let level = match &at.what {
        What::Storage { schemas, tables } => {
            let gauge = Gauge::open(&at.cell, &at.place).await.map_err(words)?;
            let bytes = gauge.bytes(&at.place, schemas, tables).await.map_err(words)?;
            gauge.close().await;
            Quantity::from_units(i128::from(bytes) * UNITS_OF_BYTE)
        }
        What::Rows { key, schema, table, condition } => {
            let counted = Counted { schema, table, condition: condition.as_deref() };
            Quantity::from_integer(count(&at.cell, &at.place, key, counted).await.map_err(words)?)
        }
    };
    level.map(Some).ok_or_else(|| "a level beyond 10^20".to_owned())
}

/// An error with all its causes.
fn words(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(own) = cause {
        text.push_str(": ");
        text.push_str(&own.to_string());
        cause = own.source();
    }
    text.chars().take(1_000).collect()
}
