//! The log of a child: what it prints, in a file of bounded size, and its last lines in memory for the message when it fails.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{io::AsyncReadExt, net::unix::pipe, task::JoinHandle, time::timeout};

/// Above this the file becomes `<name>.1`, in place of the one before: at most twice this on disk.
const FILE_MAX_BYTES: u64 = 16 << 20;
const TAIL_BYTES: usize = 16 << 10;
const TAIL_LINES: usize = 20;
/// How long to wait for the last words of a child that ended. Something it started may hold its pipe open for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Where children print to. Made once per guard; each child gets a pipe of its own.
pub(super) struct Log {
    shared: Arc<Mutex<Written>>,
    pump: Option<JoinHandle<()>>,
}

struct Written {
    path: PathBuf,
    file: File,
    length: u64,
    tail: VecDeque<u8>,
}

impl Log {
    pub fn open(path: &Path) -> io::Result<Log> {
        let (file, length) = append_to(path)?;
        let written =
            Written { path: path.to_owned(), file, length, tail: VecDeque::with_capacity(TAIL_BYTES) };
        Ok(Log { shared: Arc::new(Mutex::new(written)), pump: None })
    }

    /// A new pipe, whose other end is copied to the log from now on.
    pub fn pipe(&mut self) -> io::Result<OwnedFd> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let mut reader = pipe::Receiver::from_owned_fd(read)?;
        let shared = Arc::clone(&self.shared);
        // The guard is a process of its own; this is its only task beside the main one.
        self.pump = Some(tokio::spawn(async move {
            let mut chunk = vec![0_u8; 8 << 10];
            while let Ok(length @ 1..) = reader.read(&mut chunk).await {
                shared.lock().unwrap_or_else(PoisonError::into_inner).add(&chunk[..length]);
            }
        }));
        Ok(write)
    }

    /// The last lines, oldest first, after a child has ended.
    pub async fn tail(&mut self) -> Vec<String> {
        if let Some(pump) = self.pump.take() {
            let _ = timeout(LAST_WORDS, pump).await;
        }
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).lines()
    }
}

impl Written {
    /// A full disk must not stop the server for the sake of its log: what cannot be written is lost, except for the tail.
    fn add(&mut self, chunk: &[u8]) {
        if self.length >= FILE_MAX_BYTES {
            self.rotate();
        }
        if self.file.write_all(chunk).is_ok() {
            self.length += chunk.len() as u64;
        }
        self.tail.extend(chunk);
        let excess = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
    }

    fn rotate(&mut self) {
        let mut older = self.path.clone().into_os_string();
        older.push(".1");
        if fs::rename(&self.path, older).is_ok()
            && let Ok((file, length)) = append_to(&self.path)
        {
            (self.file, self.length) = (file, length);
        }
    }

    fn lines(&mut self) -> Vec<String> {
        let text = String::from_utf8_lossy(self.tail.make_contiguous());
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| (*line).to_owned()).collect()
    }
}

fn append_to(path: &Path) -> io::Result<(File, u64)> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = File::options().create(true).append(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}
