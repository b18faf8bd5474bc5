//! From the journal: when, from where and for what keys were used last. Written at most once a minute for each key, and
//! never on the request.

use std::collections::HashMap;

use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_journal::{Batch, Kind, PrincipalKind, RequestRecord};
use rowhouse_store::{Store, StoreError, Transaction};
use uuid::Uuid;

use super::queries;
use super::record::LastUse;
use crate::projection::{Projector, Source, Unprojectable};

/// The name of its positions.
pub const PROJECTION: &str = "key_uses";
/// A use is written when the one that is written is so much older.
const APART_US: i64 = 60_000_000;
/// Keys whose last written use is remembered; with more, all are forgotten, which costs a row that changes nothing.
const REMEMBERED_MAX: usize = 200_000;

/// A key's use that is to be written.
pub(super) struct Use {
    pub key: Uuid,
    pub tenant: Uuid,
    pub last: LastUse,
}

/// Makes rows of records that were asked with a key that is genuine.
#[derive(Default)]
pub struct UseProjector {
    written_us: HashMap<Uuid, i64>,
    /// What the running transaction writes.
    writing: Vec<(Uuid, i64)>,
}

impl UseProjector {
    fn collect(&self, batch: &Batch) -> Vec<Use> {
        let mut uses: HashMap<Uuid, Use> = HashMap::new();
        // What cannot be read is an event of the audit log already.
        let records = batch.frames().filter(|frame| frame.kind == Kind::Request);
        for record in records.filter_map(|frame| frame.record().ok()) {
            let Some(found) = used(&record) else { continue };
            let at_us = record.started_at_us;
            let is_news = self.written_us.get(&found.key).is_none_or(|written| at_us - written >= APART_US);
            let is_last = uses.get(&found.key).is_none_or(|before| before.last.at < found.last.at);
            if is_news && is_last {
                uses.insert(found.key, found);
            }
        }
        uses.into_values().collect()
    }
}

/// The use that a record tells of: a request that was let in. The principal stands in it only after the key was verified.
fn used(record: &RequestRecord<'_>) -> Option<Use> {
    let key = record.principal.filter(|_| record.principal_kind == PrincipalKind::ApiKey)?;
    if !record.refusal.is_empty() {
        return None;
    }
    let last = LastUse {
        at: Timestamp::from_microsecond(record.started_at_us).ok()?,
        ip: record.client_ip.to_owned(),
        endpoint: record.endpoint.to_owned(),
    };
    Some(Use { key: Uuid::from_u128(key), tenant: Uuid::from_u128(record.tenant?), last })
}

impl Projector for UseProjector {
    fn name(&self) -> &'static str {
        PROJECTION
    }

    async fn begin(&self, store: &Store) -> Result<Transaction, StoreError> {
        store.write(&Permit::for_system(None, "projection of keys' use")).await
    }

    async fn project(
        &mut self,
        transaction: &Transaction,
        _: &Source,
        batch: &Batch,
    ) -> Result<Vec<Unprojectable>, StoreError> {
        let uses = self.collect(batch);
        self.writing = uses.iter().map(|own| (own.key, own.last.at.as_microsecond())).collect();
        if !uses.is_empty() {
            queries::keep_uses(transaction, &uses).await?;
        }
        Ok(Vec::new())
    }

    fn committed(&mut self) {
        if self.written_us.len() + self.writing.len() > REMEMBERED_MAX {
            self.written_us.clear();
        }
        self.written_us.extend(self.writing.drain(..));
    }
}
