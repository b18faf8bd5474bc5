//! The path of one request, step by step. `serve` tells it in order; each step stands in its own file and hands
//! the next one a proof that it was taken.

mod answer;
mod arrive;
mod authenticate;
mod authorise;
mod balance;
mod cors;
mod examine;
mod forward;
mod grpc;
mod headers;
mod judge;
mod left;
mod limit;
mod onward;
mod own_limits;
mod prepare;
mod quota;
mod recording;
mod resolve;
mod serve;
mod stop;
mod together;
mod traceparent;
mod usage;

pub(crate) use answer::{Answer, Ours};
pub(crate) use cors::CorsView;
pub(crate) use judge::judge;
pub(crate) use left::{Left, LeftBehind};
pub(crate) use recording::Recording;
pub(crate) use serve::serve;
pub(crate) use stop::Stop;
