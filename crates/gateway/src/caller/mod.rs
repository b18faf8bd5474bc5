//! HTTP/1 with callers: one request after the other over a connection that is kept. All of a request happens in the task of its
//! connection, so that nothing is handed from task to task, and its head is read more strictly than it must be: what two parsers
//! could read differently is refused.

mod answer;
mod body;
mod head;
mod line;
mod serve;

pub(crate) use answer::Date;
pub(crate) use body::Incoming;
pub(crate) use line::Line;
pub(crate) use serve::{Ended, attend};
