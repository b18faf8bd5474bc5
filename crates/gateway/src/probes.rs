//! Active health: copies of services that say how they are asked are asked, by one core for all. What comes of it is a
//! flag for each address that every core reads; of an address that nobody asks it stays down.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Version};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use rowhouse_domain::directory::Directory;
use rowhouse_domain::routes::{HealthCheck, ProbeKind, Probed, Trouble, UpstreamTls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::body::UpstreamBody;
use crate::connection::LocalExecutor;
use crate::core::{Core, Shared};
use crate::stream::Stream;
use crate::upstream::{Speech, open};
use crate::view::speech;

/// From one look at what is due to the next: while somebody is to be asked, and while nobody is.
const LOOK: Duration = Duration::from_millis(50);
const LOOK_FOR_WORK: Duration = Duration::from_secs(1);
/// `HTTP/1.1 200`
const STATUS_BYTES: usize = 12;

/// Why an address is out; 0 while it is not ([`Trouble::to_number`]).
pub(crate) type Flag = Arc<AtomicU32>;

/// Which addresses are out. Shared by all cores.
#[derive(Default)]
pub(crate) struct Probes(Mutex<HashMap<Arc<str>, Flag>>);

impl Probes {
    /// The flag of an address; up while it is not well.
    pub(crate) fn flag(&self, address: &Arc<str>) -> Flag {
        let mut flags = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flags.entry(address.clone()).or_default().clone()
    }

    /// Lets go of addresses that no core knows any more.
    fn forget_unused(&self) {
        let mut flags = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flags.retain(|_, flag| Arc::strong_count(flag) > 1);
    }
}

/// How an address is asked.
#[derive(Clone)]
struct Question {
    check: HealthCheck,
    tls: Option<UpstreamTls>,
    speech: Speech,
}

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        let parts = |own: &Self| (own.check.clone(), own.tls.clone(), own.speech.http2);
        parts(self) == parts(other)
    }
}

/// An address that is asked.
struct Asked {
    question: Question,
    flag: Flag,
    probed: Probed,
    due: Instant,
    /// Whether an answer is awaited.
    waits: bool,
}

type All = Rc<RefCell<HashMap<Arc<str>, Asked>>>;

/// Asks for ever; ends with the core's runtime.
pub(crate) async fn run(core: Rc<Core>) {
    let all = All::default();
    let mut version = None;
    loop {
        let directory = core.shared.directory.current();
        let state = (directory.version, core.shared.names.generation());
        if version != Some(state) {
            version = Some(state);
            renew(&all, &directory, &core.shared);
        }
        ask_those_due(&all);
        let pause = if all.borrow().is_empty() { LOOK_FOR_WORK } else { LOOK };
        tokio::time::sleep(pause).await;
    }
}

/// What the directory says is asked, and nothing else; who stays keeps what is known of it.
fn renew(all: &All, directory: &Directory, shared: &Shared) {
    let probes = &shared.probes;
    let mut wanted: HashMap<Arc<str>, Question> = HashMap::new();
    for service in directory.services.iter() {
        let Some(check) = &service.health else { continue };
        let all: Vec<String> = service
            .upstreams
            .iter()
            .chain(service.releases.iter().flat_map(|r| &r.upstreams))
            .cloned()
            .collect();
        for address in shared.names.expand(&all) {
            let question = Question {
                check: check.clone(),
                tls: service.tls.clone(),
                speech: speech(service, &shared.secure),
            };
            wanted.entry(Arc::from(address.as_str())).or_insert(question);
        }
    }
    let mut all = all.borrow_mut();
    all.retain(|address, asked| {
        let stays = wanted.get(address) == Some(&asked.question);
        if !stays {
            asked.flag.store(0, Ordering::Relaxed);
        }
        stays
    });
    for (address, question) in wanted {
        let flag = probes.flag(&address);
        let fresh = Asked { question, flag, probed: Probed::default(), due: Instant::now(), waits: false };
        all.entry(address).or_insert(fresh);
    }
    drop(all);
    probes.forget_unused();
}

fn ask_those_due(all: &All) {
    let now = Instant::now();
    for (address, asked) in all.borrow_mut().iter_mut().filter(|(_, own)| !own.waits && own.due <= now) {
        asked.waits = true;
        let (all, address, question) = (all.clone(), address.clone(), asked.question.clone());
        tokio::task::spawn_local(async move {
            let patience = Duration::from_millis(u64::from(question.check.timeout_ms));
            let answer = tokio::time::timeout(patience, ask(&address, &question)).await;
            let trouble = match answer {
                Ok(Ok(())) => None,
                Ok(Err(trouble)) => Some(trouble),
                Err(_elapsed) => Some(Trouble::NoAnswer),
            };
            let mut all = all.borrow_mut();
            // Somebody else is asked by this address now, or nobody.
            let Some(asked) = all.get_mut(&address).filter(|asked| asked.question == question) else {
                return;
            };
            asked.note(&address, trouble);
        });
    }
}

impl Asked {
    fn note(&mut self, address: &str, trouble: Option<Trouble>) {
        self.waits = false;
        self.due = Instant::now() + Duration::from_millis(u64::from(self.question.check.interval_ms));
        if self.probed.note(trouble.is_none(), &self.question.check) {
            match trouble {
                Some(why) if self.probed.is_out() => {
                    tracing::warn!(upstream = address, %why, "an upstream says that it is not well, or nothing")
                }
                _ => tracing::info!(upstream = address, "an upstream is well"),
            }
        }
        let before = self.flag.load(Ordering::Relaxed);
        let told = match (self.probed.is_out(), trouble) {
            (false, _) => 0,
            (true, Some(trouble)) => trouble.to_number(),
            // One good answer is not enough to come back.
            (true, None) => before.max(Trouble::NoAnswer.to_number()),
        };
        self.flag.store(told, Ordering::Relaxed);
    }
}

/// Whether the copy is well.
async fn ask(address: &str, question: &Question) -> Result<(), Trouble> {
    let stream = TcpStream::connect(address).await.map_err(|_| Trouble::NotConnected)?;
    let stream = open(&question.speech.security, address, stream).await.map_err(|_| Trouble::Tls)?;
    let path = &question.check.path;
    let status = match question.check.kind {
        ProbeKind::Tcp => return Ok(()),
        ProbeKind::Http if question.speech.http2 => {
            ask_http2(stream, address, path).await.map_err(|_| Trouble::Broken)?
        }
        ProbeKind::Http => ask_http1(stream, address, path).await.map_err(|_| Trouble::Broken)?,
    };
    if (200..400).contains(&status) { Ok(()) } else { Err(Trouble::Status(status)) }
}

/// The status of the answer.
async fn ask_http1(mut stream: Stream, address: &str, path: &str) -> io::Result<u16> {
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: rowhouse-health\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    let mut line = [0; STATUS_BYTES];
    stream.read_exact(&mut line).await?;
    let status = line.strip_prefix(b"HTTP/1.").and_then(|rest| rest[1..].strip_prefix(b" "));
    let status = status.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    status.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

async fn ask_http2(
    stream: Stream,
    address: &str,
    path: &str,
) -> Result<u16, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TokioIo::new(stream);
    let (mut sender, connection) =
        http2::Builder::new(LocalExecutor).timer(TokioTimer::new()).handshake(stream).await?;
    let connection = tokio::task::spawn_local(connection);
    let request = Request::get(format!("http://{address}{path}")).version(Version::HTTP_2);
    let answer = sender.send_request(request.body(UpstreamBody::Empty)?).await;
    connection.abort();
    Ok(answer?.status().as_u16())
}
