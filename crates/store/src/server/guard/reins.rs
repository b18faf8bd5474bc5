//! The guard's end of the two pipes to its main process.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::io::ioctl_fionbio;
use serde::de::DeserializeOwned;
use tokio::{io::AsyncReadExt, net::unix::pipe};

use crate::server::order::Report;

/// Longest order, in bytes; the settings are the largest part of it.
const ORDER_MAX: usize = 1 << 20;

pub(super) struct Reins {
    orders: pipe::Receiver,
    reports: OwnedFd,
}

impl Reins {
    /// Takes over standard input, which must be a pipe, and standard output.
    pub fn take() -> io::Result<Reins> {
        let orders = pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
        let reports = io::stdout().as_fd().try_clone_to_owned()?;
        ioctl_fionbio(&reports, true)?;
        Ok(Reins { orders, reports })
    }

    /// Reads the one line that comes. `None`: the main process was gone before it was whole.
    pub async fn order<Order: DeserializeOwned>(&mut self) -> io::Result<Option<Order>> {
        let mut line = Vec::with_capacity(8 << 10);
        while line.last() != Some(&b'\n') {
            if self.orders.read_buf(&mut line).await? == 0 {
                return Ok(None);
            }
            if line.len() > ORDER_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the order is too long"));
            }
        }
        Ok(Some(serde_json::from_slice(&line)?))
    }

    /// Returns once the main process has closed its end or is dead; again and again from then on. May be dropped and called anew.
    pub async fn gone(&mut self) {
        let mut ignored = [0_u8; 64];
        while matches!(self.orders.read(&mut ignored).await, Ok(length) if length > 0) {}
    }

    /// Tells the main process. It may be gone or not listening: neither may hold up the guard, so what does not fit is dropped.
    pub fn report(&mut self, report: &Report) {
        let mut line =
            serde_json::to_vec(report).expect("a report has no map with keys that are not strings");
        line.push(b'\n');
        // Below PIPE_BUF a line goes whole or not at all (pipe(7)); a failure's log is longer, and nothing follows it.
        let _ = rustix::io::write(&self.reports, &line);
    }
}
