//! One process goes, another takes its doors: the upgrade of the binary. The new one (`rowhouse serve --take-over`) asks the old
//! one over a socket in the data directory, which only the same user reaches, and gets copies of its listeners (SCM_RIGHTS,
//! unix(7)). The old one then finishes what is open and ends; who comes in meanwhile waits in the listeners' queues,
//! which outlive it. When it is gone, the new one opens journal and database, as after any stop, and lets them in.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use rowhouse_gateway::Doors;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Descriptors that one message carries at most (SCM_MAX_FD).
const DESCRIPTORS_MAX: usize = 253;

/// All doors of a process.
#[derive(Debug, Default)]
pub struct AllDoors {
    /// The gateway's.
    pub gateway: Doors,
    /// The control API's.
    pub control: Option<TcpListener>,
    /// Of metrics and health.
    pub admin: Option<TcpListener>,
    /// Of nodes.
    pub node: Option<TcpListener>,
}

/// What there is to hand over now.
#[derive(Debug, Clone, Default)]
pub struct Offered(Arc<Mutex<AllDoors>>);

impl Offered {
    /// These doors.
    pub fn new(doors: AllDoors) -> Self {
        Offered(Arc::new(Mutex::new(doors)))
    }

    /// From now on these are the gateway's. Those before are closed, as far as they are ours.
    pub fn set_gateway(&self, doors: Doors) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).gateway = doors;
    }

    fn give(&self, stream: &UnixStream) -> io::Result<()> {
        give(stream, &self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where the running process is asked.
pub fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("run/handover.sock")
}

/// Waits until a successor asks for the doors, and hands them over. Only processes of the same user can ask.
pub async fn asked(socket: &Path, doors: Offered) -> anyhow::Result<()> {
    // What a process left that was killed.
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let listener = tokio::net::UnixListener::bind(socket)?;
    let own = rustix::process::geteuid().as_raw();
    loop {
        let (stream, _) = listener.accept().await?;
        if stream.peer_cred()?.uid() != own {
            tracing::warn!("another user asked for the doors; they stay");
            continue;
        }
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        match doors.give(&stream) {
            Ok(()) => {
                tracing::info!("a successor has taken the doors");
                let _ = std::fs::remove_file(socket);
                return Ok(());
            }
            Err(error) => tracing::warn!(%error, "a successor went before it had the doors"),
        }
    }
}

fn give(stream: &UnixStream, doors: &AllDoors) -> io::Result<()> {
    let gateway = &doors.gateway;
    let mut all: Vec<(u8, BorrowedFd<'_>)> = Vec::new();
    all.extend(gateway.plain.iter().map(|own| (b'g', own.as_fd())));
    all.extend(gateway.tls.iter().map(|own| (b't', own.as_fd())));
    all.extend(doors.control.iter().map(|own| (b'c', own.as_fd())));
    all.extend(doors.admin.iter().map(|own| (b'a', own.as_fd())));
    all.extend(doors.node.iter().map(|own| (b'n', own.as_fd())));
    let (kinds, descriptors): (Vec<u8>, Vec<BorrowedFd<'_>>) = all.into_iter().unzip();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("more listeners than one message carries"));
    }
    rustix::net::sendmsg(stream, &[IoSlice::new(&kinds)], &mut control, SendFlags::empty())?;
    Ok(())
}

/// Asks the process that runs on `data_dir` for its doors, and waits until it has ended. Nobody runs there: no doors.
///
/// # Errors
/// If it is there and gives none.
pub fn take(data_dir: &Path) -> anyhow::Result<AllDoors> {
    let stream = match UnixStream::connect(socket(data_dir)) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            tracing::info!("nobody to take over from");
            return Ok(AllDoors::default());
        }
        Err(error) => return Err(error).context("the running process cannot be asked for its doors"),
    };
    let peer = rustix::net::sockopt::socket_peercred(&stream)?;
    let pid = Pid::from_raw(peer.pid.as_raw_nonzero().get()).context("no process")?;
    let running = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(running) => Some(running),
        // It had nothing open, and has ended. What it gave waits in the socket.
        Err(rustix::io::Errno::SRCH) => None,
        Err(error) => return Err(error.into()),
    };
    let doors = receive(&stream).context("the running process gave no doors")?;
    tracing::info!(pid = %peer.pid.as_raw_nonzero(), "its doors are ours; it finishes what is open");
    running.as_ref().map_or(Ok(()), ended)?;
    Ok(doors)
}

fn receive(stream: &UnixStream) -> anyhow::Result<AllDoors> {
    let mut kinds = [0; DESCRIPTORS_MAX];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(stream, &mut [IoSliceMut::new(&mut kinds)], &mut control, flags)?;
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(own) = message {
            descriptors.extend(own);
        }
    }
    if received.bytes == 0 || received.bytes != descriptors.len() {
        anyhow::bail!("{} descriptors for {} listeners", descriptors.len(), received.bytes);
    }
    let mut doors = AllDoors::default();
    for (kind, descriptor) in kinds.iter().zip(descriptors) {
        let listener = TcpListener::from(descriptor);
        match kind {
            b'g' => doors.gateway.plain.push(listener),
            b't' => doors.gateway.tls.push(listener),
            b'c' => doors.control = Some(listener),
            b'n' => doors.node = Some(listener),
            _ => doors.admin = Some(listener),
        }
    }
    Ok(doors)
}

/// Waits for the end of a process: its locks are free then.
fn ended(process: &OwnedFd) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    loop {
        match poll(&mut [PollFd::new(process, PollFlags::IN)], None) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
