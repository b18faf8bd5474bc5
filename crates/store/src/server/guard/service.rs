//! The life of one ordinary service process: started, restarted for ever, asked to end and then made to.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitStatus, kill_process_group};
use tokio::time::{Instant, sleep, timeout};

use super::{
    children::{Children, describe},
    leftovers::{self, Record},
    lock::Lock,
    log::Log,
    ports,
    reins::Reins,
    restarts::Restarts,
};
use crate::server::{account::Account, order::Report};

/// How long a service may take to end after SIGTERM.
const TERMINATE_MAX: Duration = Duration::from_secs(10);
/// A service that has lived this long had started well.
const STARTED_WELL: Duration = Duration::from_secs(5);

#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments {
    user: Option<String>,
    port: Option<u16>,
    environment: PathBuf,
    log: PathBuf,
    directory: Option<PathBuf>,
    program: Vec<String>,
}

impl Arguments {
    fn parse(words: &[String]) -> Option<Arguments> {
        let mut parsed = Arguments::default();
        let mut words = words.iter().cloned();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--user" => parsed.user = Some(words.next()?),
                "--port" => parsed.port = Some(words.next()?.parse().ok()?),
                "--env-file" => parsed.environment = words.next()?.into(),
                "--log" => parsed.log = words.next()?.into(),
                "--directory" => parsed.directory = Some(words.next()?.into()),
                "--" => break,
                _ => return None,
            }
        }
        parsed.program = words.collect();
        let is_whole =
            !parsed.program.is_empty() && parsed.log.is_absolute() && parsed.environment.is_absolute();
        is_whole.then_some(parsed)
    }
}

/// Runs until the main process is gone and the service with it.
pub(super) async fn run(words: &[String]) -> io::Result<ExitCode> {
    let invalid = |message: &str| io::Error::new(io::ErrorKind::InvalidInput, message);
    let arguments = Arguments::parse(words)
        .ok_or_else(|| invalid("usage: guard service [--user NAME] [--port PORT] [--directory DIR] --env-file FILE --log FILE -- PROGRAM ARGUMENT…"))?;
    let account = match &arguments.user {
        None => None,
        Some(name) => Some(Account::named(name).map_err(io::Error::other)?),
    };
    let account = account.filter(|account| account.uid != rustix::process::geteuid().as_raw());
    if let Some(port) = arguments.port
        && !ports::only(port)?
    {
        super::complain(
            "this kernel cannot hold a process to its port: Linux 6.7 or newer with Landlock can",
        );
    }
    let mut reins = Reins::take()?;
    let lock = arguments.environment.with_extension("lock");
    let taken = tokio::select! {
        taken = Lock::take(&lock) => taken,
        () = reins.gone() => return Ok(ExitCode::SUCCESS),
    };
    let lock = match taken {
        Ok(lock) => lock,
        Err(error) => {
            reins.report(&Report::Failed { reason: error.to_string(), log: Vec::new() });
            return Ok(ExitCode::FAILURE);
        }
    };
    let log = Log::open(&arguments.log)?;
    let record = Record::beside(&arguments.environment);
    let mut keeper = Keeper { reins, children: Children::new()?, log, record, lock, arguments, account };
    keeper.keep().await;
    Ok(ExitCode::SUCCESS)
}

struct Keeper {
    reins: Reins,
    children: Children,
    log: Log,
    record: Record,
    lock: Lock,
    arguments: Arguments,
    account: Option<Account>,
}

impl Keeper {
    async fn keep(&mut self) {
        self.record.end_all(&mut self.children).await;
        let mut restarts = Restarts::default();
        loop {
            let started_at = Instant::now();
            let reason = match self.start() {
                Err(error) => format!("{} cannot be started: {error}", self.arguments.program[0]),
                Ok(pid) => match self.end_of(pid).await {
                    Some(status) => format!("{} {}", self.arguments.program[0], describe(status)),
                    None => return self.stop(pid).await,
                },
            };
            let wait = restarts.wait_after_end(started_at, started_at.elapsed() >= STARTED_WELL);
            self.reins.report(&Report::Exited { reason });
            tokio::select! {
                () = sleep(wait) => {}
                () = self.reins.gone() => return,
            }
        }
    }

    fn start(&mut self) -> io::Result<Pid> {
        let mut command = Command::new(&self.arguments.program[0]);
        command.args(&self.arguments.program[1..]).env_clear();
        // Read anew at each start, as it may hold a password that was changed.
        command.envs(read_environment(&self.arguments.environment)?);
        command.current_dir(self.arguments.directory.as_deref().unwrap_or(Path::new("/")));
        // Without its guard nobody would stop it, so it ends with it; the next guard starts it again.
        let pid = self.children.start(&mut command, self.account.as_ref(), self.log.pipe()?, Signal::KILL)?;
        if let Err(error) = self.record.write(pid) {
            let _ = kill_process_group(pid, Signal::KILL);
            return Err(error);
        }
        self.reins.report(&Report::Started { pid: pid.as_raw_nonzero().get() });
        Ok(pid)
    }

    /// How it ended, and with it all that it had started; `None`: the main process is gone.
    async fn end_of(&mut self, pid: Pid) -> Option<WaitStatus> {
        let status = tokio::select! {
            status = self.children.end_of(pid) => status,
            () = self.reins.gone() => return None,
        };
        leftovers::end_adopted(&mut self.children).await;
        Some(status)
    }

    async fn stop(&mut self, pid: Pid) {
        self.lock.is_stopping();
        let _ = kill_process_group(pid, Signal::TERM);
        if timeout(TERMINATE_MAX, self.children.end_of(pid)).await.is_err() {
            let _ = kill_process_group(pid, Signal::KILL);
            self.children.end_of(pid).await;
        }
        leftovers::end_adopted(&mut self.children).await;
        self.record.remove();
    }
}

/// Reads `NAME=value` lines. The file holds secrets, so it must be closed to group and others.
fn read_environment(path: &Path) -> io::Result<Vec<(String, String)>> {
    let mode = std::fs::metadata(path)?.mode();
    if mode & 0o077 != 0 {
        return Err(io::Error::other(format!(
            "{} is open to others (mode {:o}); run: chmod 600 {0}",
            path.display(),
            mode & 0o777
        )));
    }
    let text = std::fs::read_to_string(path)?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn reads_its_command_line() {
        let parsed = Arguments::parse(&words("--user web --env-file /e --log /l -- /bin/serve --user x"))
            .expect("whole");
        assert_eq!(parsed.user.as_deref(), Some("web"));
        assert_eq!(parsed.program, ["/bin/serve", "--user", "x"]);
        let held = Arguments::parse(&words("--port 20001 --env-file /e --log /l -- x")).expect("whole");
        assert_eq!(held.port, Some(20_001));
        for broken in [
            "--env-file /e --log /l",
            "--env-file /e --log /l --",
            "--log /l -- x",
            "--port web --env-file /e --log /l -- x",
            "--env-file e --log /l -- x",
            "--what",
        ] {
            assert_eq!(Arguments::parse(&words(broken)), None, "{broken}");
        }
    }
}
