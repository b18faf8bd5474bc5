//! Rate limits: exact arithmetic in integers, the same in the gateway, in Redis and in the simulator.

mod bucket;
mod definition;

pub use bucket::{Bucket, BucketState, Verdict};
pub use definition::{LimitDefinition, LimitScope, TierValue};
