//! Where planes come from: given, or watched at the control plane's Unix socket and kept on disk, so that a service
//! starts and goes on while the control plane is away.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rowhouse_domain::id::TenantId;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::plane::{HOLD_S, Plane, WATCH_PATH};
use crate::view::View;

/// Largest plane that is read, in bytes.
const PLANE_MAX: usize = 256 * 1024 * 1024;
/// How long the first answer may take before the plane on disk is taken.
const FIRST_ANSWER: Duration = Duration::from_secs(2);
/// How long to go on asking when there is none on disk either.
const FIRST_PLANE: Duration = Duration::from_secs(30);
/// Waits between attempts double from the first to the second.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Where a service's plane comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// This one, for ever.
    Fixed(Plane),
    /// The control plane.
    Watch(Watch),
}

/// How to watch the control plane.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Its Unix socket.
    pub socket: PathBuf,
    /// The service that asks.
    pub service: String,
    /// Only this tenant's place: for a process of an instance of its own.
    pub tenant: Option<TenantId>,
    /// File that keeps the last plane, with mode 0600.
    pub cache: PathBuf,
}

/// Why there is no plane.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The control plane is away, and nothing usable is on disk.
    #[error("no answer from {socket}, and no plane in {cache}")]
    NoPlane {
        /// Where was asked.
        socket: String,
        /// Where was looked.
        cache: String,
        /// Why the last request failed.
        #[source]
        source: WatchError,
    },
}

/// Why one request for a plane failed.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The socket could not be reached.
    #[error("connecting to the control plane")]
    Connect(#[source] std::io::Error),
    /// The exchange broke off.
    #[error("asking the control plane")]
    Http(#[from] hyper::Error),
    /// The body was cut off or too large.
    #[error("reading the plane")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another status than 200 and 204.
    #[error("the control plane answered {0}")]
    Status(StatusCode),
    /// Not a plane, or one of another service.
    #[error("the answer is not a plane of this service: {0}")]
    Malformed(String),
    /// No answer in time.
    #[error("the control plane did not answer in time")]
    Late,
}

impl Source {
    /// The one tenant that is asked for.
    pub(crate) fn only_tenant(&self) -> Option<TenantId> {
        match self {
            Source::Fixed(_) => None,
            Source::Watch(watch) => watch.tenant,
        }
    }

    /// The first view, and the task that brings newer ones.
    pub(crate) async fn start(
        self,
        tasks: &mut JoinSet<()>,
    ) -> Result<watch::Receiver<Arc<View>>, OpenError> {
        match self {
            Source::Fixed(plane) => Ok(watch::channel(Arc::new(View::new(plane))).1),
            Source::Watch(watch) => watch.start(tasks).await,
        }
    }
}

impl Watch {
    async fn start(self, tasks: &mut JoinSet<()>) -> Result<watch::Receiver<Arc<View>>, OpenError> {
        let (plane, after) = self.first().await?;
        let (sender, receiver) = watch::channel(Arc::new(View::new(plane)));
        tasks.spawn(self.follow(sender, after));
        Ok(receiver)
    }

    /// The first plane, and the version after which to ask on: none after a start from disk, because the control plane
    /// may have been restored to an older one meanwhile.
    async fn first(&self) -> Result<(Plane, u64), OpenError> {
        if let Ok(Ok(Some(plane))) = tokio::time::timeout(FIRST_ANSWER, self.fetch(0)).await {
            self.keep(&plane).await;
            let after = plane.version;
            return Ok((plane, after));
        }
        if let Some(plane) = self.kept().await {
            tracing::warn!(
                version = plane.version,
                "the control plane is away; going on with the plane on disk"
            );
            return Ok((plane, 0));
        }
        let deadline = tokio::time::Instant::now() + FIRST_PLANE;
        let mut wait = BACK_OFF.0;
        loop {
            let source = match self.fetch(0).await {
                Ok(Some(plane)) => {
                    self.keep(&plane).await;
                    let after = plane.version;
                    return Ok((plane, after));
                }
                Ok(None) => WatchError::Late,
                Err(problem) => problem,
            };
            if tokio::time::Instant::now() + wait > deadline {
                let shown = |path: &Path| path.display().to_string();
                return Err(OpenError::NoPlane {
                    socket: shown(&self.socket),
                    cache: shown(&self.cache),
                    source,
                });
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACK_OFF.1);
        }
    }

    /// Asks again and again; ends with the task.
    async fn follow(self, sender: watch::Sender<Arc<View>>, mut after: u64) {
        let mut wait = BACK_OFF.0;
        loop {
            match self.fetch(after).await {
                Ok(news) => {
                    wait = BACK_OFF.0;
                    if let Some(plane) = news {
                        after = plane.version;
                        self.keep(&plane).await;
                        sender.send_replace(Arc::new(View::new(plane)));
                    }
                }
                Err(problem) => {
                    tracing::debug!(%problem, "no news of tenants' places");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(BACK_OFF.1);
                }
            }
        }
    }

    /// One long poll: the next plane after version `after`, or `None` if there was nothing new.
    async fn fetch(&self, after: u64) -> Result<Option<Plane>, WatchError> {
        let limit = Duration::from_secs(HOLD_S + 10);
        tokio::time::timeout(limit, self.exchange(after)).await.map_err(|_elapsed| WatchError::Late)?
    }

    async fn exchange(&self, after: u64) -> Result<Option<Plane>, WatchError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(WatchError::Connect)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What goes wrong with the connection shows as the failure of the request.
            let _ = connection.await;
        });
        let tenant = self.tenant.map(|tenant| format!("&tenant={tenant}")).unwrap_or_default();
        let request = Request::get(format!("{WATCH_PATH}?service={}&after={after}{tenant}", self.service))
            .header("host", "rowhouse")
            .body(Empty::<Bytes>::new())
            .map_err(|problem| WatchError::Malformed(problem.to_string()))?;
        let response = sender.send_request(request).await?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(None),
            StatusCode::OK => {
                let body = Limited::new(response.into_body(), PLANE_MAX)
                    .collect()
                    .await
                    .map_err(WatchError::Body)?;
                self.parse(&body.to_bytes()).map(Some)
            }
            other => Err(WatchError::Status(other)),
        }
    }

    fn parse(&self, json: &[u8]) -> Result<Plane, WatchError> {
        let plane: Plane =
            serde_json::from_slice(json).map_err(|problem| WatchError::Malformed(problem.to_string()))?;
        if plane.service == self.service { Ok(plane) } else { Err(WatchError::Malformed(plane.service)) }
    }

    /// Writes the plane beside and renames it, so that the file is always whole. A disk that fails is logged: the
    /// plane in memory is good all the same.
    async fn keep(&self, plane: &Plane) {
        if let Err(problem) = self.write(plane).await {
            tracing::warn!(%problem, cache = %self.cache.display(), "the plane could not be kept on disk");
        }
    }

    async fn write(&self, plane: &Plane) -> std::io::Result<()> {
        let beside = self.cache.with_extension("new");
        let json = serde_json::to_vec(plane).map_err(std::io::Error::other)?;
        if let Err(problem) = tokio::fs::remove_file(&beside).await
            && problem.kind() != std::io::ErrorKind::NotFound
        {
            return Err(problem);
        }
        let mut file =
            tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).await?;
        file.write_all(&json).await?;
        file.sync_data().await?;
        tokio::fs::rename(&beside, &self.cache).await
    }

    async fn kept(&self) -> Option<Plane> {
        let json = tokio::fs::read(&self.cache).await.ok()?;
        self.parse(&json).ok()
    }
}
