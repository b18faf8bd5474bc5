//! The main process's end of a guard: it holds the pipe whose end stops the guard, and reads the reports.

use std::{ffi::OsString, io, path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::watch,
    time::timeout,
};

use super::order::Report;

/// Above what a guard needs to stop its child: 30 s until SIGQUIT, as long again after it, and some.
pub(super) const STOP_MAX: Duration = Duration::from_secs(70);

/// A running guard. Dropped, it stops its child and ends, without anybody waiting for it.
pub(super) struct GuardProcess {
    child: Child,
    orders: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
}

impl GuardProcess {
    /// Starts `<program> guard <arguments>`, or this very program, and gives it its order.
    pub async fn start(
        program: Option<&Path>,
        arguments: Vec<OsString>,
        order: Option<&str>,
    ) -> io::Result<GuardProcess> {
        let mut command = program.map_or_else(own_program, Command::new);
        command.arg("guard").args(arguments).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut orders = child.stdin.take().expect("piped just above");
        let reports = BufReader::new(child.stdout.take().expect("piped just above")).lines();
        if let Some(order) = order {
            orders.write_all(order.as_bytes()).await?;
            orders.write_all(b"\n").await?;
            orders.flush().await?;
        }
        Ok(GuardProcess { child, orders, reports })
    }

    /// The next report; `None` when the guard has ended. May be dropped and called anew.
    pub async fn report(&mut self) -> Option<Report> {
        loop {
            let line = self.reports.next_line().await.ok()??;
            match serde_json::from_str(&line) {
                Ok(report) => return Some(report),
                Err(_) => tracing::warn!(line, "the guard said something else than a report"),
            }
        }
    }

    /// Ends the guard's child and the guard, and returns when both are gone. False: it took too long.
    pub async fn stop(self) -> bool {
        let GuardProcess { mut child, orders, reports } = self;
        drop(orders);
        // Its reports are still read, as it may be telling us of the end.
        let ended = timeout(STOP_MAX, child.wait()).await.is_ok();
        drop(reports);
        ended
    }

    /// Takes note of the end of a guard whose reports have ended.
    pub async fn reap(mut self) -> String {
        match timeout(STOP_MAX, self.child.wait()).await {
            Ok(Ok(status)) => format!("the guard ended: {status}"),
            Ok(Err(error)) => format!("the guard ended: {error}"),
            Err(_) => "the guard closed its reports".to_owned(),
        }
    }
}

/// Returns when the channel says true, or its sender is gone. What `wait_for` itself returns is a lock, which no future that moves
/// between threads may hold.
pub(super) async fn until_true(wanted: &mut watch::Receiver<bool>) {
    let _ = wanted.wait_for(|wanted| *wanted).await;
}

/// The program that runs now, even if its file was replaced or removed meanwhile: main process and guard are always of one version. In
/// lists of processes it goes by its usual name.
fn own_program() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(std::env::args_os().next().unwrap_or_else(|| "rowhouse".into()));
    command
}
