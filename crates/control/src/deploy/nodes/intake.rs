//! Takes what nodes send of their journals.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::refusal::{Refusal, kind};

use super::queries::{self, NodeRow};
use super::wire::{Position, Shipment};
use crate::Shared;
use crate::projection::{ShippedLane, Source};

/// How often it is written down that a node is there.
const SEEN_US: i64 = 60_000_000;
/// Lanes of one node: one for each core, and few others.
const LANES_MAX: usize = 300;

type Lane = Arc<tokio::sync::Mutex<ShippedLane>>;

/// When a node was last written down, and to when each of its lanes is complete.
type Told = (i64, HashMap<String, i64>);

/// The lanes that arrive in this process.
#[derive(Default)]
pub(super) struct Intake {
    lanes: Mutex<HashMap<(String, String), Lane>>,
    /// By node.
    told: Mutex<HashMap<String, Told>>,
}

impl Intake {
    /// Applies a shipment; where the lane stands then.
    pub(super) async fn take(
        &self,
        control: &Shared,
        node: &NodeRow,
        (lane, shipment): (&str, &Shipment),
    ) -> Result<Position, Refusal> {
        let own = self.lane(control, &node.name, lane)?;
        let mut own = own.lock().await;
        let asked = (shipment.from, &shipment.batch, shipment.end);
        let taken = own.take(control, asked).await;
        let next = taken.map_err(|error| {
            Refusal::new(&kind::JOURNAL_UNAVAILABLE, "Records are not taken now.").private(error.to_string())
        })?;
        control.nodes.lane_ends(&node.name, lane, shipment.end);
        if let Some(at_us) = shipment.complete_to_us.filter(|_| next >= shipment.batch.next_sequence) {
            let source = Source { node: node.name.clone(), lane: lane.to_owned() };
            control.projections.arrived(&source, Some(at_us));
            self.note(control, &node.name, lane, at_us).await?;
        }
        Ok(Position { next })
    }

    fn lane(&self, control: &Shared, node: &str, lane: &str) -> Result<Lane, Refusal> {
        let is_name = (1..=39).contains(&lane.len())
            && lane.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (node.to_owned(), lane.to_owned());
        let of_node = lanes.keys().filter(|(own, _)| own == node).count();
        if !is_name || (of_node >= LANES_MAX && !lanes.contains_key(&key)) {
            return Err(Refusal::new(&kind::NODE_MALFORMED, "That is no lane of a node."));
        }
        let source = || Source { node: node.to_owned(), lane: lane.to_owned() };
        let made = || Arc::new(tokio::sync::Mutex::new(ShippedLane::new(control, source())));
        Ok(lanes.entry(key).or_insert_with(made).clone())
    }

    /// Writes down, once in a while, that the node is there and to when all its lanes have arrived.
    async fn note(&self, control: &Shared, node: &str, lane: &str, at_us: i64) -> Result<(), Refusal> {
        let now = control.clock().now();
        let complete_us = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let (written_us, lanes) = told.entry(node.to_owned()).or_default();
            lanes.insert(lane.to_owned(), at_us);
            if now.as_microsecond() - *written_us < SEEN_US {
                return Ok(());
            }
            *written_us = now.as_microsecond();
            lanes.values().min().copied().unwrap_or(at_us)
        };
        let transaction = control.store.write(&Permit::for_system(None, "a node is there")).await?;
        queries::seen(&transaction, node, Timestamp::from_microsecond(complete_us).ok(), now).await?;
        Ok(transaction.commit_telemetry().await?)
    }
}
